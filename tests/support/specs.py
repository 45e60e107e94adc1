"""The specs that the laws are tried on, collected from the tests of the parts themselves.

A test module may hold `SPECS`, strategies as text; `WRAPPERS`, the same with `{}` in the place of an inner strategy;
and `GIVEN`, the functions that they name beside those of `tests.support.scripts`.
"""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support import scripts

TESTS = Path(__file__).parents[1]


def load_modules() -> list[ModuleType]:
    """The test modules that hold specs."""
    holding = [
        path for path in sorted(TESTS.rglob("test_*.py")) if re.search(r"^SPECS = ", path.read_text(), re.MULTILINE)
    ]
    return [import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts)) for path in holding]


def collect(name: str) -> list[str]:
    """The texts that test modules hold under `name`."""
    return [text for module in MODULES for text in getattr(module, name, ())]


MODULES = load_modules()
SPECS = [*collect("SPECS"), "asks_twice"]
"""One of every kind, among them a plain function."""
WRAPPERS = collect("WRAPPERS")
NAMES: dict[str, Any] = scripts.NAMES | {
    name: value for module in MODULES for name, value in getattr(module, "GIVEN", {}).items()
}
