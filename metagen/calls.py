"""Text to objects: calls of known constructors over literals. The text is walked as a syntax tree and never run."""

import ast
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from metagen.errors import InputError
from metagen.lazy import called_here

LONGEST = 20_000
"""Characters; a longer text is no spec."""
LARGEST = 64
"""Bits of a whole number; Python would refuse to print a very long one."""
MANY, FEW = 24, 8
"""More names than `MANY` are not all shown in an error, but `FEW`."""


def _nothing(_name: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the texts of one kind of thing, such as a strategy. Raises `InputError`, which points at the fault."""

    what: str
    """What the text is to be, for messages."""
    known: Mapping[str, Any]
    """Constructors and other objects by name."""
    find: Callable[[str], Any] = _nothing
    """Looks elsewhere for a name that is not known."""
    offered: Callable[[], Iterable[str]] = tuple
    """The names that `find` can find."""
    listed: str = ""
    """Where all names are listed, as the end of a sentence."""

    def read(self, text: str) -> Any:
        """Return the object that a text such as `Vote(16)` makes."""
        try:
            return self._value(self.tree(text))
        except RecursionError:
            raise InputError(f"the {self.what} is nested too deeply") from None

    def tree(self, text: str) -> ast.expr:
        """Return the syntax tree of a text."""
        if len(text) > LONGEST:
            raise InputError(f"the {self.what} is {len(text)} characters long; at most {LONGEST} are read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of "\d", which a regular expression may hold
                return ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error)
            raise InputError(f"the {self.what} {text[:80]!r} cannot be read: {' '.join(why.split())}") from None

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int(value)) if value.bit_length() > LARGEST:
                raise InputError(f"a whole number of {value.bit_length()} bits is too large for a {self.what}")
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as number):
                return -self._value(number)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._value(part) for part in parts)
            case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
                return {self._value(key): self._value(value) for key, value in zip(keys, values, strict=True) if key}
            case ast.Name(id=name):
                return self._known(name)
            case ast.Call(func=ast.Name(id=name)):
                return self._made(name, node)
        raise InputError(f"{_source(node)!r} is neither a {self.what} nor a literal")

    def _made(self, name: str, node: ast.Call) -> Any:
        make = self._known(name)
        if not isinstance(make, type):
            raise InputError(f"{name} is a function that serves as it is: write {name} without parentheses")
        if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
            raise InputError(f"{name}: stars cannot be used in a {self.what}")
        if len({each.arg for each in node.keywords}) < len(node.keywords):
            raise InputError(f"{name}: a setting is given twice")
        args = [self._value(each) for each in node.args]
        settings = {each.arg or "": self._value(each.value) for each in node.keywords}
        return _call(name, make, args, settings)

    def _known(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        if (found := self.find(name)) is not None:
            return found
        raise InputError(f"{name!r} is not known: {hint(name, self.known.keys() | set(self.offered()), self.listed)}")


def refuse_class(made: object, text: str, what: str) -> None:
    """Raise `InputError` for a class in the place of a `what`, such as a strategy, which calling it would make."""
    if isinstance(made, type):
        raise InputError(f"{text[:80]!r} is not a {what} but a class: write {text.strip()[:80]}(...)")


def hint(name: str, offered: Collection[str], listed: str = "") -> str:
    """The end of an error's sentence on a name that is not known: the one that may be meant, or what there is.

    If a few begin with it, these are shown. Of many names these are the nearest, with the place where all are `listed`.
    """
    folded = {each.casefold(): each for each in offered}
    begun = sorted(each for each in offered if each.startswith(name))
    if name and 1 < len(begun) <= FEW:
        return f"there is {', '.join(begun)}"
    close = called_here(name, offered) or get_close_matches(name, offered, n=1)
    if close := close or [folded[each] for each in get_close_matches(name.casefold(), folded, n=1)]:
        return f"did you mean {close[0]}?"
    if len(folded) <= MANY:
        return f"there is {', '.join(sorted(offered))}"
    nearest = [folded[each] for each in get_close_matches(name.casefold(), folded, n=FEW, cutoff=0)]
    return f"there is {', '.join(nearest)} and {len(folded) - FEW} more{listed}"


def _call(name: str, make: Callable[..., Any], args: list[Any], settings: dict[str, Any]) -> Any:
    try:
        inspect.signature(make).bind(*args, **settings)
    except TypeError as error:
        raise InputError(f"{name}: {error}; its settings are {name}{_settings(make)}") from None
    try:
        return make(*args, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error


def _settings(make: Callable[..., Any]) -> inspect.Signature:
    """The settings as they are written in a text, without their types."""
    shown = inspect.signature(make)
    bare = [each.replace(annotation=each.empty) for each in shown.parameters.values()]
    return shown.replace(parameters=bare, return_annotation=shown.empty)


def _source(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:80]
    except ValueError:  # Python does not print a whole number of some thousand digits
        return type(node).__name__
