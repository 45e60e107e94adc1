from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose, nan
from pathlib import Path

import pytest

from metagen import (
    BestOf,
    Candidate,
    Completion,
    Generator,
    InputError,
    LowestGroupConfidence,
    MeanLogprob,
    Model,
    OpenAIServer,
    Problem,
    Recorded,
    Request,
    Run,
    Score,
    Scripted,
    SelfCertainty,
    Verifier,
    parse,
    solve,
)
from metagen.leaves import check_settings
from metagen.request import Meter, Outcome

SURE = Candidate(("abcd",), logprobs=(-1.0, -2.0, -3.0, -2.0), confidences=(4.0, 1.0, 3.0, 4.0))
BARE = Candidate(("abcd",))
NOTHING = Candidate(("",))


async def verdict(by: Verifier, candidate: Candidate) -> Score | None:
    found: list[Score | None] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        found.extend(await run.score(by, problem, [candidate]))
        return candidate

    await solve("?", strategy)
    return found[0]


@pytest.mark.parametrize(
    ("by", "value"),
    [(MeanLogprob(), -2.0), (SelfCertainty(), 3.0), (LowestGroupConfidence(2), 2.0), (LowestGroupConfidence(), 3.0)],
)
async def test_they_read_what_the_model_returned(by: Verifier, value: float) -> None:
    assert await verdict(by, SURE) == Score(value)
    assert await verdict(by, NOTHING) is None
    with pytest.raises(InputError, match=r"sample with of=Model\((logprobs=True|top_logprobs=20)\)"):
        await verdict(by, BARE)


@pytest.mark.parametrize(
    ("by", "value"), [(MeanLogprob(), -2.0), (SelfCertainty(), 3.0), (LowestGroupConfidence(2), 2.0)]
)
async def test_tokens_that_no_model_drew_do_not_count(by: Verifier, value: float) -> None:
    some = replace(SURE, logprobs=(nan, *SURE.logprobs, nan), confidences=(nan, *SURE.confidences, nan))
    assert await verdict(by, some) == Score(value)
    assert await verdict(by, replace(SURE, logprobs=(nan,), confidences=(nan,))) is None


async def test_what_may_go_on_has_no_verdict_before_it_has_a_group() -> None:
    by, begun = LowestGroupConfidence(5), replace(SURE, finished=False)
    assert await verdict(by, begun) is None
    assert await verdict(by, replace(begun, cut=True)) == Score(3.0)
    assert await verdict(LowestGroupConfidence(4), begun) == Score(3.0)


def unsure(request: Request) -> Completion:
    """The third of three samples is the surest, the second is not sure of its end."""
    text = f"The answer is {request.draw}."
    sure = [1.0, 1.5, 3.0][request.draw]
    return Completion(
        text,
        logprobs=(-1 / sure,) * len(text),
        confidences=(*(sure,) * (len(text) - 2), *(0.5 if request.draw == 1 else sure,) * 2),
    )


@pytest.mark.parametrize(
    ("strategy", "answer"),
    [
        ("BestOf(3, of=Model(logprobs=True), by=MeanLogprob())", "2"),
        ("BestOf(2, of=Model(top_logprobs=5), by=SelfCertainty())", "1"),
        ("BestOf(2, of=Model(top_logprobs=5), by=LowestGroupConfidence(2))", "0"),
        ("Vote(3, of=Model(logprobs=True), by=Sigmoid(MeanLogprob()))", "2"),
        ("Vote(3, of=Model(top_logprobs=5), by=LowestGroupConfidence(2))", "2"),
    ],
)
async def test_the_surest_sample_is_chosen(strategy: str, answer: str) -> None:
    made = parse(strategy)
    assert repr(made) == strategy
    assert (await solve("?", made, Scripted(unsure))).answer == answer


async def test_steps_join_to_what_the_whole_has() -> None:
    async def stepwise(problem: Problem, run: Run) -> Candidate:
        first = await run.ask(Model(top_logprobs=2), problem.stepping("b"))
        assert first.confidences == (2.0, 2.0)
        return await run.ask(Model(top_logprobs=2), problem.continuing(first))

    def script(request: Request) -> Completion:
        rest = "abcd"[len(request.partial) :]
        return Completion(rest, logprobs=(-1.0,) * len(rest), confidences=(2.0,) * len(rest), first=((rest[0], -1.0),))

    whole: list[Candidate] = []

    async def kept(problem: Problem, run: Run) -> Candidate:
        whole.append(await run.ask(stepwise, problem))
        return whole[0]

    await solve("?", kept, Scripted(script))
    assert whole[0].confidences == (2.0,) * 4
    assert whole[0].first == (("c", -1.0),), "where the last completion begins"
    score = await verdict(SelfCertainty(), whole[0])
    assert score is not None
    assert isclose(score.value, 2.0)


@pytest.mark.parametrize("make", [lambda: LowestGroupConfidence(0), lambda: Model(top_logprobs=0)])
def test_nonsense_is_refused(make: type[LowestGroupConfidence]) -> None:
    with pytest.raises(InputError, match="must be a whole number of 1 or more, not 0"):
        make()


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("Vote(3, by=LowestGroupConfidence())", r"^LowestGroupConfidence\(\) reads .*of=Model\(top_logprobs=20\), "),
        ("BestOf(3, by=MeanLogprob())", r"^MeanLogprob\(\) reads .*of=Model\(logprobs=True\), from a"),
        ("BestOf(3, by=Mean(Cached(Sigmoid(MeanLogprob())), Judge()))", r"^MeanLogprob\(\) reads"),
        ("Fallback(Vote(2), BestOf(3, of=CoT(of=Vote(2, of=Model(logprobs=True))), by=SelfCertainty()))", "^SelfCert"),
        ("Escalate((Model(), Vote(2)), until=Sigmoid(MeanLogprob()))", "^MeanLogprob"),
        ("BestOf(2, by=Judge(of=BestOf(2, by=MeanLogprob())), of=Model(logprobs=True))", "^MeanLogprob"),
    ],
)
async def test_samples_that_would_be_drawn_without_are_refused_before_they_are(strategy: str, said: str) -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "x"

    with pytest.raises(InputError, match=said):
        await solve("?", parse(strategy), Scripted(script))
    assert asked == []


async def test_the_settings_of_the_run_count() -> None:
    by = BestOf(2, by=MeanLogprob())
    assert (await solve("?", by, Scripted("x"), default=Model(logprobs=True))).text == "x"
    with pytest.raises(InputError, match=r"^SelfCertainty"):
        await solve("?", BestOf(2, by=SelfCertainty()), Scripted("x"), default=Model(logprobs=True))


async def test_where_it_is_not_sure_the_samples_tell(tmp_path: Path) -> None:
    """A function may draw in any way, a backend of one's own may return more than asked for, and so may a pool."""

    async def draws(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Model(logprobs=True), problem)

    class Mine(Scripted):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            asked = replace(request, sampling=replace(request.sampling, logprobs=True))
            return await super().generate(asked, spend)

    by = MeanLogprob()
    assert (await solve("?", BestOf(2, of=draws, by=by), Scripted("x"))).text == "x"
    assert (await solve("?", BestOf(2, by=by), Mine("x"))).text == "x"
    pool = tmp_path / "pool.jsonl"
    async with Recorded(pool, of=Mine("x")) as recorded:
        assert (await solve("?", BestOf(2, by=by), recorded)).text == "x"
    assert (await solve("?", BestOf(2, by=by), Recorded(pool))).text == "x"

    @dataclass(frozen=True)
    class Wraps:
        """A strategy of a user's own, whose model asks for them by itself."""

        of: Generator | None = None

        async def __call__(self, problem: Problem, run: Run) -> Candidate:
            return await draws(problem, run)

    @dataclass(frozen=True)
    class Judges:
        """A verifier that judges what it draws by itself."""

        by: Verifier
        of: Generator

        async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
            return await run.score(self.by, problem, [await run.ask(self.of, problem) for _ in candidates])

    assert (await solve("?", BestOf(2, of=Wraps(), by=by), Scripted("x"))).text == "x"
    asks = Model(logprobs=True)
    assert (await solve("?", BestOf(2, by=Judges(by, asks)), Scripted("x"))).text == "x"
    check_settings(BestOf(2, of=Model(extra={"logprobs": True}), by=by), {"model": Scripted("x")})
    check_settings(BestOf(2, by=by), {"model": OpenAIServer("http://localhost:1/v1", extra={"logprobs": True})})

    async def without(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)

    with pytest.raises(InputError, match=r"^MeanLogprob\(\) reads"):
        await solve("?", BestOf(2, of=without, by=by), Scripted("x"))
