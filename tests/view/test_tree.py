from pathlib import Path

from metagen.view.reading import RunRows
from metagen.view.tree import tree_of
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
