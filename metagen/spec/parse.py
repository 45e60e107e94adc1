"""Text to strategy: `parse(repr(s)) == s`. The text is walked as a syntax tree and never run."""

import ast
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from metagen import strategies, tools, verifiers
from metagen.answers import spec as answers
from metagen.answers.protocol import is_answers
from metagen.calls import Reader, refuse_class
from metagen.errors import InputError
from metagen.lazy import Names
from metagen.model import Model
from metagen.run import Verifier
from metagen.settings import GENERATOR, is_plain, literal, require_async, require_grade, takes
from metagen.spec import plugins
from metagen.verifiers import critics

CONSTRUCTORS = Names(strategies, verifiers, tools, critics, **answers.CONSTRUCTORS, Model=Model)
LISTED = " (docs/strategies/README.md, docs/verifiers.md and docs/answers.md list them)"


def parse(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """Read a strategy, such as `Vote(16, of=CoT(), by=MatchesReference())`, or a kind of answers, such as `Number()`.

    It may call metagen's strategies, verifiers, tools, critics and kinds of answers and what `names` gives, and hold
    literals and names from `names` (functions and classes of the user's own). A name that is none of these is looked
    for among the strategies and verifiers of installed packages. Raises `InputError`, which points at what cannot be
    read.
    """
    made = _reader(names).read(text)
    refuse_class(made, text, "strategy")
    if not (takes(made, 2) or is_answers(made)):
        raise InputError(f"{text[:80]!r} is not a strategy; write one such as Vote(16)")
    if not is_answers(made):
        require_async(made, literal(made), GENERATOR)
    return made


def parse_grade(text: str, names: Mapping[str, Any] | None = None, option: str = "grade") -> Verifier:
    """Read a verifier, such as `PassesTests()`, that is given with this option. Raises `InputError`."""
    made = _reader(names).read(text)
    refuse_class(made, text, "verifier")
    if not takes(made, 3):
        example = f"OnText({text})" if is_plain(made) else "MatchesReference() or PassesTests()"
        raise InputError(f"{text[:80]!r} is not a verifier; write one such as {example}")
    require_grade(f"--{option}", **{option: made})
    return made  # type: ignore[no-any-return]


def foreign(text: str, names: Mapping[str, Any] | None = None) -> list[str]:
    """The names in a strategy that come from other packages, each with its package."""
    used = {node.id for node in ast.walk(_reader(names).tree(text)) if isinstance(node, ast.Name)}
    return [plugins.origin(name, *plugins.IN_SPECS) for name in sorted(used - CONSTRUCTORS.keys() - set(names or ()))]


def reads_back(text: str, names: Mapping[str, Any], read: Callable[[str, Mapping[str, Any]], object]) -> bool:
    """Whether a spec means what it was written from: what is read from it is written in the same way."""
    try:
        return literal(read(text, names)) == text
    except InputError:
        return False


def _reader(names: Mapping[str, Any] | None) -> Reader:
    return Reader("strategy", CONSTRUCTORS | (names or {}), _find, partial(plugins.names, *plugins.IN_SPECS), LISTED)


def _find(name: str) -> Any:
    return plugins.find(name, *plugins.IN_SPECS)
