from collections.abc import Sequence
from pathlib import Path

import pytest

from metagen import Beam, Candidate, Problem, Run, solve
from metagen.disk.runs import RunDirectory
from metagen.view.reading import RunRows
from metagen.view.tree import tree_of
from tests.strategies.test_thinking import Thinker
from tests.support.viewed import PROBLEMS, make_run


async def test_a_search_is_a_tree_again(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path, "beam", PROBLEMS[:1]))
    ((row, spans),) = run.traces()
    nodes = tree_of(spans, row.text)
    assert [(node.parent, node.text, node.count, node.value, node.state) for node in nodes[:3]] == [
        (-1, "", 1, None, "drawn"),
        (0, "We add.\n", 4, 0.25, "drawn"),
        (1, "The sum is clear.\n", 2, 0.25, "drawn"),
    ]
    assert {node.text for node in nodes if node.state == "finished"} >= {"The answer is 7."}
    way = [node.text for node in nodes if node.chosen]
    assert "".join(way) == row.text
    assert len(way) == 4, "the root and three steps"


async def test_where_nothing_was_searched_there_is_no_tree(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path, "vote", PROBLEMS[:1]))
    ((row, spans),) = run.traces()
    assert tree_of(spans, row.text) == []


async def amount(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
    return [len(each.thought + each.text) / 1000 for each in candidates]


@pytest.mark.parametrize("step", [16, "\n"])
async def test_steps_that_are_thoughts_are_on_the_way_to_the_answer(tmp_path: Path, step: str | int) -> None:
    solution = await solve(Problem("p", "?"), Beam(2, 2, by=amount, step=step), Thinker(30), seed=1)
    with RunDirectory(tmp_path / "run", {}) as run:
        run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "run").traces()
    way = [node for node in tree_of(spans, row.text) if node.chosen]
    assert solution.candidate
    assert "".join(node.text for node in way) == solution.text
    assert "".join(node.thought for node in way) == solution.candidate.thought


async def test_replies_that_say_the_same_after_other_thoughts_are_nodes_of_their_own(tmp_path: Path) -> None:
    solution = await solve(Problem("p", "?"), Beam(2, 1, by=amount), Thinker(30, 10), seed=1)
    with RunDirectory(tmp_path / "run", {}) as run:
        run.add(solution)
    ((row, spans),) = RunRows.read(tmp_path / "run").traces()
    root, *replies = tree_of(spans, row.text)
    assert [(each.text, len(each.thought), each.chosen) for each in replies] == [
        ("The answer is a.", 30, True),
        ("The answer is a.", 10, False),
    ]
    assert root.chosen
