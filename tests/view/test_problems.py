from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from metagen import BestOf, Candidate, Price, Priced, Problem, Request, Run, Score, Scripted, Vote, solve_all
from metagen.cli.show import show_problem, show_problems
from metagen.disk.runs import RunDirectory
from metagen.strategies import Beam
from metagen.view.packing import encoded
from metagen.view.problems import judged_candidates, problem, summary
from metagen.view.reading import RunRows, is_missed
from tests.support.viewed import PROBLEMS, make_run, votes


async def test_the_table_has_a_value_for_each_problem_in_each_column(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path))
    whole = summary(run, {"a": (0, 0), "b": (0, 1)})
    assert (whole["name"], whole["about"]["strategy"], whole["places"]) == ("vote", "vote", [(0, 0), (0, 1), None])
    columns = whole["columns"]
    assert {len(values) for values in columns.values()} == {3}
    assert (columns["id"], columns["reference"], columns["correct"]) == (
        ["a", "b", "c"],
        ["7", "8", "9"],
        [True, False, False],
    )
    assert (columns["found"], columns["votes"], columns["hits"]) == ([False, True, False], [2, 2, 2], [2, 1, 0])
    assert columns["tags"] == [{"level": "1"}, {"level": "2"}, {"level": "2"}]


async def test_an_unfinished_problem_is_neither_right_nor_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunDirectory(tmp_path / "cut", {}) as run:
        async for solution in solve_all(PROBLEMS[2:], Vote(4), Scripted(votes)):
            run.add(replace(solution, unfinished=True))
    rows = RunRows.read(tmp_path / "cut")
    columns = summary(rows, {})["columns"]
    assert (columns["correct"], columns["judged"]) == ([None], [0])
    assert not any(map(is_missed, rows.rows.values()))
    show_problems(tmp_path / "cut", missed=False, found=False)
    table = capsys.readouterr().out
    assert "unfinished" in table
    assert "wrong" not in table
    show_problem(tmp_path / "cut", "c")
    assert "unfinished (reference: 9)" in capsys.readouterr().out


async def test_the_table_says_what_each_problem_cost_in_money(tmp_path: Path) -> None:
    priced = Priced(Scripted(votes), Price(1_000_000, 2_000_000))
    with RunDirectory(tmp_path / "priced", {}) as run:
        async for solution in solve_all(PROBLEMS[:1], Vote(4), priced):
            run.add(solution)
    columns = summary(RunRows.read(tmp_path / "priced"), {})["columns"]
    assert columns["money"] == [solution.usage.prompt_tokens + 2 * solution.usage.completion_tokens]


async def silent(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    run.note("out of order")
    return [None] * len(candidates)


async def test_verdicts_that_were_not_given_are_told_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunDirectory(tmp_path / "silent", {}) as run:
        async for solution in solve_all(PROBLEMS[:1], BestOf(4, by=silent), Scripted(votes)):
            run.add(solution)
    row, spans = next(RunRows.read(tmp_path / "silent").traces())
    whole = problem(row, spans)
    assert (whole["lost"], whole["why"], whole["unscored"]) == (0, "", "4 of 4 (silent: out of order)")
    show_problem(tmp_path / "silent", "a")
    assert "No verdict: 4 of 4 (silent: out of order)" in capsys.readouterr().out


async def test_a_problem_has_its_candidates_and_its_spans_as_they_are_written(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path, "beam"))
    row, spans = next(run.traces())
    whole = problem(row, spans)
    assert (whole["prompt"], whole["tree"][0].parent) == ("What is 3 + 4?", -1)
    assert {each.score for each in whole["candidates"]} == {0.25, 0.26}
    assert whole["spans"][0]["name"] == "solve"
    assert "verifying" not in whole["spans"][0]
    assert encoded(whole).startswith(b'{"id":"a"')


async def test_the_verdicts_on_the_candidates_outrank_those_of_searches_inside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search inside likes the reply best that the outer verifier likes least."""

    def script(request: Request) -> str:
        return f"The answer is {request.draw + (request.seed or 0) % 7}."

    async def first(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(float(each.text[-2])) for each in candidates]

    async def last(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [None if each.text[-2] == "3" else Score(-float(each.text[-2])) for each in candidates]

    with RunDirectory(tmp_path / "both", {}) as run:
        strategy = BestOf(9, of=Beam(1, 1, by=first), by=last)
        async for solution in solve_all([Problem("a", "?")], strategy, Scripted(script), seed=3):
            run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "both").traces()
    found = {each.text[-2]: each.score for each in judged_candidates(row, spans)}
    assert len(found) > 3
    assert found == {digit: None if digit == "3" else -float(digit) for digit in found}
    show_problem(tmp_path / "both", "a")
    assert f"score -{row.text[-2]}" in capsys.readouterr().out
