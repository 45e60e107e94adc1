"""For now: an engine over the model that METAGEN_TEST_MODEL names."""

import os
from collections.abc import AsyncIterator

import pytest_asyncio

from metagen.backends.vllm import VLLMEngine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[VLLMEngine]:
    async with VLLMEngine(os.environ.get("METAGEN_TEST_MODEL", "/tmp/vl/model")) as engine:
        yield engine
