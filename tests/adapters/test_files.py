import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from metagen import InputError
from metagen.adapters import files
from metagen.adapters.files import check_place, write_rows
from metagen.adapters.rows import Training, candidate_rows, pair_rows
from metagen.view.reading import RunRows
from tests.support.viewed import make_run


async def made(folder: Path) -> list[Any]:
    return list(RunRows.read(await make_run(folder, "best")).traces())


async def test_parquet_holds_what_json_lines_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART", 2)
    solved = await made(tmp_path)
    rows = [row for each in solved for row in candidate_rows(each)]
    assert write_rows(rows, tmp_path / "rows.parquet") == write_rows(rows, tmp_path / "rows.jsonl") == len(rows)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == lines == rows
    pairs = [row for each in solved for row in pair_rows(each, Training())]
    write_rows(pairs, tmp_path / "pairs.parquet")
    turn = parquet.read_table(tmp_path / "pairs.parquet").to_pylist()[0]["chosen"][0]
    assert turn == pairs[0]["chosen"][0] | {"reasoning_content": None}


def test_half_of_a_surrogate_pair_is_written_as_an_escape(tmp_path: Path) -> None:
    write_rows([{"problem": "a", "text": "It is \ud83d."}], tmp_path / "rows.parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == [{"problem": "a", "text": r"It is \ud83d."}]


def test_what_a_table_would_lose_is_refused(tmp_path: Path) -> None:
    rows = [{"problem": "a", "prompt": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}]
    with pytest.raises(InputError, match="problem 'a': a turn has 'tool_call_id', and no column of Parquet"):
        write_rows(rows, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []
    assert write_rows([], tmp_path / "none.parquet") == 0
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    check_place(tmp_path / "rows.jsonl", ours=True)
    with pytest.raises(InputError, match=r"rows\.jsonl: is there already"):
        check_place(tmp_path / "rows.jsonl", ours=False)
    with pytest.raises(InputError, match="there is no folder"):
        check_place(tmp_path / "none" / "rows.jsonl", ours=False)
    (tmp_path / "link").symlink_to(tmp_path / "rows.jsonl")
    with pytest.raises(InputError, match="it is a link"):
        check_place(tmp_path / "link", ours=True)


@pytest.mark.parametrize("ending", ["", ".jsonl", ".parquet"])
def test_a_name_that_is_too_long_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / ("x" * 300 + ending)
    check_place(path, ours=False)
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        write_rows([{"problem": "a"}], path)
    assert not list(tmp_path.iterdir())
