"""The command line: arguments to `solve_all` to files. The only module that prints."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, replace
from importlib.metadata import version as installed
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.exceptions import TyperException

from metagen import plots, tables
from metagen.backends import Recorded
from metagen.backends.wrapper import Passing, RewardWrapper, Served, Wrapper
from metagen.budget import Account, Budget
from metagen.card import ModelCard
from metagen.errors import BackendGone, InputError
from metagen.job import Job, open_model, prepare
from metagen.labels import ROLLOUTS
from metagen.problem import ProblemFile
from metagen.record import RunDirectory
from metagen.report import Share, Tally
from metagen.request import AnyBackend, Backend, RewardBackend, generates
from metagen.run import Generator
from metagen.samples import read
from metagen.settings import literal
from metagen.solution import Solution
from metagen.solve import CONCURRENCY, solve_all
from metagen.strategies import Vote
from metagen.sweep import Cell, cells, fronts, points, read_plan, sheet
from metagen.tables import Sheet, Source
from metagen.training import Kind, check, train

app = typer.Typer(
    help="Answer better by calling a language model many times.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

File = Annotated[
    Path,
    typer.Argument(
        help="Problems: JSON Lines, a JSON list or Parquet; ours, GSM8K's, MATH's, SVAMP's, or with named fields."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="[NAME=]MODEL",
        help="A folder or hub name that vLLM serves, the address of a server (http://HOST:PORT/v1, with #MODEL if it "
        "serves several, and several servers with commas), a pool of samples (.jsonl) to play, or a function of a "
        "loaded file that returns a backend. Repeat it with names to use several in one strategy. "
        "A reward model is known by its config.json or its name; FAMILY+MODEL says how it is asked, as for a server: "
        "prm=qwen-prm+http://HOST:PORT/v1. Default: the small mixture of experts that ships with "
        "metagen, small-moe; so do its reward model, small-prm, and its corrector, small-corrector.",
    ),
]
StrategyOption = Annotated[str, typer.Option("--strategy", "-s", metavar="SPEC", help="Such as 'Vote(16, of=CoT())'.")]
LoadOption = Annotated[
    list[Path] | None,
    typer.Option("--load", metavar="FILE.py", help="Make the functions and classes of this file known to SPEC."),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="KEY=VALUE", help="Any vLLM engine argument, such as tensor_parallel_size=2."),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed every request, so that a run can be repeated.")]
TokensOption = Annotated[int | None, typer.Option(min=1, help="Tokens that this call may spend in all.")]
FlopsOption = Annotated[
    float | None, typer.Option(help="Floating-point operations that this call may spend in all, such as 1e15.")
]
CardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="[NAME=]CONFIG",
        help="The config.json, or its folder, of the model behind a server or a pool, so that its FLOPs are counted.",
    ),
]
SecondsOption = Annotated[float | None, typer.Option(help="Start nothing more after so many seconds.")]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Problems at once.")]
FieldOption = Annotated[str | None, typer.Option(metavar="FIELD", help="Where the file has it, if not as usual.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if version:
        out.print(f"metagen {installed('metagen')}")
    elif context.invoked_subcommand is None:
        out.print(context.get_help())


@app.command("solve")
def solve_command(
    file: File,
    model: ModelOption = None,
    strategy: StrategyOption = "Vote(16)",
    load: LoadOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the run is kept. Default: a folder in runs/.")
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    flops: FlopsOption = None,
    concurrency: ConcurrencyOption = CONCURRENCY,
    prompt_field: FieldOption = None,
    answer_field: FieldOption = None,
    id_field: FieldOption = None,
    engine: EngineOption = None,
    card: CardOption = None,
) -> None:
    """Answer a file of problems. The same call again goes on where it stopped."""
    problems = ProblemFile(file, prompt_field, answer_field, id_field)
    job = prepare(
        problems, strategy, model, load, engine, limit, seed, Budget(tokens, seconds, flops), concurrency, card
    )
    run = out_dir or Path("runs") / job.slug()
    raise typer.Exit(asyncio.run(solve_file(job, run)))


@app.command("sample")
def sample_command(
    file: File,
    n: Annotated[int, typer.Option("--n", min=1, help="Samples a problem.")],
    out_file: Annotated[Path, typer.Option("--out", metavar="POOL.jsonl", help="The pool of samples.")],
    model: ModelOption = None,
    strategy: Annotated[str, typer.Option("--of", metavar="SPEC", help="What draws one sample.")] = "Model()",
    load: LoadOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    flops: FlopsOption = None,
    concurrency: ConcurrencyOption = CONCURRENCY,
    prompt_field: FieldOption = None,
    answer_field: FieldOption = None,
    id_field: FieldOption = None,
    engine: EngineOption = None,
    card: CardOption = None,
) -> None:
    """Draw and keep N samples a problem. The same call again draws what is missing; `solve --model POOL` plays them."""
    problems = ProblemFile(file, prompt_field, answer_field, id_field)
    job = prepare(
        problems, strategy, model, load, engine, limit, seed, Budget(tokens, seconds, flops), concurrency, card
    )
    raise typer.Exit(asyncio.run(sample_file(job, n, out_file)))


@app.command("report")
def report_command(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="POOL_OR_RUN", help="Pools of samples (.jsonl), and folders of runs.", show_default=False
        ),
    ],
    problem_file: Annotated[Path, typer.Option("--problems", metavar="FILE", help="The problems they were drawn for.")],
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write table.md, table.csv, table.json and, with matplotlib, curves."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first N samples of each problem.")] = None,
    card: Annotated[
        list[str] | None,
        typer.Option(
            "--card",
            metavar="CONFIG",
            help="The config.json, or its folder, of the model that drew the samples, so that costs are in FLOPs: one "
            "for all sources, or one for each in their order.",
        ),
    ] = None,
    reach: Annotated[
        list[float] | None,
        typer.Option(metavar="PERCENT", min=0, max=100, help="Say what so much accuracy costs; may be repeated."),
    ] = None,
    prompt_field: FieldOption = None,
    answer_field: FieldOption = None,
    id_field: FieldOption = None,
) -> None:
    """Show how accuracy grows with samples.

    Coverage, majority, weighted vote and best-of at k = 1, 2, 4 ..., with intervals, for all problems and by level and
    subject. Of several pools and runs, it says how each differs from the first on the same problems, with as many
    samples and at equal cost.
    """
    problems = ProblemFile(problem_file, prompt_field, answer_field, id_field)
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise InputError(f"{twice} is given twice: name each pool and run once")
    cards = [ModelCard.read(path) for path in card or ()]
    if len(cards) not in {0, 1, len(sources)}:
        raise InputError(f"--card is given {len(cards)} times for {len(sources)} sources: give one, or one for each")
    known = cards * len(sources) if len(cards) == 1 else cards
    found = [read(source, problems, n, one) for source, one in zip_longest(sources, known)]
    report(found, out_dir, [percent / 100 for percent in reach or ()])


@app.command("sweep")
def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Strategies, budgets, models, seeds, problems.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where all is kept. Default: a folder in runs/.")
    ] = None,
) -> None:
    """Run strategies x budgets x models x seeds over problem files.

    The strategies of one model, file and seed share one pool of samples. The same call again goes on where it stopped.
    """
    every = cells(plan, read_plan(plan))
    raise typer.Exit(asyncio.run(sweep(plan.stem, every, out_dir or Path("runs") / plan.stem)))


training_app = typer.Typer(help="Train a reward model or a corrector on a pool of samples.", rich_markup_mode=None)
app.add_typer(training_app, name="train")

PoolArgument = Annotated[Path, typer.Argument(metavar="POOL.jsonl", help="Samples, as `metagen sample` keeps them.")]
ProblemsOption = Annotated[
    Path, typer.Option("--problems", metavar="FILE", help="The problems that the pool was drawn for, with answers.")
]
BaseOption = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="The causal model to begin from: a folder or a hub name.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The model that is made, and report.json.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="How often each sample is seen.")]
RateOption = Annotated[float, typer.Option(help="The peak learning rate: 1e-5 suits a model of billions.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Tokens in a batch, padding included.")]
SEED_OF_TRAINING = Annotated[int, typer.Option("--seed", help="Decides the order of the samples and new weights.")]


@training_app.command("orm")
def train_orm(
    pool: PoolArgument,
    problems: ProblemsOption,
    model: BaseOption,
    out_dir: OutOption,
    epochs: EpochsOption = 2,
    rate: RateOption = 1e-5,
    batch: BatchOption = 8192,
    seed: SEED_OF_TRAINING = 0,
) -> None:
    """An outcome reward model: is the whole right or not (Cobbe et al. 2021)."""
    _train("orm", pool, problems, model, out_dir, epochs, rate, batch, seed)


@training_app.command("prm")
def train_prm(
    pool: PoolArgument,
    problems: ProblemsOption,
    model: BaseOption,
    out_dir: OutOption,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", metavar="MODEL", help="The model that wrote the pool; it labels steps by rollouts."
        ),
    ] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="At most so many from each step.")] = ROLLOUTS,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS.jsonl", help="Where the labels are kept. Default: in DIR.")
    ] = None,
    epochs: EpochsOption = 2,
    rate: RateOption = 1e-5,
    batch: BatchOption = 8192,
    seed: SEED_OF_TRAINING = 0,
) -> None:
    """A process reward model: is each step good, by rollouts (Math-Shepherd, Wang et al. 2024)."""
    backend = open_model(generator) if generator else None
    _train(
        "prm", pool, problems, model, out_dir, epochs, rate, batch, seed,
        generator=backend, rollouts=rollouts, labels=labels,
    )  # fmt: skip


@training_app.command("corrector")
def train_corrector(
    pool: PoolArgument,
    problems: ProblemsOption,
    model: BaseOption,
    out_dir: OutOption,
    epochs: EpochsOption = 2,
    rate: RateOption = 1e-5,
    batch: BatchOption = 8192,
    seed: SEED_OF_TRAINING = 0,
) -> None:
    """A corrector: write a better candidate where a worse one is shown (Welleck et al. 2023)."""
    _train("corrector", pool, problems, model, out_dir, epochs, rate, batch, seed)


def _train(
    kind: Kind, pool: Path, problems: Path, model: str, out_dir: Path, epochs: int, rate: float, batch: int, seed: int,
    **labelling: Any,
) -> None:  # fmt: skip
    check(model, out_dir)
    from metagen.train.finetune import Schedule  # noqa: PLC0415 (needs torch)

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}")
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Reading", total=None, state="")

        def watch(what: str, done: int, total: int, state: str) -> None:
            bar.update(task, description=what, completed=done, total=total, state=state)

        schedule = Schedule(epochs=epochs, rate=rate, tokens=batch, seed=seed)
        report = train(kind, pool, ProblemFile(problems), model, out_dir, schedule, watch, **labelling)
    table = Table(title=f"{kind} on {pool.name}", title_justify="left", show_header=False)
    for name, value in report["held out"].items():
        table.add_row(f"held out: {name}", f"{value:,.4g}")
    out.print(table)
    out.print(f"Kept in {out_dir}/ (the model, report.json).", soft_wrap=True)


def main() -> NoReturn:
    """Run the command; what the user got wrong is one line and exit code 2."""
    try:
        code = app(prog_name="metagen", standalone_mode=False)
    except (InputError, TyperException) as error:
        _fail(error.format_message() if isinstance(error, TyperException) else str(error), 2)
    except BackendGone as error:
        _fail(f"{error}. What is solved is kept: run the same command to go on", 1)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        code = 130  # which is also what newer versions of typer make of Ctrl-C
    if code == 130:
        _fail("interrupted. What is solved is kept: run the same command to go on", 130)
    sys.exit(code or 0)


def _fail(text: str, code: int) -> NoReturn:
    print("metagen: " + " ".join(text.split()), file=sys.stderr)
    sys.exit(code)


def report(sources: list[Source], folder: Path | None, reach: Sequence[float] = ()) -> None:
    """Print the report and, if there is a folder for it, write it down."""
    measured = {source.name: list(tables.measured(source)) for source in sources}
    pairs = [(sources[0], other) for other in sources[1:]]
    found = [each for pair in pairs for each in tables.versus(*pair)]
    notes = [f"{source.name}: {remark}" for source in sources for remark in tables.remarks(source)]
    notes += [tables.said(*pair, compared) for pair in pairs if (compared := tables.answers(*pair))]
    pages = [page for source in sources for page in tables.sheets(source, measured[source.name])]
    equal = [each for pair in pairs for each in tables.equals(*pair)]
    pages += [tables.comparisons(found)] if found else []
    pages += [tables.at_equal(equal)] if equal else []
    pages += [tables.reaching(sources, accuracy) for accuracy in reach]
    for each in pages:
        out.print(each.title, soft_wrap=True)
        out.print(_table(each))
    for note in (*notes, tables.FOOT):
        out.print(note, soft_wrap=True)
    if folder:
        every = [row for part in measured.values() for row in part]
        text = "\n".join([*map(tables.markdown, pages), *(f"- {note}" for note in notes)])
        texts = {
            "table.md": f"{tables.FOOT}\n\n{text}\n",
            "table.csv": tables.as_csv(every),
            "table.json": tables.as_json(every, found, notes, equal),
        }
        panels = {source.name: source.curves for source in sources}
        pictures = (lambda: plots.draw(panels, folder)) if plots.available() else None
        out.print(f"Kept in {folder}/ ({', '.join(_write(folder, texts, pictures))}).", soft_wrap=True)


def _table(sheet: Sheet) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in sheet.columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(cell.replace(" (", "\n").removesuffix(")") for cell in row))
    return table


def _write(folder: Path, texts: Mapping[str, str], pictures: Callable[[], list[Path]] | None) -> list[str]:
    """Write the files of a report; return their names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: a report cannot be written there: {error.strerror}") from None
    if not pictures:
        err.print("No pictures: they need matplotlib (install metagen[plot]).")
    return [*texts, *(path.name for path in pictures())] if pictures else list(texts)


async def solve_file(job: Job, path: Path) -> int:
    """Solve what is not solved yet, and say what came out; return the exit code."""
    tally, account = Tally(), Account(job.budget)
    code = await _fill(job, path, tally, account)
    out.print(summary(tally, f"{literal(job.strategy)} on {job.problems.path.name}", account))
    out.print(f"Kept in {path}/ (run.json, trace.jsonl, solutions.jsonl).", soft_wrap=True)
    return code


async def _fill(job: Job, path: Path, tally: Tally, account: Account) -> int:
    """Solve what a run's folder lacks; return the exit code."""
    solved: set[str] = set()
    with RunDirectory(path, job.configuration()) as run:
        for solution in run.solutions():
            tally.add(solution)
            solved.add(solution.problem)
        if solved:
            err.print(f"Going on with {path}: {len(solved)} problems are solved already.")
        await _work(job, job.strategy, solved, tally, account, run.add)
    return _exit_code(job, solved, tally, account)


async def sweep(title: str, every: list[Cell], folder: Path) -> int:
    """Run what is not done yet, then print and write the report; return the exit code."""
    (folder / "pools").mkdir(parents=True, exist_ok=True)
    code, number = 0, 0
    for _, of_model in groupby(every, key=lambda cell: cell.model):
        part = list(of_model)
        async with AsyncExitStack() as stack:
            shared = {name: late(backend, stack) for name, backend in part[0].job.models.items()}
            for pool, of_pool in groupby(part, key=lambda cell: cell.pool):
                models = {
                    name: Recorded(folder / "pools" / pool, backend) if isinstance(backend, Late) else backend
                    for name, backend in shared.items()
                }
                for cell in of_pool:
                    number += 1
                    out.print(f"{number} of {len(every)}: {cell.folder}", soft_wrap=True)
                    job = replace(cell.job, models=models)
                    code = max(code, await _fill(job, folder / cell.folder, Tally(), Account(job.budget)))
    found = points(folder, every)
    page, rows = sheet(title, found), [asdict(point) for point in found]
    out.print(_table(page))
    texts = {
        "sweep.md": tables.markdown(page),
        "sweep.csv": tables.lines_as_csv(rows),
        "sweep.json": json.dumps(rows, indent=1) + "\n",
    }
    pictures = (lambda: plots.draw_fronts(fronts(found), folder)) if plots.available() else None
    out.print(f"Kept in {folder}/ ({', '.join(_write(folder, texts, pictures))}).", soft_wrap=True)
    return code


def late(backend: AnyBackend, stack: AsyncExitStack) -> "Late | LateReward":
    """The same backend, opened when it is first used."""
    return Late(backend, stack) if generates(backend) else LateReward(cast(RewardBackend, backend), stack)


class _Late(Passing[Served]):
    """Opens its model when it is first used, and leaves the closing to `stack`: so a sweep loads a model once."""

    def __init__(self, of: Served, stack: AsyncExitStack) -> None:
        super().__init__(of)
        self._stack, self._opened = stack, False

    async def __aenter__(self) -> Self:
        if not self._opened:
            await self._stack.enter_async_context(self.of)
            self._opened = True
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Late(_Late[Backend], Wrapper):
    """A model that generates, opened late."""


class LateReward(_Late[RewardBackend], RewardWrapper):
    """A reward model, opened late."""


async def sample_file(job: Job, n: int, path: Path) -> int:
    """Draw what the pool lacks; return the exit code."""
    tally = Tally()
    name, backend = next((name, model) for name, model in job.models.items() if generates(model))
    recorded = replace(job, models={**job.models, name: Recorded(path, backend)})
    account = Account(job.budget)
    drawn: set[str] = set()
    short = 0

    def count(solution: Solution) -> None:
        nonlocal short
        short += solution.lost > 0 and not solution.failed

    await _work(recorded, Vote(n, of=job.strategy), drawn, tally, account, count)
    title = f"{n} samples of {literal(job.strategy)} on {job.problems.path.name}"
    out.print(summary(tally, title, account, chosen="majority"))
    out.print(f"Kept in {path}; play it with --model {path}", soft_wrap=True)
    if short:
        err.print(f"Short of samples: {short:,} of {job.size():,} problems. Run the same command to draw the rest.")
    return max(short > 0, _exit_code(job, drawn, tally, account))


async def _work(
    job: Job,
    strategy: Generator,
    done: set[str],
    tally: Tally,
    account: Account,
    keep: Callable[[Solution], None],
) -> None:
    """Open the models, solve, add to `done`, and show how it goes. Loads nothing where nothing is left to do."""
    if not any(job.left(done)):
        return
    async with AsyncExitStack() as stack:
        await _open(job.models, stack)
        account.start()
        async with (
            aclosing(
                solve_all(
                    job.left(done), strategy, job.models, seed=job.seed, account=account, concurrency=job.concurrency
                )
            ) as solutions,
            _progress(job, tally, account),
        ):
            async for solution in solutions:
                keep(solution)
                tally.add(solution)
                done.add(solution.problem)


async def _open(models: Mapping[str, AnyBackend], stack: AsyncExitStack) -> None:
    for backend in models.values():
        with err.status(f"Loading {backend.name} ..."):
            await stack.enter_async_context(backend)
        for what in getattr(backend, "lost", ()):
            err.print(f"{backend.name}: {what}.", soft_wrap=True)


@asynccontextmanager
async def _progress(job: Job, tally: Tally, account: Account) -> AsyncIterator[None]:
    """A live line: problems done, accuracy so far, tokens a second, samples in flight."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}")
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Solving", total=job.size(), state="")

        async def watch() -> None:
            while True:
                bar.update(task, completed=tally.problems, state=_state(tally, account))
                await asyncio.sleep(0.2)

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()


def _state(tally: Tally, account: Account) -> str:
    right = f"{tally.accuracy.value:.1%} right, " if tally.judged else ""
    speed = account.spent.completion_tokens / max(account.seconds(), 1e-9)
    return f"{right}{speed:,.0f} tokens/s, {account.in_flight} in flight"


def summary(tally: Tally, title: str, account: Account, chosen: str = "accuracy") -> Table:
    """The table at the end of a run; `chosen` is what to call the accuracy of the answers handed over."""
    usage = tally.usage
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_row("problems", f"{tally.problems:,}" + (f", {tally.failed} failed" if tally.failed else ""))
    if tally.judged:
        table.add_row(chosen, _share(tally.accuracy))
    if tally.samples > 1:
        table.add_row("one sample", f"{tally.single:.1%}  mean of the {tally.samples:.4g} samples it chose from")
        table.add_row("gained", f"{100 * (tally.accuracy.value - tally.single):+.1f} points over one sample")
        table.add_row("coverage", f"{_share(tally.coverage)}: some sample is right")
    if tally.unjudged:
        table.add_row("no verdict", f"{tally.unjudged} answers that the grader could not judge")
    table.add_row("tokens", f"{usage.tokens:,}")
    table.add_row("  prompt", f"{usage.prompt_tokens:,}, of them {usage.cached_tokens:,} cached")
    table.add_row("  completion", f"{usage.completion_tokens:,}")
    table.add_row("  verifier", f"{usage.verifier_tokens:,}")
    if usage.all_flops:
        verifier = f", of them {usage.verifier_flops:.3g} by verifiers" if usage.verifier_flops else ""
        table.add_row("FLOPs", f"{usage.all_flops:.4g}{verifier}")
    if account.spent.calls:
        seconds = account.seconds()
        speed = account.spent.completion_tokens / seconds
        late = f", {account.overshoot():,.1f} s past the limit" if account.overshoot() else ""
        table.add_row("wall time", f"{seconds:,.1f} s{late}, {speed:,.0f} completion tokens/s")
    table.add_row("samples lost", f"{tally.lost:,}")
    return table


def _share(share: Share) -> str:
    low, high = share.interval()
    return f"{share.value:.1%}  [{low:.1%}, {high:.1%}]  ({share.count} of {share.total})"


def _exit_code(job: Job, done: set[str], tally: Tally, account: Account) -> int:
    """1 if problems are left for another call, else 0."""
    if left := sum(1 for _ in job.left(done)):
        why = " because the budget is spent" if account.refused else ""
        err.print(f"Not begun{why}: {left:,} of {job.size():,} problems. Run the same command to go on.")
    if tally.failed:
        err.print(f"Failed: {tally.failed:,} of {job.size():,} problems. Run the same command to try them again.")
    return 1 if left or tally.failed else 0
