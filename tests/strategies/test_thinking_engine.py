"""The small reasoner on real vLLM, in this process and behind a server: its thoughts are limited and gone on with."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import islice, pairwise

import pytest

from metagen import Model, OpenAIServer, Problem, ProblemFile, Request, Sampling, Solution, VLLMEngine, parse, solve
from metagen.data import EVALUATION
from metagen.models import SMALL_REASONER
from metagen.request import Backend
from metagen.trace import Written
from tests.support.outcomes import completed
from tests.support.served import serving

pytestmark = pytest.mark.engine

PROBLEMS = list(islice(ProblemFile(EVALUATION), 8))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that parts thoughts itself."""
    compact = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})
    options = ("--reasoning-parser", "qwen3", "--structured-outputs-config", compact)
    with serving(SMALL_REASONER, tmp_path_factory.mktemp("reasoner"), *options) as address:
        yield address


@pytest.fixture(scope="module")
async def reasoner() -> AsyncIterator[VLLMEngine]:
    async with VLLMEngine(SMALL_REASONER, reasoning_parser="qwen3") as model:
        yield model


@pytest.fixture(scope="module", params=["in process", "auto"])
async def model(request: pytest.FixtureRequest, reasoner: VLLMEngine, url: str) -> AsyncIterator[Backend]:
    """The reasoner in this process, and behind a server that parts thoughts itself."""
    if request.param == "in process":
        yield reasoner
        return
    async with OpenAIServer(url, api=request.param) as server:
        yield server


async def solved(spec: str, model: Backend, problem: Problem = PROBLEMS[0]) -> Solution:
    return await solve(problem, parse(spec), model)


def replies(solution: Solution) -> list[Written]:
    return [each for span in solution.trace.walk() for each in span.completions]


def is_whole(reply: Written) -> bool:
    """Whether it came to its end. Which samples do differs between processors, whatever the seed."""
    return not (reply.cut or reply.open)


def written(solution: Solution) -> list[str]:
    return [each.thought + each.text for each in replies(solution)]


async def test_vllms_own_limit_ends_a_thought_in_one_request(model: Backend) -> None:
    own = await solved('Model(temperature=0, extra={"thinking_token_budget": 16})', model)
    ours = await solved("Model(temperature=0, thinking=16)", model)
    assert (own.usage.calls, ours.usage.calls) == (1, 2)
    assert own.usage.thought_tokens <= 18, "the mark that opens it, and the break before the mark that ends it"
    assert own.candidate
    assert own.candidate.text
    assert not own.candidate.open


async def test_a_thought_is_parted_from_the_text(model: Backend) -> None:
    assert model.thinking is not None
    for problem in PROBLEMS:
        solution = await solved("Model(max_tokens=400)", model, problem)
        (one,) = replies(solution)
        assert one.thought
        assert "<" not in one.thought + one.text
        if is_whole(one):
            assert solution.text.startswith("The answer is ")
            assert solution.answer
            assert 0 < solution.usage.thought_tokens < solution.usage.completion_tokens
            return
    raise AssertionError("no reply came to its end")


async def test_a_reply_that_is_cut_in_its_thought_has_no_answer(model: Backend) -> None:
    solution = await solved("Vote(3, of=Model(max_tokens=30))", model)
    assert (solution.answer, solution.text, solution.unanswered, solution.cut) == (None, "", 3, 3)
    assert solution.usage.completion_tokens == 90


@pytest.mark.parametrize("spec", ["Model(temperature=0, thinking=24)", "Think(24, of=Model(temperature=0))"])
async def test_a_thought_is_ended_and_answered(model: Backend, spec: str) -> None:
    solution = await solved(spec, model)
    assert solution.text.startswith("The answer is ")
    assert solution.answer is not None
    assert solution.usage.thought_tokens == 24
    assert solution.usage.calls == 2


async def test_a_thought_goes_on_after_a_word(model: Backend) -> None:
    solution = await solved("Think(400, waits=1, of=Model(temperature=0))", model)
    first, second, *_ = replies(solution)
    assert not first.open
    assert second.thought.startswith(", let me ")
    assert solution.text.startswith("The answer is ")


async def test_a_thought_is_switched_off(model: Backend) -> None:
    solution = await solved("Model(thinking=False)", model)
    assert solution.usage.thought_tokens == 0
    assert "\nThe answer is " in solution.text
    assert written(solution) == [solution.text]


@pytest.mark.parametrize("spec", ["EarlyExit(16, tokens=400)", "Shortest(1, n=3, every=32, of=Model(max_tokens=400))"])
async def test_thoughts_that_are_written_in_parts_come_to_an_answer(model: Backend, spec: str) -> None:
    answers = [(await solved(spec, model, problem)).answer for problem in PROBLEMS[:2]]
    assert any(answer is not None for answer in answers)


async def test_an_answer_has_its_form_and_the_thought_is_free(model: Backend) -> None:
    number = {"type": "integer", "minimum": 0, "maximum": 999}
    form = {"type": "object", "properties": {"answer": number}, "required": ("answer",)}
    for problem in PROBLEMS:
        solution = await solve(problem, Model(form={"json": form}, max_tokens=400), model)
        *_, last = replies(solution)
        assert "{" not in last.thought
        if is_whole(last):
            assert isinstance(json.loads(solution.text)["answer"], int)
            return
    raise AssertionError("no reply came to its end")


async def test_a_stop_string_ends_the_text_alone(model: Backend) -> None:
    for problem in PROBLEMS:
        solution = await solved('Model(stop=(" is",), max_tokens=400)', model, problem)
        *_, last = replies(solution)
        if is_whole(last):
            assert solution.text == "The answer"
            return
    raise AssertionError("no reply came to its end")


async def test_the_parts_are_one_reply_and_are_read_once(reasoner: VLLMEngine) -> None:
    """Continued greedily from ids, a thought in parts is the thought drawn at once, and its prefix is in the cache."""
    await reasoner.forget()
    sampling = Sampling(temperature=0.0, max_tokens=400)
    (whole,) = completed(await reasoner.generate(Request("p", PROBLEMS[0].prompt, sampling=sampling), lambda _: None))
    parts = await solved("Shortest(1, n=1, every=32, of=Model(temperature=0, max_tokens=400))", reasoner)
    assert parts.text == whole.text
    assert "".join(written(parts)).split() == (whole.thought + whole.text).split()
    await reasoner.forget()
    forced = await solved("Think(150)", reasoner)
    spans = [span for span in forced.trace.walk() if span.usage.calls]
    for before, after in pairwise(spans):
        known = (before.usage.prompt_tokens + before.usage.completion_tokens) // 32 * 32
        assert after.usage.cached_tokens >= 0.9 * min(known, after.usage.prompt_tokens // 32 * 32)
