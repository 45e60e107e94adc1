"""The books of one request over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

from metagen.backends.http.connection import Refused, final
from metagen.backends.http.openai import Counts
from metagen.budget import Usage
from metagen.errors import BackendGone, TransientError
from metagen.request import Meter

BYTES = 4
"""Of a token, about, in a reply."""


class Lengths:
    """How long samples of one server are on average, in tokens: what one is reckoned at of which no count came."""

    def __init__(self) -> None:
        self._samples = self._tokens = 0

    def add(self, samples: int, tokens: int) -> None:
        self._samples += samples
        self._tokens += tokens

    def expect(self, samples: int, most: int, came: int) -> int:
        """The tokens of samples of which `came` bytes arrived: as many as usual, and never more than `most`.

        Where nothing is known yet, four bytes that came are a token.
        """
        usual = samples * self._tokens // self._samples if self._samples else came // BYTES
        return min(most, usual)


class Books:
    """Books one request exactly once: by the count that came back, or else by an estimate, which is marked as one.

    A request of whose reply no byte came is reckoned at its prompt; one whose reply had begun, at its prompt and at
    samples of the usual length. Neither is ever more than was reserved.
    """

    def __init__(self, spend: Meter, lengths: Lengths, prompt: int, output: int, samples: int) -> None:
        self._spend: Meter | None = spend
        self._lengths = lengths
        self.prompt, self.output, self._samples = prompt, output, samples
        self._came = 0

    def note_bytes(self, count: int) -> None:
        """Bytes of the reply have come."""
        self._came += count

    def settle(self, usage: Usage) -> None:
        spend, self._spend = self._spend, None
        if spend:
            spend(usage)

    def settle_counts(self, counts: Counts) -> None:
        """Book what the server counted of a whole reply, and remember how long its samples were."""
        self._lengths.add(self._samples, counts.completion_tokens)
        self.settle(counts.usage())

    def settle_written(self, tokens: int) -> None:
        """Book an estimate: the prompt, and so many tokens of what came."""
        tokens = min(tokens, self.output)
        total = self.prompt + tokens
        self.settle(Usage(calls=1, prompt_tokens=self.prompt, completion_tokens=tokens, estimated_tokens=total))

    def close(self) -> None:
        """Book the estimate of a request that ended without a count, if nothing is booked yet."""
        self.settle_written(self._lengths.expect(self._samples, self.output, self._came) if self._came else 0)


@contextmanager
def reserved(spend: Meter, lengths: Lengths, prompt: int, output: int, samples: int = 1) -> Iterator[Books]:
    """The books of what is sent inside, closed however it ends: a refusal of every request ends the run.

    What was refused, or never sent, costs the call alone.
    """
    books = Books(spend, lengths, prompt, output, samples)
    try:
        yield books
    except Refused as refused:
        books.settle(Usage(calls=1))
        if isinstance(meant := final(refused), BackendGone):
            raise meant from refused
        raise
    except TransientError as error:
        if not error.sent:
            books.settle(Usage(calls=1))
        raise
    finally:
        books.close()
