"""Every kind of bad input through the command line: one line and exit code 2, or 1 where something was kept."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests import test_cli
from tests.test_cli import Command, contents

folder, metagen = test_cli.folder, test_cli.metagen

GOOD = b'{"id": "p1", "prompt": "What is 1 + 1?", "answer": 2}\n'


def in_parquet(**row: Any) -> bytes:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist([row]), sink)
    return bytes(sink.getvalue())


def packed(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(GOOD * 500)[:-9]


FILES: dict[str, tuple[bytes, str]] = {
    "cut.jsonl.gz": (packed(gzip.compress), "cannot be read after line 500: Compressed file ended"),
    "cut.jsonl.bz2": (packed(bz2.compress), "cannot be read after line 500: Compressed file ended"),
    "cut.jsonl.xz": (packed(lzma.compress), "cannot be read after line 500: Compressed file ended"),
    "cut.jsonl.zst": (bytes(pyarrow.compress(GOOD * 500, codec="zstd"))[:-9], "cannot be read: "),
    "not.gz": (b"\x1f\x8b\x08 no", "cannot be read: "),
    "half.jsonl": (GOOD.decode().encode("utf-16")[:-1], "is not text: 'utf-16-le' codec"),
    "latin.jsonl": ('{"prompt": "Größe?"}'.encode("latin-1"), "line 1: is not UTF-8 text: save it as UTF-8"),
    "latin.csv": ("prompt\nGröße?\n".encode("latin-1"), "after row 0: is not UTF-8 text: save it as UTF-8"),
    "wide.csv": (b"prompt,answer\n1 + 1?,2,3\n", "row 1: has more cells than the header has names"),
    "names.csv": (b"1 + 1?,2\n2 + 2?,4\n", "row 1: there is no field 'prompt'"),
    "empty.tsv": (b"prompt\tanswer\n\t2\n", "row 1: field 'prompt' must be a text or a number, not null"),
    "book.xlsx": (b"PK\x03\x04rest", "is a ZIP archive, as .xlsx is too: unpack it"),
    "page.jsonl": (b"<!DOCTYPE html><html>", "is a web page: download the file itself"),
    "lfs.jsonl": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS: run `git lfs pull`"),
    "data.arrow": (b"ARROW1\x00\x00", "cannot be read as Arrow after row 0"),
    "inside.json": (
        b'{"data": [{"prompt": "?"}]}',
        "must hold a list of problems, not an object that has it in 'data'",
    ),
    "words.txt": (b"What is 1 + 1?\n", "line 1: is not JSON"),
    "list.jsonl": (b'[{"prompt": "?"}, 7]', "item 2: must be an object, not int"),
    "nan.jsonl": (b'{"prompt": NaN}\n', "line 1: field 'prompt' must be a text or a number, not null"),
    "bytes.parquet": (in_parquet(prompt="?", answer=b"\xff"), "row 1: field 'answer' must be a text or a number"),
    "list.parquet": (in_parquet(prompt=["?"]), "row 1: field 'prompt' must be a text or a number, not [\"?\"]"),
    "names.PARQUET": (in_parquet(promt="?"), "row 1: there is no field 'prompt'"),
    "cut.parquet": (in_parquet(prompt="?")[:-9], "cannot be read as Parquet after row 0"),
    "wide.jsonl": (
        json.dumps({f"f{n}": n for n in range(500)}).encode(),
        "there is 'f0', 'f1', 'f2', 'f3', 'f4', 'f5'",
    ),
    "talk.jsonl": (b'{"messages": []}', "line 1: field 'messages'"),
    "talks.jsonl": (b'{"messages": [{"role": "cat", "content": "?"}]}', "line 1: field 'messages'"),
}
COMMANDS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "solve": lambda file: ("solve", file, "-m", "Scripted:7"),
    "sample": lambda file: ("sample", file, "-m", "Scripted:7", "--n", "2", "--out", "new.jsonl"),
    "report": lambda file: ("report", "pool.jsonl", "--problems", file),
}


def refused(metagen: Command, folder: Path, *arguments: str) -> str:
    """The one line that a refused command says; nothing is written."""
    before = contents(folder)
    code, out, err = metagen(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("metagen: ")
    assert "Traceback" not in err
    assert contents(folder) == before
    return err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_line_and_exit_code_2(metagen: Command, folder: Path, command: str, name: str) -> None:
    data, said = FILES[name]
    (folder / name).write_bytes(data)
    err = refused(metagen, folder, *COMMANDS[command](name))
    assert name in err
    assert said in err
    assert len(err) < 500


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_refused_before_it_is_waited_for(metagen: Command, folder: Path, command: str) -> None:
    os.mkfifo(folder / "pipe")
    code, _, err = metagen(*COMMANDS[command]("pipe"))
    assert (code, err.count("\n")) == (2, 1)
    assert "pipe: is a pipe, and it is read more than once: save it as a file first" in err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_before_it_is_read(metagen: Command, folder: Path, command: str, device: str) -> None:
    assert f"{device}: is a device, and it is read more" in refused(metagen, folder, *COMMANDS[command](device))


OWN = """
from metagen import BackendGone, GenerationError, Score, Scripted


def plain(problem, candidates, run):
    return [1.0 for _ in candidates]


async def texts(problem, candidates, run):
    return ["good" for _ in candidates]


async def short(problem, candidates, run):
    return [1.0]


async def raising(problem, candidates, run):
    raise ValueError("on two\\nlines")


async def nan(problem, candidates, run):
    return [float("nan") for _ in candidates]


async def text(problem, run):
    return "no candidate"


def sync(problem, run):
    return None


def refusing():
    def script(request):
        raise GenerationError("refused on\\ntwo lines")
    return Scripted(script)


def gone():
    def script(request):
        if request.problem == "p3":
            raise BackendGone("nobody answers")
        return "The answer is 2."
    return Scripted(script)
"""
SETTINGS = {
    "Vote(2, by=plain)": "is not async: write async def plain(problem, candidates, run)",
    "BestOf(2, by=Mean(plain))": "is not async",
    "Vote(2, by=text)": "is not a verifier",
    "Vote(2, of=plain)": "is not a strategy, which is an async function of (problem, run)",
    "sync": "is not async: write async def",
    "Vote(2, of=sync)": "is not async: write async def",
    "text": "text returned str, not a Candidate: return what `await run.ask(...)` gave",
    "Vote(2, of=text)": "text returned str, not a Candidate",
    "Vote(2, by=7)": "is not a verifier",
    'Vote("2")': "n must be a whole number",
    "Within(tokens=0)": "Within",
}


@pytest.mark.parametrize("spec", SETTINGS)
def test_a_setting_that_cannot_work_is_one_line_and_exit_code_2(metagen: Command, folder: Path, spec: str) -> None:
    (folder / "bad.py").write_text(OWN)
    code, out, err = metagen(
        "solve", "problems.jsonl", "--load", "bad.py", "-m", "Scripted:7", "-s", spec, "--out", "run"
    )
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert SETTINGS[spec] in err
    assert not (folder / "run/solutions.jsonl").exists() or not (folder / "run/solutions.jsonl").read_bytes()


KEPT = {
    "Vote(2, by=texts)": ("Scripted:7", "4 of them for this reason: VerifierError: texts gave 'good'"),
    "Vote(2, by=short)": ("Scripted:7", "VerifierError: short gave 1 verdict for 2 candidates"),
    "Vote(2, by=raising)": ("Scripted:7", "VerifierError: raising raised ValueError: on two lines"),
    "Vote(2, by=nan)": ("Scripted:7", "VerifierError: nan gave nan"),
    "Vote(2)": ("refusing", "GenerationError: refused on two lines"),
    "Vote(1)": ("gone", "nobody answers. What is solved is kept: run the same command to continue"),
}


@pytest.mark.parametrize("spec", KEPT)
def test_what_fails_on_the_way_is_one_line_and_exit_code_1_and_the_rest_is_kept(
    metagen: Command, folder: Path, spec: str
) -> None:
    (folder / "bad.py").write_text(OWN)
    model, said = KEPT[spec]
    code, _, err = metagen(
        "solve", "problems.jsonl", "--load", "bad.py", "-m", model, "-s", spec, "--out", "run", "--concurrency", "1"
    )
    assert (code, err.count("\n")) == (1, 1), err
    assert said in err
    kept = (folder / "run/solutions.jsonl").read_text().splitlines()
    assert len(kept) == (2 if model == "gone" else 4)


@pytest.mark.parametrize(
    ("name", "data", "arguments", "said"),
    [
        (
            "pool.jsonl.gz",
            gzip.compress(GOOD, mtime=0),
            ("solve", "problems.jsonl", "-m", "pool.jsonl.gz"),
            "is packed: unpack",
        ),
        (
            "pool.jsonl.xz",
            lzma.compress(GOOD),
            ("report", "pool.jsonl.xz", "--problems", "problems.jsonl"),
            "unpack it",
        ),
        ("plan.toml", b"\xff\xfe", ("sweep", "plan.toml"), "plan.toml: is not UTF-8 text"),
        ("plan.toml", b'\xef\xbb\xbfproblem = ["p"]', ("sweep", "plan.toml"), "plan.toml: field 'problem"),
        ("own.jsonl", b"{}", ("solve", "problems.jsonl", "--load", "own.jsonl"), "there is no such file of Python"),
        ("half.py", b"\x00", ("solve", "problems.jsonl", "--load", "half.py"), "--load half.py: "),
    ],
)
def test_other_files_are_one_line_too(
    metagen: Command, folder: Path, name: str, data: bytes, arguments: tuple[str, ...], said: str
) -> None:
    (folder / name).write_bytes(data)
    assert said in refused(metagen, folder, *arguments)
