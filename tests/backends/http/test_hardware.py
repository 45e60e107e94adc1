"""vLLM on a CPU, which a request with a seed can end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from metagen import Balanced, Model, OpenAIServer, Request, Retrying, Scripted, TransientError
from metagen.backends.http.hardware import REMEDY, seems_cpu
from metagen.jobs.remarks import remarks
from metagen.request import AnyBackend
from tests.support.fake_server import FakeServer

CACHE = 'vllm:cache_config_info{block_size="32",engine="0",kv_cache_memory_bytes="%s",num_gpu_blocks="8192"} 1.0\n'
ON_CPU = "# TYPE vllm:cache_config_info gauge\n" + CACHE % "1073741824"
ON_GPU = "# TYPE vllm:cache_config_info gauge\n" + CACHE % "None"
SEEDED = Request("p", "3 + 4?", seed=1)


@pytest.mark.parametrize(
    ("version", "metrics", "expected"),
    [
        ("0.32.0", ON_CPU, True),
        ("0.32.0+cpu", "", True),
        ("0.32.0", ON_GPU, False),
        ("0.32.0", "", False),
        ("", "", False),
        ("", "process_cpu_seconds_total 11.84\n", False),
    ],
)
def test_a_cpu_is_seen_where_the_server_shows_it(version: str, metrics: str, expected: bool) -> None:
    assert seems_cpu(version, metrics) is expected


@asynccontextmanager
async def serving(fake: FakeServer) -> AsyncIterator[OpenAIServer]:
    async with fake.running(), OpenAIServer(fake.url) as server:
        yield server


@pytest.mark.parametrize(("metrics", "lines"), [(ON_CPU, 1), (ON_GPU, 0), ("", 0)])
async def test_a_run_with_a_seed_is_told_the_remedy_at_its_start(metrics: str, lines: int) -> None:
    async with serving(FakeServer(metrics=metrics)) as server:
        every: list[AnyBackend] = [server, Retrying(server), Retrying(Balanced(Scripted("x", name="mock"), server))]
        for backend in every:
            said = await remarks(Model(max_tokens=9), {"model": backend}, 1)
            assert [line.endswith(f"a request with --seed can end it: {REMEDY}.") for line in said] == [True] * lines
        assert await remarks(Model(max_tokens=9), {"model": server}, None) == []


async def test_a_server_that_tells_nothing_opens_all_the_same() -> None:
    async with serving(FakeServer()) as server:
        assert not await server.seems_cpu()
        assert server.missing == ()


async def error_of(server: OpenAIServer, request: Request) -> TransientError:
    with pytest.raises(TransientError) as raised:
        await server.generate(request, lambda _: None)
    return raised.value


async def test_the_error_names_the_remedy() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        fake.faults = ["crash"]
        error = await error_of(server, SEEDED)
    assert str(error).endswith(f"if it is vLLM on a CPU, a request with a seed ends it: {REMEDY}")
    assert "EngineCore encountered an issue" in str(error)


async def test_so_does_the_error_of_who_comes_later() -> None:
    fake = FakeServer()
    async with AsyncExitStack() as stack:
        async with fake.running():
            server = await stack.enter_async_context(OpenAIServer(fake.url))
            fake.faults = ["crash"]
            await error_of(server, SEEDED)
        broken = await error_of(server, SEEDED)  # perhaps on a connection that was open still
        later = broken if broken.unreachable else await error_of(server, SEEDED)
    assert later.unreachable
    assert str(later).endswith(REMEDY)


@pytest.mark.parametrize(("fault", "seed"), [("crash", None), ("500", 1), ("503", 1)])
async def test_other_errors_stay_as_they_are(fault: str, seed: int | None) -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        fake.faults = [fault]
        error = await error_of(server, Request("p", "3 + 4?", seed=seed))
    assert REMEDY not in str(error)
