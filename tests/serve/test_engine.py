"""Our server over the shipped model on real vLLM."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from metagen import VLLMEngine
from metagen.serve import app
from tests.serve.test_serve import client_of, metrics_of
from tests.support.opened import Opened
from tests.support.serving import serving
from tests.support.timing import until

pytestmark = pytest.mark.engine
QUESTION: list[Any] = [{"role": "user", "content": "Ann has 3 apples and buys 4 more. How many apples does she have?"}]


@pytest.fixture(scope="module")
async def url(engine: VLLMEngine) -> AsyncIterator[str]:
    async with serving(app(Opened(engine), {"math": "Vote(8)", "chain": "Chain(CoT(), CoT())"})) as address:
        yield address


@pytest.fixture(scope="module")
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(url) as opened:
        yield opened


async def test_a_vote_answers_and_counts_what_it_spent(client: AsyncOpenAI, url: str) -> None:
    reply = await client.chat.completions.create(model="math", messages=QUESTION, seed=1)
    assert reply.choices[0].message.content
    assert reply.usage
    counts = re.findall(r"^metagen_tokens_total\S* (\S+)", await metrics_of(url), re.MULTILINE)
    assert sum(map(float, counts)) == reply.usage.total_tokens


LONG = "Model(ignore_eos=True, max_tokens=500)"
TRIES = 20
"""On a busy machine, all of a reply may come in one piece, but not all of so many replies."""


@pytest.mark.parametrize("model", [LONG, f"Chain(CoT(), CoT(of={LONG}))"])
async def test_the_text_streams_token_by_token_and_is_that_of_the_whole_reply(client: AsyncOpenAI, model: str) -> None:
    for _ in range(TRIES):
        stream = await client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        pieces = [delta for chunk in chunks if chunk.choices and (delta := chunk.choices[0].delta.content)]
        assert chunks[-1].usage
        if len(pieces) > 2:
            return
    raise AssertionError("no reply came in pieces")


async def test_a_vote_tells_its_progress(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="math", messages=QUESTION, stream=True)
    deltas = [chunk.choices[0].delta.model_extra or {} async for chunk in stream if chunk.choices]
    assert "8 of 8 samples" in "".join(delta.get("reasoning", "") for delta in deltas)


async def test_the_answer_takes_a_form(client: AsyncOpenAI) -> None:
    schema: Any = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    reply = await client.chat.completions.create(model="math", messages=QUESTION, response_format=wanted, max_tokens=40)
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content or "")["n"], int)


async def test_a_client_that_leaves_frees_the_engine(client: AsyncOpenAI, engine: VLLMEngine, url: str) -> None:
    asking = asyncio.create_task(
        client.chat.completions.create(model="Vote(8, of=Model(ignore_eos=True))", messages=QUESTION)
    )
    running = engine._llm.output_processor
    await until(running.has_unfinished_requests)
    asking.cancel()
    await until(lambda: not running.has_unfinished_requests())
    while "metagen_requests_at_work 0.0" not in await metrics_of(url):
        pass
    assert "metagen_held_tokens 0.0" in await metrics_of(url)
