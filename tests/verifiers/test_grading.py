"""The grade at the end is the task's: tests are run, proofs are checked, else the reference is compared."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    BestOf,
    BetaStop,
    Candidate,
    Function,
    InputError,
    MatchesReference,
    Model,
    PassesTests,
    Problem,
    Proves,
    Recorded,
    Run,
    Score,
    Scripted,
    Vote,
    cli,
    parse_answers,
    solve,
    solve_all,
)
from metagen.analysis.reading import read
from metagen.disk.problems import ProblemFile
from metagen.errors import GenerationError, ToolRefusal
from metagen.spec.parse import parse_grade
from metagen.verifiers.grading import oracle_of
from tests.support.code_problems import PROBLEMS as ALL
from tests.support.confined import needs_coq, needs_sandbox

PROBLEMS = ALL[::2]
CODE = Problem("1", "Write double.", tests="assert double(2) == 4")
THEOREM = Problem("1", "Prove it.", "Theorem t : True.\nProof.\nAdmitted.\n")


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six problems, and a pool in which the first sample of every third is right, and one of three everywhere."""
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "code.jsonl", [problem.row for problem in PROBLEMS])
    pool = []
    for number, (problem, coded) in enumerate(zip(ProblemFile(tmp_path / "code.jsonl"), PROBLEMS, strict=True)):
        replies = [*coded.wrong]
        replies.insert(number % 3, coded.right)
        pool += [
            {"problem": problem.id, "prompt": problem.prompt, "draw": draw, "text": text}
            for draw, text in enumerate(replies)
        ]
    lines(tmp_path / "pool.jsonl", pool)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["metagen", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_the_oracle_is_known_by_the_form_of_the_problem() -> None:
    assert oracle_of(Problem("1", "?")) is None
    assert oracle_of(Problem("1", "?", "7")) == MatchesReference()
    assert oracle_of(CODE) == PassesTests()
    assert oracle_of(THEOREM) == Proves()


def test_so_is_the_kind_of_answers() -> None:
    assert repr(CODE.answers) == "Code()"
    assert repr(THEOREM.answers) == 'Code("coq")'
    assert repr(Problem("1", "?", tests="assert f", answers=parse_answers("Text()")).answers) == "Text()"


@needs_sandbox
def test_printed_accuracy_is_the_truth(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "solve", "code.jsonl", "-m", "pool.jsonl", "-s", "Model()") == 0
    assert "(2 of 6)" in capsys.readouterr().out
    assert run(monkeypatch, "solve", "code.jsonl", "-m", "pool.jsonl", "-s", "BestOf(3, by=PassesTests())") == 0
    out = capsys.readouterr().out
    assert "(6 of 6)" in out
    assert "33.3%  mean of the 3 samples" in out


@needs_sandbox
def test_a_report_says_the_same(folder: Path) -> None:
    source = read(folder / "pool.jsonl", ProblemFile(folder / "code.jsonl"))
    coverage = source.curves["coverage"]
    assert [float(coverage.values[:, column].mean()) for column in (0, -1)] == pytest.approx([1 / 3, 1])


@needs_sandbox
async def test_every_answer_is_graded_as_it_is(folder: Path) -> None:
    truth = {}
    for problem, coded in zip(ProblemFile(folder / "code.jsonl"), PROBLEMS, strict=True):
        truth[problem.id] = [text == coded.right for text in (coded.right, *coded.wrong)]
        replies = iter((coded.right, *coded.wrong))
        graded = [(await solve(problem, Model(), Scripted(text))).correct for text in replies]
        assert graded == truth[problem.id], problem.id
    assert sum(map(len, truth.values())) == 18


@needs_coq
async def test_a_proof_is_graded_by_coq() -> None:
    proved = await solve(THEOREM, Model(), Scripted("```coq\nexact I.\nQed.\n```"))
    assert (proved.correct, proved.answer) == (True, "exact I.\nQed.\n")
    assert (await solve(THEOREM, Model(), Scripted("```coq\nadmit.\nQed.\n```"))).correct is False


async def yes(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [Score(float("yes" in candidate.text)) for candidate in candidates]


async def test_another_grade_decides_with_a_reference_or_without() -> None:
    backend = Scripted(lambda request: ("yes: 3", "no: 4", "yes: 4")[request.draw])
    for problem in (Problem("1", "?"), Problem("1", "?", "4")):
        solution = await solve(problem, Vote(3), backend, grade=yes)
        assert (solution.correct, solution.samples, solution.samples_correct) == (True, 3, 2)
    (other,) = [each async for each in solve_all([Problem("1", "?", "4")], Model(), Scripted("no: 4"), grade=yes)]
    assert other.correct is False


async def test_grading_is_no_part_of_the_cost() -> None:
    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        run.note("asked the model")
        return [Score(float((await run.ask(Model(), problem)).text == "7")) for _ in candidates]

    plain = await solve(Problem("1", "?", "7"), Model(), Scripted("7"))
    judged = await solve(Problem("1", "?", "7"), Model(), Scripted("7"), grade=judge)
    assert judged.correct
    assert judged.usage.tokens == plain.usage.tokens
    assert judged.notes == ("asked the model",)


async def test_a_grade_that_fails_gives_no_verdict_and_says_why() -> None:
    async def lost(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        raise GenerationError("no judge today")

    solution = await solve(Problem("1", "?"), Model(), Scripted("7"), grade=lost)
    assert (solution.correct, solution.unjudged) == (None, True)
    assert solution.notes == ("not graded: no judge today",)


async def test_a_problem_that_the_grade_cannot_judge_costs_no_answer() -> None:
    solution = await solve(Problem("1", "?"), Model(), Scripted("7"), grade=MatchesReference())
    assert (solution.text, solution.correct, solution.unjudged) == ("7", None, True)
    (said,) = solution.notes
    assert said.startswith("not graded: problem '1' has no reference answer")


@pytest.mark.parametrize("error", [KeyError("d4"), ToolRefusal("no such move")])
async def test_a_kind_of_answers_that_fails_to_compare_gives_no_verdict_and_says_why(error: Exception) -> None:
    class Move:
        asks, form = "", None

        def extract(self, text: str, *, finished: bool = True) -> str | None:
            return text

        def key(self, answer: str) -> str:
            return answer

        async def equal(self, answer: str, reference: str) -> bool | None:
            raise error

    solution = await solve(Problem("1", "?", "e4", answers=Move()), Vote(2), Scripted("d4"))
    assert (solution.answer, solution.correct, solution.unjudged) == ("d4", None, True)
    (said,) = solution.notes
    assert said.startswith("not graded: ")
    assert str(error) in said


@pytest.mark.parametrize("until", [None, BetaStop(0.95)])
async def test_a_sample_that_the_kind_of_answers_fails_to_read_costs_no_sibling(until: Any) -> None:
    class Move:
        asks, form = "", None

        def extract(self, text: str, *, finished: bool = True) -> str | None:
            return {"one": "e4", "two": "d4"}[text]

        def key(self, answer: str) -> str:
            return answer

        async def equal(self, answer: str, reference: str) -> bool | None:
            return answer == reference

    backend = Scripted(lambda request: ("odd", "two", "one", "one")[request.draw % 4])
    solution = await solve(Problem("1", "?", "e4", answers=Move()), Vote(4, until=until), backend)
    assert (solution.answer, solution.correct) == ("e4", True)
    assert (list(solution.verdicts), solution.unanswered) == ([None, False, True, True], 0)
    assert solution.notes[-1] == "not graded: Move: KeyError: 'odd'"
    (found,) = [each async for each in solve_all([Problem("1", "?", "e4", answers=Move())], Model(), Scripted("odd"))]
    assert (found.correct, found.unjudged, found.compared) == (None, True, 0)


async def test_a_key_that_fails_costs_its_sample_alone() -> None:
    class Move:
        asks, form = "", None

        def extract(self, text: str, *, finished: bool = True) -> str | None:
            return text

        def key(self, answer: str) -> str:
            return {"one": "e4"}[answer]

        async def equal(self, answer: str, reference: str) -> bool | None:
            return True

    backend = Scripted(lambda request: ("odd", "one")[request.draw])
    solution = await solve(Problem("1", "?", "e4", answers=Move()), Vote(2), backend)
    assert (solution.answer, list(solution.verdicts)) == ("one", [None, True])
    assert solution.notes == ("not graded: Move: KeyError: 'odd'",)


async def test_the_reference_judges_those_that_can_be_read() -> None:
    def reads(text: str) -> str | None:
        return {"one": "e4"}[text]

    backend = Scripted(lambda request: ("odd", "one")[request.draw])
    problem = Problem("1", "?", "e4", answers=Function(reads))
    solution = await solve(problem, BestOf(2, by=MatchesReference()), backend)
    assert (solution.answer, solution.unscored) == ("e4", 1)


async def test_what_is_no_grade_is_refused_before_anything_is_asked() -> None:
    for grade in (PassesTests, Model(), len):
        with pytest.raises(InputError, match="solve: grade="):
            await solve("?", Model(), Scripted("7"), grade=grade)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'Vote\\(3\\)' is not a verifier"):
        parse_grade("Vote(3)")


def test_the_command_line_takes_a_grade_and_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "p.jsonl", [{"id": "1", "prompt": "?", "answer": "7"}, {"id": "2", "prompt": "!"}])
    (tmp_path / "own.py").write_text(
        "async def yes(problem, candidates, run):\n    return [float('8' in each.text) for each in candidates]\n"
    )
    solved = ("solve", "p.jsonl", "-m", "Scripted:The answer is 8.", "-s", "Model()", "--out", "run")
    assert run(monkeypatch, *solved, "--load", "own.py", "--grade", "yes") == 0
    assert "(2 of 2)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["grade"] == "yes"
    assert run(monkeypatch, *solved) == 2
    assert "holds a run that differs in grade" in capsys.readouterr().err
    assert run(monkeypatch, "report", "run", "--problems", "p.jsonl") == 2
    assert """was graded by yes: give --grade 'yes'""" in capsys.readouterr().err
    reported = ("report", "run", "--problems", "p.jsonl", "--load", "own.py", "--grade", "yes")
    assert run(monkeypatch, *reported) == 0
    assert "100.0" in capsys.readouterr().out
    assert run(monkeypatch, *solved[:-1], "other", "--grade", 'Judge(of=Model("judge"))') == 2
    assert "names a model 'judge'" in capsys.readouterr().err


@needs_sandbox
async def test_a_vote_on_code_groups_equal_code(folder: Path) -> None:
    pool = Recorded(folder / "pool.jsonl")
    problems = list(ProblemFile(folder / "code.jsonl"))
    solution = await solve(problems[0], BestOf(3, by=PassesTests()), pool)
    assert (solution.correct, solution.samples_correct, solution.unanswered) == (True, 1, 0)


async def test_each_sample_is_graded_once_and_so_is_the_chosen_one() -> None:
    graded: list[str] = []

    async def long(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[float]:
        graded.extend(each.text for each in candidates)
        return [float(each.text.startswith("So ")) for each in candidates]

    replies = ["The answer is 8.", "So the answer is 7.", "The answer is 7."]
    solution = await solve("3 + 4?", Vote(3), Scripted(lambda request: replies[request.draw]), grade=long)
    assert graded == replies
    assert (solution.correct, solution.verdicts) == (True, (False, True, False))
