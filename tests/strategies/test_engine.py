"""Strategies over the shipped model on real vLLM."""

import asyncio
import gc
import random
from collections.abc import Sequence
from itertools import islice

import pytest

from metagen import (
    DVTS,
    MCTS,
    Account,
    Beam,
    BestFirst,
    BestOf,
    Budget,
    Candidate,
    CoT,
    Generator,
    MatchesReference,
    Model,
    ParticleFilter,
    Problem,
    ProblemFile,
    Rebase,
    Score,
    Until,
    Usage,
    VLLMEngine,
    Vote,
    Within,
    solve,
    solve_all,
)
from metagen.analysis.tally import Tally
from metagen.data import EVALUATION, VALIDATION
from metagen.run import Run
from metagen.trace import Span
from tests.support.spans import kept_spans
from tests.support.timing import turns, until

pytestmark = pytest.mark.engine

PROBLEMS = list(islice(ProblemFile(VALIDATION), 40))


async def tally(strategy: Generator, engine: VLLMEngine, count: int = 40, account: Account | None = None) -> Tally:
    total = Tally()
    async for solution in solve_all(PROBLEMS[:count], strategy, engine, account=account):
        total.add(solution)
    return total


async def idle(engine: VLLMEngine) -> None:
    """Wait until the engine says that it has nothing to do."""
    await until(lambda: engine.load().running == engine.load().waiting == engine.load().unfinished == 0)


async def test_voting_beats_one_sample_and_an_oracle_beats_voting(engine: VLLMEngine) -> None:
    voted = await tally(Vote(16), engine)
    assert voted.accuracy.value > voted.single
    assert voted.coverage.value >= voted.accuracy.value
    chosen = await tally(BestOf(8, by=MatchesReference()), engine, 20)
    assert chosen.accuracy == chosen.coverage


async def test_until_spends_less_than_drawing_all(engine: VLLMEngine) -> None:
    stopped = await tally(Until(MatchesReference(), limit=16, window=4), engine, 20)
    every = await tally(Vote(16), engine, 20)
    assert stopped.usage.completion_tokens < every.usage.completion_tokens
    await idle(engine)


@pytest.mark.parametrize("strategy", [CoT(), CoT(shots=(("What is 1 + 1?", "1 + 1 = 2\nThe answer is 2."),))])
async def test_chains_of_thought_end_in_answers(engine: VLLMEngine, strategy: Generator) -> None:
    answered = [solution.answer async for solution in solve_all(PROBLEMS, strategy, engine)]
    assert sum(answer is not None for answer in answered) > 30


async def test_a_budget_in_tokens_holds_on_a_real_engine(engine: VLLMEngine) -> None:
    account = Account(Budget(tokens=20_000))
    strategy = Vote(8, of=Within(tokens=600, of=Model(max_tokens=200)))
    await tally(strategy, engine, account=account)
    assert 10_000 < account.spent.tokens <= 20_000


async def test_a_step_is_continued_from_its_tokens(engine: VLLMEngine) -> None:
    problem = ProblemFile(EVALUATION)
    first = next(iter(problem))

    async def stepwise(problem: object, run: Run) -> object:
        candidate = await run.ask(None, first.stepping("\n"))
        assert not candidate.finished
        assert candidate.text.endswith("\n")
        assert candidate.tokens
        return await run.ask(None, first.continuing(candidate))

    solution = await solve(first, stepwise, engine)  # type: ignore[arg-type]
    assert solution.answer is not None
    last = [span for span in solution.trace.walk() if not span.children][-1]
    assert last.usage.cached_tokens > 0


async def chance(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier that costs nothing: a number that follows from the text."""
    return [Score(random.Random(candidate.text).random()) for candidate in candidates]


@pytest.mark.parametrize(
    "search",
    [
        Beam(4, 2, by=chance),
        Beam(4, 2, by=chance, of=CoT(), step=12),
        DVTS(2, 3, by=chance),
        Rebase(8, by=chance),
        ParticleFilter(8, by=chance),
        BestFirst(40, 2, by=chance),
        MCTS(12, 2, by=chance, lookahead=None),
    ],
)
async def test_trees_come_to_answers_and_their_steps_are_read_from_the_cache(
    engine: VLLMEngine, search: Generator
) -> None:
    answered, cached, cacheable = 0, 0, 0
    async for solution in solve_all(PROBLEMS[:16], search, engine):
        answered += solution.answer is not None
        for span in solution.trace.walk():
            if span.request and span.request.partial:
                cached += span.usage.cached_tokens
                cacheable += 32 * ((span.usage.prompt_tokens - 1) // 32)
    assert answered > 10
    assert cached > 0.8 * cacheable > 0
    await idle(engine)


async def test_500_cancellations_anywhere_leave_nothing_behind(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    strategies: list[Generator] = [
        Vote(4),
        Until(MatchesReference(), limit=8, window=3),
        Vote(2, of=BestOf(2, of=CoT(), by=MatchesReference())),
        Within(tokens=800, of=Vote(3, of=Model(max_tokens=100))),
        Beam(3, 2, by=chance),
        DVTS(2, 2, by=chance, until=MatchesReference()),
        MCTS(8, 2, by=chance, lookahead=None, window=3),
        Within(tokens=900, of=Rebase(6, by=chance, step=16)),
    ]
    await solve(PROBLEMS[0], None, engine)  # vLLM's own tasks begin with its first request
    await idle(engine)
    before, written = asyncio.all_tasks(), engine.load().written
    counted = Usage()
    cancelled = 0
    while cancelled < 500:
        batch = [await begin(engine, rng.choice(strategies), rng.choice(PROBLEMS), monkeypatch) for _ in range(20)]
        for task, _, _ in rng.sample(batch, len(batch)):
            await progress(engine, int(rng.expovariate(1 / 30)), [each for each, _, _ in batch])
            cancelled += task.cancel()
        await asyncio.wait([task for task, _, _ in batch])
        for _, account, span in batch:
            assert account.in_flight == 0
            assert account.spent == span.total()
            counted += account.spent
    await idle(engine)
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert engine.load().written - written == counted.completion_tokens


async def progress(engine: VLLMEngine, tokens: int, tasks: Sequence[asyncio.Task[object]]) -> None:
    """Wait until the engine has written so many tokens more, or all tasks are done."""
    enough = engine.load().written + tokens
    await until(lambda: engine.load().written >= enough or all(task.done() for task in tasks))


async def begin(
    engine: VLLMEngine, strategy: Generator, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Task[object], Account, Span]:
    """Start a strategy, and return its task, its books and its trace."""
    account = Account()
    spans = kept_spans(monkeypatch)

    async def work() -> object:
        solutions = solve_all([problem], strategy, engine, account=account)
        try:
            return [solution async for solution in solutions]
        finally:
            await solutions.aclose()

    task: asyncio.Task[object] = asyncio.create_task(work())
    await turns(3)  # the problem's own task begins, and with it the root of its trace
    return task, account, spans[0]
