"""What a program in the sandbox can import: the installed packages, and of what else is found only what it sees."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from metagen.execution.bubblewrap import ENVIRONMENT, SYSTEM, folders
from metagen.execution.programs import PYTHON_OPTIONS
from metagen.execution.sandbox import Sandbox

REMEMBERED = 1024
"""Modules."""
SECONDS = 120.0
"""By the clock, for Python to find a module; large packages are slow to load."""
_INSTALLED = tuple(dict.fromkeys(map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))))
_FIND = """
import importlib, importlib.util, json, sys
first = importlib.util.find_spec(sys.argv[1].partition(".")[0])
print(json.dumps([first.origin or "", *(first.submodule_search_locations or ())]), flush=True)
importlib.import_module(sys.argv[1])
"""


def is_importable(name: str, sandbox: Sandbox) -> bool:
    """Whether Python in the sandbox finds the module of this dotted name. Nothing of most modules is run for that."""
    if _is_installed(name):
        return True
    if name.partition(".")[0] in sys.stdlib_module_names:
        return name in sys.modules or "." not in name  # `os.path` has no file of its own, and others are built in
    places = _places(name)
    seen = (SYSTEM, *folders(sandbox.readable))
    return any(sandbox.unsafe or any(map(Path(place).is_relative_to, seen)) for place in places)


def _is_installed(name: str) -> bool:
    """Whether the files of a module are where packages are installed."""
    paths: Sequence[str] = _INSTALLED
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:end]), paths)
        except KeyError:  # a folder without `__init__.py` inside another one: it needs that one to be loaded
            return False
        if spec is None:
            return False
        paths = list(spec.submodule_search_locations or ())
    return True


@lru_cache(REMEMBERED)
def _places(name: str) -> tuple[str, ...]:
    """Where a Python that starts as in the sandbox finds the package of a module; empty if there is no such module.

    It is asked about packages that are found in other ways, as in development, or that make modules as they are loaded.
    """
    command = [sys.executable, *PYTHON_OPTIONS, "-c", _FIND, name]
    try:
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        found, code = late.stdout or b"", 0
    else:
        found, code = done.stdout, done.returncode
    return tuple(filter(None, json.loads(found.partition(b"\n")[0]))) if found and not code else ()
