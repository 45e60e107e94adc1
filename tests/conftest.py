from collections.abc import AsyncIterator

import pytest

from metagen import VLLMEngine
from metagen.models import SMALL


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[VLLMEngine]:
    """The shipped model on real vLLM, loaded once for all tests."""
    async with VLLMEngine(SMALL) as opened:
        yield opened
