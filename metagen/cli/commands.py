"""The commands: arguments to jobs to files. Each imports what it needs, so that help and mistakes are answered fast."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from metagen.cli.options import (
    AlsoOption,
    AnswerFieldOption,
    AnswersOption,
    BudgetOption,
    ByOption,
    CardOption,
    ChosenCardOption,
    ChosenFrom,
    ChosenPriceOption,
    ConcurrencyOption,
    EngineOption,
    File,
    FlopsOption,
    GpusOption,
    GradeOption,
    HedgeOption,
    IdFieldOption,
    LimitOption,
    LoadOption,
    ModelOption,
    MoneyOption,
    OtlpOption,
    PaceOption,
    PageOption,
    PriceOption,
    PromptFieldOption,
    RayOption,
    ReachOption,
    RunArgument,
    RunsArgument,
    SecondsOption,
    SeedOption,
    ServerOption,
    SourceCardOption,
    SourcePriceOption,
    Sources,
    SplitOption,
    StrategyOption,
    SystemOption,
    TemplateOption,
    TokensOption,
    WorkersOption,
)
from metagen.cli.serving import serve_command
from metagen.cli.stopping import abandon_output, is_unwritable, open_what_is_closed, print_any_text, until_stopped
from metagen.cli.training import training_app
from metagen.cli.visible import guard_interpreter
from metagen.errors import BackendGone, InputError, MetagenError, StorageError
from metagen.settings import CONCURRENCY
from metagen.system import collecting_seldom

app = typer.Typer(
    help="Answer better by calling a language model many times.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(training_app, name="train")
app.command("serve")(serve_command)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if not version and context.invoked_subcommand is not None:
        return
    from metagen import distribution
    from metagen.cli.console import out

    if version:
        out.print(f"metagen {distribution.version()}")
    else:
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
    money: MoneyOption = None,
    concurrency: ConcurrencyOption = CONCURRENCY,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    split: SplitOption = None,
    answers: AnswersOption = None,
    system: SystemOption = None,
    template: TemplateOption = None,
    grade: GradeOption = None,
    engine: EngineOption = None,
    server: ServerOption = None,
    card: CardOption = None,
    price: PriceOption = None,
    otlp: OtlpOption = None,
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    ray: RayOption = None,
    hedge: HedgeOption = False,
) -> None:
    """Answer a file of problems. The same command continues where it stopped."""
    given = locals()
    import asyncio

    from metagen.cli.clusters import cluster_of
    from metagen.cli.jobs import solve_file
    from metagen.cli.orders import order
    from metagen.jobs.job import prepare

    cluster = cluster_of(workers, gpus_per_worker, ray, hedge=hedge)
    job = prepare(order(**given, elsewhere=cluster is not None))
    run = out_dir or Path("runs") / job.slug()
    raise typer.Exit(asyncio.run(solve_file(job, run, otlp, cluster)))


@app.command("sample")
def sample_command(
    file: File,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Samples per problem.")],
    out_file: Annotated[Path, typer.Option("--out", metavar="POOL.jsonl", help="The pool of samples.")],
    model: ModelOption = None,
    strategy: Annotated[str, typer.Option("--of", metavar="SPEC", help="What draws one sample.")] = "Model()",
    load: LoadOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    flops: FlopsOption = None,
    money: MoneyOption = None,
    concurrency: ConcurrencyOption = CONCURRENCY,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    split: SplitOption = None,
    answers: AnswersOption = None,
    system: SystemOption = None,
    template: TemplateOption = None,
    grade: GradeOption = None,
    engine: EngineOption = None,
    server: ServerOption = None,
    card: CardOption = None,
    price: PriceOption = None,
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    ray: RayOption = None,
) -> None:
    """Draw and keep N samples per problem. The same command draws what is missing; `solve --model POOL` plays them."""
    given = locals()
    import asyncio

    from metagen.cli.clusters import cluster_of
    from metagen.cli.jobs import sample_file
    from metagen.cli.orders import order
    from metagen.jobs.job import prepare

    cluster = cluster_of(workers, gpus_per_worker, ray)
    job = prepare(order(**given))
    raise typer.Exit(asyncio.run(sample_file(job, n, out_file, cluster)))


@app.command("report")
def report_command(
    sources: Sources,
    problem_file: Annotated[Path, typer.Option("--problems", metavar="FILE", help="The problems they were drawn for.")],
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write table.md, table.csv, table.json and, with matplotlib, pictures."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Only the first N samples of each problem.")] = None,
    card: SourceCardOption = None,
    price: SourcePriceOption = None,
    reach: ReachOption = None,
    first: Annotated[
        bool, typer.Option("--first", help="Also count the first k samples as they stand, beside the expectations.")
    ] = False,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    split: SplitOption = None,
    answers: AnswersOption = None,
    grade: GradeOption = None,
    load: LoadOption = None,
) -> None:
    """Show how accuracy grows with samples.

    Coverage, majority, weighted vote and best-of at k = 1, 2, 4 ..., and of replies with thoughts the shortest, with
    intervals, for all problems and by level and subject. Of several pools and runs, it says how each differs from the
    first on the same problems, with as many samples and at equal cost.
    """
    given = locals()
    from metagen.analysis.reading import read
    from metagen.cli.console import check_report
    from metagen.cli.orders import read_graded
    from metagen.cli.reports import cards_and_prices, report

    _, problems, graded = read_graded(problem_file, **given)
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise InputError(f"{twice} is given twice: name each pool and run once")
    check_report(out_dir, "table", "curves", "flops", "money", "calibration", "front")
    every = zip(sources, *cards_and_prices(len(sources), card, price), strict=True)
    found = [read(source, problems, n, one, graded, price=cost, first=first) for source, one, cost in every]
    report(found, out_dir, [percent / 100 for percent in reach or ()])


@app.command("choose")
def choose_command(
    sources: ChosenFrom,
    problem_file: Annotated[
        Path | None,
        typer.Option("--problems", metavar="FILE", help="The problems that the pools were drawn for."),
    ] = None,
    model: ModelOption = None,
    budget: BudgetOption = None,
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="SPEC", help="What draws one sample, as in `sample --of`. Default: the model."),
    ] = None,
    by: ByOption = None,
    also: AlsoOption = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write choice.md, choice.csv, choice.json and, with matplotlib, a picture."
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", min=1, help="Samples of each problem. Default: 16, or all.")
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Problems at once.")] = None,
    pace: PaceOption = None,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    answers: AnswersOption = None,
    split: SplitOption = None,
    system: SystemOption = None,
    template: TemplateOption = None,
    grade: GradeOption = None,
    load: LoadOption = None,
    engine: EngineOption = None,
    server: ServerOption = None,
    card: ChosenCardOption = None,
    price: ChosenPriceOption = None,
) -> None:
    """Say which strategy to use for a budget.

    From pools of samples that are there (with --problems), or from one that is drawn for a file of problems. Every
    strategy whose result can be worked out from samples is estimated: votes, weighted votes, votes that stop, the best
    of k, sampling until a check accepts, cascades of two pools. Where the pool is drawn, others are run too, the worse
    half dropped lap by lap. Prints the best for each cost with intervals, the choice for the budget, how sure it is,
    what twice the budget would add, and the command to use it. No strategy is judged on the problems that chose it.
    """
    given = locals()
    from metagen.cli.choose import Amount, find, report, require_known
    from metagen.cli.console import check_report

    amount = Amount.parse(budget) if budget is not None else None
    check_report(out_dir, "choice")
    if problem_file is None:
        from metagen.cli.race import explore

        raise typer.Exit(explore(given, amount))
    from metagen.cli.pools import from_pools

    require_known(amount, given)
    found = from_pools(**given)
    report(find(found.title, found.arms, found.command, amount), out_dir)


@app.command("show")
def show_command(
    run: RunArgument,
    problem: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The problem to print, such as eval-0017 or 17. Default: a line for each.",
            show_default=False,
        ),
    ] = None,
    missed: Annotated[bool, typer.Option("--missed", help="Only problems whose answer is not right.")] = False,
    found: Annotated[
        bool, typer.Option("--found", help="Only problems that the strategy missed and one of its samples found.")
    ] = False,
) -> None:
    """Print problems of a run.

    One problem with its candidates by answer, their scores, the search tree and what it cost; or a line for each.
    """
    from metagen.cli.show import show_problem, show_problems

    if problem is None:
        show_problems(run, missed=missed, found=found)
    elif missed or found:
        raise InputError("--missed and --found list problems: leave them out, or leave out the id")
    else:
        show_problem(run, problem)


@app.command("view")
def view_command(
    runs: RunsArgument,
    page: PageOption = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine instead, while the runs are under way.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port of --serve (default: 0, which takes a free one).")
    ] = None,
) -> None:
    """Write a page that shows runs.

    One HTML file without network access: a table of problems to sort, filter and search; the candidates of each by
    answer, their scores and thoughts, search trees, refinements, tool calls and times.
    """
    from metagen.cli.view import serve_runs, view_runs

    if not serve and port is not None:
        raise InputError("--port is for --serve: give --serve too")
    if not serve:
        view_runs(runs, page)
    elif page:
        raise InputError("--serve writes no page: leave out --out")
    else:
        serve_runs(runs, port or 0)


@app.command("export")
def export_command(
    run: RunArgument,
    form: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help="jsonl or parquet: all candidates, with answers and scores. dpo: pairs of a better and a worse reply. "
            "sft: the best replies. inspect: a log of Inspect, run.eval. otlp: traces, to a collector.",
        ),
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write. Default: one in the run's folder."),
    ] = None,
    each: Annotated[
        int | None, typer.Option(min=1, help="The most rows of one problem, of dpo and sft (default: 1).")
    ] = None,
    otlp: OtlpOption = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Prompts and replies of dpo and sft as texts, and not as turns.")
    ] = False,
) -> None:
    """Write a run for other tools, or send it to them.

    The forms dpo and sft are those that TRL trains on. They hold whole replies alone: right ones, or pairs of a right
    and a wrong one; where nothing was graded, replies are ranked by their scores.
    """
    from metagen.adapters.rows import Training
    from metagen.cli.export import export

    export(run, form, out_file, Training(each or 1, plain) if each or plain else None, otlp)


@app.command("sweep")
def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Strategies, budgets, models, seeds, problems.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where all is kept. Default: a folder in runs/.")
    ] = None,
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    ray: RayOption = None,
) -> None:
    """Run strategies x budgets x models x seeds over problem files.

    The strategies of one model, file and seed share one pool of samples. The same command continues where it stopped.
    """
    import asyncio

    from metagen.cli.clusters import cluster_of
    from metagen.cli.sweeps import sweep
    from metagen.jobs.plans import cells, read_plan

    cluster = cluster_of(workers, gpus_per_worker, ray)
    every = cells(plan, read_plan(plan))
    raise typer.Exit(asyncio.run(sweep(plan.stem, every, out_dir or Path("runs") / plan.stem, cluster)))


@app.command("doctor")
def doctor_command(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Open this model too, such as http://localhost:8000/v1."),
    ] = None,
) -> None:
    """Say what works here, to paste into a bug report.

    Python, vLLM, the GPU, the sandbox, Coq, the extras and the models that ship. Of a server it says the dialect, the
    context and what it lacks. The exit code is 1 if the model cannot be used, else 0.
    """
    import asyncio

    from metagen.cli.doctor import examine

    raise typer.Exit(asyncio.run(examine(model)))


def main() -> NoReturn:
    """Run the command; what the user got wrong is one line and exit code 2.

    A full disk, or a model that is gone, is exit code 1. Ctrl-C, SIGTERM and SIGHUP are 130, 143 and 129, and end it in
    the same way: what is under way is cancelled, and what is written is whole.
    """
    open_what_is_closed()
    print_any_text()
    guard_interpreter()
    with collecting_seldom(), until_stopped() as stopped:
        try:
            _check_arguments(sys.argv[1:])
            code = app(prog_name="metagen", standalone_mode=False)
            sys.stdout.flush()
        except (InputError, TyperException) as error:
            _fail(error.format_message() if isinstance(error, TyperException) else str(error), 2)
        except (BackendGone, StorageError) as error:
            _fail(f"{str(error).rstrip('.')}. What is solved is kept: run the same command to continue", 1)
        except MetagenError as error:
            _fail(str(error), 1)
        except OSError as error:
            if not is_unwritable(error):
                raise
            _fail(f"the output cannot be written: {error.strerror}", 1)
        except (KeyboardInterrupt, _cancelled(), typer.Abort) as stop:
            if isinstance(stop.__cause__, EOFError):  # typer takes it for the end of an input, and none is asked for
                raise stop.__cause__ from None
            code = 130  # which is also what newer versions of typer make of Ctrl-C
        if code == 130 or stopped:
            # The signal may have come between the making of a coroutine and that of its task.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            _fail("interrupted. What is solved is kept: run the same command to continue", 128 + (stopped or [2])[0])
        sys.exit(code or 0)


def _check_arguments(given: list[str]) -> None:
    """Raise `InputError` for an argument that is empty: an empty path would be this folder, and its files be read."""
    for place, each in enumerate(given):
        name, is_long, value = each.partition("=")
        if not each or (is_long and not value and name.startswith("--")):
            before = given[place - 1] if place and not each else ""
            what = name or (before if before.startswith("-") else "an argument")
            raise InputError(f"{what} is empty: leave it out or say what it is; a variable of the shell may be unset")


def _cancelled() -> type[BaseException]:
    from asyncio import CancelledError

    return CancelledError


def _fail(text: str, code: int) -> NoReturn:
    from metagen.cli.console import err

    abandon_output()
    err.print("metagen: " + " ".join(text.split()), soft_wrap=True)
    sys.exit(code)
