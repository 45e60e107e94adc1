"""The walks in CONTRIBUTING.md, followed to the letter; and what a part that ships with metagen touches."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^(?P<before>[^\n]*)\n\n(?P<fence>`{3,4})(?P<kind>\w+)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)
FOLDERS = ("metagen", "tests", "docs", "examples", "recipes")
FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml")


@dataclass(frozen=True)
class Walk:
    """What a section of CONTRIBUTING.md says to write, by path, and to call."""

    files: dict[str, str]
    commands: list[str]


def read_walk(title: str) -> Walk:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, f"there is no section {title!r}"
    files: dict[str, str] = {}
    commands: list[str] = []
    for found in BLOCK.finditer(section):
        if found["kind"] == "sh":
            commands += found["text"].splitlines()
        else:
            named = re.search(r"`([\w./]+)`:$", found["before"])
            assert named, f"{title}: a block comes after {found['before']!r}, which names no file"
            files[named[1]] = found["text"]
    assert files
    assert commands
    return Walk(files, commands)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the repository, without the weights of models."""
    for name in FOLDERS:
        copytree(ROOT / name, tmp_path / "tree" / name, ignore=ignore_patterns("*.safetensors", "__pycache__"))
    for name in FILES:
        copyfile(ROOT / name, tmp_path / "tree" / name)
    (tmp_path / "tree/.venv").symlink_to(sys.prefix)
    return tmp_path / "tree"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        if path.name == "__init__.py":
            path.write_text(extended(path.read_text(), text))
        elif path.exists():
            path.write_text(f"{path.read_text()}\n{text}")
        else:
            path.write_text(text)


def extended(module: str, addition: str) -> str:
    """A list with an import and a name more; both at the front, where ruff finds and sorts them."""
    line, names = ast.parse(addition).body
    assert isinstance(names, ast.Assign)
    added = (ast.get_source_segment(addition, names.value) or "").strip("[]")
    with_import = module.replace("TYPE_CHECKING:\n", f"TYPE_CHECKING:\n    {ast.unparse(line)}\n", 1)
    return with_import.replace("__all__ = [", f"__all__ = [{added}, ", 1)


def call(folder: Path, command: str, **environment: str) -> str:
    """The output of a command that works out."""
    done = attempt(folder, command, **environment)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    return done.stdout


def attempt(folder: Path, command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    programs = Path(sys.prefix) / "bin"
    known = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "MAKEFLAGS": f" -- BIN={programs}"}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=known | environment, capture_output=True, text=True, check=False
    )


def test_a_strategy_is_written_as_the_walk_says(tree: Path) -> None:
    walk = read_walk("Write a strategy")
    assert len(walk.files) == 4, "its module, its test, its page, one list"
    write(tree, walk.files)
    *_, tested, solved = [call(tree, command) for command in walk.commands]
    assert int(re.findall(r"(\d+) passed", tested)[0]) > 100, "the laws are tried on it, alone and around all others"
    assert "Briefest(4) on evaluation.jsonl" in solved
    for index in ("docs/index.md", "docs/strategies/README.md"):
        assert "Briefest" in (tree / index).read_text()
    call(tree, "ruff check . && ruff format --check metagen tests")
    call(tree, "python -m pytest -q -x -k briefest tests/test_exported_names.py tests/test_architecture.py")


@pytest.mark.parametrize(
    ("left_out", "missed_by"),
    [
        (
            ["docs/strategies/briefest.md", "tests/strategies/parallel/test_briefest.py"],
            [
                "tests/test_strategy_pages.py::test_every_strategy_has_one_page",
                "tests/test_laws.py::test_all_strategies_are_tried",
                "tests/test_architecture.py::test_every_module_has_its_tests",
            ],
        ),
        (
            ["metagen/strategies/__init__.py"],
            ["tests/test_exported_names.py::test_every_part_of_the_room_is_in_its_list"],
        ),
    ],
    ids=["its page and its test", "its place in the list"],
)
def test_a_part_that_is_left_out_is_missed(left_out: list[str], missed_by: list[str], tree: Path) -> None:
    files = read_walk("Write a strategy").files
    write(tree, {name: text for name, text in files.items() if name not in left_out})
    done = attempt(tree, f"python -m pytest -q {' '.join(missed_by)}")
    failed = {name for name in missed_by if f"FAILED {name}" in done.stdout}
    assert (done.returncode, failed) == (1, set(missed_by)), done.stdout[-2000:]


@pytest.mark.parametrize("title", ["Write a verifier", "Write a backend"])
def test_a_package_is_written_as_the_walk_says(title: str, tmp_path: Path) -> None:
    walk, site, folder = read_walk(title), tmp_path / "site", tmp_path / "package"
    folder.mkdir()
    write(folder, walk.files)
    (folder / "problems.jsonl").write_text('{"prompt": "What is 3 + 4?", "answer": "7"}\n')
    installed = {
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PYTHONPATH": f"{site}:{ROOT}",
    }
    *_, solved = [call(folder, command, **installed) for command in walk.commands]
    assert "100.0%" in solved
    rules = f"--config {ROOT}/pyproject.toml"
    call(
        folder,
        f"ruff check {rules} --ignore D,ARG . && ruff format {rules} --check .",
    )


VERIFIER = {
    "metagen/verifiers/polite.py": """\"\"\"Manners.\"\"\"

from collections.abc import Sequence

from metagen.candidate import Candidate, Score
from metagen.problem import Problem
from metagen.run import Run


async def polite(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
    \"\"\"1 if a candidate says please.\"\"\"
    return [Score(float("please" in candidate.text)) for candidate in candidates]
""",
    "metagen/verifiers/__init__.py": """from metagen.verifiers.polite import polite
__all__ = ["polite"]
""",
    "tests/verifiers/test_polite.py": """from metagen import BestOf, Scripted, parse, polite, solve

SPECS = ["BestOf(2, by=polite)"]


async def test_it_likes_manners() -> None:
    replies = ["now", "please"]
    backend = Scripted(lambda request: replies[request.draw])
    assert parse("BestOf(2, by=polite)") == BestOf(2, by=polite)
    assert (await solve("?", BestOf(2, by=polite), backend)).text == "please"
""",
    "docs/verifiers.md": "`polite` gives 1 if a candidate says please.\n",
}
BACKEND = {
    "metagen/backends/loud.py": """\"\"\"Shouting.\"\"\"

from metagen.backends.scripted import Scripted


class Loud(Scripted):
    \"\"\"Says `text` in capitals.\"\"\"

    def __init__(self, text: str) -> None:
        super().__init__(text.upper())
""",
    "metagen/backends/__init__.py": """from metagen.backends.loud import Loud
__all__ = ["Loud"]
""",
    "tests/backends/test_loud.py": """from metagen import Loud, Model, solve
from metagen.jobs.opening import open_model


async def test_it_shouts() -> None:
    backend = open_model("Loud:hey")
    assert isinstance(backend, Loud)
    assert (await solve("?", Model(), backend)).text == "HEY"
""",
    "docs/servers.md": "`Loud` says its text in capitals.\n",
}


@pytest.mark.parametrize(("kind", "name", "files"), [("verifier", "polite", VERIFIER), ("backend", "Loud", BACKEND)])
def test_a_verifier_or_a_backend_touches_four_files(kind: str, name: str, files: dict[str, str], tree: Path) -> None:
    assert len(files) == 4
    write(tree, files)
    call(tree, "ruff check --fix metagen tests")
    laws = "tests/test_laws.py" if kind == "verifier" else ""
    tests = "tests/test_exported_names.py tests/test_architecture.py tests/test_docs.py"
    tests += f" tests/{kind}s/test_{name.lower()}.py"
    shown = call(tree, f"python -m pytest -q -m 'not engine' -k {name} {tests} {laws}")
    assert int(re.findall(r"(\d+) passed", shown)[0]) >= 3
