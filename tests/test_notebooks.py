"""The notebooks in `examples` run from their first cell to the last, over the session's engine."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import metagen
from metagen import VLLMEngine
from tests.support.opened import Opened

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples/notebooks").glob("*.ipynb"))


@pytest.mark.engine
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
async def test_a_notebook_runs(path: Path, engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metagen, "VLLMEngine", lambda *_: Opened(engine))
    names: dict[str, Any] = {}
    shown = [await run(cell, names) for cell in cells(path)]
    assert any(hasattr(each, "_repr_html_") for each in shown)


def test_no_notebook_holds_outputs() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in json.loads(path.read_text())["cells"]), path.name


def cells(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


async def run(cell: str, names: dict[str, Any]) -> object:
    """Run a cell as a notebook does; the value of its last line, if that is an expression."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    await execute(compile(tree, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if last is None:
        return None
    value = compile(ast.Expression(last.value), "cell", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # type: ignore[attr-defined]
    return await execute(value, names)


async def execute(code: Any, names: dict[str, Any]) -> object:
    result = eval(code, names)  # noqa: S307 (our own notebooks)
    return await result if inspect.isawaitable(result) else result
