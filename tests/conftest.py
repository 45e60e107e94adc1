from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from metagen import VLLMEngine
from metagen.models import SMALL

settings.register_profile("metagen", deadline=None, max_examples=40)  # no test depends on how busy the machine is
settings.register_profile("thorough", deadline=None, max_examples=1000)  # for `pytest --hypothesis-profile=thorough`
settings.load_profile("metagen")


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[VLLMEngine]:
    """The shipped model on real vLLM, loaded once for all tests."""
    async with VLLMEngine(SMALL) as opened:
        yield opened
