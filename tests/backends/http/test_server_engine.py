"""A real `vllm serve` with the shipped model, end to end."""

import asyncio
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import pytest

from metagen import (
    Model,
    OpenAIServer,
    Problem,
    ProblemFile,
    Request,
    Run,
    Sampling,
    Usage,
    VLLMServer,
    Vote,
    solve_all,
)
from metagen.backends.vllm.prompts import Prompts
from metagen.candidate import Candidate
from metagen.data import EVALUATION
from metagen.models import SMALL
from tests.support.fake_server import Arrivals
from tests.support.outcomes import completed
from tests.support.served import serving
from tests.support.timing import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, once it is up."""
    with serving(SMALL, tmp_path_factory.mktemp("server")) as address:
        yield address


def metric(url: str, name: str) -> float:
    text = urllib.request.urlopen(url.removesuffix("/v1") + "/metrics").read().decode()
    return sum(float(value) for value in re.findall(rf"^vllm:{name}\{{.*\}} (\S+)$", text, re.MULTILINE))


async def settled(url: str) -> tuple[float, float]:
    """Prompt and completion tokens by the server's own books, once it runs nothing."""
    await until(lambda: not metric(url, "num_requests_running") and not metric(url, "num_requests_waiting"))
    return metric(url, "prompt_tokens_total"), metric(url, "generation_tokens_total")


async def single(problem: Problem, run: Run) -> Candidate:
    return await run.ask(None, problem)


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("of", [Model(), single])
async def test_a_vote_over_a_server_is_right_and_counted_as_the_server_counts(
    url: str, api: Literal["completions", "chat"], of: Model
) -> None:
    before = await settled(url)
    problems = list(islice(ProblemFile(EVALUATION), 16))
    async with VLLMServer(url, api=api) as server:
        assert (server.name, server.context, server.missing) == ("small", 2048, ())
        solutions = [each async for each in solve_all(problems, Vote(8, of=of), server)]
    usage = sum((each.usage for each in solutions), Usage())
    after = await settled(url)
    assert sum(each.correct or 0 for each in solutions) >= 4
    assert not sum(each.lost for each in solutions)
    assert usage.completion_tokens == after[1] - before[1]
    assert usage.prompt_tokens * (8 if of is not single else 1) == after[0] - before[0]
    assert usage.estimated_tokens == 0


async def test_a_step_continues_from_its_own_ids(url: str) -> None:
    (problem,) = islice(ProblemFile(EVALUATION), 1)
    greedy = Sampling(temperature=0.0)
    async with VLLMServer(url) as server:
        (whole,) = completed(await server.generate(Request("p", problem.prompt, sampling=greedy), lambda _: None))
        text, ids, steps = "", tuple[int, ...](), 0
        while steps < 20:
            sampling = Sampling(temperature=0.0, stop=("\n",), keep_stop=True)
            request = Request("p", problem.prompt, partial=text, tokens=ids, sampling=sampling)
            (step,) = completed(await server.generate(request, lambda _: None))
            assert step.tokens
            text, ids, steps = text + step.text, ids + step.tokens, steps + 1
            if step.end != "stop":
                break
    assert steps > 1
    assert text == whole.text


async def test_cancelling_frees_the_server_and_counts_to_a_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, arrivals = await settled(url), Arrivals(monkeypatch)
    books: list[Usage] = []
    async with VLLMServer(url) as server:
        long = Request("p", "Go on. " * 20, sampling=Sampling(ignore_eos=True))
        tasks = [asyncio.create_task(server.generate(long, books.append)) for _ in range(16)]
        await until(lambda: len(arrivals.streams) == 16 and min(arrivals.streams) >= 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        after = await settled(url)
        context = server.context
    usage, written = sum(books, Usage()), after[1] - before[1]
    assert len(books) == 16
    assert usage.estimated_tokens == 0
    assert 16 <= usage.completion_tokens <= written
    assert written < 16 * context / 2, "what nobody waits for any more is not written to its end"


async def test_a_conversation_has_the_same_ids_as_in_process(url: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SMALL)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "What is 3 + 4?"},
    ]
    problem = Problem("p", messages=turns)
    request = Request("p", problem.text, before=problem.before, sampling=Sampling(temperature=0.0, max_tokens=20))
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    expected = tokenizer.encode(rendered, add_special_tokens=False)
    assert Prompts(tokenizer).ids(request) == expected
    async with OpenAIServer(url) as server:
        assert await server._words.tokens.of(request) == tuple(expected)
        spent: list[Usage] = []
        (one,) = completed(await server.generate(request, spent.append))
        assert spent[0].prompt_tokens == len(expected)
        longer = replace(request, partial=one.text[:5])
        assert await server._words.tokens.of(longer) == tuple(Prompts(tokenizer).ids(longer))
