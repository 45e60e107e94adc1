import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import psutil
import pytest

from metagen.answers import checkers as _checkers
from metagen.answers import grade as grading
from metagen.answers.canonical import canonical
from metagen.answers.checkers import LONGEST_LINE, Checker, compare
from metagen.answers.grade import grade
from metagen.candidate import Candidate, Score
from metagen.errors import InputError, VerifierError
from metagen.problem import Problem
from metagen.run import Run
from metagen.verifiers.oracles import MatchesReference
from tests.support.timing import block_until, until

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
NO_RUN = cast("Run", None)
SLOW = r"9^{9^{9^9}}"
PATIENT = 60.0
"""Seconds, for checks that must come out on a busy machine too."""


async def judged(reference: str | None, *texts: str, seconds: float = PATIENT) -> list[Score | None]:
    candidates = [Candidate((text,)) for text in texts]
    return await MatchesReference(seconds=seconds)(Problem("p", "?", answer=reference), candidates, NO_RUN)


def workers(of: int | None = None) -> list[psutil.Process]:
    children = filter(_alive, psutil.Process(of).children())
    return [child for child in children if "checker_program" in " ".join(child.cmdline())]


def _alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def work(processes: list[psutil.Process]) -> float:
    """Seconds of work that processes have done."""
    return sum(float(process.cpu_times().user) for process in processes if _alive(process))


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        (None, "5", False),
        (" ", "5", False),
        ("5 apples", r"\$5.00", True),
        ("6", "5", False),
        ("50%", "0.5", True),
        ("0.3333333", r"\frac{1}{3}", True),
        ("0.333", r"\frac{1}{3}", False),
        ("0.0000673", "0.0000672", False),
        ("(x+1)^2", "x^2 + 2x + 1", True),
        ("x**2 + 1", "x^2 + 1", True),
        ("2**10", "1024", True),
        ("1,-2", "-2,1", True),
        ("(2,1)", "(1,2)", False),
        ("[3,4]", "(3,4]", False),
        ("2", r"\sqrt{2}", False),
        ("sqrt(2)", r"\sqrt{2}", True),
        ("pi/2", r"\frac{\pi}{2}", True),
        ("2", "2x+6", False),
        ("silent", "listen", False),
        ("Silent", "silent", True),
        (r"x = \frac{1}{2}", r"\frac12", True),
    ],
)
async def test_grade(answer: str | None, reference: str, right: bool) -> None:
    assert await grade(answer, reference, PATIENT) is right


async def test_the_verifier_decides_as_grade_does() -> None:
    scores = await judged("x+1", r"\boxed{1+x}", r"\boxed{x}", "I do not know.", r"\boxed{1+x}")
    right, wrong = Score(1.0, reason="right"), Score(0.0, reason="wrong")
    assert scores == [right, wrong, Score(0.0, reason="no answer"), right]
    assert await judged("x+1") == []


async def test_a_problem_without_a_reference_is_refused() -> None:
    with pytest.raises(InputError, match="'p' has no reference"):
        await judged(None, r"\boxed{1}")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="seconds"):
        MatchesReference(seconds=seconds)


MATRIX = r" \\ ".join("&".join(f"x_{{{row},{column}}}" for column in range(20)) for row in range(20))

HOSTILE = {
    "tower of powers": SLOW,
    "tower of factorials": r"((9!)!)!",
    "expansion": r"(x+1)^{100000}",
    "nested fractions": r"\frac{1}{" * 10_000 + "x" + "}" * 10_000,
    "some nested fractions": r"\frac{1}{" * 1000 + "x" + "}" * 1000,
    "brackets": "(" * 10_000 + "x" + ")" * 10_000,
    "a megabyte of braces": "{" * 10**6,
    "matrix": rf"\begin{{pmatrix}}{MATRIX}\end{{pmatrix}}^{{-1}}",
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_answer_costs_one_verdict(answer: str) -> None:
    assert await grade(answer, "x^2+1", 0.3) is None
    assert await grade("1+x^2", "x^2+1", PATIENT) is True


@pytest.mark.parametrize("answer", ["-" * 400 + "x", "(((3!)!)!)!"])
async def test_running_out_of_stack_is_not_wrong(answer: str) -> None:
    assert await grade(answer, "x^2+1", PATIENT) is None
    assert await grade("1+x^2", "x^2+1", PATIENT) is True


@pytest.mark.parametrize(
    "answer", ["1\0x" * 100, "10**10**10", "$" * 5000, "\ud800x", "x^{9999999999999}", "1/0", "\\"]
)
async def test_an_odd_answer_is_wrong(answer: str) -> None:
    assert await grade(answer, "x^2+1", PATIENT) is False


async def test_no_verdict_is_not_zero_and_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await judged("x+1", rf"\boxed{{{SLOW}}}", r"\boxed{x+1}", seconds=0.5) == [None, Score(1.0, reason="right")]
    monkeypatch.setattr(Checker, "check", lambda *_: True)
    assert await grade(SLOW, "x+1", 0.5) is True


def test_a_verdict_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(grade("a+b+c", "c+b+a", PATIENT)) is True
    monkeypatch.setattr(Checker, "check", lambda *_: pytest.fail("asked twice"))
    assert asyncio.run(grade("a+b+c", "c+b+a", PATIENT)) is True


def test_one_process_serves_all_event_loops_and_their_number_is_limited() -> None:
    async def many() -> list[bool | None]:
        return await asyncio.gather(*(grade(f"x+{n}", f"{n}+x", PATIENT) for n in range(20)))

    for _ in range(2):
        assert asyncio.run(many()) == [True] * 20
    before = {worker.pid for worker in workers()}
    assert asyncio.run(grade("y+1", "1+y", PATIENT)) is True
    assert {worker.pid for worker in workers()} == before
    assert 1 <= len(before) <= _checkers.CHECKERS


def test_checks_one_at_a_time_need_one_process() -> None:
    pool = _checkers.Checkers(2)
    try:
        known = {worker.pid for worker in workers()}
        assert [pool.check("x+1", f"1+x+{n}", PATIENT) for n in range(3)] == [True, False, False]
        assert len({worker.pid for worker in workers()} - known) == 1
    finally:
        pool.stop()
        pool.threads.shutdown()


async def test_a_process_killed_in_the_middle_costs_one_verdict() -> None:
    await grade("x+1", "1+x", PATIENT)
    before = work(workers())
    check = asyncio.create_task(grade(SLOW, "x+1", PATIENT))
    await until(lambda: work(workers()) > before + 0.1)
    for worker in workers():
        worker.kill()
    assert await check is None
    assert await grade("x+2", "2+x", PATIENT) is True


async def test_a_process_killed_while_idle_costs_nothing() -> None:
    await grade("x+1", "1+x", PATIENT)
    for worker in workers():
        worker.kill()
        worker.wait()
    assert await grade("x+3", "3+x", PATIENT) is True


async def test_cancelling_leaves_no_process_behind_and_no_stale_reply() -> None:
    before = work(workers())
    checks = [asyncio.create_task(grade(answer, "x+4", 3.0)) for answer in ("4+x", SLOW, "4+x+x", SLOW + "1")]
    await until(lambda: work(workers()) > before + 0.1)
    for check in checks:
        check.cancel()
    ends = await asyncio.gather(*checks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends[1::2]] == [True, True]
    answers = [("x+5", True), ("x", False), ("5+x", True), ("2x", False), ("5-(-x)", True)]
    assert [await grade(answer, "x+5", PATIENT) for answer, _ in answers] == [right for _, right in answers]
    assert len(workers()) <= _checkers.CHECKERS


async def test_an_answer_too_long_for_the_pipe_is_not_sent() -> None:
    assert await grade("x" * LONGEST_LINE, "x+6") is None


async def test_a_checker_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checkers, "PROGRAM", (sys.executable, "-c", "raise SystemExit(3)"))
    checker = Checker()
    with pytest.raises(VerifierError, match="exit code 3"):
        checker.check("x", "y", 1.0)


def script(body: str, *options: str) -> subprocess.Popen[str]:
    code = f"import asyncio, os, signal\nfrom metagen.answers.grade import grade\n{body}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *options, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes of this test begin with no verdict."""
    monkeypatch.setenv("METAGEN_CACHE", str(tmp_path))


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a check"])
def test_no_process_outlives_a_parent_that_is_killed(busy: bool) -> None:
    then = f"asyncio.run(grade({SLOW!r}, 'x+1', 3.0))" if busy else "signal.pause()"
    with script(f"asyncio.run(grade('x+1', '1+x'))\nprint('ready', flush=True)\n{then}") as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        left = workers(parent.pid)
        assert len(left) == 1
        begun = work(left)
        block_until(lambda: not busy or work(left) > begun + 0.1)
        parent.send_signal(signal.SIGKILL)
        block_until(lambda: not any(map(_alive, left)))


@pytest.mark.usefixtures("forgetful")
def test_leaving_is_quiet_and_leaves_nothing() -> None:
    body = "asyncio.run(grade('x+1', '1+x'))\nimport psutil\nprint(*[c.pid for c in psutil.Process().children()])"
    with script(body, "-X", "dev", "-W", "error") as left:
        printed, errors = left.communicate(timeout=120)
    assert (left.returncode, errors) == (0, "")
    assert not any(psutil.pid_exists(int(pid)) for pid in printed.split())


@pytest.mark.usefixtures("forgetful")
def test_a_fork_has_checkers_of_its_own() -> None:
    body = """
assert asyncio.run(grade('x+1', '1+x'))
child = os.fork()
assert asyncio.run(grade(f'x+{2 + bool(child)}', f'{2 + bool(child)}+x'))
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(grade('x+4', '4+x'))
"""
    with script(body, "-W", "ignore::DeprecationWarning") as forked:  # later Pythons warn of a fork beside threads
        _, errors = forked.communicate(timeout=120)
    assert (forked.returncode, errors) == (0, "")


WE_DECIDE_OTHERWISE = {
    31: "right: 9 between dollar signs on lines of their own is the answer all the same",
    32: "right: so it is between brackets",
    133: "wrong: two decimals are not six",
    139: "wrong: four decimals are not six",
    187: "right: to the interval as reference, a relation is a set, unless math-verify is told otherwise",
    253: "wrong: f(y) is not f(x), unless math-verify is told that names do not matter",
}
"""Lines, from 0, of math-verify's own cases; the last four have options that `grade` does not set."""


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, str, bool]]:
    path = DATA / "graders" / "math_verify.jsonl"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["gold"], line["pred"], line["equal"]) for line in lines]


async def test_grade_agrees_with_math_verifys_own_cases(cases: list[tuple[str, str, bool]]) -> None:
    verdicts = await asyncio.gather(*(grade(pred, gold, PATIENT) for gold, pred, _ in cases))
    other = {n: verdict for n, verdict in enumerate(verdicts) if verdict is not cases[n][2]}
    assert other == {n: reason.startswith("right") for n, reason in WE_DECIDE_OTHERWISE.items()}


ACCEPTED_FOR_ANOTHER = {
    ("$e$", r"$\text{E}$"): "wrong: letters stand for choices, large or small",
    ("$$1$$", "$$A:B=1$$"): "wrong: the last side of an equation is the answer",
    ("$$1$$", "$$f(x)=1$$"): "wrong: the last side of an equation is the answer",
    (r"$x \in [-2,7]$", r"$x \in [-2,7]$"): "right: both cases are about one interval",
}
"""Answers and references of neighbouring cases whose own references have different keys."""


async def test_what_is_accepted_for_the_reference_of_another_case(cases: list[tuple[str, str, bool]]) -> None:
    right = [(gold, pred) for gold, pred, equal in cases if equal]
    pairs = [(pred, gold, own) for (own, pred), (gold, _) in zip(right, right[1:] + right[:1], strict=True)]
    verdicts = await asyncio.gather(*(grade(pred, gold, PATIENT) for pred, gold, _ in pairs))
    accepted = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict]
    assert {pair[:2] for pair in accepted if canonical(pair[1]) != canonical(pair[2])} == set(ACCEPTED_FOR_ANOTHER)


async def test_at_most_12_of_2000_references_of_math_500_are_accepted_for_others() -> None:
    path = DATA / "problems" / "math500.jsonl"
    if not path.exists():
        pytest.skip("the shared problems are not here")
    references = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    pairs = [(one, references[n - shift]) for shift in (1, 7, 50, 101) for n, one in enumerate(references)]
    verdicts = await asyncio.gather(*(grade(one, other, PATIENT) for one, other in pairs))
    accepted = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict and pair[0] != pair[1]]
    assert (len(pairs), verdicts.count(None)) == (2000, 0)
    assert len(accepted) <= 12, accepted


def test_no_two_unequal_answers_vote_together(cases: list[tuple[str, str, bool]]) -> None:
    together = [(gold, pred) for gold, pred, equal in cases if canonical(gold) == canonical(pred) and not equal]
    assert together == []


async def test_the_pool_is_graded_almost_without_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    path = DATA / "pools" / "gsm8k_200x16.jsonl"
    if not path.exists():
        pytest.skip("the shared pool is not here")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    asked: list[str] = []

    async def counted(reference: str, answer: str, seconds: float) -> bool | None:
        asked.append(answer)
        return await compare(reference, answer, seconds)

    monkeypatch.setattr(grading, "compare", counted)
    verdicts = [await grade(sample["answer"], line["gold"]) for line in lines for sample in line["trajectories"]]
    assert (verdicts.count(True), verdicts.count(None)) == (1159, 0)
    assert len(asked) < len(verdicts) / 100
