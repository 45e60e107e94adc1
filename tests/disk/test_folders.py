import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from metagen import InputError
from metagen.disk import sources, streams
from metagen.disk.folders import find_files, would_find
from metagen.disk.problems import ProblemFile
from metagen.disk.sources import read_source


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"prompt": "?"}\n')
    return folder


def found(path: Path, split: str = "") -> list[str]:
    return [file.name for file in find_files(path, split)]


def stream(path: Path, rows: list[dict[str, Any]], *, whole: bool = False) -> None:
    """Rows in one of Arrow's forms: the whole file, or the stream."""
    table = pyarrow.Table.from_pylist(rows)
    make = pyarrow.ipc.new_file if whole else pyarrow.ipc.new_stream
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize(
    ("names", "split", "files"),
    [
        (["rows.jsonl"], "", ["rows.jsonl"]),
        (["README.md", ".cache/a.jsonl", "data/test-00000-of-00001.jsonl"], "", ["test-00000-of-00001.jsonl"]),
        (["train.csv", "test.csv"], "test", ["test.csv"]),
        (["train.csv", "dev.csv.gz"], "validation", ["dev.csv.gz"]),
        (["train/a.jsonl", "train/b.jsonl", "test/c.jsonl"], "train", ["a.jsonl", "b.jsonl"]),
        (["data/train_sft-00000-of-00001.jsonl", "data/test_sft-00000-of-00001.jsonl"], "test_sft",
         ["test_sft-00000-of-00001.jsonl"]),
        (["my_eval.jsonl", "my_training.jsonl"], "eval", ["my_eval.jsonl"]),
    ],
)  # fmt: skip
def test_names_say_which_split_a_file_is_of(tmp_path: Path, names: list[str], split: str, files: list[str]) -> None:
    assert found(made(tmp_path, *names), split) == files


@pytest.mark.parametrize(
    ("names", "split", "said"),
    [
        (["train.csv", "test.csv"], "", "has several splits: name one as the split (--split): test, train"),
        (["train.csv", "test.csv"], "gold", "has no split 'gold': it has test, train"),
        (["easy/test.csv", "hard/test.csv"], "test", "holds this split in several folders: name one of"),
        (["notes.txt"], "", "is a folder without JSON Lines, CSV, TSV, Parquet or Arrow"),
    ],
)
def test_an_open_choice_is_refused(tmp_path: Path, names: list[str], split: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        find_files(made(tmp_path, *names), split)
    assert str(error.value).startswith(f"{tmp_path}: {said}")


def test_a_pattern_takes_files_in_their_order_and_names_their_problems(tmp_path: Path) -> None:
    made(tmp_path, "b/rows.jsonl", "a/rows.jsonl", "a/rows.txt")
    assert [problem.id for problem in ProblemFile(tmp_path / "*/*.jsonl")] == ["a/rows.jsonl:1", "b/rows.jsonl:1"]
    (tmp_path / "b/rows.jsonl").write_text('{"prompt": "?"}\n{"question": 7, "prompt": ""}\n')
    with pytest.raises(InputError, match=r"jsonl, b/rows\.jsonl, line 2: field 'prompt' is empty"):
        ProblemFile(tmp_path / "*/*.jsonl").check()
    with pytest.raises(InputError, match=r"\*\.csv: no file matches"):
        find_files(tmp_path / "*.csv")
    with pytest.raises(InputError, match="is one file, and --split is for the folder of a dataset"):
        find_files(tmp_path / "a/rows.jsonl", "test")


@pytest.mark.parametrize("whole", [False, True])
def test_arrow_is_read_row_by_row(tmp_path: Path, whole: bool) -> None:
    rows = [{"prompt": f"{number}?", "answer": number} for number in range(5)]
    stream(tmp_path / "rows.arrow", rows, whole=whole)
    assert [row for _, row in read_source(tmp_path / "rows.arrow")] == rows
    data = (tmp_path / "rows.arrow").read_bytes()
    (tmp_path / "rows.arrow").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"rows\.arrow: cannot be read as Arrow after row \d+"):
        list(read_source(tmp_path / "rows.arrow"))


def test_what_datasets_saves_is_read_in_the_order_of_its_shards(tmp_path: Path) -> None:
    test = tmp_path / "test"
    test.mkdir()
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (test / "state.json").write_text(json.dumps({"_data_files": [{"filename": "1.arrow"}, {"filename": "0.arrow"}]}))
    for name in ("0", "1"):
        stream(test / f"{name}.arrow", [{"prompt": f"{name}?"}])
    assert [problem.prompt for problem in ProblemFile(tmp_path, split="test")] == ["1?", "0?"]
    assert [problem.id for problem in ProblemFile(test)] == ["1.arrow:1", "0.arrow:1"]
    with pytest.raises(InputError, match=r"name one as the split \(--split\): train, test"):
        find_files(tmp_path)
    (test / "state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    with pytest.raises(InputError, match=r"state\.json: field '_data_files': '\.\./\.\./secret\.arrow' is no name"):
        find_files(test)


def test_a_small_packed_file_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST", 1000)
    monkeypatch.setattr(sources, "MOST", 3000)
    for text in (b"x" * 2000, "x".encode("utf-16") * 2000):
        (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(text))
        with pytest.raises(InputError, match=r"is packed and holds a line of more than"):
            list(read_source(tmp_path / "bomb.jsonl.gz"))
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b"[" + b"7,\n" * 2000))
    with pytest.raises(InputError, match=r"is a JSON file of more than"):
        list(read_source(tmp_path / "bomb.json.gz"))


def test_parquet_in_a_folder_is_found(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"prompt": ["?"]}), tmp_path / "test-00000-of-00001.parquet")
    assert [problem.id for problem in ProblemFile(tmp_path)] == ["1"]


def test_what_runs_and_sweeps_write_is_no_problem(tmp_path: Path) -> None:
    made(tmp_path, "train.jsonl", "run/run.json", "run/solutions.jsonl")
    made(tmp_path, "plan/one/run.json", "plan/one/solutions.jsonl", "plan/sweep.json", "plan/pools/a.jsonl")
    assert found(tmp_path / "*.jsonl") == ["train.jsonl"]
    assert found(tmp_path) == ["train.jsonl"]
    assert found(tmp_path / "**" / "*.json*") == ["train.jsonl"]
    with pytest.raises(InputError, match=r"no file matches \(files of runs and sweeps do not count\)"):
        found(tmp_path / "run" / "*.jsonl")
    assert found(tmp_path / "run" / "solutions.jsonl") == ["solutions.jsonl"]


def test_a_dataset_may_have_files_of_the_names_of_runs(tmp_path: Path) -> None:
    made(tmp_path, "run.json", "a.jsonl", "pools/b.jsonl", "sweep.jsonl")
    assert found(tmp_path / "*.jsonl") == ["a.jsonl", "sweep.jsonl"]
    assert found(tmp_path / "pools" / "*.jsonl") == ["b.jsonl"]


def test_runs_are_looked_for_once_in_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, *(f"pools/{n}.jsonl" for n in range(9)), "one/a.jsonl")
    asked: list[Path] = []
    monkeypatch.setattr("metagen.disk.folders._has_runs", asked.append)
    assert len(found(tmp_path / "pools" / "*.jsonl")) == 9
    assert asked == [tmp_path]


@pytest.mark.parametrize(
    ("problems", "file", "would"),
    [
        ("a.jsonl", "a.jsonl", True),
        ("a.jsonl", "b.jsonl", False),
        (".", "pool.jsonl", True),
        ("data", "data/deep/pool.jsonl", True),
        ("data", "data/.hidden/pool.jsonl", False),
        ("data", "pool.jsonl", False),
        ("*.jsonl", "pool.jsonl", True),
        ("*.jsonl", "elsewhere/pool.jsonl", False),
        ("**/*.jsonl", "pool.jsonl", True),
        ("**/*.jsonl", "data/deep/pool.jsonl", True),
        ("**/*.jsonl", "data/deep/pool.csv", False),
        ("data/*.csv", "data/pool.jsonl", False),
        ("data/[pq]*", "data/../data/pool.jsonl", True),
    ],
)
def test_a_file_that_is_not_there_yet_is_known_to_be_among_the_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: str, file: str, would: bool
) -> None:
    made(tmp_path, "a.jsonl", "data/b.jsonl")
    monkeypatch.chdir(tmp_path)
    assert would_find(Path(problems), Path(file)) == would
    assert would_find(tmp_path / problems, tmp_path / file) == would


def test_a_pattern_is_taken_in_the_folder_where_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made(tmp_path, "part[1]/a.jsonl") / "part[1]")
    assert would_find(Path("*.jsonl"), Path("pool.jsonl"))


def test_the_problems_are_those_of_the_files_that_were_checked(tmp_path: Path) -> None:
    problems = ProblemFile(made(tmp_path, "a.jsonl") / "*.jsonl")
    problems.check()
    made(tmp_path, "b.jsonl")
    assert len(list(problems.lacking(set()))) == 1
    assert len(list(ProblemFile(tmp_path / "*.jsonl"))) == 2
