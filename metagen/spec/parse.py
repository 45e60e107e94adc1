"""Text to strategy: `parse(repr(s)) == s`. The text is walked as a syntax tree and never run."""

import ast
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from metagen import strategies, tools, verifiers
from metagen.errors import InputError
from metagen.model import Model
from metagen.settings import GENERATOR, literal, require_async, takes
from metagen.spec import plugins
from metagen.verifiers import critics

LONGEST = 20_000
"""Characters; a longer text is not a strategy."""
LARGEST = 64
"""Bits of a whole number; Python would refuse to print a very long one."""

CONSTRUCTORS: dict[str, Any] = {
    **{name: getattr(strategies, name) for name in strategies.__all__},
    **{name: getattr(verifiers, name) for name in verifiers.__all__},
    **{name: getattr(tools, name) for name in tools.__all__},
    **{name: getattr(critics, name) for name in critics.__all__},
    "Model": Model,
}


def parse(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """Read a strategy, such as `Vote(16, of=CoT(), by=MatchesReference())`.

    It may call metagen's strategies, verifiers, tools and critics and what `names` gives, and hold literals and names
    from `names` (functions and classes of the user's own). A name that is none of these is looked for among the
    strategies and verifiers of installed packages. Raises `InputError`, which points at what cannot be read.
    """
    try:
        made = _value(_tree(text), CONSTRUCTORS | dict(names or {}))
    except RecursionError:
        raise InputError("the strategy is nested too deeply") from None
    if isinstance(made, type) or not takes(made, 2):
        raise InputError(f"{text[:80]!r} is not a strategy; write one such as Vote(16)")
    require_async(made, literal(made), GENERATOR)
    return made


def foreign(text: str, names: Mapping[str, Any] | None = None) -> list[str]:
    """The names in a strategy that come from other packages, each with its package."""
    used = {node.id for node in ast.walk(_tree(text)) if isinstance(node, ast.Name)}
    return [plugins.origin(name, *plugins.IN_SPECS) for name in sorted(used - CONSTRUCTORS.keys() - set(names or ()))]


def _tree(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise InputError(f"the strategy is {len(text)} characters long; at most {LONGEST} are read")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"the strategy {text[:80]!r} cannot be read: {' '.join(str(error).split())}") from None


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int(value)) if value.bit_length() > LARGEST:
            raise InputError(f"a whole number of {value.bit_length()} bits is too large for a strategy")
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as number):
            return -_value(number, known)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_value(part, known) for part in parts)
        case ast.Name(id=name):
            return _known(name, known)
        case ast.Call(func=ast.Name(id=name)):
            return _made(name, node, known)
    raise InputError(f"{_source(node)!r} is neither a strategy nor a literal")


def _source(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:80]
    except ValueError:  # Python does not print a whole number of some thousand digits
        return type(node).__name__


def _made(name: str, node: ast.Call, known: Mapping[str, Any]) -> Any:
    make = _known(name, known)
    if not isinstance(make, type):
        raise InputError(f"{name} is a function that serves as it is: write {name} without parentheses")
    if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
        raise InputError(f"{name}: stars cannot be used in a strategy")
    if len({each.arg for each in node.keywords}) < len(node.keywords):
        raise InputError(f"{name}: a setting is given twice")
    args = [_value(each, known) for each in node.args]
    settings = {each.arg or "": _value(each.value, known) for each in node.keywords}
    try:
        inspect.signature(make).bind(*args, **settings)
    except TypeError as error:
        raise InputError(f"{name}: {error}; its settings are {name}{inspect.signature(make)}") from None
    try:
        return make(*args, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if name in known:
        return known[name]
    if (found := plugins.find(name, *plugins.IN_SPECS)) is not None:
        return found
    offered = known.keys() | plugins.names(*plugins.IN_SPECS)
    close = get_close_matches(name, offered, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(sorted(offered))}"
    raise InputError(f"{name!r} is not known: {hint}")
