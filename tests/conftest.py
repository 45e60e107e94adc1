from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from metagen import VLLMEngine
from metagen.models import SMALL

settings.register_profile("metagen", deadline=None)  # no test depends on how busy the machine is
settings.load_profile("metagen")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run in parallel (`pytest -n 2 --dist loadgroup`), what shares an engine or an environment stays together."""
    for item in items:
        for name in ("install", "engine"):
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.xdist_group(name))
                break


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[VLLMEngine]:
    """The shipped model on real vLLM, loaded once for all tests."""
    async with VLLMEngine(SMALL) as opened:
        yield opened
