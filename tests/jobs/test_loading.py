"""Names from a user's own files."""

import py_compile
import sys
from pathlib import Path

import pytest

from metagen import Choice, CoT, InputError, Vote
from metagen.answers.spec import parse_answers
from metagen.jobs.loading import load_all, load_names
from metagen.jobs.opening import make_backend
from metagen.spec.parse import parse

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


def test_objects_that_a_file_makes_of_metagens_classes_are_names(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(
        "from metagen.answers.kinds import MATHS\n"
        "import metagen\n"
        "from metagen import Choice, CoT, Scripted, Vote, strategies\n"
        "mine, kind, _hidden = Vote(4, of=CoT()), Choice('AB'), Vote(2)\nmodel = Scripted('The answer is A.')\n"
    )
    second.write_text("from metagen.answers.kinds import MATHS\nfew = 3\n")
    names = load_all([first, second])
    assert names.keys() == {"MATHS", "mine", "kind", "model", "few"}
    assert parse("mine", names) == Vote(4, of=CoT())
    assert parse_answers("kind", names) == Choice("AB")
    backend = make_backend("model", {}, names, None, {})
    assert backend is names["model"]
    with pytest.raises(InputError, match="--model model:x: it is made in a loaded file: give it no argument"):
        make_backend("model:x", {}, names, None, {})


def test_a_name_that_two_files_define_is_refused(tmp_path: Path) -> None:
    for name, n in (("first", 2), ("second", 3)):
        (tmp_path / f"{name}.py").write_text(f"from metagen import Vote\nmine = Vote({n})\n")
    with pytest.raises(InputError, match=r"second\.py: mine is defined in another loaded file too: rename one"):
        load_all([tmp_path / "first.py", tmp_path / "second.py"])
