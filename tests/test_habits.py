"""What contributors type works: targets of make, hooks before a commit, the workflow."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
WORKFLOW = (ROOT / ".github/workflows/test.yml").read_text()


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_help_lists_every_target() -> None:
    assert set(re.findall(r"^make ([\w-]+) +\S", make("help"), re.MULTILINE)) == targets()


def test_every_target_that_a_page_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md"), ROOT / ".ci/run"]
    named = {name for page in pages for name in re.findall(r"(?:`|^ *)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets()


def test_the_core_is_made_of_tests() -> None:
    shown = make("--dry-run", "core", "BIN=bin")
    paths = [path for path in shlex.split(shown.replace("\\\n", " ")) if path.startswith("tests/")]
    assert len(paths) > 5
    assert all(any(ROOT.glob(path)) for path in paths)


@pytest.mark.parametrize("hook", [hook for each in HOOKS for hook in each["hooks"]], ids=lambda hook: hook["id"])
def test_hooks_are_installed_tools(hook: dict[str, Any]) -> None:
    assert hook["language"] == "system"
    program, *_ = shlex.split(hook["entry"])
    assert program.startswith(".venv/bin/")
    if (ROOT / ".venv").exists():
        assert (ROOT / program).exists()


def test_hooks_and_make_check_ask_the_same_tools() -> None:
    hooks = [hook["entry"] for each in HOOKS for hook in each["hooks"]]
    for line in make("--dry-run", "check", "BIN=.venv/bin").splitlines():
        command = line.removesuffix(" .").replace(" --check", "")
        assert any(entry.startswith(command) for entry in hooks), line


def test_hooks_and_workflow_name_no_host() -> None:
    for path in (".pre-commit-config.yaml", ".github/workflows/test.yml", "requirements.lock"):
        assert "://" not in (ROOT / path).read_text()


def test_the_workflow_tries_every_python_that_is_supported() -> None:
    job = yaml.safe_load(WORKFLOW)["jobs"]["core"]
    assert job["strategy"]["matrix"] == {
        "system": ["ubuntu-latest", "macos-latest"],
        "python": ["3.11", "3.12", "3.13"],
    }
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert supported == ">=" + job["strategy"]["matrix"]["python"][0]


def test_the_workflow_runs_commands_that_are_there() -> None:
    commands = [
        step["run"] for job in yaml.safe_load(WORKFLOW)["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert ".ci/run" in commands
    assert {name for line in commands for name in re.findall(r"\bmake (\w+)", line)} <= targets()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_every_tool_of_development_is_pinned() -> None:
    """The extra `dev` and the lock agree, so that `make` installs what `make check` runs."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    wanted = {re.split(r"[<>=\[]", each)[0] for each in extra}
    pinned = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert wanted <= pinned
