"""Requests to models, within the budget: reserved before, settled after, metered in between."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isnan
from types import TracebackType

from metagen.budget import Hold, Rate, Usage, free, took
from metagen.errors import BudgetExceeded, GenerationError, InputError, SampleError
from metagen.request import (
    AnyBackend,
    Backend,
    Completion,
    Meter,
    Reading,
    Request,
    RewardBackend,
    all_written,
    card_of,
    changed,
    draws_singly,
    longest_of,
    price_of,
)
from metagen.run.node import Node
from metagen.settings import counted
from metagen.tasks import together
from metagen.trace import Asked, written

Reserve = Callable[[Request], Awaitable[Request]]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The meter of a request under a budget: what was paid for and failed is reserved anew before it is sent again."""

    book: Meter
    reserve: Reserve

    def __call__(self, usage: Usage) -> None:
        self.book(usage)

    async def renew(self, request: Request) -> Request:
        return await self.reserve(request)


class Sending(Node):
    """A node that can ask models: where generators and verifiers end."""

    __slots__ = ()

    async def generate(self, model: str, request: Request) -> list[Completion]:
        """Send one request to a model, within the budget. This is where generators end; strategies use `sample`.

        A completion that the budget cuts short ends by length. If there is no room for all `n` at once, they are asked
        for one by one, and those that find no room are lost. Raises `BudgetExceeded` if all are. The first request of a
        node stands on its own span, each other one on a span below.
        """
        (number,) = self._key()
        if not number:
            return await self._generate(model, request)
        with self._child("request", (number,)) as run:
            return await run._generate(model, request)

    async def _generate(self, model: str, request: Request) -> list[Completion]:
        backend = self._backend(model)
        identity = self._identity(backend)
        request = self._numbered(request, identity)
        self._span.request = Asked(request.prompt, request.reply, request.n, request.conversation, identity)
        thoughts = request.sampling.thought_only and request.n > 1  # which are no samples yet
        if self._scope.teller and self._part != "stage" and not thoughts:
            alone = self._part == "last" and request.n == 1 and not request.sampling.keep_stop
            hearing = self._scope.teller.hearing(
                self._span.path, request.n, request.partial, request.thought, alone=alone
            )
            request = changed(request, hearing=hearing)
        self._account.check_time()
        send = self._send_reserved if self._account.limited else self._send
        return await send(backend, request)

    async def rate(self, model: str, reading: Reading) -> tuple[float, ...]:
        """Let a reward model read, within the budget, and return its scores. This is where verifiers end.

        Raises `BudgetExceeded` if there is no room for it, and `GenerationError` if the model cannot read it, or gives
        what is no number, as one in half precision may.
        """
        backend = self._rewarder(model)
        self._account.check_time()
        reading = replace(reading, deadline=self._account.deadline, clock=self._account.clock)
        held = await self._reserved_for(backend, reading) if self._account.limited else Hold()
        try:
            with Metered(self, backend, 1) as meter:
                scores = await backend.rate(reading, meter)
        finally:
            self._account.settle(held)
        if any(map(isnan, scores)):
            raise GenerationError(f"{backend.name} gave a score that is no number")
        return scores

    async def _send_reserved(self, backend: Backend, request: Request) -> list[Completion]:
        if request.n > 1 and draws_singly(backend):  # each reads the prompt, so each reserves it
            return await self._send_singly(backend, request)
        prompt = await backend.count(request)
        limit = max(1, longest_of(backend, request, prompt))
        flops, cost = self._rates(backend, prompt, request.n)
        most = request.n * limit
        if request.n > 1 and not await self._account.can_hold(prompt + most, flops(most), cost(most)):
            return await self._send_singly(backend, request)
        held = Hold()

        async def reserve(request: Request) -> Request:
            nonlocal held
            self._account.settle(held)
            held = Hold()
            held = await self._reserve(prompt, most, flops, cost, least=request.n)
            return changed(request, room=held.output // request.n)

        try:
            completions = await self._send(backend, await reserve(request), reserve)
            if len(completions) < request.n or any(each.end == "length" for each in completions):
                self._account.cut_short(held.level)
        except SampleError:  # what is cancelled is not missed
            self._account.cut_short(held.level)
            raise
        finally:
            self._account.settle(held)
        return completions

    async def _send_singly(self, backend: Backend, request: Request) -> list[Completion]:
        singles = await together(self._send_single(backend, request, index) for index in range(request.n))
        completions = [single for single in singles if isinstance(single, Completion)]
        if completions:
            return completions
        if any(isinstance(single, BudgetExceeded) for single in singles):
            raise BudgetExceeded(f"no room for any of {request.n} samples{self.why_lost()}")
        raise next(single for single in singles if isinstance(single, SampleError))

    async def _send_single(self, backend: Backend, request: Request, index: int) -> Completion | SampleError:
        try:
            with self._child("request", ("single", index)) as run:
                (completion,) = await run._send_reserved(backend, request.part(index, 1))
        except SampleError as lost:
            return lost
        return completion

    async def _reserved_for(self, backend: RewardBackend, reading: Reading) -> Hold:
        """What a reading may cost at most: its tokens, and a pass of the head for each score."""
        tokens, scores = max(await backend.count(reading), 1), len(reading.steps) + 1
        flops, cost = self._rates(backend, tokens, 1)
        return await self._reserve(tokens - 1, 1, lambda _: flops(scores), lambda _: cost(scores))

    async def _reserve(self, prompt: int, output: int, flops: Rate, cost: Rate, *, least: int = 1) -> Hold:
        """Room in the budget; the time until others have left it counts as waiting."""
        begun = self._account.clock()
        held = await self._account.reserve(prompt, output, flops, cost, least=least)
        self._waited(self._account.clock() - begun)
        return held

    def _rates(self, backend: AnyBackend, prompt: int, n: int) -> tuple[Rate, Rate]:
        """The FLOPs and the cost of a request at most, by how many tokens its samples write together."""
        return self._flops(backend, prompt, n), self._cost(backend, prompt)

    def _cost(self, backend: AnyBackend, prompt: int) -> Rate:
        if not self._account.limits("money"):
            return free
        if (price := price_of(backend)) is None:
            raise unpriced(backend)
        return lambda output: price.of(prompt, output)

    def _flops(self, backend: AnyBackend, prompt: int, n: int) -> Rate:
        if not self._account.limits("flops"):
            return free
        if (card := card_of(backend)) is None:
            raise unsized(backend)
        return lambda output: card.flops(max(prompt, 1), output, samples=n)

    async def _send(self, backend: Backend, request: Request, reserve: Reserve | None = None) -> list[Completion]:
        with Metered(self, backend, request.n) as book:
            outcomes = await backend.generate(request, Ledger(book, reserve) if reserve else book)
        if len(outcomes) != request.n:
            gave = f"{backend.name} gave {counted(len(outcomes), 'completion')}"
            raise GenerationError(f"{gave} where {request.n} were asked for")
        if all_written(outcomes):
            completions = [*outcomes]
        else:
            completions = [each for each in outcomes if isinstance(each, Completion)]
            if any(isinstance(each, BudgetExceeded) for each in outcomes):
                self._account.cut_short(self._account.late())
        if not completions:
            raise next(outcome for outcome in outcomes if isinstance(outcome, SampleError))
        for number, outcome in enumerate(outcomes) if request.hearing or len(completions) < request.n else ():
            if isinstance(outcome, SampleError):
                self._lose(number, outcome)
            elif request.hearing:
                request.hearing.done(number, outcome.text, outcome.end != "length")
        self._span.completions = [
            written(each.text, each.length, each.end == "length", each.thought, each.open) for each in completions
        ]
        return completions

    def _lose(self, number: int, error: SampleError) -> None:
        """Write down why one sample of a request is lost."""
        with suppress(SampleError), self._child("sample", ("lost", number)):
            raise error


class Metered:
    """Books what a backend reports, with its FLOPs, what it costs, and the seconds that it took.

    A report without a prompt, as of samples that a pool had already, belongs to the prompt of the report before it.
    """

    __slots__ = ("_begun", "_card", "_node", "_price", "_prompt", "_samples", "_singly", "_written")

    def __init__(self, node: Sending, backend: AnyBackend, samples: int) -> None:
        self._node = node
        self._samples = samples
        self._singly = draws_singly(backend)
        self._prompt, self._written = (0, 0), 0
        self._card, self._price = card_of(backend), price_of(backend)

    def __enter__(self) -> Meter:
        account = self._node._account
        self._begun = account.clock()
        account.count_in_flight(self._samples)
        return self._book if self._card or self._price else self._node.spend

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        account = self._node._account
        account.count_in_flight(-self._samples)
        if isinstance(error, BudgetExceeded):  # the deadline passed while it waited
            account.cut_short(account.late())
        self._node.spend(took(account.clock() - self._begun))

    def _book(self, usage: Usage) -> None:
        read, written = usage.prompt_tokens, usage.completion_tokens
        cached = min(usage.cached_tokens, read)  # a server may say anything
        cost = self._price.of(read, written, cached) if self._price else 0
        self._node.spend(replace(usage, flops=self._flops(read, written, cached), cost=cost))

    def _flops(self, read: int, written: int, cached: int) -> int:
        if read:
            self._prompt, self._written = (read, cached), written
            return self._flops_of(written, 1 if self._singly else self._samples)
        before, self._written = self._written, self._written + written
        return self._flops_of(self._written, self._samples) - self._flops_of(before, self._samples)

    def _flops_of(self, written: int, samples: int) -> int:
        """What the last prompt costs with so much written after it, where that can be known."""
        read, cached = self._prompt
        return self._card.flops(read, written, cached, samples=samples) if self._card and read else 0


def unpriced(backend: AnyBackend) -> InputError:
    """That a limit of money cannot be kept with this model."""
    return InputError(
        f"a budget in money needs the price of {backend.name}: give --price on the command line, "
        "or Priced(backend, Price(READ, WRITE)); Price(0, 0) is free"
    )


def unsized(backend: AnyBackend) -> InputError:
    """That a limit of FLOPs cannot be kept with this model."""
    return InputError(
        f"a budget in FLOPs needs the sizes of {backend.name}, and its backend does not know them: "
        "give it card=ModelCard.read(...), or --card on the command line"
    )
