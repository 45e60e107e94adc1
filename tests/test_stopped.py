"""A command that is stopped by a signal, or by a disk that takes no more, ends in one line and leaves whole files."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import test_cli
from tests.support.timing import block_until
from tests.test_cli import Command

metagen = test_cli.metagen

MODELS = """
import asyncio
from pathlib import Path
from metagen import Scripted

def slow():
    asked = []
    async def script(request):
        asked.append(request)
        while len(asked) > 100 and (len(asked) > 200 or not Path("go").exists()):
            await asyncio.sleep(0)  # until it is told to go, and then until it is stopped
        return "The answer is 7."
    return Scripted(script)

def fast():
    return Scripted("The answer is 7.")
"""
COUNT = 1000
KEPT = "What is solved is kept: run the same command to continue\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = ({"id": f"p{n}", "prompt": f"What is {n} - {n - 7}?", "answer": 7} for n in range(COUNT))
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


REPORT = ("report", "pool.jsonl", "--problems", "problems.jsonl", "--out", "out")


def arguments(command: str, model: str) -> list[str]:
    rest = ["-s", "Vote(2)", "--out", "run"] if command == "solve" else ["--n", "2", "--out", "pool.jsonl"]
    return [command, "problems.jsonl", "--load", "models.py", "--model", model, *rest]


def call(command: str, model: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "metagen", *arguments(command, model), *more]


def rows(path: Path) -> list[dict[str, object]]:
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("command", "file", "number", "code"),
    [
        ("solve", "run/solutions.jsonl", signal.SIGTERM, 143),
        ("solve", "run/solutions.jsonl", signal.SIGHUP, 129),
        ("solve", "run/solutions.jsonl", signal.SIGINT, 130),
        ("sample", "pool.jsonl", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_it_as_ctrl_c_does(folder: Path, command: str, file: str, number: int, code: int) -> None:
    path = folder / file
    with subprocess.Popen(
        call(command, "slow", "--concurrency", "8"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        block_until(lambda: path.exists() and path.stat().st_size > 5000)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"")
    assert err.decode() == f"metagen: interrupted. {KEPT}"
    assert 0 < len(rows(path)) < COUNT
    assert sorted(each.name for each in path.parent.iterdir() if each.suffix == ".torn") == []


def test_a_signal_that_was_ignored_stays_so(folder: Path) -> None:
    """As under `nohup`, and in the background of a script."""
    path = folder / "run" / "solutions.jsonl"
    command = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *call("solve", "slow", "--concurrency", "8")]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        block_until(lambda: path.exists() and path.stat().st_size > 5000)
        process.send_signal(signal.SIGHUP)
        before = path.stat().st_size
        (folder / "go").touch()
        block_until(lambda: path.stat().st_size > before)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.decode() == f"metagen: interrupted. {KEPT}"


Limited = Callable[[int], Callable[[], None]]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Limited:
    """Lets no file of another process grow beyond so many bytes, as a disk that is full.

    That process keeps no compiled modules: they would be cut off, for all that import them later.
    """
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return lambda size: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("command", "file"), [("solve", "run/trace.jsonl"), ("sample", "pool.jsonl")])
@pytest.mark.parametrize("size", [300, 100_000])
def test_a_full_disk_is_one_line_and_exit_code_1(
    folder: Path, command: str, file: str, size: int, metagen: Command, limited: Limited
) -> None:
    done = subprocess.run(
        call(command, "fast"), cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limited(size)
    )
    assert (done.returncode, done.stdout) == (1, "")
    said = "run/run.json" if command == "solve" and size == 300 else file
    assert done.stderr == f"metagen: {said}: the disk takes no more: File too large. {KEPT}"
    kept = rows(folder / file) if (folder / file).exists() else []
    assert bool(kept) == (size > 300 or command == "sample")
    assert metagen(*arguments(command, "fast")).code == 0
    assert len(rows(folder / file)) == {"solve": 3 * COUNT, "sample": 2 * COUNT}[command]


def test_a_report_that_does_not_fit_leaves_the_one_that_was_there(
    folder: Path, metagen: Command, limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metagen.analysis.plots.available", lambda: False)
    assert metagen(*arguments("sample", "fast")).code == metagen(*REPORT).code == 0
    report = [sys.executable, "-m", "metagen", *REPORT]
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    done = subprocess.run(report, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limited(100))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("metagen: out/table.md: the disk takes no more: File too large")
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_output_that_nobody_takes_is_one_line(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            call("solve", "fast"), cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "metagen: the output cannot be written: No space left on device\n"
    assert len(rows(folder / "run" / "solutions.jsonl")) == COUNT


def test_a_text_that_no_output_can_hold_is_printed_as_an_escape(folder: Path, metagen: Command) -> None:
    row = {"id": "p", "prompt": "?", "answer": "7", "level": "\ud800"}
    (folder / "problems.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"id": "q"}) + "\n")
    assert metagen(*arguments("sample", "fast")).code == 0
    done = subprocess.run(
        [sys.executable, "-m", "metagen", *REPORT], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\ud800" in done.stdout
    assert "\\ud800" in (folder / "out" / "table.md").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_one_line(folder: Path) -> None:
    folder.chmod(0o555)
    done = subprocess.run(call("solve", "fast"), cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "metagen: run: cannot be a run's folder: Permission denied\n")


def mounted(place: Path, *options: str) -> bool:
    place.mkdir(exist_ok=True)
    return not subprocess.run(["mount", *options, str(place)], capture_output=True, check=False).returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("command", ["solve", "sample"])
def test_a_disk_of_its_own_that_is_full_or_read_only(folder: Path, command: str) -> None:
    disk = folder / "disk"
    if not mounted(disk, "-t", "tmpfs", "-o", "size=256k", "none"):
        pytest.skip("nothing can be mounted here")
    try:
        for name in ("problems.jsonl", "models.py"):
            (disk / name).symlink_to(folder / name)
        names = ("run/trace.jsonl", "run/solutions.jsonl") if command == "solve" else ("pool.jsonl",)
        file = disk / names[0]
        done = subprocess.run(call(command, "fast"), cwd=disk, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        full = "the disk takes no more: No space left on device."
        assert done.stderr in {f"metagen: {name}: {full} {KEPT}" for name in names}, "whichever needs a page first"
        before = rows(file)
        assert before
        assert mounted(disk, "-o", "remount,ro")
        done = subprocess.run(call(command, "fast"), cwd=disk, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f": the disk takes no more: Read-only file system. {KEPT}" in done.stderr
        assert done.stderr.count("\n") == 1
        assert rows(file) == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)
