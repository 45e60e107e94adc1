"""What a verifier, critic or tool may return: their contracts, checked where they are called."""

import asyncio
from dataclasses import replace
from math import isnan
from numbers import Real
from typing import TYPE_CHECKING

from metagen.candidate import Candidate, Feedback, Score
from metagen.errors import (
    MetagenError,
    ToolError,
    ToolRefusal,
    VerifierError,
)
from metagen.problem import Problem
from metagen.run.protocols import Critic, Tool, Verifier, name_of

if TYPE_CHECKING:
    from metagen.run.run import Run


async def obtain_feedback(critic: Critic, problem: Problem, candidate: Candidate, run: "Run") -> Feedback | None:
    try:
        feedback = await critic(problem, candidate, run)
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's critic raises is a critic's failure
        raise VerifierError(f"{name_of(critic)} raised {type(error).__name__}: {error}") from error
    if feedback is not None and not isinstance(feedback, Feedback):
        raise VerifierError(f"{name_of(critic)} gave {feedback!r}: a critic gives Feedback, or None")
    return feedback


async def call_tool(tool: Tool, text: str, seconds: float, characters: int) -> str | ToolRefusal:
    name = name_of(tool)
    try:
        async with asyncio.timeout(seconds) as limit:
            said = await tool(text)
    except ToolRefusal as refusal:
        return refusal
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's tool raises is a tool's failure
        said = f"took longer than {seconds:g} s" if limit.expired() else f"raised {type(error).__name__}: {error}"
        raise ToolError(f"{name} {said}") from error
    if not isinstance(said, str):
        raise ToolError(f"{name} returned {type(said).__name__}, not a text")
    if len(said) > characters:
        raise ToolError(f"{name} said {len(said)} characters, and at most {characters} are read")
    return said


def check_verdict(score: Score, verifier: Verifier) -> Score:
    """The score in plain floats."""
    if isinstance(score, Score):
        numbers = (score.value, *score.steps)
        if all(map(_is_number, numbers)):
            return replace(score, value=float(score.value), steps=tuple(map(float, score.steps)))
    raise VerifierError(f"{name_of(verifier)} gave {score!r}: a verdict is a Score with a number, or None")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isnan(value)
