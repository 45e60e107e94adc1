from pathlib import Path

from metagen.view.reading import RunRows, is_found, is_missed, votes
from tests.support.viewed import make_run


async def test_a_run_says_what_was_missed_and_found(tmp_path: Path) -> None:
    run = RunRows.read(await make_run(tmp_path))
    assert run.name == "vote"
    assert [(is_missed(row), is_found(row), votes(row)) for row in run.rows.values()] == [
        (False, False, 2),
        (True, True, 2),
        (True, False, 2),
    ]
    assert [row.problem for row, _ in run.traces({"c"})] == ["c"]


async def test_a_run_is_read_while_its_last_lines_are_being_written(tmp_path: Path) -> None:
    folder = await make_run(tmp_path)
    for name in ("trace.jsonl", "solutions.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"problem": "d", "pa')
    assert [row.problem for row, _ in RunRows.read(folder).traces()] == ["a", "b", "c"]
