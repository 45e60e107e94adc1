import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

from metagen import VLLMEngine
from metagen.models import SMALL

settings.register_profile("metagen", deadline=None, max_examples=40)  # no test depends on how busy the machine is
settings.register_profile("thorough", deadline=None, max_examples=1000)  # for `pytest --hypothesis-profile=thorough`
settings.load_profile("metagen")

for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    each = getattr(signal, name, None)  # Windows has no SIGHUP
    if each and signal.getsignal(each) == signal.SIG_IGN:  # as in the background: programs that tests start inherit it
        signal.signal(each, usual)


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes what the user has remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[VLLMEngine]:
    """The shipped model on real vLLM, loaded once for all tests."""
    async with VLLMEngine(SMALL) as opened:
        yield opened
