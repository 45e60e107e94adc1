from pathlib import Path

import pytest

from metagen import BestOf, Candidate, GenerationError, Problem, Request, Run, Scripted, Vote, parse, solve, solve_all
from metagen.answers.extract import extract
from metagen.disk.rows import SolutionRow
from metagen.disk.runs import RunDirectory
from metagen.disk.traces import SpanRow
from metagen.trace import Written
from metagen.view.candidates import Shown, candidates_of
from metagen.view.reading import RunRows
from tests.strategies.test_thinking import Thinker
from tests.support.scripts import dice
from tests.support.specs import NAMES, SPECS
from tests.support.viewed import PROBLEMS, lengths, make_run

LAW = Problem("p", "What is 3 + 4?", "7")


async def shown(folder: Path, name: str) -> list[Shown]:
    """The candidates of the first problem."""
    run = RunRows.read(await make_run(folder, name, PROBLEMS[:1]))
    ((row, spans),) = run.traces()
    return candidates_of(row, spans)


async def test_candidates_have_their_texts_answers_and_groups(tmp_path: Path) -> None:
    first, second, third, fourth = await shown(tmp_path, "vote")
    assert first == Shown("It is odd.\nThe answer is 7.", "Hm.", 45, answer="7", right=True, group=0, chosen=True)
    assert (second.answer, second.right, second.group, second.chosen) == ("8", False, 1, False)
    assert (third.right, third.group) == (True, 0)
    assert (fourth.text, fourth.answer, fourth.group) == ("No idea.", None, -1)


async def test_candidates_have_the_verdicts_on_them_and_on_their_steps(tmp_path: Path) -> None:
    candidates = await shown(tmp_path, "best")
    assert [each.score for each in candidates] == [0.25, 0.26, 0.27, 0.28]
    assert [each.steps for each in candidates] == [(0.5, 0.25), (0.25,), (0.25,), (0.25,)]
    assert [each.chosen for each in candidates] == [False, False, False, True]


async def test_of_equal_texts_the_one_with_the_highest_score_is_the_chosen_one(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "equal", {}) as run:
        async for solution in solve_all(PROBLEMS[:1], BestOf(3, by=lengths), Scripted("It is 7.")):
            run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "equal").traces()
    assert [each.chosen for each in candidates_of(row, spans)] == [False, False, True]


async def test_candidates_that_took_several_requests_are_whole(tmp_path: Path) -> None:
    candidates = await shown(tmp_path, "beam")
    assert {each.text.count("\n") for each in candidates} == {2}
    assert sum(each.chosen for each in candidates) == 1
    refined = await shown(tmp_path, "refine")
    assert len(refined) == 2
    assert all(each.text for each in refined)


async def test_what_a_lost_sample_wrote_is_no_candidate(tmp_path: Path) -> None:
    """A sample of several requests is lost as a whole, however deep below it they were sent."""

    async def second(problem: Problem, run: Run) -> Candidate:
        first, last = [await run.ask(None, problem) for _ in range(2)]
        if "BAD" in first.text:
            raise GenerationError("the first was no good")
        return last

    def script(request: Request) -> str:
        return "BAD The answer is 1." if request.draw == 0 else "The answer is 2."

    problem = Problem("a", "1 + 1?", answer="2")
    with RunDirectory(tmp_path / "lost", {}) as run:
        async for solution in solve_all([problem], Vote(3, of=second), Scripted(script), seed=1):
            run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "lost").traces()
    assert row.answers == ("2", "2")
    assert [(each.text, each.right) for each in candidates_of(row, spans)] == [("The answer is 2.", True)] * 2


async def test_a_single_answer_is_the_only_candidate(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path, "vote", PROBLEMS[:1]))
    ((row, _),) = run.traces()
    alone = type(row)(problem="a", answer="7", text="It is odd.\nThe answer is 7.", correct=True)
    assert candidates_of(alone, []) == [Shown(alone.text, answer="7", right=True, group=0, chosen=True)]
    assert candidates_of(type(row)(problem="a", answer=None, error="NoCandidate: all were lost"), []) == []


async def solved_rows(folder: Path, spec: str, problem: Problem = LAW) -> tuple[SolutionRow, list[SpanRow]]:
    """What is written of a problem that a strategy answered."""
    with RunDirectory(folder, {}) as run:
        async for solution in solve_all([problem], parse(spec, NAMES), Scripted(dice, context=2000), seed=2):
            run.add(solution)
    ((row, spans),) = RunRows.read(folder).traces()
    return row, spans


@pytest.mark.parametrize(
    "spec", [*SPECS, "Refine(of=Vote(3))", "Chain(Vote(3), Vote(3))", "Vote(2, of=Refine(of=Vote(2)))"]
)
async def test_of_any_strategy_each_candidate_has_the_answer_of_its_text_and_one_is_chosen(
    spec: str, tmp_path: Path
) -> None:
    row, spans = await solved_rows(tmp_path / "run", spec)
    candidates = candidates_of(row, spans)
    assert [each.answer for each in candidates] == [extract(each.text) for each in candidates]
    assert len(candidates) == max(1, row.compared)
    assert [each.text for each in candidates if each.chosen] == [row.text]


OF_DIFFERENT_LENGTHS = [
    "Think(20)",
    "Think(100)",
    "Think(100, waits=2)",
    "EarlyExit(8)",
    "Model(thinking=20)",
    "Vote(3, of=Think(20))",
    "Vote(3, of=Think(100, waits=1))",
    "Vote(3, of=Model(thinking=20))",
]
THINKING = [
    *OF_DIFFERENT_LENGTHS,
    "Vote(3, of=EarlyExit(8))",
    "Shortest(2, n=3, every=16)",
    "Vote(2, of=Vote(2, of=Think(20)))",
    "Refine(of=Think(20), rounds=1)",
]


@pytest.mark.parametrize("spec", THINKING)
async def test_a_candidate_that_took_several_requests_is_shown_with_its_thought(spec: str, tmp_path: Path) -> None:
    lengths = (30, 10, 50) if spec in OF_DIFFERENT_LENGTHS else (30,)
    solution = await solve(LAW, parse(spec), Thinker(*lengths), seed=1)
    assert solution.candidate
    compared = solution.trace.comparing(solution.candidate)
    samples = compared.samples if compared else [solution.candidate]
    with RunDirectory(tmp_path / "run", {}) as run:
        run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "run").traces()
    found = candidates_of(row, spans)
    assert [each.text for each in found] == [each.text for each in samples]
    assert [each.thought.strip() for each in found] == [each.thought.strip() for each in samples]
    assert {each.tokens for each in found} == {0}, "no request tells those of the whole"


async def test_of_a_thought_it_must_be_known_whose_it_is() -> None:
    """Two drafts of one text that were thought differently, below a strategy whose samples are no spans of its own."""
    row = SolutionRow(problem="p", answer="7", text="7", answers=("7", "8"), at="0")
    above = SpanRow(problem="p", path="0", name="Own", status="ok", compared=2, replies=("7", "8"))
    texts = [("7", "one way"), ("7", "another"), ("8", "a third")]
    drawn = [
        SpanRow(
            problem="p", path=f"0.{place}", name="Model", status="ok", completions=(Written(text, thought=thought),)
        )
        for place, (text, thought) in enumerate(texts)
    ]
    assert [each.thought for each in candidates_of(row, [above, *drawn])] == ["", "a third"]


async def test_a_revision_that_was_voted_on_is_shown_and_not_the_draft(tmp_path: Path) -> None:
    row, spans = await solved_rows(tmp_path / "run", "Refine(of=Vote(3), rounds=1)")
    assert row.at == "0.1"
    assert {each.text for each in candidates_of(row, spans)} == {
        written.text for span in spans if span.path.startswith("0.1.") for written in span.completions
    }


TEAM = {"a": Scripted("The answer is 7.", name="small"), "b": Scripted("So 7. The answer is 7.", name="org/big")}


WRITERS = {"The answer is 7.": "small", "So 7. The answer is 7.": "org/big"}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ('Vote(2, of=Panel((Model("a"), Model("b"))))', 2),
        ('Vote(4, of=Panel((Model("a"), Model("b"))))', 4),
        ('Chain(Ask("{question}", of=Model("a")), CoT(of=Model("b")))', 1),
        ('BestOf(2, of=Model("a"), by=Judge(of=Model("b")))', 0),
        ('Vote(2, of=Model("b"))', 0),
        ('Model("a")', 0),
    ],
)
async def test_where_several_models_wrote_each_candidate_names_its_own(tmp_path: Path, spec: str, named: int) -> None:
    with RunDirectory(tmp_path / "team", {}) as run:
        run.add(await solve(LAW, parse(spec), TEAM))
    ((row, spans),) = RunRows.read(tmp_path / "team").traces()
    told = [(each.model, each.text) for each in candidates_of(row, spans)]
    assert [model for model, _ in told if model] == [WRITERS[text] for _, text in told][:named]
    assert len([model for model, _ in told if model]) == named
