"""The Python that the pages show runs, over models that are played.

Pages of strategies, the tutorial, `elsewhere.md` and `adapters/pytest.md` have tests of their own.
"""

import ast
import asyncio
import inspect
import json
import re
import shlex
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import typer
from typer.main import get_command

import metagen
from metagen import Problem, Scripted, ScriptedReward, Vote
from metagen.cli.commands import app as cli
from metagen.jobs.plans import read_plan
from metagen.serve import app
from metagen.serve.keys import read_keys
from tests.support.confined import WHY_NO_SANDBOX
from tests.support.published import PUBLISHED
from tests.support.serving import serving

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```\n)?", re.DOTALL)
ELSEWHERE = {"learn.md", "elsewhere.md", "adapters/pytest.md", "clusters.md", "serving.md"}
"""The page of serving has a test below, and that of clusters one in tests/cluster."""
NOT_RUN = {"adapters/dspy.md"}
"""Needs DSPy, which has an environment of its own (`make adapters`)."""
PAGES = sorted(
    name
    for page in DOCS.rglob("*.md")
    if "```python" in page.read_text()
    and not (name := str(page.relative_to(DOCS))).startswith("strategies/")
    and name not in ELSEWHERE | NOT_RUN
)
CASES = [
    {"id": "wrong", "problem": "1 + 2?", "steps": ["1 + 2 = 4", "So 4."], "label": 0},
    {"id": "right", "problem": "1 + 2?", "steps": ["1 + 2 = 3", "So 3."], "label": -1},
]
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
COMMANDS = sorted(
    {
        (str(page.relative_to(DOCS.parent)), command.strip())
        for page in (*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md"))
        for block in SHELL.findall(page.read_text())
        for command in block.replace("\\\n", " ").splitlines()
        if command.startswith("metagen ")
    }
)


def play(*_: Any, **__: Any) -> Scripted:
    return Scripted("The answer is 7.")


def play_reward(*_: Any, **__: Any) -> ScriptedReward:
    return ScriptedReward(lambda reading: [0.5] * len(reading.steps))


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a page takes as given: metagen's names, models that are played, a problem, and files beside it."""
    for name in ("VLLMEngine", "OpenAIServer"):
        monkeypatch.setattr(metagen, name, play)
    monkeypatch.setattr(metagen, "VLLMReward", play_reward)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "processbench_gsm8k.json").write_text(json.dumps(CASES))
    (tmp_path / "models/OLMoE-1B-7B").mkdir(parents=True)
    (tmp_path / "models/OLMoE-1B-7B/config.json").write_text(json.dumps(PUBLISHED["OLMoE-1B-7B"].config))
    problem = Problem("1", "What is 3 + 4?", "7")
    given = {"problem": problem, "problems": [problem], "model": play(), "prm": play_reward(), "code": "print(7)"}
    return {name: getattr(metagen, name) for name in metagen.__all__} | given | {"SMALL": "", "SMALL_PRM": ""}


def run(code: str, page: str, names: dict[str, Any]) -> None:
    compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if inspect.iscoroutine(work := FunctionType(compiled, names)()):
        asyncio.run(work)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs_and_prints_what_is_shown(
    page: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    if page == "sandbox.md" and WHY_NO_SANDBOX:
        pytest.skip(WHY_NO_SANDBOX)
    for code, shown in SHOWN.findall((DOCS / page).read_text()):
        run(code, page, names)
        printed = capsys.readouterr().out
        assert printed == shown or not shown


async def test_the_client_of_the_page_of_serving_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    ((code, _),) = SHOWN.findall((DOCS / "serving.md").read_text())
    async with serving(app(play(), {"math": Vote(4)})) as url:
        await asyncio.to_thread(run, code.replace("http://127.0.0.1:8000/v1", url), "serving.md", {})
    assert capsys.readouterr().out == "The answer is 7."


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=range(len(COMMANDS)))
def test_the_commands_of_a_page_have_the_options_that_they_show(page: str, command: str) -> None:
    name, *words = shlex.split(command, comments=True)[1:]
    known: Any = get_command(cli)
    with suppress(typer.BadParameter):  # a file that is not here
        known.commands[name].make_context(name, words)


def test_the_files_of_settings_of_the_pages_can_be_read(tmp_path: Path) -> None:
    (plan,), (keys,) = (TOML.findall((DOCS / page).read_text()) for page in ("sweeps.md", "serving.md"))
    (tmp_path / "plan.toml").write_text(plan)
    (tmp_path / "keys.toml").write_text(keys.replace("…", "0" * 64))
    assert list(read_plan(tmp_path / "plan.toml").strategies) == ["one", "vote16", "vote64", "stopped"]
    assert [key.name for key in read_keys(tmp_path / "keys.toml")] == ["team"]


def test_the_pages_that_are_not_run_are_python() -> None:
    for page in NOT_RUN:
        for code, _ in SHOWN.findall((DOCS / page).read_text()):
            ast.parse(code)
