"""Names from a user's own Python files, for specs."""

import os
import sys
from collections.abc import Iterable
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from metagen.errors import InputError
from metagen.spec.parse import CONSTRUCTORS


def load_all(paths: Iterable[Path]) -> dict[str, Any]:
    """The names of all files together. Raises `InputError` for one that two files define, or that is metagen's own."""
    names: dict[str, Any] = {}
    for path in paths:
        new = load_names(path)
        if twice := sorted(name for name in names.keys() & new if names[name] is not new[name]):
            raise InputError(f"--load {path}: {twice[0]} is defined in another loaded file too: rename one")
        if shadowed := sorted(new.keys() & CONSTRUCTORS.keys()):
            raise InputError(f"--load {path}: {shadowed[0]} is a name of metagen's own: rename yours")
        names |= new
    return names


class Uncached(SourceFileLoader):
    """Compiles a file as it is, each time: a compiled copy that a full disk has cut would end every later run."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_names(path: Path) -> dict[str, Any]:
    """The public functions, classes and objects that a file of Python defines, and its constants of plain data."""
    spec = spec_from_file_location(f"_loaded_{path.stem}", path)
    if not os.path.isfile(path) or spec is None or spec.loader is None:
        raise InputError(f"--load {path}: there is no such file of Python")
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = Uncached(spec.name, str(path))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's file may raise anything
        raise InputError(f"--load {path}: {type(error).__name__}: {error}") from error
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == spec.name}
    own |= {name: value for name, value in vars(module).items() if type(value).__module__.startswith("metagen.")}
    plain = {name: value for name, value in vars(module).items() if isinstance(value, str | int | float | tuple)}
    return {name: value for name, value in (own | plain).items() if _is_public(name, value)}


def _is_public(name: str, value: object) -> bool:
    return not name.startswith("_") and not isinstance(value, ModuleType)


def digest_of(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()
