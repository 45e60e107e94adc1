"""What a verifier, critic or tool may return: their contracts, checked where they are called."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from inspect import isawaitable
from math import isnan
from numbers import Integral
from pathlib import Path
from traceback import extract_tb
from types import CoroutineType
from typing import TYPE_CHECKING, SupportsFloat, TypeVar

from metagen.candidate import Candidate, Feedback, Score
from metagen.errors import (
    InputError,
    MetagenError,
    SampleError,
    ToolError,
    ToolRefusal,
    VerifierError,
)
from metagen.problem import Problem
from metagen.run.protocols import Batched, Critic, Tool, Verifier, name_of
from metagen.settings import PLAIN_DEF, literal, unawaited

if TYPE_CHECKING:
    from metagen.run.run import Run

Result = TypeVar("Result")
_OURS = str(Path(__file__).parents[1]) + os.sep
AWAIT = "write await before the call"
ENDING = (SystemExit, asyncio.CancelledError)
"""What a user's code raises where it calls `exit()`, or where something that it waited for was cancelled by others."""


async def obtain_feedback(critic: Critic, problem: Problem, candidate: Candidate, run: "Run") -> Feedback | None:
    try:
        feedback = await awaited(critic(problem, candidate, run), critic)
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's critic raises is a critic's failure
        raise VerifierError(f"{name_of(critic)} {raised(error)}") from error
    given: object = feedback
    if given is not None and not isinstance(given, Feedback):
        remedy = f": write Feedback({given!r})" if isinstance(given, str) else ""
        raise VerifierError(f"{name_of(critic)} gave {given!r}: a critic gives Feedback, or None{remedy}")
    said: object = "" if feedback is None else feedback.text
    if not isinstance(said, str):
        raise VerifierError(f"{name_of(critic)} gave {feedback!r}, whose text is none: write Feedback(str(...))")
    return feedback


async def call_tool(tool: Tool, text: str, seconds: float, characters: int) -> str | ToolRefusal:
    name = name_of(tool)
    try:
        async with asyncio.timeout(seconds) as limit:
            said = await _said(tool, text)
    except ToolRefusal as refusal:
        return refusal
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's tool raises is a tool's failure
        said = f"took longer than {seconds:g} s" if limit.expired() else raised(error)
        raise ToolError(f"{name} {said}") from error
    if not isinstance(said, str):
        raise ToolError(f"{name} returned {type(said).__name__}, not a text")
    if len(said) > characters:
        raise ToolError(f"{name} said {len(said)} characters, and at most {characters} are read")
    return said


async def _said(tool: Tool, text: str) -> str:
    given: object = tool(text)
    if not isawaitable(given):
        raise ToolError(f"{name_of(tool)} is not async: write async def")
    try:
        said: str = await given
    except ENDING as error:
        if is_cancelled(error):
            raise
        raise as_error(error) from error
    if call := unawaited(said):
        raise ToolError(f"{name_of(tool)} returned {call}: {AWAIT}")
    return said


def call_for_text(function: Callable[..., object], *given: object) -> str:
    """The text that a user's plain function makes. Raises `ToolError`, which costs one sample, where it makes none."""
    text = _called(function, given, lambda made: made)
    if not isinstance(text, str):
        raise ToolError(f"{literal(function)} returned {type(text).__name__}, not a text")
    return text


def call_for_truth(function: Callable[..., object], *given: object) -> bool:
    """Whether what a user's plain function returns counts as true. Raises `ToolError` where it fails."""
    return _called(function, given, bool)


def _called(function: Callable[..., object], given: Sequence[object], read: Callable[[object], Result]) -> Result:
    try:
        return read(_made(function, given))
    except MetagenError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's function raises costs the sample
        raise ToolError(f"{literal(function)} {raised(error)}") from error


def _made(function: Callable[..., object], given: Sequence[object]) -> object:
    made = function(*given)
    if call := unawaited(made):
        raise ToolError(f"{literal(function)} returned {call}: {PLAIN_DEF}")
    return made


def raised(error: BaseException) -> str:
    """What a user's function raised, and in which line: the last one of the file that metagen called."""
    called = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    within = [frame for frame in called if frame.filename == called[0].filename]
    place = f" ({Path(within[-1].filename).name}, line {within[-1].lineno})" if within else ""
    return f"raised {type(error).__name__}: {error}{place}"


def is_cancelled(error: BaseException) -> bool:
    """Whether it was raised because this task is cancelled, and not by a user's code of its own accord."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def as_error(error: BaseException) -> RuntimeError:
    """The same as an error like others, with the place where it was raised."""
    return RuntimeError(f"{type(error).__name__}: {error}".rstrip(": ")).with_traceback(error.__traceback__)


def check_part(part: object, call: str) -> None:
    """Refuse what cannot be called by this `call` of a run: a class, or a text."""
    if isinstance(part, type):
        raise InputError(f"{call}: {part.__name__} is a class: write {part.__name__}(...)")
    if not callable(part):
        remedy = f": write parse({literal(part)})" if isinstance(part, str) else ""
        raise InputError(f"{call}: {literal(part)} cannot be called{remedy}")


def check_candidates(candidates: object) -> None:
    """Refuse a single candidate where several are judged."""
    if isinstance(candidates, Candidate):
        raise InputError("run.score judges a list of candidates: write [candidate]")


def check_problem(problem: object) -> None:
    """Refuse what a run cannot ask, such as a text."""
    if not isinstance(problem, Problem):
        remedy = f"write problem.asking({literal(problem)})" if isinstance(problem, str) else "the Problem comes second"
        wanted = "run.ask, run.sample and run.stream want a generator, then a Problem"
        raise InputError(f"{wanted}, not {literal(problem)}: {remedy}")


def check_count(n: object) -> None:
    """Refuse what is no number of samples."""
    if not (type(n) is int or isinstance(n, Integral)) or n < 1:
        raise InputError(f"run.sample draws 1 sample or more: n must be a whole number, not {n!r}")


async def awaited(result: Awaitable[Result], function: object) -> Result:
    """What an async function returns.

    Raises `InputError` for what a plain function returned, and for a call that an async one did not await. What would
    end the whole run without a word is raised as an error.
    """
    if not (isinstance(result, CoroutineType) or isawaitable(result)):  # sooner known of nearly all by its type
        raise InputError(f"{name_of(function)} is not async: write async def")
    try:
        returned = await result
    except ENDING as error:
        if is_cancelled(error):
            raise
        raise as_error(error) from error
    if call := unawaited(returned):
        raise InputError(f"{name_of(function)} returned {call}: {AWAIT}")
    return returned


def check_samples(drawn: object, generator: Batched, n: int) -> list[Candidate]:
    """What the `sample` of a generator gave. Raises `InputError` for what is no list of up to `n` candidates."""
    if isinstance(drawn, list | tuple):
        wrong = [each for each in drawn if not isinstance(each, Candidate)]
        if len(drawn) > n:
            raise InputError(f"{name_of(generator)}.sample returned {len(drawn)} Candidates where {n} were asked for")
        if not wrong:
            return [*drawn]
        drawn = wrong[0]
    raise InputError(
        f"{name_of(generator)}.sample returned {type(drawn).__name__}, not Candidates: return what "
        "`await run.sample(...)` gave, or a list of Candidate((text,))"
    )


def list_verdicts(verdicts: Iterable[object], verifier: Verifier) -> list[object]:
    """What a verifier gave as a list. Raises `VerifierError` for what is none, such as a set, which has no order."""
    wanted = "a verifier returns a list, with a verdict for each candidate"
    if isinstance(verdicts, Mapping | Set | str | bytes):
        raise VerifierError(f"{name_of(verifier)} gave a {type(verdicts).__name__}: {wanted}")
    try:
        each = iter(verdicts)
    except TypeError:
        raise VerifierError(f"{name_of(verifier)} gave {verdicts!r}: {wanted}") from None
    return [*each]


def check_verdict(verdict: object, verifier: object) -> Score | VerifierError | None:
    """The verdict in plain floats. A bare number of any kind is read as a `Score` of that value.

    For a verdict that is not a number it returns the error, so that the other candidates keep theirs.
    """
    if verdict is None:
        return None
    if not isinstance(verdict, Score) and (call := unawaited(verdict)):
        return VerifierError(f"{name_of(verifier)} gave {call}: {AWAIT}")
    score = verdict if isinstance(verdict, Score) else Score(verdict)  # type: ignore[arg-type]
    if type(score.value) is float and type(score.reason) is str and not (score.steps or isnan(score.value)):
        return score  # as nearly all are, at a tenth of the time
    try:
        value, steps = _as_number(score.value), tuple(map(_as_number, score.steps))
        return replace(score, value=value, steps=steps, reason=str(score.reason))
    except (TypeError, ValueError, OverflowError):
        return VerifierError(f"{name_of(verifier)} gave {verdict!r}: a verdict is a Score with a number, or None")


def settled(judged: Sequence[Score | SampleError | None], run: "Run") -> list[Score | None]:
    """No verdict where a verifier failed on one of several candidates; a note says how many, and why the first.

    Raises the first error where it failed on all.
    """
    failed = [each for each in judged if isinstance(each, SampleError)]
    if failed and len(failed) == len(judged):
        raise failed[0]
    if failed:
        run.note(f"no verdict on {len(failed)} of {len(judged)} candidates; the first: {failed[0]}")
    return [None if isinstance(each, SampleError) else each for each in judged]


def _as_number(value: object) -> float:
    """Raises `TypeError` or `ValueError` for what is none: a text, an array, NaN."""
    if not isinstance(value, SupportsFloat) or getattr(value, "shape", None):
        raise TypeError(f"{value!r} is not a number")
    if isnan(number := float(value)):
        raise ValueError("NaN is not a number")
    return number
