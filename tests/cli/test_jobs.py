"""What a run shows while it works and at its end."""

import asyncio
import json
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from metagen import (
    Account,
    GenerationError,
    InputError,
    Model,
    ProblemFile,
    Recorded,
    Request,
    Retrying,
    Scripted,
    ScriptedReward,
    TransientError,
    Usage,
)
from metagen.analysis.tally import Tally
from metagen.cli import console, jobs
from metagen.cli.console import Terminal
from metagen.cli.jobs import _open, drawing, sample_file, solve_file, time_left
from metagen.jobs.job import Job, Order, prepare
from metagen.request import AnyBackend, Meter, Outcome
from metagen.solution import Solution
from metagen.spec.parse import parse
from tests.support.timing import Clock


def table_of(tally: Tally, account: Account) -> str:
    console = Console(width=100, record=True, quiet=False)
    with console.capture() as capture:
        console.print(jobs.summary(tally, "title", account))
    return capture.get()


def shown(usage: Usage, seconds: float) -> str:
    clock, tally = Clock(), Tally()
    account = Account(clock=clock)
    account.spend(usage)
    clock.now = seconds
    tally.add(Solution("p", "7", usage=usage))
    return table_of(tally, account)


def test_estimates_are_beside_the_count_and_in_no_speed() -> None:
    text = shown(Usage(calls=1, prompt_tokens=10, completion_tokens=300, estimated_tokens=100), seconds=10)
    assert "100 of the tokens: no count came back for them" in text
    assert "20 completion tokens/s" in text


def test_without_estimates_nothing_is_said_of_them() -> None:
    text = shown(Usage(calls=1, prompt_tokens=10, completion_tokens=300), seconds=10)
    assert "estimated" not in text
    assert "30 completion tokens/s" in text


@pytest.mark.parametrize(
    ("solutions", "said"),
    [
        ([Solution("p", "7")], True),
        ([Solution("p", "7"), Solution("q", "7", correct=True)], False),
        ([Solution("p", "7"), Solution("q", "7", unjudged=True)], False),
        ([Solution("p", "7"), Solution("q", "7", unfinished=True)], False),
    ],
)
def test_a_run_without_references_says_why_it_has_no_accuracy(solutions: list[Solution], said: bool) -> None:
    tally = Tally()
    for solution in solutions:
        tally.add(solution)
    with (console := Console(width=100)).capture() as capture:
        console.print(jobs.summary(tally, "title", Account()))
    assert ("not known: no problem has a reference answer or tests" in capture.get()) is said


@pytest.mark.parametrize(
    ("seconds", "done", "left", "said"),
    [
        (10, 0, 5, ""),
        (10, 5, 0, ""),
        (10, 5, 5, "about 10 s left"),
        (60, 1, 1, "about 60 s left"),
        (119, 1, 1, "about 119 s left"),
        (120, 1, 1, "about 2 min left"),
        (600, 5, 50, "about 100 min left"),
        (600, 1, 1000, "about 167 h left"),
    ],
)
def test_the_time_left_is_told_from_what_this_call_has_done(seconds: float, done: int, left: int, said: str) -> None:
    clock = Clock()
    account = Account(clock=clock)
    clock.now = seconds
    assert time_left(done, left, account) == said


class Slow(Scripted):
    """Lets the others work before it answers, those first that fail."""

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        for _ in range(1 if int(request.problem) % 2 else 4):
            await asyncio.sleep(0)
        return await super().generate(request, spend)


def reply(request: Request) -> str:
    if int(request.problem) % 2:
        raise GenerationError("no odd numbers")
    return "The answer is 7."


def job_over(backend: AnyBackend, tmp_path: Path, count: int = 6) -> Job:
    rows = [{"id": str(number), "prompt": "3 + 4?", "answer": 7} for number in range(count)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    order = Order(problems=ProblemFile(tmp_path / "p.jsonl"), strategy="Vote(2)", models={"model": "Scripted:7"})
    job = prepare(order)
    return replace(job, models={"model": backend})


async def test_where_there_is_no_terminal_lines_tell_how_a_run_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "LINE_SECONDS", 0)
    assert await solve_file(job_over(Slow(reply), tmp_path), tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert re.search(r"0 of 6 problems solved, [\d,]+ tokens/s, 12 in flight\.", said)
    assert "0 of 6 problems solved, 0.0% right" in said
    assert "failed (GenerationError: no odd numbers)" in said


async def test_failed_problems_do_not_count_as_done_in_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(file=StringIO(), width=200, force_terminal=True, color_system=None)
    bars = []
    made = console.progress

    def kept() -> Progress:
        bars.append(made())
        return bars[-1]

    for module in (console, jobs):
        monkeypatch.setattr(module, "err", terminal)
    monkeypatch.setattr(jobs, "progress", kept)
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: real(0))
    await solve_file(replace(job_over(Slow(reply), tmp_path), concurrency=1), tmp_path / "run")
    (task,) = bars[0].tasks
    assert (task.completed, task.total) == (3, 6), "as it is shown while the last, which fails, is under way"
    assert "2 failed" in task.fields["state"]
    assert "left" in task.fields["state"]


class Unreached(Scripted):
    """Is not reached until it is let go."""

    def __init__(self) -> None:
        super().__init__(lambda _: "The answer is 7.")
        self.up = asyncio.Event()

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        if not self.up.is_set():
            raise TransientError("nobody answers at port 8000")
        return await super().generate(request, spend)


@pytest.mark.parametrize("recorded", [False, True])
async def test_what_is_waited_for_is_told(tmp_path: Path, recorded: bool, capsys: pytest.CaptureFixture[str]) -> None:
    server = Unreached()
    retrying = Retrying(server, wait=0, longest=0, attempts=10**9)
    backend = Recorded(tmp_path / "pool.jsonl", retrying) if recorded else retrying
    solving = asyncio.ensure_future(solve_file(job_over(backend, tmp_path), tmp_path / "run"))
    said: set[str] = set()
    while not any("6 waiting to be sent again after: nobody answers at port 8000" in each for each in said):
        await asyncio.sleep(0)
        said.add(backend.waits)
    server.up.set()
    assert await solving == 0
    assert backend.waits == ""
    assert ScriptedReward(lambda _: [1.0]).waits == ""
    assert "6" in capsys.readouterr().out


async def test_why_samples_were_lost_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pool of one sample a problem: the vote is among what there is."""
    one = job_over(Recorded(tmp_path / "pool.jsonl", Scripted(lambda _: "The answer is 7.")), tmp_path)
    assert await solve_file(replace(one, strategy=Model()), tmp_path / "once") == 0
    assert await solve_file(job_over(Recorded(tmp_path / "pool.jsonl"), tmp_path), tmp_path / "run") == 0
    said = " ".join(capsys.readouterr().out.partition("Vote(2)")[2].replace("│", " ").split())
    assert "accuracy 100.0%" in said
    assert "samples lost 6 GenerationError:" in said


def two_models(tmp_path: Path, spec: str) -> Job:
    job = job_over(Scripted(lambda _: "The answer is 7.", name="A"), tmp_path, count=2)
    models = {**job.models, "b": Scripted(lambda _: "The answer is 8.", name="B")}
    return replace(job, strategy=parse(spec), models=models)


@pytest.mark.parametrize(
    ("spec", "model"), [("Model()", "A"), ('Model("b")', "B"), ('CoT(of=Model("b"))', "B"), ('Model("model")', "A")]
)
async def test_a_pool_keeps_the_samples_of_the_model_that_draws(tmp_path: Path, spec: str, model: str) -> None:
    assert await sample_file(two_models(tmp_path, spec), 3, tmp_path / "pool.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "pool.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == [model] * 6


async def test_samples_of_several_models_are_refused_before_any_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asks several models, model, b, and a pool keeps the samples of one"):
        await sample_file(two_models(tmp_path, 'Panel((Model(), Model("b")))'), 3, tmp_path / "pool.jsonl")
    assert not (tmp_path / "pool.jsonl").exists()


@pytest.mark.parametrize("of", ["BestOf(4, by=Judge(of=Model('b')))", "BestOf(4, of=Model('model'), by=Judge())"])
def test_the_model_of_a_verifier_draws_no_samples(tmp_path: Path, of: str) -> None:
    assert drawing(two_models(tmp_path, of.replace("'", '"')))[0] == "model"


def test_a_run_over_a_server_loads_nothing_that_only_other_models_need(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text('{"prompt": "3 + 4?", "answer": "7"}\n')
    program = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from metagen.cli import main; main()"
    command = ["solve", "problems.jsonl", "--model", "http://127.0.0.1:1/v1#m", "--strategy", "Vote(2)"]
    whole = [sys.executable, "-c", program, *command]
    done = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "cannot connect to 127.0.0.1:1" in done.stderr
    loaded = set(done.stdout.split())
    assert "metagen.backends.http.server" in loaded
    unneeded = {
        "metagen.backends.vllm.generating",
        "metagen.card.card",
        "metagen.cluster.workers",
        "metagen.execution.sandbox",
        "metagen.strategies.parallel.behaviour",
        "metagen.verifiers.proof",
        "httpx",
        "numpy",
        "ray",
        "torch",
        "transformers",
        "vllm",
    }
    assert not loaded & unneeded


async def test_what_a_model_turns_out_to_lack_is_said_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    class Late(Scripted):
        lacking: tuple[str, ...] = ("it has no context",)

        @property
        def missing(self) -> tuple[str, ...]:
            return self.lacking

    model = Late("7", name="late")
    async with AsyncExitStack() as stack:
        await _open({"model": model}, stack)
        model.lacking += ("it refuses top_k, which is left out",)
        assert capsys.readouterr().err == "late: it has no context.\n"
    assert capsys.readouterr().err == "late: it refuses top_k, which is left out.\n"


def test_what_is_gained_says_on_which_problems() -> None:
    """Failed problems are wrong in the accuracy, and have no samples to be compared with."""
    tally = Tally()
    tally.add(Solution("a", "7", correct=True, samples=4, samples_correct=3))
    assert "+25.0 points over one sample  " in table_of(tally, Account())
    tally.add(Solution("b", None, correct=False, error="NoCandidate: all 4 samples were lost"))
    shown = table_of(tally, Account())
    assert "50.0%" in shown
    assert "+25.0 points over one sample, on the 1 problem with samples" in shown
