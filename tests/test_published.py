"""The page of published tables says what comes out of the recorded data."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
PAGE = (ROOT / "docs/published.md").read_text()
COMMANDS = [line.split()[2:] for line in PAGE.splitlines() if line.startswith("python benchmarks/studies/published.py")]


@pytest.fixture(scope="module")
def study() -> ModuleType:
    folder = ROOT / "benchmarks/studies"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("published", folder / "published.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(folder))
    return module


def test_every_table_is_on_the_page(study: ModuleType) -> None:
    assert [name for name, _ in COMMANDS] == list(study.TABLES)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs recorded data beside the project")
@pytest.mark.parametrize(("name", "data"), [each for each in COMMANDS if each[0] != "graders"], ids=lambda value: value)
def test_the_page_says_what_comes_out(study: ModuleType, name: str, data: str) -> None:
    """The cases of graders have a test of their own, in tests/verifiers/test_oracles.py."""
    section = PAGE.partition(f"published.py {name} ")[2].partition("\n## ")[0]
    rows = [f"| {' | '.join(figure)} |" for figure in study.TABLES[name](DATA / data.removeprefix("DATA/"))]
    assert [line for line in section.splitlines() if line.startswith("|")][2:] == rows
