"""How long a reasoning model thinks: thoughts that are ended, continued, and given up.

A thought is continued from its token ids, so each part reads what was written before it from the prefix cache. `of`
must be a model, or pass the problem on as it is. The reply of a model that does not think is returned unchanged.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from math import log

from metagen.candidate import Candidate
from metagen.errors import InputError, NoCandidate, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.rest import NO_ROOM, cut, or_cut
from metagen.settings import (
    counted,
    require_generator,
    require_number,
    require_stepper,
    require_text,
    require_verifier,
    require_whole,
    spelled,
)
from metagen.strategies.choosing import broke_off, majority, values, vote_key, vote_keys
from metagen.strategies.judging import judged
from metagen.strategies.parallel.vote import elected
from metagen.strategies.tree.steps import stands_still

HURRY = "The answer is"
WORD = "Wait"
EVERY = 256
"""Tokens of a part, where samples grow side by side."""


def goes_on(candidate: Candidate) -> bool:
    """Whether a thought can be continued."""
    return candidate.open and not candidate.finished and not candidate.cut


async def answered(of: Generator | None, problem: Problem, thought: Candidate, hurry: str, run: Run) -> Candidate:
    """The whole reply: a thought that is open is ended, and the answer begins with `hurry`."""
    if thought.finished or thought.cut:
        return thought
    return await or_cut(thought, run.ask(of, problem.continuing(thought.concluding(hurry))), run)


@dataclass(frozen=True, slots=True, repr=False)
class Think:
    """Thinks for up to `tokens` tokens, and continues after up to `waits` ends; then answers (budget forcing).

    A thought of `tokens` tokens is ended, and the answer begins with `hurry`. A thought that ends earlier is continued:
    `word` replaces its end, up to `waits` times. (s1, Muennighoff et al. 2025, section 3.1.)
    """

    tokens: int
    _: KW_ONLY
    waits: int = 0
    word: str = WORD
    hurry: str = HURRY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, tokens=self.tokens)
        require_whole(self, 0, waits=self.waits)
        require_text(self, word=self.word, hurry=self.hurry)
        require_generator(self, of=self.of)
        require_stepper(self, of=self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        thought = await run.ask(self.of, problem.stepping(self.tokens))
        for _ in range(self.waits):
            left = self.tokens - thought.thought_tokens
            if thought.open or thought.cut or not thought.thought or left < 1:
                break
            going_on = problem.stepping(left).continuing(thought.thinking_on(self.word))
            thought = await or_cut(thought, run.ask(self.of, going_on), run)
        if goes_on(thought):
            run.note(f"the thought was ended after {counted(thought.thought_tokens, 'token')}")
        return await answered(self.of, problem, thought, self.hurry, run)


@dataclass(frozen=True, slots=True, repr=False)
class EarlyExit:
    """Thinks until it is sure: after every `every` tokens of thought it asks for a short trial answer, a probe.

    Without `by`, the thought ends when the last `agree` probes give the same answer (Dynasor, Fu et al. 2025, section
    3). With a verifier, such as `by=MeanLogprob()` over `Model(logprobs=True)`, it ends when the verdict on the probe
    alone is `sure` or more, as in DEER (Yang et al. 2025, section 3), whose verdict is the mean probability of the
    answer's tokens. DEER tries an answer where the model writes a word such as "Wait", and not every `every` tokens. A
    probe has up to `short` tokens and begins with `hurry`. After `tokens` tokens the thought ends in any case. Where a
    budget or the context cuts it, the last probe with an answer is returned, or the cut thought if there is none.
    Probes count in the cost.
    """

    every: int
    _: KW_ONLY
    by: Verifier | None = None
    sure: float = round(log(0.95), 4)
    agree: int = 2
    tokens: int | None = None
    short: int = 16
    hurry: str = HURRY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, every=self.every, agree=self.agree, short=self.short)
        if self.tokens is not None:
            require_whole(self, tokens=self.tokens)
        require_number(self, sure=self.sure)
        require_text(self, hurry=self.hurry)
        require_verifier(self, by=self.by)
        require_generator(self, of=self.of)
        require_stepper(self, of=self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        thought = await run.ask(self.of, problem.stepping(self._step(0)))
        keys: list[str | None] = []
        kept: Candidate | None = None
        try:
            while goes_on(thought) and (self.tokens is None or thought.thought_tokens < self.tokens):
                probe = await run.ask(self.of, problem.stepping(self.short).continuing(thought.concluding(self.hurry)))
                keys.append(vote_key(problem, probe))
                kept = kept if keys[-1] is None else probe
                if await self._is_sure(keys, probe, thought, problem, run):
                    run.note(f"sure after {counted(thought.thought_tokens, 'token')} of thought")
                    return probe if probe.finished else await run.ask(self.of, problem.continuing(probe))
                going_on = problem.stepping(self._step(thought.thought_tokens)).continuing(thought)
                before, thought = thought, await run.ask(self.of, going_on)
                if thought.thought_tokens <= before.thought_tokens:  # nothing came: it would go on for ever
                    break
            reply = await answered(self.of, problem, thought, self.hurry, run)
            if kept is None or not broke_off(problem, reply):
                return reply
        except NO_ROOM as refused:
            if kept is None:
                return cut(thought, refused, run)
            run.keep_begun()
        run.note("the thought was cut off: the last probe with an answer is returned")
        return replace(kept, cut=not kept.finished)

    def _step(self, tokens: int) -> int:
        """How many tokens are thought after so many."""
        return self.every if self.tokens is None else min(self.every, self.tokens - tokens)

    async def _is_sure(
        self, keys: Sequence[str | None], probe: Candidate, thought: Candidate, problem: Problem, run: Run
    ) -> bool:
        if self.by is None:
            last = keys[-self.agree :]
            return len(last) == self.agree and last[0] is not None and len(set(last)) == 1
        said = len(thought.logprobs)
        alone = replace(probe, thoughts=(), logprobs=probe.logprobs[said:], confidences=probe.confidences[said:])
        (verdict,) = await judged(self.by, problem, [alone], run)
        if isinstance(verdict, SampleError):  # the thought goes on, and has its answer at its end
            run.note(f"no verdict on a probe: {verdict}")
        (value,) = values([verdict])
        return keys[-1] is not None and value is not None and value >= self.sure


@dataclass(frozen=True, slots=True, repr=False)
class Shortest:
    """The majority of the `k` of `n` samples that need the fewest tokens.

    (short-m@k, Hassid et al. 2025, section 4, which writes m for our `k` and k for our `n`: `Shortest(3, n=8)` is
    short-3@8.)

    All samples are written `every` tokens at a time, side by side; when k are done, the others are given up. Tokens
    decide which samples are first, not the clock. One that was cut, by a limit of its length, the context or a budget,
    votes only where fewer than k are done. So does one that `of` does not continue. Ties of the vote go to the shorter.
    """

    k: int
    _: KW_ONLY
    n: int
    every: int = EVERY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, k=self.k, n=self.n, every=self.every)
        if self.k > self.n:
            raise InputError(f"Shortest: k must be at most n, the number of samples, not {self.k} of {self.n}")
        require_generator(self, of=self.of)
        require_stepper(self, of=self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        step = problem.stepping(self.every)

        async def grow(candidate: Candidate | None, run: Run) -> Candidate:
            if candidate is None:
                return await run.ask(self.of, step)
            grown = await or_cut(candidate, run.ask(self.of, step.continuing(candidate)), run)
            return replace(grown, cut=not grown.finished) if stands_still(candidate, grown) else grown

        growing: Sequence[Candidate | None] = [None] * self.n
        done: list[tuple[int, Candidate]] = []
        rounds = 0
        while growing and sum(each.finished for _, each in done) < self.k:
            grown = [each for each in await run.map(grow, growing) if each]
            rounds += 1
            done += [(rounds, each) for each in grown if each.finished or each.cut]
            growing = [each for each in grown if not (each.finished or each.cut)]
        if not done:
            raise NoCandidate.of(self.n, run.why_lost())
        chosen = shortest(done)[: self.k]
        run.compare(chosen)
        if growing:
            run.note(f"given up: {len(growing)} of {counted(self.n, 'sample')}")
        return elected(chosen, majority(vote_keys(problem, chosen)), run)


def shortest(done: Sequence[tuple[int, Candidate]]) -> list[Candidate]:
    """Candidates from the shortest on, each with the round in which it was done.

    By their tokens. Where some are not known, as behind a stop string, it is by the round and then by the text. Those
    that were cut come last: they would have been longer.
    """
    known = all(each.tokens for _, each in done)

    def length(one: tuple[int, Candidate]) -> tuple[bool, int, int]:
        rounds, each = one
        return each.cut, len(each.tokens) if known else rounds, len(each.thought + each.text)

    return [each for _, each in sorted(done, key=length)]
