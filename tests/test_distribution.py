"""The name under which installers know the package, and the sentence that says how to install an extra."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from metagen import distribution
from metagen.distribution import DISTRIBUTION, how_to_install

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OTHERS_PROGRAM = re.compile(r"""install ["']?metagen(?=["'`\[\s]|$)""")
"""A line that would install the program that PyPI calls metagen."""


def test_the_constant_is_the_name_of_the_distribution() -> None:
    assert PROJECT["name"] == DISTRIBUTION == "metagen-llm"
    assert PROJECT["scripts"] == {"metagen": "metagen.cli:main"}


def test_the_version_is_that_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_version", {"metagen-llm": "1.2.3", "metagen": "9"}.__getitem__)
    assert distribution.version() == "1.2.3"


def test_without_an_installation_the_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(distribution, "_version", missing)
    assert distribution.version() == "(metagen-llm is not installed)"


def test_code_names_every_extra_and_no_other() -> None:
    modules = [path.read_text() for path in (ROOT / "metagen").rglob("*.py")]
    named = {extra for text in modules for extra in re.findall(r"how_to_install\(['\"](\w+)['\"]\)", text)}
    assert named == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_the_sentence_is_one_line_for_a_clone_and_for_a_wheel() -> None:
    assert how_to_install("plot") == (
        'in a clone of metagen, run `pip install ".[plot]"`; '
        'with its wheel, run `pip install "metagen_llm-VERSION-py3-none-any.whl[plot]"`'
    )


@pytest.mark.parametrize("line", ["pip install metagen", "install metagen[vllm]", "pip install 'metagen[a,b]'"])
def test_the_pattern_knows_the_program_of_others(line: str) -> None:
    assert OTHERS_PROGRAM.search(line)


def test_nothing_says_to_install_the_program_of_others() -> None:
    """But for the one warning in docs/install.md."""
    kinds = ("*.md", "*.py", "*.toml", "*.yml")
    folders = ("metagen", "docs", "examples", "recipes", "benchmarks", ".github")
    pages = [path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)]
    found = [
        line
        for path in (*pages, *ROOT.glob("*.md"))
        for line in path.read_text().splitlines()
        if OTHERS_PROGRAM.search(line)
    ]
    assert found == ["Do not run `pip install metagen`: on PyPI, that is a program of another project."]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/pyproject.toml")), ids=lambda path: path.parent.name)
def test_examples_depend_on_the_distribution(path: Path) -> None:
    assert tomllib.loads(path.read_text())["project"]["dependencies"] == [DISTRIBUTION]


def test_the_walks_depend_on_the_distribution() -> None:
    walks = (ROOT / "CONTRIBUTING.md").read_text()
    assert re.findall(r"^dependencies = (.*)$", walks, re.MULTILINE) == [f'["{DISTRIBUTION}"]'] * 2
