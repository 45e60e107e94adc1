"""Tests that a row of a problem file brings."""

from collections.abc import Mapping
from typing import Any

from metagen.disk.values import written
from metagen.errors import InputError
from metagen.execution.suites import are_texts, read_tests

SETUP_FIELDS = ("test_setup_code", "test_imports")
FIELDS = ("test_list", "tests", "test", "entry_point", "inputs", "outputs", *SETUP_FIELDS)


def tests_of(row: Mapping[str, Any], problem: str) -> str | None:
    """Return the tests of a row as `Problem.tests` has them, or `None` if it has none.

    They are `test_list` as MBPP has it, `tests` (a text, a list of texts, or an object of `inputs` and `outputs`),
    `test` with the `entry_point` that its `check` is called with, as HumanEval has them, or `inputs` and `outputs`.
    Raises `InputError`, naming the field, for what is none of these, and for tests that run nothing. What they import
    is looked for before a run, where they run.
    """
    found = _listed(row, "test_list") or _tests(row) or _checked(row) or _pairs(row)
    if found is not None:
        read_tests(found, problem, lambda _: True)
    return found


def _tests(row: Mapping[str, Any]) -> str | None:
    given = row.get("tests")
    return written(given) if isinstance(given, Mapping) else _listed(row, "tests")


def _listed(row: Mapping[str, Any], field: str) -> str | None:
    """Statements, behind what sets them up."""
    tests = _texts(row, field)
    return "\n".join([*(text for name in SETUP_FIELDS for text in _texts(row, name)), *tests]) if tests else None


def _texts(row: Mapping[str, Any], field: str) -> list[str]:
    """A text or a list of texts, without empty ones."""
    given = row.get(field)
    texts = [] if given is None else [given] if isinstance(given, str) else given
    if not are_texts(texts):
        raise InputError(f"field {field!r} must be a text or a list of texts, not {written(given)[:40]}")
    return [text for text in texts if text.strip()]


def _checked(row: Mapping[str, Any]) -> str | None:
    """A text that defines `check(candidate)`, with its call."""
    test, name = row.get("test"), row.get("entry_point")
    if not isinstance(test, str) or ("def " not in test and "assert" not in test):
        return None
    if name is None:
        return test
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"field 'entry_point' must be the name of a function, not {written(name)[:40]}")
    return f"{test}\n\ncheck({name})\n" if "def check(" in test else test


def _pairs(row: Mapping[str, Any]) -> str | None:
    if not (isinstance(row.get("inputs"), list) and isinstance(row.get("outputs"), list)):
        return None
    return written({"inputs": row["inputs"], "outputs": row["outputs"]})
