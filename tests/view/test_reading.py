import json
from pathlib import Path
from typing import Any

import pytest

from metagen import InputError
from metagen.view.candidates import candidates_of
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


TEXT = "It is odd.\nThe answer is 7."


def changed(folder: Path, name: str, **fields: Any) -> RunRows:
    """The run once fields of all lines of a file have these values; `None` takes a field out."""
    path = folder / name
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row |= {field: value for field, value in fields.items() if field in row}
        for field in [field for field, value in fields.items() if value is None]:
            row.pop(field, None)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunRows.read(folder)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("groups", [0], "field 'groups' has 1 values, and field 'answers' 4"),
        ("verdicts", [True] * 5, "field 'verdicts' has 5 values, and field 'answers' 4"),
        ("seconds", 1e300, "field 'seconds' must be a number"),
    ],
)
async def test_a_line_whose_parts_do_not_fit_together_is_named(
    tmp_path: Path, field: str, value: Any, said: str
) -> None:
    folder = await make_run(tmp_path)
    with pytest.raises(InputError, match=f"solutions.jsonl, line 1: .*{said}"):
        changed(folder, "solutions.jsonl", **{field: value})


async def test_votes_are_counted_by_the_answers_where_no_groups_are_written(tmp_path: Path) -> None:
    run = changed(await make_run(tmp_path), "solutions.jsonl", groups=None)
    assert [votes(row) for row in run.rows.values()] == [1, 1, 1]


@pytest.mark.parametrize("replies", [[TEXT], [TEXT] * 9, None])
async def test_a_trace_with_too_few_or_too_many_texts_is_shown_as_far_as_it_goes(
    tmp_path: Path, replies: list[str] | None
) -> None:
    run = changed(await make_run(tmp_path, "refine"), "trace.jsonl", replies=replies)
    for row, spans in run.traces():
        assert len(candidates_of(row, spans)) <= len(row.answers)
