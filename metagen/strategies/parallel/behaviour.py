"""Votes on code, by what it does: programs that do the same vote together, however they are written."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from metagen.answers.structured import Code
from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError, ToolError
from metagen.execution.blocks import PYTHON, last_block
from metagen.execution.limits import MIB
from metagen.execution.probes import PASSED, kind_of, outcomes
from metagen.execution.programs import PYTHON_MEMORY, checked_settings, limits
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.execution.suites import completes
from metagen.problem import Problem
from metagen.prompts import write_calls, write_tests
from metagen.run import Generator, Run
from metagen.settings import freeze, require_generator, require_whole, spelled
from metagen.strategies.choosing import majority
from metagen.strategies.parallel.vote import elected

Behaviour = tuple[str, ...]
_CODE = Code()


@dataclass(frozen=True, slots=True, repr=False)
class Programs:
    """What votes on programs have in common: n samples, whoever writes what they are tried on, and the sandbox."""

    n: int
    _: KW_ONLY
    of: Generator | None = None
    writer: Generator | None = None
    k: int = 8
    seconds: float = 10.0
    memory: int = 2048 * MIB
    sandbox: Sandbox = CONFINED

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n, k=self.k)
        require_generator(self, of=self.of, writer=self.writer)
        checked_settings(self, self.seconds, self.memory, PYTHON_MEMORY, self.sandbox)

    @property
    def drawing(self) -> tuple[Generator | None, ...]:
        """The generator that draws the answer."""
        return (self.of,)


@dataclass(frozen=True, slots=True, repr=False)
class CodeVote(Programs):
    """The program that most of n samples agree with: they vote by what they do on the same inputs.

    y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  argmax over behaviours b of Σᵢ [y⁽ⁱ⁾(inputs) = b]

    The first sample of the largest group is returned (the clusters of AlphaCode; Li et al. 2022, section 4.6). `inputs`
    are calls, such as `"double(2)"`, or texts for standard input. Without them `writer`, or the run's model, is asked
    for up to `k` calls. Programs that fail or raise on every input do not vote, nor do samples without code. Ties go to
    the sample that was drawn first.
    """

    _: KW_ONLY
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self, "inputs")
        Programs.__post_init__(self)  # `super()` does not work in a class with slots that a decorator makes anew
        if not isinstance(self.inputs, tuple) or not all(isinstance(each, str) for each in self.inputs):
            raise InputError(f'CodeVote: inputs must be a tuple of texts, such as ("double(2)",), not {self.inputs!r}')

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        codes = _codes(problem, candidates)
        probes = self.inputs
        if any(codes) and not probes:
            probes = await _written(problem.aside(write_calls(problem.text, self.k)), "call", self, run)
        behaviours = await _behaviours(codes, probes, self, run)
        voting = [
            each if each and not all(outcome.startswith(("failed", "raised")) for outcome in each) else None
            for each in behaviours
        ]
        return elected(candidates, majority(voting), run)


@dataclass(frozen=True, slots=True, repr=False)
class CodeT(Programs):
    """The program that most tests and most other programs agree with, over tests that a model writes.

    y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  t₁ … t_k ~ `writer`(· | x), assertions. Programs that pass the same tests are a group; the
    score of a group is its size times the number of tests it passes, and the first sample of the best group is returned
    (dual execution agreement; Chen et al. 2023, section 2). Ties go to the sample that was drawn first.
    """

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        codes, probes = _codes(problem, candidates), tuple[str, ...]()
        if any(codes):
            probes = await _written(problem.aside(write_tests(problem.text, self.k)), "assert", self, run)
        return elected(candidates, agreed(await _behaviours(codes, probes, self, run)), run)


def agreed(behaviours: Sequence[Behaviour | None]) -> int | None:
    """The first of the group whose size times the number of tests it passes is largest; `None` if none passes any."""
    passed = [tuple(outcome == PASSED for outcome in each or ()) for each in behaviours]
    scores = [passed.count(each) * sum(each) for each in passed]
    return scores.index(max(scores)) if any(scores) else None


def _codes(problem: Problem, candidates: Sequence[Candidate]) -> list[str | None]:
    found = [_CODE.extract(each.text, finished=each.finished) for each in candidates]
    return [None if code is None else completes(problem.prompt, code) for code in found]


async def _written(asking: Problem, kind: str, of: Programs, run: Run) -> tuple[str, ...]:
    """The calls or assertions that a model writes, one per line; none, with a note, where its reply is lost."""
    try:
        reply = await run.ask(of.writer, asking, part="stage")
    except SampleError as error:
        run.note(f"the reply that writes inputs is lost ({error})")
        return ()
    lines = (re.sub(r"^\s*(?:>>>|[-*]|\d+[.)])\s*", "", line) for line in last_block(reply.text, PYTHON).splitlines())
    found = dict.fromkeys(line.strip() for line in lines if kind_of(line) == kind)
    return tuple(found)[: of.k]


async def _behaviours(
    codes: Sequence[str | None], probes: Sequence[str], of: Programs, run: Run
) -> list[Behaviour | None]:
    """What each program does on the probes; equal ones are run once. `None` without code, or if the sandbox failed."""
    distinct = [code for code in dict.fromkeys(codes) if code is not None]
    if not distinct or not probes:
        if distinct:
            run.note("there are no inputs to tell the programs apart by")
        return [None] * len(codes)

    async def behaviour(code: str, _: Run) -> Behaviour | None:
        try:
            return await outcomes(code, probes, of.sandbox, limits(of.seconds, of.memory))
        except ToolError as error:
            run.note(f"not run: {error}")
            return None

    found = dict(zip(distinct, await run.map(behaviour, distinct), strict=True))
    return [found[code] if code is not None else None for code in codes]
