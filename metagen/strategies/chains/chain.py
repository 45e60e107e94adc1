"""Chains: prompts that build on each other."""

import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Protocol, cast

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.leaves import find_answering
from metagen.problem import Problem
from metagen.prompts import chain_of_thought, few_shot, filled, follow_on, places, without_distraction
from metagen.run import Generator, Run
from metagen.run.contracts import call_for_text
from metagen.run.protocols import name_of
from metagen.settings import (
    GENERATOR,
    can_step,
    count_needed,
    freeze,
    literal,
    require_async,
    require_generator,
    require_plain,
    require_switch,
    spelled,
    takes,
)


@dataclass(frozen=True, slots=True, repr=False)
class CoT:
    """Chain of thought: the thought, then the answer, in one completion.

    z, y ~ g(· | x, "Let's think step by step."), zero-shot (Kojima et al. 2022), or after worked examples
    `shots` = ((question, solution), …), few-shot (Wei et al. 2022). The answer is asked for in the form that the
    problem reads, such as "End with: The answer is X.", unless `asks` is false, or all models that draw the answer ship
    with metagen: they know the form.
    """

    _: KW_ONLY
    shots: tuple[tuple[str, str], ...] = ()
    of: Generator | None = None
    asks: bool = True

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        require_switch(self, asks=self.asks)
        freeze(self, "shots")
        check_shots(self, self.shots)

    @property
    def can_step(self) -> bool:
        return can_step(self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await run.ask(self.of, self._asking(problem, run), part="last")

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates for the one prompt."""
        return await run.sample(self.of, self._asking(problem, run), n)

    def _asking(self, problem: Problem, run: Run) -> Problem:
        asks = self._form(problem, run) if self.asks else ""
        text = few_shot(problem.text, self.shots, asks) if self.shots else chain_of_thought(problem.text, asks)
        asking = problem.asking(text)
        return asking if problem.partial is None else asking.continuing(problem.partial)

    def _form(self, problem: Problem, run: Run) -> str:
        """What asks for the form of the answer, unless all models that draw it know the form."""
        names = {leaf.name for leaf in find_answering(self.of)} or {""}
        return max(run.asks(problem, name) for name in names)


class Stage(Protocol):
    """A part of a chain that reads what was written before it: y_t ~ g(· | x, y₁ … y_{t-1})."""

    async def __call__(self, problem: Problem, earlier: Sequence[Candidate], run: Run, /) -> Candidate: ...


@dataclass(frozen=True, slots=True, repr=False)
class Ask:
    """A prompt of your own: y ~ g(· | template(x)); as a stage of a chain, y_t ~ g(· | template(x, y₁ … y_{t-1})).

    In a text `{question}` stands for x, `{1}`, `{2}`, … for earlier replies, `{last}` for the last. Instead of a text,
    `template` may be a plain function `(problem) -> str`; x is `problem.text`. What it raises costs its samples.
    `shots` = ((filled template, reply), …) are worked examples that go before it. All samples of one problem are one
    request, as without it.
    """

    template: str | Callable[[Problem], str]
    _: KW_ONLY
    shots: tuple[tuple[str, str], ...] = ()
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        freeze(self, "shots")
        check_shots(self, self.shots)
        template = self.template
        if isinstance(template, type) or not ((isinstance(template, str) and template.strip()) or takes(template, 1)):
            raise InputError(f'Ask: needs a template, such as Ask("{{question}}\\nPlan first."), not {template!r}')
        require_plain(template, f"Ask: template={literal(template)}")
        if isinstance(template, str) and not places(template) and (other := MISNAMED.search(template)):
            raise InputError(
                f"Ask: nothing is filled in for {other[0]} of {literal(template)}: write {{question}} there"
            )

    @property
    def can_step(self) -> bool:
        return can_step(self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await self.follow(problem, (), run)

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates for the one prompt."""
        return await run.sample(self.of, self._asking(problem, ()), n)

    async def follow(self, problem: Problem, earlier: Sequence[Candidate], run: Run) -> Candidate:
        """Draw one candidate that may read earlier replies: a `Stage`."""
        return await run.ask(self.of, self._asking(problem, earlier), part="last")

    def _asking(self, problem: Problem, earlier: Sequence[Candidate]) -> Problem:
        text = self._filled(problem, [candidate.text for candidate in earlier])
        asking = problem.asking(few_shot(text, self.shots) if self.shots else text)
        return asking if problem.partial is None else asking.continuing(problem.partial)

    def _filled(self, problem: Problem, replies: Sequence[str]) -> str:
        if isinstance(self.template, str):
            return filled(self.template, problem.text, replies)
        return call_for_text(self.template, problem)


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Chain:
    """Prompts that build on each other: y₁ ~ g₁(· | x), y₂ ~ g₂(· | x, y₁), …; the last is returned.

    A stage is an `Ask`, an `async def (problem, earlier, run)`, or any generator, which finds the earlier replies in
    the text of its problem (`prompts.follow_on`). Each can use a model of its own. A chain gives whole replies.
    """

    of: tuple[Stage | Generator, ...]

    __repr__ = spelled

    def __init__(self, *of: Stage | Generator) -> None:
        if not of:
            raise InputError("Chain: needs stages, such as Chain(Ask('{question} Plan first.'), CoT())")
        for stage in of:
            if isinstance(stage, type) or not (takes(stage, 2) or takes(stage, 3)):
                hint = ": write each by itself, without brackets" if isinstance(stage, list | tuple) else ""
                raise InputError(f"Chain: {literal(stage)} is neither a stage nor a strategy{hint}")
            signature = ("problem", "earlier", "run") if _reads_earlier(stage) else GENERATOR
            require_async(stage, f"Chain: {literal(stage)}", signature)
        for earlier, stage in enumerate(of):
            _check_stage(stage, earlier)
        object.__setattr__(self, "of", of)

    @property
    def drawing(self) -> tuple[Stage | Generator, ...]:
        """The stage that draws the answer."""
        return self.of[-1:]

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        earlier: list[Candidate] = []
        for stage in self.of:
            if isinstance(stage, Ask) or _reads_earlier(stage):
                generator: Generator = _Bound(cast(Stage | Ask, stage), tuple(earlier))
                asking = problem.aside(problem.text)
            else:
                generator = cast(Generator, stage)
                asking = problem.aside(follow_on(problem.text, [candidate.text for candidate in earlier]))
            is_last = len(earlier) == len(self.of) - 1
            earlier.append(await run.ask(generator, asking, part="last" if is_last else "stage"))
        return earlier[-1]


def _reads_earlier(stage: object) -> bool:
    """Whether it is called as (problem, earlier, run). A strategy may have a third setting that is left out."""
    return takes(stage, 3) and count_needed(stage) != len(GENERATOR)


def _check_stage(stage: object, earlier: int) -> None:
    """Refuse a template that names replies alone, and none of those before it."""
    if isinstance(stage, Ask) and isinstance(stage.template, str):
        named = places(stage.template)
        known = {"question", "last", *(str(number) for number in range(1, earlier + 1))}
        if named and not known & named:
            offered = ", ".join(f"{{{name}}}" for name in sorted(known))
            raise InputError(f"Chain: {literal(stage)} reads nothing of what is there, which is {offered}")


MISNAMED = re.compile(r"(?<![a-zA-Z\\])\{(?:prompt|problem|input|query|task|text|instruction)\}")
"""What other programs call the question in their templates."""


class _Bound:
    """A stage with what was written before it: a generator."""

    def __init__(self, stage: "Stage | Ask", earlier: Sequence[Candidate]) -> None:
        self._stage, self._earlier = stage, earlier
        self.__name__ = name_of(stage)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        stage = self._stage.follow if isinstance(self._stage, Ask) else self._stage
        return await stage(problem, self._earlier, run)


@dataclass(frozen=True, slots=True, repr=False)
class System2Attention:
    """System 2 attention: the question without what distracts from it, then its answer.

    x′ ~ g(· | rewrite(x));  y ~ g(· | x′)  (Weston and Sukhbaatar 2023, section 3). The rewriting can have a generator
    of its own, `by`. Where it comes back empty or cut off, the question is asked as it is, and a note says so.
    """

    _: KW_ONLY
    of: Generator | None = None
    by: Generator | None = None
    """Rewrites; if omitted, the run's model."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of, by=self.by)

    @property
    def drawing(self) -> tuple[Generator | None, ...]:
        """The generator that draws the answer."""
        return (self.of,)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        rewritten = await run.ask(self.by, problem.aside(without_distraction(problem.text)), part="stage")
        text = rewritten.text.strip()
        if rewritten.cut or not text:
            run.note(f"the rewritten question was {'cut off' if rewritten.cut else 'empty'}: the original is asked")
            text = problem.text
        return await run.ask(self.of, problem.aside(text), part="last")


def check_shots(of: object, shots: object) -> None:
    """Refuse what are no pairs of texts."""
    for shot in shots if isinstance(shots, tuple) else (shots,):
        if not isinstance(shot, tuple) or len(shot) != 2 or not all(isinstance(text, str) for text in shot):
            name = type(of).__name__
            raise InputError(f"{name}: shots must be pairs of texts, ((question, solution), ...), not {shot!r}")


def ended(reply: Candidate, mark: str) -> Candidate:
    """A step that nothing follows: it is the whole reply, without the mark of what would follow.

    A reply that a limit cut is not whole.
    """
    said, marked, rest = reply.text.partition(mark)
    if marked and not rest.strip():  # the token ids hold the mark, too
        reply = replace(reply, steps=(said.rstrip(),), tokens=(), model="")
    return replace(reply, finished=not reply.cut)
