"""How much may be asked: at once, by one request, by one key in a day, and of the server in all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from metagen.budget import Account, Budget, tightest
from metagen.serve.keys import Key
from metagen.serve.refusals import Refusal, busy, spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a server."""

    in_flight: int = 256
    """Requests at work at once."""
    queue: int = 1024
    """Requests that wait for their turn; more are refused with a 429."""
    seconds: float = 600.0
    """For one request, after which it is ended."""
    request: Budget = field(default_factory=Budget)
    """For each request."""
    server: Budget = field(default_factory=Budget)
    """For all requests together."""
    body: int = 8 * 2**20
    """Bytes of a body."""
    body_seconds: float = 30.0
    """For a body to arrive."""
    ping: float = 10.0
    """Seconds of silence in a stream before a comment is sent."""
    kept: int = 256
    """How many of the latest replies and traces of each key can be fetched again."""


class Gate:
    """Lets so many requests work at once, and others wait in their order."""

    def __init__(self, in_flight: int, queue: int) -> None:
        self._most = in_flight + queue
        self._turns = asyncio.Semaphore(in_flight)
        self.admitted = 0
        self.at_work = 0

    def check(self) -> None:
        """Raise `Refusal` if too many wait already."""
        if self.admitted >= self._most:
            raise busy(1, "Too many requests are waiting: try again later")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises `Refusal` if too many wait already."""
        self.check()
        self.admitted += 1
        try:
            async with self._turns:
                self.at_work += 1
                try:
                    yield
                finally:
                    self.at_work -= 1
        finally:
            self.admitted -= 1


def _today() -> date:
    return datetime.now(UTC).date()


class Books:
    """The accounts: one of the server, and in it one for each key and day, in which those of requests are."""

    def __init__(self, limits: Limits, today: Callable[[], date] = _today) -> None:
        self._limits = limits
        self._today = today
        self.server = Account(limits.server)
        self._days: dict[str, tuple[date, Account]] = {}

    def day(self, key: Key) -> Account:
        """What a key spends today, by UTC."""
        today = self._today()
        begun, account = self._days.get(key.name, (today, None))
        if account is None or begun != today:
            account = self.server.inner(Budget(key.tokens_per_day))
            self._days[key.name] = today, account
        return account

    def request(self, key: Key, asked: Budget) -> Account:
        """The account of one request: under the tightest of the server's, the key's and its own budget."""
        return self.day(key).inner(tightest(self._limits.request, key.request, asked))

    def refused(self, key: Key, account: Account, why: str) -> Refusal:
        """What to say of a request that was lost for want of room: whose budget turned it away.

        Those of the key and of the server are asked only where they refused something to this very request.
        """
        if account.short and not account.refused:
            if self.day(key).refused:
                return spent(f"The budget of this key is spent for today: {why}")
            if self.server.refused:
                return spent(f"The budget of this server is spent: {why}")
        said = f"The budget of this request or of its strategy is spent: {why}"
        return Refusal(400, said, param="metagen", code="budget_exceeded")
