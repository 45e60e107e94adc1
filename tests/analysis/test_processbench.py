import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from metagen import Candidate, InputError, Problem, ProcessReward, Reading, Run, Score, ScriptedReward, VerifierError
from metagen.analysis import processbench
from metagen.analysis.processbench import Case, Findings, best_threshold, first_error, found, read_cases, step_scores

SHARED = Path(__file__).parents[3] / "shared" / "data" / "rewards" / "processbench_gsm8k.json"
published = pytest.mark.skipif(not SHARED.exists(), reason="needs ProcessBench's GSM8K part beside the project")

CASES = [
    Case(id="a", problem="1 + 2 + 3?", steps=("1 + 2 = 4", "4 + 3 = 7"), label=0),
    Case(id="b", problem="1 + 2 + 3?", steps=("1 + 2 = 3", "wrong\nin two lines"), label=1),
    Case(id="c", problem="1 + 2 + 3?", steps=("1 + 2 = 3", "3 + 3 = 6"), label=-1),
]


def suspicious(reading: Reading) -> list[float]:
    return [0.1 if "4" in step or "wrong" in step else 0.9 for step in reading.steps]


@pytest.mark.parametrize(
    ("scores", "threshold", "first"),
    [((0.9, 0.4, 0.1), 0.5, 1), ((0.9, 0.5), 0.5, -1), ((0.9, 0.4), 0.4, -1), ((), 0.5, -1), (None, 0.5, None)],
)
def test_the_first_error_is_the_first_score_below_the_threshold(
    scores: tuple[float, ...] | None, threshold: float, first: int | None
) -> None:
    assert first_error(scores, threshold) == first


def test_both_kinds_of_cases_count_apart() -> None:
    findings = found([0, 1, 2, 3, -1, -1], [0, 1, 3, None, -1, 2])
    assert findings == Findings(erroneous=0.5, correct=0.5, unread=1)
    assert findings.f1 == 0.5
    assert Findings(0.25, 0.75).f1 == pytest.approx(2 * 0.25 * 0.75)


def test_one_kind_of_cases_alone_has_no_f1() -> None:
    with pytest.raises(InputError, match="cases with an error and cases without"):
        found([-1, -1], [-1, -1])


def test_the_threshold_is_chosen_for_the_highest_f1() -> None:
    rows = [(0.3, 0.9), (0.8, 0.4), (0.7, 0.6)]
    assert best_threshold([0, 1, -1], rows) == 0.6
    assert found([0, 1, -1], [first_error(row, 0.6) for row in rows]).f1 == 1.0


def test_without_a_verdict_there_is_no_threshold() -> None:
    with pytest.raises(InputError, match="no verdict on any case"):
        best_threshold([0, -1], [None, None])


async def test_the_harness_runs_on_a_process_reward() -> None:
    verifier = ProcessReward("prm", step="\n\n")
    rows = await step_scores(verifier, CASES, {"prm": ScriptedReward(suspicious)})
    assert rows == [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)]
    assert found([case.label for case in CASES], list(map(first_error, rows))).f1 == 1.0


async def test_what_cannot_be_read_is_not_found_and_is_counted() -> None:
    rows = await step_scores(ProcessReward("prm", step="\n\n"), CASES, {"prm": ScriptedReward(suspicious, context=35)})
    assert rows[1] is None
    assert found([case.label for case in CASES], list(map(first_error, rows))) == Findings(0.5, 1.0, unread=1)


async def test_steps_that_are_read_otherwise_are_refused() -> None:
    with pytest.raises(InputError, match="3 scores for 2 steps"):
        await step_scores(ProcessReward("prm"), CASES, {"prm": ScriptedReward(suspicious)})


async def test_a_verifier_that_fails_is_no_verdict_on_anything() -> None:
    async def broken(problem: Problem, candidates: object, run: Run) -> list[Score | None]:
        raise ZeroDivisionError

    with pytest.raises(VerifierError, match="ZeroDivisionError"):
        await step_scores(broken, CASES, {})


@pytest.mark.parametrize("content", ["[{}]", "{", '[{"id": "a", "problem": "?", "steps": "x", "label": 0}]'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "cases.json").write_text(content)
    with pytest.raises(InputError, match=r"cases\.json"):
        read_cases(tmp_path / "cases.json")


@published
@pytest.mark.parametrize(("score", "erroneous", "correct"), [(1.0, 0.0, 1.0), (0.0, 37 / 207, 0.0)])
async def test_who_always_says_the_same_has_an_f1_of_nothing(score: float, erroneous: float, correct: float) -> None:
    """Always right, and always wrong from the first step on: the floors."""

    async def trivial(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(score, (score,) * len(candidate.steps)) for candidate in candidates]

    cases = read_cases(SHARED)
    labels = [case.label for case in cases]
    assert (sum(label >= 0 for label in labels), labels.count(-1)) == (207, 193)
    findings = found(labels, list(map(first_error, await step_scores(trivial, cases, {}))))
    assert findings.erroneous == pytest.approx(erroneous)
    assert findings.correct == correct
    assert findings.f1 == 0.0


@published
async def test_who_knows_the_labels_finds_every_first_error() -> None:
    cases = read_cases(SHARED)
    known = {(case.problem, tuple(f"{step.strip()}\n\n" for step in case.steps)): case.label for case in cases}

    def oracle(reading: Reading) -> list[float]:
        label = known[reading.prompt, reading.steps]
        return [0.0 if 0 <= label <= number else 1.0 for number in range(len(reading.steps))]

    rows = await step_scores(ProcessReward("prm", step="\n\n"), cases, {"prm": ScriptedReward(oracle, context=10**6)})
    assert found([case.label for case in cases], list(map(first_error, rows))) == Findings(1.0, 1.0)


def test_the_fields_are_those_of_the_published_files(tmp_path: Path) -> None:
    row = {"id": "gsm8k-0", "generator": "g", "problem": "?", "steps": ["x"], "final_answer_correct": False, "label": 0}
    (tmp_path / "cases.json").write_text(json.dumps([row]))
    assert read_cases(tmp_path / "cases.json") == [Case(id="gsm8k-0", problem="?", steps=("x",), label=0)]


def test_the_best_threshold_is_that_of_all_scores() -> None:
    rng = Random(0)
    for _ in range(100):
        rows = [
            None if rng.random() < 0.1 else [rng.choice((0.1, 0.4, 0.9)) for _ in range(rng.randrange(5))]
            for _ in range(8)
        ]
        labels = [*(rng.randrange(-1, 4) for _ in range(6)), -1, 0]
        every = sorted({score for row in rows for score in row or ()})
        best = max(every, key=lambda each: found(labels, [first_error(row, each) for row in rows]).f1)
        assert best_threshold(labels, rows) == best


def test_the_time_of_the_best_threshold_grows_as_the_cases_do(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(processbench, "first_error", lambda *_: calls.append(1))
    best_threshold([0, -1] * 50, [[0.1 * number] for number in range(100)])
    assert not calls
