import asyncio
import random
from typing import Any

import pytest

from metagen import InputError, Limited, Priced, PricedReward, Request, Scripted, Usage
from metagen.backends.wrapper import Wrapper
from tests.support.outcomes import completed


class Busy(Scripted):
    """A model that counts what it is doing at once, and takes its time."""

    def __init__(self) -> None:
        super().__init__(self._answer, name="busy", context=100)
        self.running = self.most = self.opened = 0

    async def _answer(self, request: Request) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(len(request.prompt)):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return request.problem

    async def __aenter__(self) -> "Busy":
        self.opened += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.opened -= 1


def asking(number: int) -> Request:
    return Request(str(number), "x" * (1 + number % 5))


async def test_a_wrapper_does_what_the_backend_inside_does() -> None:
    busy, spent = Busy(), list[Usage]()
    async with Wrapper(busy) as wrapper:
        assert busy.opened == 1
        (completion,) = completed(await wrapper.generate(asking(3), spent.append))
        assert await wrapper.count(asking(3)) == 4
    assert busy.opened == 0
    assert (wrapper.name, wrapper.context, completion.text) == ("busy", 100, "3")
    assert spent == [Usage(calls=1, prompt_tokens=4, completion_tokens=1)]


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_no_more_than_the_limit_are_in_flight(limit: int) -> None:
    busy = Busy()
    limited = Limited(busy, limit)
    replies = await asyncio.gather(*(limited.generate(asking(number), lambda _: None) for number in range(20)))
    assert [completed(outcomes)[0].text for outcomes in replies] == [str(number) for number in range(20)]
    assert busy.most == min(limit, 20)


async def test_500_cancellations_leak_no_slot() -> None:
    rng, busy = random.Random(0), Busy()
    limited = Limited(busy, 4)
    tasks = [asyncio.create_task(limited.generate(asking(number), lambda _: None)) for number in range(900)]
    for task in rng.sample(tasks, 500):
        await asyncio.sleep(0)
        task.cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = [reply for reply in replies if isinstance(reply, asyncio.CancelledError)]
    assert 200 < len(cancelled) <= 500
    assert len(cancelled) + sum(isinstance(reply, list) for reply in replies) == 900
    assert (busy.running, busy.most) == (0, 4)

    busy.most = 0
    await asyncio.gather(*(limited.generate(asking(4), lambda _: None) for _ in range(9)))
    assert busy.most == 4


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_lets_nothing_through_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match=f"requests must be 1 or more, not {limit}"):
        Limited(Scripted(""), limit)


@pytest.mark.parametrize("kind", [Priced, PricedReward])
def test_a_price_is_no_text(kind: Any) -> None:
    with pytest.raises(InputError, match=rf"^{kind.__name__}: price must be a Price, such as Price\(0.15, 0.6\)"):
        kind(Busy(), "2.50/10")
