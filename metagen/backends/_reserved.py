"""The books of one request over HTTP."""

from metagen.backends._openai import Counts
from metagen.budget import Usage
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
