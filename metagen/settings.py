"""How strategies and verifiers carry their settings: they print as their spec, and refuse nonsense at once.

A strategy is a frozen dataclass. With `__repr__ = spelled`, its `repr` is the text that `metagen.parse` reads back.
"""

import functools
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite, isinf
from types import CoroutineType
from typing import Any, TypeGuard

from metagen.errors import InputError

MOST = 2**31
"""The largest `limit` and `concurrency`. Python refuses much larger numbers."""
CONCURRENCY = 256
"""Problems at once. An engine queues what it cannot run yet, so more costs only memory."""
WAITING = 600.0
"""Seconds by the clock for one call of a tool: programs have limits of their own, and wait for a free processor."""
PLAIN = "; a plain function of (prompt, text) goes into OnText(...)"
GENERATOR = ("problem", "run")
"""What a generator is called with."""
VERIFIER = ("problem", "candidates", "run")
"""What a verifier is called with: many candidates."""
CRITIC = ("problem", "candidate", "run")
"""What a critic is called with: one candidate."""
KINDS: Mapping[str, str] = {"candidates": "verifier", "candidate": "critic", "weights": "rule"}
"""What is called with three arguments, by the name of the second."""
MISPLACED: Mapping[tuple[str, tuple[str, ...]], str] = {
    ("critic", VERIFIER): "is a critic, which says what is wrong with one candidate: give a verifier, which returns "
    "verdicts",
    ("verifier", CRITIC): "is a verifier, which returns verdicts: give a critic, such as Reason(by={})",
    ("rule", VERIFIER): "is a rule that ends a vote: write until={}",
}
"""What to say of one kind in the place of another."""
as_str = str.__str__
"""The same text as a plain `str`, which can be written down; numpy and others have texts of their own kinds."""


def spelled(self: object) -> str:
    """The call that makes this object: positional settings bare, others by name, defaults left out.

    A positional setting that comes after one that is left out is given by its name.
    """
    return f"{type(self).__name__}({', '.join(_arguments(self))})"


def _arguments(of: object) -> Iterator[str]:
    in_place = True
    for parameter in inspect.signature(type(of)).parameters.values():
        value = getattr(of, parameter.name)
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from map(literal, value)
        elif value != parameter.default:
            bare = in_place and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            yield literal(value) if bare else f"{parameter.name}={literal(value)}"
        else:
            in_place = False


def literal(value: object) -> str:
    """A setting as it is written in a spec: strings in double quotes, functions by their names."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    if isinstance(value, float) and isinf(value):
        return "1e999" if value > 0 else "-1e999"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(each)}" for key, each in value.items()) + "}"
    if inspect.isfunction(value):
        return value.__name__
    return repr(value)


def counted(count: int, word: str) -> str:
    """So many of something, such as `1 sample` and `2,000 replies`."""
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{count:,} {word if count == 1 else many}"


def freeze(of: object, name: str) -> None:
    """Make tuples of the lists in a setting."""
    object.__setattr__(of, name, _frozen(getattr(of, name)))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def require_whole(of: object, least: int = 1, /, **numbers: Any) -> None:
    """Refuse what is not a whole number of at least `least`."""
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{type(of).__name__}: {name} must be a whole number of {least} or more, not {value!r}")


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number that a float can hold, and no `True`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def is_limit(value: object) -> bool:
    """Whether it is a number above 0, infinity among them."""
    return (is_number(value) or value == inf) and value > 0


def require_number(of: object, /, **numbers: Any) -> None:
    """Refuse what is not a finite number."""
    for name, value in numbers.items():
        if not is_number(value):
            raise InputError(f"{type(of).__name__}: {name} must be a number, not {value!r}")


def require_text(of: object, /, **texts: Any) -> None:
    """Refuse what is not a text; it may be empty."""
    for name, value in texts.items():
        if not isinstance(value, str):
            raise InputError(f"{type(of).__name__}: {name} must be a text, not {value!r}")


def require_switch(of: object, /, **given: Any) -> None:
    """Refuse what is neither `True` nor `False`: a text would count as true."""
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InputError(f"{type(of).__name__}: {name} must be True or False, not {value!r}")


OURS = frozenset({"model", "messages", "prompt", "n", "stream"})
"""Fields of a request that say what is asked and how it is answered."""


def require_foreign(of: object, /, **given: Mapping[str, Any] | None) -> None:
    """Refuse further fields of requests that are ours: another `n` would be paid for and not be used."""
    for name, value in given.items():
        if ours := OURS & (value or {}).keys():
            raise InputError(f"{type(of).__name__}: {name} may not hold {min(ours)!r}, which metagen sets itself")


def require_generator(of: object, /, **given: Any) -> None:
    """Refuse what is not an async function called as `(problem, run)`."""
    _require_call(type(of).__name__, given, "a strategy", GENERATOR)


def require_generators(of: Any, least: int, /, example: str) -> None:
    """Make a tuple of a list in the setting `of`, and refuse fewer generators than `least`, 1 or 2."""
    freeze(of, "of")
    if not isinstance(of.of, tuple) or len(of.of) < least:
        wanted = "generators" if least == 1 else "two generators or more"
        raise InputError(f"{type(of).__name__}: of must hold {wanted}, such as {example}")
    for generator in of.of:
        require_generator(of, of=generator)


def require_stepper(of: object, /, **given: Any) -> None:
    """Refuse what is no strategy, or one that does not write a reply step by step."""
    require_generator(of, **given)
    for name, value in given.items():
        if not can_step(value):
            raise InputError(
                f"{type(of).__name__}: {name}={literal(value)} cannot step: it gives whole replies only. "
                "Models can, CoT, and functions that pass the problem on as it is"
            )


def can_step(generator: object) -> bool:
    """Whether a generator says of itself, by an attribute `can_step`, that it continues a partial reply by one step.

    What is left out means the run's model, which can. A function is believed, also one of an object or a partial one.
    """
    if generator is None or inspect.isroutine(generator) or isinstance(generator, functools.partial):
        return True
    return bool(getattr(generator, "can_step", False))


def require_verifier(of: object, /, **given: Any) -> None:
    """Refuse what is not an async function called as `(problem, candidates, run)`."""
    _require_call(type(of).__name__, given, "a verifier", VERIFIER, PLAIN)


def require_critic(of: object, /, **given: Any) -> None:
    """Refuse what is not an async function called as `(problem, candidate, run)`."""
    _require_call(type(of).__name__, given, "a critic", CRITIC)


def require_tool(of: object, /, **given: Any) -> None:
    """Refuse what is not an async function called as `(text)`. No tool stands in for `None`."""
    for name, value in given.items():
        if value is None:
            raise InputError(f'{type(of).__name__}: {name} must be a tool, such as Search("passages.jsonl")')
    _require_call(type(of).__name__, given, "a tool", ("text",))


def require_strategy(where: str, /, **given: Any) -> None:
    """Refuse what no run can start with; `where` names the call that was given it."""
    _require_call(where, given, "a strategy", GENERATOR)


def require_grade(where: str, /, **given: Any) -> None:
    """Refuse a grade that is no verifier; `where` names the call that was given it."""
    _require_call(where, given, "a verifier", VERIFIER, PLAIN)


def require_async(value: object, where: str, signature: Sequence[str]) -> None:
    """Refuse a plain function where an async one is awaited: it would fail after its samples are paid for."""
    if not is_async(value):
        name = getattr(value, "__name__", "__call__").replace("<lambda>", "NAME")
        if inspect.isasyncgenfunction(value) or inspect.isasyncgenfunction(type(value).__call__):
            raise InputError(f"{where} yields: write return in place of yield")
        raise InputError(f"{where} is not async: write async def {name}({', '.join(signature)})")


def _require_call(
    owner: str, given: Mapping[str, Any], wanted: str, signature: tuple[str, ...], hint: str = ""
) -> None:
    for name, value in given.items():
        if value is None or _all_are_called_with(type(value), signature):  # type: ignore[arg-type]  # a class has a hash
            continue
        where = f"{owner}: {name}={literal(value)}"
        if isinstance(value, type):
            raise InputError(f"{owner}: {name}={value.__name__} is a class: write {value.__name__}(...)")
        if not takes(value, len(signature)):
            said = f"is not {wanted}, which is an async function of ({', '.join(signature)})"
            raise InputError(f"{where} {said}{hint if is_plain(value) else _instead(value, signature)}")
        if misplaced := MISPLACED.get((kind_of(value), signature)):
            raise InputError(f"{where} {misplaced.format(literal(value))}")
        require_async(value, where, signature)


def _instead(value: object, signature: tuple[str, ...]) -> str:
    """What to write in the place of a text, or of several in brackets."""
    if isinstance(value, list | tuple):
        return ": write one, or each by itself, without brackets"
    if not isinstance(value, str):
        return ""
    if "(" in value:
        return f": write {value} without quotes, or parse({literal(value)})"
    made = {GENERATOR: "Model", VERIFIER: "ProcessReward"}.get(signature)
    return f": write {made}({literal(value)})" if made else ""


@functools.lru_cache(1024)
def _all_are_called_with(kind: type, signature: tuple[str, ...]) -> bool:
    """Whether every object of a kind is awaited when called with such arguments, so that none need be looked at."""
    call = getattr(kind, "__call__", None)  # noqa: B004 (what it is matters)
    is_called = inspect.isfunction(call) and is_async(call) and takes(call, len(signature) + 1)
    return is_called and (kind_of(call), signature) not in MISPLACED


def kind_of(value: object) -> str:
    """Whether it is a verifier, a critic or a rule by the names of what it needs; empty where they do not say."""
    given = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    found = {each.name.lstrip("_") for each in given if each.default is each.empty} & KINDS.keys()
    kind = KINDS[found.pop()] if len(found) == 1 else ""
    return kind if is_async(value) is (kind != "rule") else ""


PLAIN_DEF = "write a plain def, which awaits nothing"


def unawaited(value: object) -> str:
    """The call that made a coroutine, where a value is due, and nothing for a value; a coroutine is closed."""
    if not isinstance(value, CoroutineType):
        return ""
    value.close()
    return f"{value.__qualname__}(...) without awaiting it"


def require_plain(value: object, where: str) -> None:
    """Refuse an async function where a plain one is called: what it returned would count as true."""
    if is_async(value):
        raise InputError(f"{where} is async: write a plain def")


def is_async(value: object) -> bool:
    """Whether it is awaited when called: an `async def`, an object whose `__call__` is one, or a wrapper of either."""
    while isinstance(value, functools.partial):
        value = value.func
    return any(
        inspect.iscoroutinefunction(inspect.unwrap(each)) for each in (value, type(value).__call__) if callable(each)
    )


def is_plain(value: object) -> bool:
    """Whether it is a function of two texts, as it seems."""
    return inspect.isfunction(value) and not is_async(value) and takes(value, 2)


def count_needed(value: object) -> int:
    """How many positional arguments `value` cannot be called without."""
    given = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    return sum(each.default is each.empty and each.kind <= each.POSITIONAL_OR_KEYWORD for each in given)


def takes(value: object, arguments: int) -> bool:
    """Whether `value` can be called with so many positional arguments."""
    try:
        inspect.signature(value).bind(*range(arguments))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def require_seconds(of: object, seconds: object) -> None:
    """Refuse a limit that is none."""
    if not is_limit(seconds):
        raise InputError(f"{type(of).__name__}: seconds must be a number above 0, not {seconds!r}")
