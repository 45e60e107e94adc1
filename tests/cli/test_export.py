import json
import os
from pathlib import Path

import pytest
from pyarrow import parquet

from metagen import InputError
from metagen.cli.commands import export_command
from tests.support.viewed import make_run


async def test_a_run_is_written_into_its_folder_and_what_has_no_row_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await make_run(tmp_path)
    for form, count in {"jsonl": 12, "parquet": 12, "sft": 2, "dpo": 2}.items():
        export_command(run, form)
        assert f"Wrote {count} rows to" in capsys.readouterr().out
    export_command(run, "sft", tmp_path / "own.jsonl", each=2, plain=True)
    said = capsys.readouterr()
    assert "Problems without a row: 1 of 3 (none of their whole replies is right)." in said.err
    rows = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert [row["completion"][-2:] for row in rows] == ["7.", "0.", "8."]
    export_command(run, "sft")
    with pytest.raises(InputError, match="is there already"):
        export_command(run, "sft", tmp_path / "own.jsonl")


async def test_problems_without_a_trace_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = await make_run(tmp_path)
    trace = run / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    trace.write_text("".join(line for line in lines if json.loads(line)["problem"] == "b"))
    export_command(run, "jsonl")
    said = capsys.readouterr()
    assert "Wrote 4 rows to" in said.out
    assert "Problems left out: 2 of 3 (no trace is written of them)." in said.err
    trace.unlink()
    export_command(run, "jsonl")
    assert "Problems left out: 3 of 3 (no trace is written of them)." in capsys.readouterr().err


async def test_a_folder_whose_name_is_no_utf_8_takes_a_table(tmp_path: Path) -> None:
    run = await make_run(tmp_path)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xff"))
    run.rename(odd)
    export_command(odd, "parquet")
    with (odd / "candidates.parquet").open("rb") as file:
        assert len(parquet.read_table(file)) == 12


async def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    run = await make_run(tmp_path)
    with pytest.raises(InputError, match="--to csv: there is no such form"):
        export_command(run, "csv")
    with pytest.raises(InputError, match="--each and --plain are for --to dpo and --to sft"):
        export_command(run, "jsonl", each=2)
    with pytest.raises(InputError, match=r"data\.pq: name a file that ends in \.parquet: the name says"):
        export_command(run, "parquet", tmp_path / "data.pq")
    with pytest.raises(InputError, match=r"data\.csv: rows are written as JSON Lines, or as Parquet in a file"):
        export_command(run, "jsonl", tmp_path / "data.csv")
    assert not (tmp_path / "data.pq").exists()
    with pytest.raises(InputError, match=r"has no run\.json"):
        export_command(tmp_path, "jsonl")
