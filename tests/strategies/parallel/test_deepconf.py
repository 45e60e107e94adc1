from collections.abc import Hashable, Sequence

import pytest

from metagen import (
    Candidate,
    Completion,
    DeepConf,
    GenerationError,
    InputError,
    Model,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    Solution,
    WeightError,
    parse,
    solve,
)
from tests.support.scripts import Counting, Patient, forgets, length

SPECS = ["DeepConf(5, by=length, warmup=2, keep=0.5, chunk=16, until=ConsensusStop(0.9), window=2)"]

PROBLEM = Problem("p", "What is 3 + 4?", "7")
CONFIDENT = "DeepConf({n}, by=LowestGroupConfidence(4), of=Model(top_logprobs=5), warmup=2, chunk=4, {more})"
SEVEN, EIGHT = "{}. The answer is 7.", "{}. The answer is 8."


def model(*samples: tuple[str, float], warmup: int = 2) -> Counting:
    """Says these texts, the warm-up's first, each with one confidence; a text begins with the number of its sample."""

    def script(request: Request) -> Completion:
        begun = warmup if request.sampling.max_tokens else 0
        number = int(request.partial[0]) if request.partial else begun + request.draw
        text, sure = samples[number]
        rest = text.format(number)[len(request.partial) :]
        return Completion(rest, confidences=(sure,) * len(rest), logprobs=(-1.0,) * len(rest))

    return Counting(script)


async def run(backend: Counting, n: int, more: str = "keep=0.5") -> Solution:
    return await solve(PROBLEM, parse(CONFIDENT.format(n=n, more=more)), backend)


async def test_who_falls_under_the_bar_is_given_up_and_does_not_vote() -> None:
    backend = model((SEVEN, 3.0), (EIGHT, 2.0), (EIGHT, 1.0), (EIGHT, 2.5), (SEVEN, 3.0))
    solution = await run(backend, 5)
    assert solution.answer == "7"
    assert "under the bar: 3 of 5 samples" in solution.notes
    chunks = [request.partial[:1] for request in backend.requests if request.partial]
    assert set(chunks) == {"4"}, "only the sure one is continued"
    assert solution.usage.completion_tokens == 3 * len(solution.text) + 2 * 4


async def test_a_lower_bar_gives_up_less() -> None:
    backend = model((SEVEN, 3.0), (EIGHT, 2.0), (EIGHT, 1.0), (EIGHT, 2.5), (SEVEN, 3.0))
    solution = await run(backend, 5, "keep=1")
    assert solution.notes == ("under the bar: 1 of 5 samples",)
    assert solution.answer == "7", "3 + 3 against 2 + 2.5"
    weights = model((SEVEN, 3.0), (EIGHT, 3.0), (EIGHT, 3.5), (SEVEN, 3.2))
    assert (await run(weights, 4, "keep=1")).answer == "8"


async def test_what_is_continued_joins_to_the_same_text() -> None:
    whole = await run(model((SEVEN, 3.0), (SEVEN, 1.0)), 2)
    chunked = await run(model((EIGHT, 3.0), (EIGHT, 1.0), (SEVEN, 4.0), (SEVEN, 4.0)), 4)
    assert whole.text == "0. The answer is 7."
    assert chunked.text == "2. The answer is 7."


async def test_no_more_are_drawn_than_the_vote_needs() -> None:
    backend = model(*[(SEVEN, 3.0)] * 9)
    solution = await run(backend, 9, "until=ConsensusStop(0.9, least=3)")
    assert "settled after 3 of 9 samples" in solution.notes
    assert (await run(backend, 9, "until=ConsensusStop(0.9, least=2)")).samples == 2


@pytest.mark.parametrize("lost", [(), (0,), (1, 3), (2, 4, 5)])
async def test_a_rule_is_told_what_may_still_come(lost: tuple[int, ...]) -> None:
    """Samples that were lost, in the warm-up or after it, do not come again."""
    told: list[int] = []
    numbers = iter(range(99))

    async def one(problem: Problem, run: Run) -> Candidate:
        if next(numbers) in lost:
            raise GenerationError("away")
        return Candidate(("The answer is 7.",))

    async def sure(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
        return [1.0] * len(candidates)

    def rule(keys: Sequence[object], weights: Sequence[float], left: int) -> bool:
        told.append(left)
        return False

    solution = await solve(PROBLEM, DeepConf(8, of=one, by=sure, warmup=3, until=rule), Scripted("?"))
    assert solution.lost == len(lost)
    assert told == [5, *(7 - number for number in range(3, 7) if number not in lost)]


async def test_without_a_bar_all_are_drawn_whole_and_the_majority_decides() -> None:
    async def no_verdict(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [None] * len(candidates)

    texts = [SEVEN, EIGHT, EIGHT]
    backend = Counting(lambda request: texts[len(backend.requests)] if len(backend.requests) else texts[request.draw])
    solution = await solve(PROBLEM, DeepConf(3, by=no_verdict, warmup=2), backend)
    assert solution.notes[0] == "no sample of the warm-up has a verdict: all are drawn whole"
    assert solution.samples == 3
    assert not any(request.partial for request in backend.requests)


async def test_where_none_that_votes_has_an_answer_all_do() -> None:
    solution = await run(model(("{} I do not know.", 3.0), (SEVEN, 1.0)), 2)
    assert solution.answer == "7"
    assert solution.notes[-1] == "none that votes has an answer: the majority of all decides"


async def test_a_sample_that_cannot_be_continued_is_taken_as_it_comes() -> None:
    calls = []

    async def forgetful(problem: Problem, run: Run) -> Candidate:
        calls.append(problem.partial)
        return Candidate((f"{len(calls)}. The answer is 7.",), finished=len(calls) <= 1)

    async def longer(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(float(len(candidate.text))) for candidate in candidates]

    await solve(PROBLEM, DeepConf(2, by=longer, of=forgetful, warmup=1), Counting(lambda _: ""))
    assert len(calls) == 3, "one for the warm-up, one that is not finished, and one that begins anew"


async def test_weights_that_cannot_be_are_refused() -> None:
    async def logits(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(-1.0)] * len(candidates)

    with pytest.raises(WeightError, match=r"If logits gives logits, write by=Sigmoid\(logits\)"):
        await solve(PROBLEM, DeepConf(2, by=logits, warmup=1), Counting(lambda _: "The answer is 7."))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("DeepConf(8, by=None)", "needs a verifier"),
        ("DeepConf(8, by=SelfCertainty())", "warmup must be at most n=8, the number of samples, not 16"),
        ("DeepConf(32, by=SelfCertainty(), keep=0)", "keep must be a share above 0 and up to 1"),
        ("DeepConf(32, by=SelfCertainty(), keep=True)", "keep must be a share"),
        ("DeepConf(32, by=SelfCertainty(), chunk=0)", "chunk must be a whole number"),
        ("DeepConf(32, by=SelfCertainty(), until=BetaStop())", "counts votes, and by= weighs them"),
        ("DeepConf(32, by=SelfCertainty(), until=3)", "is not a rule"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)


@pytest.mark.parametrize("reply", ["{} is what I say first", "What I say first"])
async def test_a_generator_that_begins_anew_is_taken_as_it_comes(reply: str) -> None:
    strategy = DeepConf(4, by=length, warmup=2, keep=1, chunk=4, of=forgets)
    backend = Patient(lambda request: reply.format(request.seed) if request.sampling.max_tokens else "a")
    solution = await solve(PROBLEM, strategy, backend, seed=1)
    assert solution.samples == 4
    assert backend.asked == 2 + 2 * 2


@pytest.mark.parametrize("context", range(60, 70))
async def test_the_context_cuts_a_sample_wherever_a_chunk_ends(context: int) -> None:
    reply = "The answer is 7. " + "And so on. " * 20
    strategy = DeepConf(3, by=length, warmup=1, keep=1, chunk=4, of=Model(name="short"))

    def script(request: Request) -> str:
        return reply[len(request.partial) :] if request.sampling.max_tokens else "7."

    solution = await solve(PROBLEM, strategy, {"short": Scripted(script, context=context)})
    assert (solution.answer, solution.error) == ("7", "")


async def test_a_rule_that_fails_costs_the_vote_alone() -> None:
    def odd(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
        raise ValueError("an odd key")

    solution = await solve(PROBLEM, DeepConf(3, by=length, warmup=1, until=odd), Scripted("The answer is 7."))
    assert solution.error.startswith("ToolError: odd raised ValueError: an odd key (test_deepconf.py, line ")
