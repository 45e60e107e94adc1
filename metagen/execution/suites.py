"""Tests of code as they come: what of them runs, and what would run nothing and so must not pass."""

import ast
import builtins
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Literal, TypeAlias, TypeGuard

from metagen.errors import InputError
from metagen.execution.blocks import PYTHON, all_blocks

Cases: TypeAlias = Sequence[tuple[str, str]]
"""Standard inputs, and what is to be printed for each."""
Runner = Literal["", "unittest", "pytest"]
"""What runs the tests that a file defines and does not call; empty where its own statements are the tests."""
CANDIDATE = "candidate"
"""The module that the code under test is."""
_OWN = (CANDIDATE, "__main__")
"""The modules that have the names of the code under test: the tests are the main program, and see them."""

_INDENT = "    "
_FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests in Python, and what runs them."""

    text: str
    runner: Runner = ""


def read_tests(tests: str, problem: str, importable: Callable[[str], bool]) -> Suite | Cases:
    """Read `{"inputs": [...], "outputs": [...]}`, or Python.

    `importable` says of a module, by its dotted name, whether tests can import it where they run.

    Raises:
        InputError: an object that does not hold as many outputs as inputs, all texts; no Python; tests that run nothing
            or import what cannot be imported.
    """
    cases = read_cases(tests, problem)
    if cases is not None:
        return cases
    try:
        return _suite(tests, importable)
    except InputError as error:
        raise InputError(f"problem {problem!r}: its tests {error}") from None


def read_cases(tests: str, problem: str) -> Cases | None:
    """Read `{"inputs": [...], "outputs": [...]}`; `None` for what is no JSON object, and so Python.

    Raises:
        InputError: an object that does not hold as many outputs as inputs, all texts.
    """
    try:
        cases = json.loads(tests)
    except (ValueError, RecursionError):
        return None
    if not isinstance(cases, dict):
        return None
    inputs, outputs = cases.get("inputs"), cases.get("outputs")
    if not (are_texts(inputs) and are_texts(outputs) and len(inputs) == len(outputs) > 0):
        raise InputError(f"problem {problem!r}: its tests need as many outputs as inputs, one or more, which are texts")
    return list(zip(inputs, outputs, strict=True))


def are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def parsed(text: str) -> ast.Module | None:
    """A text as Python, or `None` if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def compiles(text: str) -> bool:
    """Whether a text is a program of Python: more than that its parts can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "candidate.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def does_something(text: str) -> bool:
    """Whether a text is a program of Python, or the body of a function, and not just a word that reads as one."""
    for program in (text, f"def function():\n{text}"):
        if (tree := parsed(program)) is not None:
            return any(isinstance(node, ast.stmt) and not isinstance(node, ast.Expr) for node in tree.body) or any(
                isinstance(node, ast.Call) for node in ast.walk(tree)
            )
    return False


def last_program(text: str) -> str:
    """Return the last block of Python that is more than an example of how to use one before; else the whole text."""
    blocks = all_blocks(text, PYTHON)
    while len(blocks) > 1 and _is_example(blocks[-1], blocks[:-1]):
        blocks.pop()
    return blocks[-1] if blocks else text


def _is_example(code: str, before: Sequence[str]) -> bool:
    """Whether code calls or tests what stands before it and makes nothing of its own, or is a session or its output."""
    tree = parsed(code)
    if tree is None:
        return code.lstrip().startswith(">>>")
    if not does_something(code):
        return any(map(does_something, before))
    earlier = {name for each in map(parsed, before) if each for name in _defined(each)}
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return not _defined(tree) and bool(_names([tree]) & earlier - made)


def _defined(tree: ast.Module) -> set[str]:
    """The functions and classes of a program that are no tests."""
    names = {node.name for node in tree.body if isinstance(node, _Definition)}
    return {name for name in names if not name.lower().startswith("test")}


def completes(prompt: str, code: str) -> str:
    """The program that `code` is for: behind the prompt if that begins a program, as HumanEval's do, else alone.

    Code that defines the function again replaces what the prompt began. A body that has lost its indentation, or its
    first line's, gets it again where nothing else is a program.
    """
    begun = parsed(prompt) or parsed(f"{prompt}    pass\n")
    if begun is None or not any(isinstance(node, _Definition) for node in begun.body):
        return code
    first = "".join(f"{each}\n" for each in _FUTURE.findall(code))  # these must stand before all else
    head, body = first + prompt + ("" if prompt.endswith("\n") else "\n"), _FUTURE.sub("", code)
    lost = () if body[:1].isspace() else (head + indent(body, _INDENT), head + _INDENT + body)
    return next(filter(compiles, (head + body, code, *lost)), head + body)


def _suite(tests: str, importable: Callable[[str], bool]) -> Suite:
    tree = parsed(tests)
    if tree is None:
        raise InputError("are not Python, nor a JSON object of inputs and outputs")
    _refuse_uninstalled(tree, importable)
    defined = {node.name: node for node in tree.body if isinstance(node, _Definition)}
    statements = [node for node in tree.body if not isinstance(node, _Definition)]
    used = {node.id for each in statements for node in ast.walk(each) if isinstance(node, ast.Name)}
    if "check" in defined and "check" not in used | _names(defined.values()):
        raise InputError("define check() and never call it: give the field 'entry_point', or end them with check(NAME)")
    _refuse_coroutines(defined, statements)
    collected = [node for node in defined.values() if _is_collected(node)]
    if collected:
        return Suite(tests, "pytest" if _needs_pytest(tree, collected, importable) else "unittest")
    working = {name for name, node in defined.items() if _works(node)}
    if not any(_tests(node, working | _foreign(tree)) for node in statements):
        raise InputError("run nothing: write asserts, a call of check(), unittest classes or functions test_...")
    return Suite(tests)


def _refuse_coroutines(defined: Mapping[str, _Definition], statements: Iterable[ast.stmt]) -> None:
    """Refuse a statement that calls an async function and does not run it: it would test nothing."""
    for node in statements:
        called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Name) and isinstance(defined.get(name := called.id), ast.AsyncFunctionDef):
            raise InputError(f"call {name}(), which is async, and do not run it: write asyncio.run({name}(...))")


def _refuse_uninstalled(tree: ast.Module, importable: Callable[[str], bool]) -> None:
    """Refuse tests that would fail for want of a module, whatever the code is."""
    for name in _imported(tree):
        if name.partition(".")[0] not in _OWN and not importable(name):
            raise InputError(
                f"import {name!r}, which is not installed here, or where the sandbox does not see it; "
                "the code itself is the module 'candidate'"
            )


def _imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names of the modules that are surely imported."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for each in nodes for node in ast.walk(each) if isinstance(node, ast.Name)}


def _is_collected(node: _Definition) -> bool:
    """Whether it is a test that unittest or pytest would run, and that does something."""
    if isinstance(node, ast.ClassDef):
        return (_is_case(node) or node.name.startswith("Test")) and any(
            isinstance(each, _Definition) and each.name.startswith("test") and _works(each) for each in node.body
        )
    return node.name.startswith("test") and _works(node)


def _is_case(node: ast.ClassDef) -> bool:
    """Whether it is a class of unittest."""
    return any("TestCase" in ast.unparse(base) for base in node.bases)


def _needs_pytest(tree: ast.Module, collected: Iterable[_Definition], importable: Callable[[str], bool]) -> bool:
    """Whether some test has fixtures, marks or a class as pytest knows them. Raises `InputError` if it is missing."""
    needs = any(name.partition(".")[0] == "pytest" for name in _imported(tree)) or any(
        not _is_case(node) if isinstance(node, ast.ClassDef) else bool(node.args.args) for node in collected
    )
    if needs and not importable("pytest"):
        raise InputError("need pytest, which is not installed here")
    return needs


def _works(node: ast.AST) -> bool:
    """Whether a definition asserts, raises or calls something."""
    return any(isinstance(each, ast.Assert | ast.Raise | ast.Call) for each in ast.walk(node))


def _tests(statement: ast.stmt, names: set[str]) -> bool:
    """Whether a statement asserts or raises, or calls what is in `names`, or calls anything with that."""
    return any(
        isinstance(node, ast.Assert | ast.Raise) or (isinstance(node, ast.Call) and bool(_names([node]) & names))
        for node in ast.walk(statement)
    )


def _foreign(tree: ast.Module) -> set[str]:
    """The names that the tests use and do not make: those of the code under test."""
    made = {alias.asname or alias.name.partition(".")[0] for alias in _aliases(tree)}
    made |= {node.name for node in ast.walk(tree) if isinstance(node, _Definition)}
    made |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return _names([tree]) - made - set(dir(builtins)) - {"__name__", "__file__"}


def _aliases(tree: ast.Module) -> Iterator[ast.alias]:
    """What is imported from elsewhere than the code under test."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias for alias in node.names if alias.name not in _OWN)
        elif isinstance(node, ast.ImportFrom) and node.module not in _OWN:
            yield from node.names
