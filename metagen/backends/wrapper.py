"""Behaviour added to a backend by wrapping it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

from metagen.budget import Price
from metagen.errors import InputError
from metagen.request import (
    AnyBackend,
    Backend,
    Card,
    Meter,
    Outcome,
    Reading,
    Request,
    RewardBackend,
    Sampling,
    card_of,
    draws_singly,
    extra_of,
    is_named,
    longest_of,
    price_of,
    refusal,
    thinking_of,
)
from metagen.thinking import Family

Inner = TypeVar("Inner", bound=AnyBackend)


class Passing(Generic[Inner]):
    """Is called as the model `of`, and is opened and closed with it."""

    def __init__(self, of: Inner) -> None:
        self.of: Inner = of

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def named(self) -> bool:
        return is_named(self.of)

    @property
    def always_sent(self) -> Mapping[str, Any] | None:
        return extra_of(self.of)

    @property
    def context(self) -> int:
        return self.of.context

    @property
    def card(self) -> Card | None:
        return card_of(self.of)

    @property
    def price(self) -> Price | None:
        return price_of(self.of)

    @property
    def missing(self) -> tuple[str, ...]:
        return self.of.missing

    @property
    def waits(self) -> str:
        return self.of.waits

    @property
    def thinking(self) -> Family | None:
        return thinking_of(self.of)

    async def forget(self) -> None:
        await self.of.forget()

    async def probe(self) -> None:
        await self.of.probe()

    async def __aenter__(self) -> Self:
        await self.of.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.of.__aexit__(*raised)


class Wrapper(Passing[Backend]):
    """Does what the backend `of` does. Subclasses change what they must."""

    @property
    def singly(self) -> bool:
        return draws_singly(self.of)

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        return await self.of.generate(request, spend)

    async def count(self, request: Request) -> int:
        return await self.of.count(request)

    def longest(self, request: Request, prompt: int) -> int:
        return longest_of(self.of, request, prompt)

    async def encode(self, text: str) -> tuple[int, ...]:
        return await self.of.encode(text)

    def refuses(self, sampling: Sampling) -> str:
        return refusal(self.of, sampling)


class RewardWrapper(Passing[RewardBackend]):
    """Does what the reward model `of` does. Subclasses change what they must."""

    @property
    def process(self) -> bool:
        return self.of.process

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        return await self.of.rate(reading, spend)

    async def count(self, reading: Reading) -> int:
        return await self.of.count(reading)


class Limited(Wrapper):
    """At most `requests` requests in flight; the others wait for their turn, first come, first served.

    A waiter that is cancelled gives up its place. vLLM queues by itself and needs no limit; a shared server may.
    """

    def __init__(self, of: Backend, requests: int) -> None:
        super().__init__(of)
        if requests < 1:
            raise InputError(f"Limited: requests must be 1 or more, not {requests}")
        self._slots = asyncio.Semaphore(requests)

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        begun = request.clock()
        async with self._slots:
            request.report_wait(request.clock() - begun)
            request.check_time()
            return await self.of.generate(request, spend)


class _Priced(Passing[Inner]):
    """Has a price of its own."""

    def __init__(self, of: Inner, price: Price) -> None:
        super().__init__(of)
        if not isinstance(price, Price):
            raise InputError(f"{type(self).__name__}: price must be a Price, such as Price(0.15, 0.6), not {price!r}")
        self._price = price

    @property
    def price(self) -> Price:
        return self._price


class Priced(_Priced[Backend], Wrapper):
    """The model `of` at a price: what it reads and writes costs money, which is counted and can be limited."""


class PricedReward(_Priced[RewardBackend], RewardWrapper):
    """The reward model `of` at a price, of which only what is read counts."""


def innermost(backend: object) -> object:
    """The backend that others are wrapped around; several that are balanced are the innermost together."""
    while isinstance(backend, Passing):
        backend = backend.of
    return backend
