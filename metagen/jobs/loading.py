"""Names from a user's own Python files, for specs."""

import sys
from collections.abc import Iterable
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from metagen.errors import InputError


def load_names(path: Path) -> dict[str, Any]:
    """The public functions and classes that a file of Python defines."""
    spec = spec_from_file_location(f"_loaded_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"--load {path}: there is no such file of Python")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's file may raise anything
        raise InputError(f"--load {path}: {type(error).__name__}: {error}") from error
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == spec.name}
    return {name: value for name, value in own.items() if callable(value) and not name.startswith("_")}


def load_all(paths: Iterable[Path] | None) -> dict[str, Any]:
    """The public functions and classes of several files."""
    names: dict[str, Any] = {}
    for path in paths or ():
        new = load_names(path)
        if twice := sorted(names.keys() & new):
            raise InputError(f"--load {path}: {twice[0]} is defined in another loaded file too: rename one")
        names |= new
    return names


def digest_of(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()
