"""The books of one request over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

from metagen.backends.http.connection import Refused, final
from metagen.backends.http.openai import Counts
from metagen.budget import Usage
from metagen.errors import TransientError
from metagen.request import Meter


class Reserved:
    """Books one request exactly once: what came back as its count, or all that was reserved, as an estimate."""

    def __init__(self, spend: Meter, prompt: int, output: int) -> None:
        self._spend: Meter | None = spend
        self._reserved = Usage(
            calls=1, prompt_tokens=prompt, completion_tokens=output, estimated_tokens=prompt + output
        )

    def settle(self, usage: Usage | None) -> None:
        spend, self._spend = self._spend, None
        if spend:
            spend(usage or self._reserved)

    def settle_counts(self, counts: Counts | None) -> None:
        if counts:
            self.settle(counts.usage())


@contextmanager
def reserved(spend: Meter, prompt: int, output: int) -> Iterator[Reserved]:
    """The books of what is sent inside, closed however it ends; a refusal is raised as what it means.

    What was refused, or never sent, costs the call alone.
    """
    books = Reserved(spend, prompt, output)
    try:
        yield books
    except Refused as refused:
        books.settle(Usage(calls=1))
        raise final(refused) from None
    except TransientError as error:
        books.settle(None if error.sent else Usage(calls=1))
        raise
    finally:
        books.settle(None)
