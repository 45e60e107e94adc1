"""Verdicts on disk: they last, they serve several processes, and a broken file costs no verdict."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metagen.answers import checkers
from metagen.answers.checkers import Checker, Checkers
from metagen.answers.remembered import Remembered

ROOT = Path(__file__).parents[2]
KEEPS = """
import sys
from metagen.answers import remembered
remembered.WAIT = 60.0  # on a busy machine a row may take longer than a process waits for it
known = remembered.Remembered("verdicts.sqlite")
for number in range(200):
    known.keep(b"%d" % number, number % 3 == 0)
    known.keep(b"%s-%d" % (sys.argv[1].encode(), number), number % 2 == 0)
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("METAGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(name: str = "verdicts.sqlite") -> Remembered:
    known = Remembered(name)
    known.keep(b"right", True)
    known.keep(b"wrong", False)
    return known


def test_its_file_is_closed_when_nobody_has_it_any_more() -> None:
    known = kept()
    file = known._file
    assert file
    del known
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        file.execute("SELECT 1")


def test_verdicts_last_and_none_is_made_up() -> None:
    kept().close()
    known = Remembered("verdicts.sqlite")
    assert [known.find(question) for question in (b"right", b"wrong", b"new")] == [True, False, None]


def test_several_processes_keep_and_find() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", KEEPS, name], env=environment) for name in "abc"]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    known = Remembered("verdicts.sqlite")
    assert [known.find(b"%d" % number) for number in range(200)] == [number % 3 == 0 for number in range(200)]
    assert all(known.find(f"{name}-{n}".encode()) is (n % 2 == 0) for name in "abc" for n in range(200))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4200])


def overwritten(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def forged(path: Path) -> None:
    """A row whose verdict was swapped for another row's."""
    with sqlite3.connect(path) as file:
        file.execute("UPDATE verdicts SET seal = (SELECT max(seal) FROM verdicts)")
    file.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("broken", [cut, overwritten, a_folder])
def test_a_broken_file_gives_no_verdict(broken: Callable[[Path], None], folder: Path) -> None:
    kept().close()
    broken(folder / "verdicts.sqlite")
    known = Remembered("verdicts.sqlite")
    assert [known.find(question) for question in (b"right", b"wrong")] == [None, None]
    known.close()


def test_a_broken_file_is_replaced(folder: Path) -> None:
    folder.mkdir()
    overwritten(folder / "verdicts.sqlite")
    assert kept().find(b"right") is None
    assert kept().find(b"right") is True


def test_a_row_that_is_not_whole_does_not_count(folder: Path) -> None:
    kept().close()
    forged(folder / "verdicts.sqlite")
    known = Remembered("verdicts.sqlite")
    found = [known.find(question) for question in (b"right", b"wrong")]
    assert found in ([True, None], [None, False]), "one of them has its own seal"


def test_a_file_that_another_process_holds_gives_no_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept().close()
    monkeypatch.setattr("metagen.answers.remembered.WAIT", 0.0)
    with sqlite3.connect(folder / "verdicts.sqlite", isolation_level=None) as file:
        file.execute("BEGIN EXCLUSIVE")
        assert Remembered("verdicts.sqlite").find(b"right") is None
    file.close()


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("METAGEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert kept().find(b"right") is None


@pytest.mark.parametrize("verdict", [True, False])
def test_a_verdict_is_worked_out_by_one_process_for_all(verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checker, "check", lambda *_: verdict)
    assert Checkers(1).check("x+1", "1+x", 5.0) is verdict
    monkeypatch.setattr(Checker, "check", lambda *_: pytest.fail("asked twice"))
    assert Checkers(1).check("x+1", "1+x", 5.0) is verdict


@pytest.mark.parametrize(("answer", "seconds", "program"), [("1+y", 5.0, ""), ("1+x", 4.0, ""), ("1+x", 5.0, "#")])
def test_another_question_is_asked(
    answer: str, seconds: float, program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Checker, "check", lambda *_: True)
    assert Checkers(1).check("x+1", "1+x", 5.0) is True
    if program:
        other = tmp_path / "program.py"
        other.write_text(program)
        monkeypatch.setattr(checkers, "_SOURCE", other)
    monkeypatch.setattr(Checker, "check", lambda *_: False)
    assert Checkers(1).check("x+1", answer, seconds) is False


def test_a_new_version_of_a_package_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checker, "check", lambda *_: True)
    assert Checkers(1).check("x+1", "1+x", 5.0) is True
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: [])
    monkeypatch.setattr(Checker, "check", lambda *_: False)
    assert Checkers(1).check("x+1", "1+x", 5.0) is False


def test_no_verdict_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checker, "check", lambda *_: None)
    assert Checkers(1).check("x+1", "1+x", 5.0) is None
    monkeypatch.setattr(Checker, "check", lambda *_: True)
    assert Checkers(1).check("x+1", "1+x", 5.0) is True
