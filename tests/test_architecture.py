"""The shape of the package: imports point inward, one module prints, nothing runs text as code, tests mirror it all."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "metagen"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""By name, without `metagen.` before it; the package itself is `__init__`."""

VALUES = {
    "answers", "blocks", "budget", "candidate", "card", "compare", "confidence", "curves", "data", "errors",
    "families", "formal", "lines", "models", "plots", "plugins", "problem", "processes", "prompts", "record",
    "report", "request", "settings", "solution", "tables", "tasks", "trace",
}  # fmt: skip
LAYERS = [
    VALUES,
    {"run", "sandbox"},
    {"programs"},
    {"model", "strategies", "tools", "verifiers"},
    {"critics"},
    {"solve", "spec"},
    {"bootstrap", "job", "labels", "processbench", "samples"},
    {"sweep", "training"},
    {"cli"},
    {"__main__"},
]
"""Each imports from those before it, and above the values no part from another of its own layer."""

BESIDE = {"backends", "train"}
"""They import values only, and are passed in."""

PRINT = {"cli", "train"}
"""The command line, and the programs that make the shipped model."""

TESTED_ELSEWHERE = {
    "__init__": "tests/test_exported_names.py",
    "__main__": "tests/test_cli.py runs it",
    "candidate": "plain data, in every test",
    "cli.commands": "tests/test_cli.py",
    "cli.console": "tests/test_cli.py",
    "cli.jobs": "tests/test_cli.py",
    "cli.options": "tests/test_cli.py",
    "cli.sweeps": "tests/test_sweep.py",
    "cli.training": "tests/test_training.py",
    "data": "paths of files that tests/train/test_problem_sets.py reads",
    "errors": "tests/test_exported_names.py and every test of a refusal",
    "job": "tests/test_cli.py",
    "models": "the path of the model that tests/models tests",
    "processes": "tests/test_sandbox.py",
    "request": "plain data, in tests/test_model.py and tests/backends",
    "solve": "tests/test_run.py and tests/test_laws.py",
    "tasks": "tests/test_run.py",
    "train.experts": "tests/train/test_routing.py",
    "train.learn": "tests/test_training.py",
    "train.mixture": "tests/models tests what it made",
    "train.validation": "tests/models tests what it looked at",
}


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """All that a module imports, inside functions too: metagen's own as names of `MODULES`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            source = node.module or ""
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name.removeprefix("metagen.") in MODULES else source


def own(module: str) -> set[str]:
    """The parts of metagen that a module imports from."""
    return {name.removeprefix("metagen.").split(".")[0] for name in imported(module) if name.startswith("metagen.")}


def layer(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def test_every_module_has_its_place() -> None:
    assert {module.split(".")[0] for module in MODULES} <= set().union(*LAYERS) | BESIDE | {"__init__"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inward(module: str) -> None:
    part = module.split(".", maxsplit=1)[0]
    others = own(module) - {part}
    if part in BESIDE or part in VALUES:
        assert others <= VALUES
    elif part in {"solve", "spec", "run", "sandbox", "programs", "model", "strategies", "tools", "verifiers"}:
        assert all(layer(other) < layer(part) for other in others), others


def test_the_package_itself_only_hands_on_names() -> None:
    docstring, *imports, names = tree("__init__").body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert isinstance(names, ast.Assign)


def test_metagen_imports_without_the_heavy_libraries() -> None:
    heavy = {
        "torch",
        "vllm",
        "transformers",
        "math_verify",
        "sympy",
        "bm25s",
        "tokenizers",
        "typer",
        "rich",
        "matplotlib",
    }
    program = f"import sys, metagen; print(*{heavy!r} & {{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def calls(module: str) -> Iterator[str]:
    """The bare names that a module calls."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


@pytest.mark.parametrize("module", [module for module in MODULES if module.split(".")[0] not in PRINT])
def test_only_the_command_line_prints(module: str) -> None:
    assert "print" not in calls(module)
    assert not {"rich", "typer"} & {name.split(".")[0] for name in imported(module)}


@pytest.mark.parametrize("module", MODULES)
def test_no_text_is_run_as_code(module: str) -> None:
    assert not {"eval", "exec", "compile", "__import__"} & set(calls(module))
    assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & {
        name.split(".")[0] for name in imported(module)
    }


@pytest.mark.parametrize("module", MODULES)
def test_no_error_is_swallowed_unseen(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"a bare except in line {node.lineno}"
            if isinstance(node.type, ast.Name) and node.type.id in {"BaseException", "Exception"}:
                raises = [inner for inner in ast.walk(node) if isinstance(inner, ast.Raise)]
                assert raises, f"line {node.lineno} catches {node.type.id} and does not raise"


@pytest.mark.parametrize("module", [module for module in MODULES if not module.split(".")[-1].startswith("_")])
def test_every_module_has_its_tests(module: str) -> None:
    *folders, name = module.split(".")
    is_package = MODULES[module].name == "__init__.py"
    mirrored = ROOT / "tests" / Path(*folders) / f"test_{name}.py"
    assert is_package or mirrored.exists() or module in TESTED_ELSEWHERE, f"there is no {mirrored.relative_to(ROOT)}"


def test_every_exception_from_the_mirror_is_a_module() -> None:
    assert set(TESTED_ELSEWHERE) <= set(MODULES)
