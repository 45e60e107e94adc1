from pathlib import Path

import pytest

from metagen.execution import imports
from metagen.execution.bubblewrap import ENVIRONMENT
from metagen.execution.imports import is_importable
from metagen.execution.sandbox import CONFINED, Sandbox

UNSAFE = Sandbox(unsafe=True)


@pytest.mark.parametrize(
    "name", ["sys", "math", "os.path", "collections.abc", "xml.etree.ElementTree", "numpy", "numpy.testing", "pytest"]
)
def test_what_is_installed_is_found_without_being_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_places", None)
    assert is_importable(name, CONFINED)


@pytest.mark.parametrize("name", ["nonesuch", "os.nothing", "numpy.nothing", "antigravity.nothing", "nonesuch.sub"])
def test_what_is_nowhere_cannot_be_imported(name: str) -> None:
    assert not is_importable(name, CONFINED)
    assert not is_importable(name, UNSAFE)


def test_a_module_beside_the_program_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metagen_beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for sandbox in (CONFINED, UNSAFE, Sandbox(readable=(str(tmp_path),))):
        assert not is_importable("metagen_beside", sandbox)


def test_a_package_elsewhere_is_seen_where_its_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metagen_far").mkdir()
    made = "import sys\nprint('hello')\nsys.modules['metagen_far.made'] = sys.modules[__name__]\n"
    (tmp_path / "metagen_far/__init__.py").write_text(made)
    # as a package in development is found, by what is installed in its place
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    for name in ("metagen_far", "metagen_far.made"):
        assert not is_importable(name, CONFINED)
        assert is_importable(name, Sandbox(readable=(str(tmp_path),)))
        assert is_importable(name, UNSAFE)
    assert not is_importable("metagen_far.nothing", UNSAFE)
