"""metagen imports, and solves, where what only Linux or only POSIX systems have is missing."""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from errno import ENOLCK
from pathlib import Path

import pytest

from metagen import Request, Scripted, solve_all
from metagen.disk.lines import Appender
from metagen.disk.runs import RunDirectory
from metagen.errors import InputError
from metagen.system import NEW_OBJECTS, collecting_seldom, lock, page_size, processors, speedup
from tests.test_architecture import MODULES

BARE = """
import asyncio, builtins, os, sys
from importlib import import_module

MISSING = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "posix"}
real = builtins.__import__

def bare(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if name.partition(".")[0] in MISSING and importer.startswith("metagen"):
        raise ImportError(f"{importer} imports {name}, which this system lacks")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = bare
for name in ("sched_getaffinity", "pidfd_open", "memfd_create"):
    vars(os).pop(name, None)
"""
"""A system without what only Linux or only POSIX systems have, as far as metagen sees."""

PROGRAMS = {"__main__", "answers.checker_program"}
"""They are run, and imported by nobody."""

OF_TORCH = ("train", "backends.rewards.scorer")
"""They import torch at once."""

OF_OTHERS = ("adapters.dspy", "adapters.inspect_ai", "adapters.lm_eval")
"""They import the package that they are for at once, and are tried beside it."""

SOLVE = """
for name in ("fork", "killpg", "setsid", "geteuid", "sysconf"):
    vars(os).pop(name, None)
from metagen import Scripted, Vote, solve
print(asyncio.run(solve("What is 3 + 4?", Vote(3), Scripted("The answer is 7."))).answer)
"""

KEEP = """
import sys
from pathlib import Path
from metagen.disk.lines import Appender
from metagen.errors import InputError
try:
    Appender(Path(sys.argv[1]))
except InputError as error:
    print(error)
"""


def run_bare(program: str, *arguments: str) -> str:
    call = [sys.executable, "-W", "error::ResourceWarning", "-c", BARE + program, *arguments]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ResourceWarning" not in done.stderr
    return done.stdout


def modules(*, torch: bool) -> list[str]:
    ours = (name for name in MODULES.keys() - PROGRAMS if not name.startswith(OF_OTHERS))
    names = sorted(name for name in ours if name.startswith(OF_TORCH) == torch)
    return [f"metagen.{name}".removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("torch", [False, True])
def test_every_module_imports_on_a_bare_system(torch: bool) -> None:
    if torch:
        pytest.importorskip("torch", reason="needs torch")
        pytest.importorskip("transformers", reason="needs transformers")
    run_bare(f"for name in {modules(torch=torch)!r}: import_module(name)")


def test_problems_are_solved_on_a_bare_system() -> None:
    assert run_bare(SOLVE) == "7\n"


def test_what_cannot_be_locked_is_refused_by_name(tmp_path: Path) -> None:
    said = run_bare(KEEP, str(tmp_path / "pool.jsonl"))
    assert said == f"{tmp_path}/pool.jsonl: this system cannot lock files: keep runs and pools on Linux or macOS\n"


def test_a_locked_file_is_claimed_until_it_is_closed(tmp_path: Path) -> None:
    first, second = (tmp_path / "file").open("w"), (tmp_path / "file").open("w")
    with second:
        with first:
            lock(first, "file")
            with pytest.raises(OSError, match="unavailable"):
                lock(second, "file")
        lock(second, "file")


def test_processors_and_pages_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processors() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert processors() == 1
    assert page_size() % 4096 == 0


def test_two_threads_are_tried_beside_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speedup() > 0
    begun_and_ended = (each for seconds in (9, 1, 1, 1, 2) for each in (0, seconds))  # the first starts the threads
    monkeypatch.setattr("time.perf_counter", begun_and_ended.__next__)
    assert speedup() == 2  # of 2 and of 1: a moment's work of others is no load


@pytest.mark.parametrize("open_it", [Appender, lambda folder: RunDirectory(folder, {}).__enter__()])
def test_a_file_system_without_locks_is_not_called_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_it: Callable[[Path], object]
) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="cannot be locked: No locks available: keep runs and pools on a file system"):
        open_it(tmp_path / "new")


@pytest.fixture
def usual() -> Iterator[None]:
    """The threshold of Python's garbage collector before version 3.13."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("usual")
def test_the_garbage_collector_comes_seldom_for_a_while() -> None:
    with collecting_seldom(), collecting_seldom():
        assert gc.get_threshold() == (NEW_OBJECTS, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("first", [0, NEW_OBJECTS + 1])
def test_a_garbage_collector_that_comes_never_or_more_seldom_is_left_alone(first: int) -> None:
    gc.set_threshold(first, 5, 6)
    with collecting_seldom():
        assert gc.get_threshold() == (first, 5, 6)
    assert gc.get_threshold() == (first, 5, 6)


@pytest.mark.usefixtures("usual")
def test_a_threshold_that_is_set_meanwhile_stays() -> None:
    with collecting_seldom():
        gc.set_threshold(800, 10, 10)
    assert gc.get_threshold() == (800, 10, 10)


@pytest.mark.usefixtures("usual")
async def test_solving_is_such_a_while() -> None:
    found = []

    def script(_: Request) -> str:
        found.append(gc.get_threshold()[0])
        return "The answer is 7."

    assert [each.answer async for each in solve_all(["What is 3 + 4?"], model=Scripted(script))] == ["7"]
    assert found == [NEW_OBJECTS]
    assert gc.get_threshold()[0] == 700
