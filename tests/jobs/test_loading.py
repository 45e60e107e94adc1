"""Names from a user's own files."""

import py_compile
import sys
from pathlib import Path

import pytest

from metagen.jobs.loading import load_names

SOURCE = "def double(x):\n    return 2 * x\n"


def test_a_file_leaves_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "mine.py").write_text(SOURCE)
    assert load_names(tmp_path / "mine.py")["double"](2) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_compiled_copy_that_a_full_disk_has_cut_is_not_read(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(SOURCE)
    compiled = Path(py_compile.compile(str(mine), doraise=True) or "")
    compiled.write_bytes(compiled.read_bytes()[:40])
    assert load_names(mine)["double"](2) == 4
