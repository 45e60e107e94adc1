"""Scripted models and strategies that the tests share."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

from metagen import Candidate, Completion, Feedback, Problem, Request, Run, Score, Scripted
from metagen.execution.coq import open_hole
from metagen.request import Meter, Outcome


async def length(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier: the longer, the better."""
    return [Score(float(len(candidate.text))) for candidate in candidates]


def vowels(prompt: str, text: str) -> float:
    """A plain function that judges texts."""
    return float(sum(text.count(vowel) for vowel in "aeiou"))


async def brief(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier of partial replies, too, between 0 and 1: the shorter, the better; none for the shortest."""
    lines = [candidate.text.count("\n") for candidate in candidates]
    return [Score(1 / (1 + count)) if count else None for count in lines]


async def silent(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier that has no verdict on anything."""
    return [None] * len(candidates)


async def two_hms(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """An oracle that is hard to please."""
    return [Score(float(candidate.text.count("\n") == 2)) for candidate in candidates]


def short(text: str) -> bool:
    """Where a step ends, for who joins lines: after two."""
    return text.count("\n") == 2


async def asks_twice(problem: Problem, run: Run) -> Candidate:
    """A strategy that is a function: refine once."""
    first = await run.ask(None, problem)
    return await run.ask(None, problem.asking(f"{problem.text}\nImprove: {first.text}"))


async def forgets(problem: Problem, run: Run) -> Candidate:
    """A strategy that writes steps, and begins anew with each."""
    return await run.ask(None, problem.asking(f"{problem.text} Think."))


class Patient(Scripted):
    """Says what a script says, up to so many times: then somebody asks for ever."""

    def __init__(self, script: Callable[[Request], str], limit: int = 60, **settings: Any) -> None:
        def counted(request: Request) -> str:
            self.asked += 1
            assert self.asked <= limit, "it is asked for ever"
            return script(request)

        super().__init__(counted, **settings)
        self.asked = 0


async def fails(problem: Problem, run: Run) -> Candidate:
    """A strategy that loses its sample."""
    return await run.ask(None, problem.asking("x" * 10_000))


async def two_stages(problem: Problem, earlier: Sequence[Candidate], run: Run) -> Candidate:
    """A stage that is a function."""
    return await run.ask(None, problem.asking(f"{problem.text}\nSo far: {len(earlier)}"))


async def objects(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
    """A critic that is a function."""
    return Feedback("Not 7.") if "7" in candidate.text else None


async def lookup(text: str) -> str:
    """A tool."""
    return f"{text}?"


async def compute(text: str) -> str:
    """A tool that prints the last number of a program."""
    *_, last = re.findall(r"\d+", text)
    return str(last)


async def prove(text: str) -> str:
    """A tool that proves nothing and leaves a hole."""
    return f"{text}\n{open_hole('|- True')}"


def two_votes(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
    """A rule that is a function."""
    return len(keys) == 2


NAMES: dict[str, Any] = {
    "length": length,
    "two_votes": two_votes,
    "asks_twice": asks_twice,
    "fails": fails,
    "two_stages": two_stages,
    "lookup": lookup,
    "objects": objects,
    "vowels": vowels,
    "brief": brief,
    "two_hms": two_hms,
    "short": short,
    "compute": compute,
    "prove": prove,
}


def dice(request: Request) -> str:
    """A model that answers by its seed alone, at several lengths, and continues with what it has begun."""
    rng = random.Random(f"{request.seed} {request.draw} {request.prompt}" if request.seed is None else request.seed)
    written = request.partial.count("\n")
    return "hm\n" * (rng.randrange(20) - written) + f"The answer is {rng.choice([7, 7, 8, 9])}."


class Counting(Scripted):
    """A scripted model that keeps the requests it gets."""

    def __init__(self, script: Callable[[Request], str | Completion]) -> None:
        super().__init__(script)
        self.requests: list[Request] = []

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        self.requests.append(request)
        return await super().generate(request, spend)


def late(script: Callable[[Request], str], seed: int) -> Callable[[Request], Awaitable[str]]:
    """The same model with random latency."""
    rng = random.Random(seed)

    async def answer(request: Request) -> str:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        return script(request)

    return answer
