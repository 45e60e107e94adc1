"""The schema of `solutions.jsonl`: one line for each problem. What each field holds is said by `metagen.Solution`."""

from dataclasses import fields
from typing import Annotated

import msgspec
from msgspec import Meta

from metagen.budget import Usage
from metagen.solution import Solution
from metagen.trace import Span

Count = Annotated[int, Meta(ge=0, le=2**53)]
MOST = 10**30
"""Of FLOPs and of costs: more than that is damage, and would not fit into the sums of a report."""

MOST_SECONDS = 1e9
"""Of one problem: more than that is damage, and would be no time of a calendar."""


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """What of a `metagen.Usage` is not zero."""

    calls: Count = 0
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    completion_tokens: Count = 0
    thought_tokens: Count = 0
    flops: int = 0
    cost: int = 0
    seconds: float = 0.0
    verifier_calls: Count = 0
    verifier_tokens: Count = 0
    verifier_flops: int = 0
    verifier_cost: int = 0
    verifier_seconds: float = 0.0
    estimated_tokens: Count = 0

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into an error that names the place."""
        if not all(0 <= each <= MOST for each in (self.flops, self.verifier_flops, self.cost, self.verifier_cost)):
            raise ValueError(f"FLOPs and costs must be from 0 to {MOST:g}")

    @property
    def tokens(self) -> int:
        return self.usage().tokens

    def usage(self) -> Usage:
        return Usage(**{each.name: getattr(self, each.name) for each in fields(Usage)})


class SolutionRow(msgspec.Struct, frozen=True, gc=False):
    """One line of `solutions.jsonl`: the answer, whether it is right, and what it cost."""

    problem: str
    answer: str | None
    text: str = ""
    correct: bool | None = None
    unjudged: bool = False
    samples: Count = 0
    samples_correct: Count = 0
    compared: Count = 0
    unanswered: Count = 0
    cut: Count = 0
    scored: Count = 0
    unscored: Count = 0
    why_unscored: str = ""
    lost: Count = 0
    why_lost: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""
    usage: UsageRow = UsageRow()
    seconds: float = 0.0
    prompt: str = ""
    reference: str | None = None
    tags: dict[str, str] = {}
    answers: tuple[str | None, ...] = ()
    verdicts: tuple[bool | None, ...] = ()
    groups: tuple[int, ...] = ()
    at: str = ""
    unfinished: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into an error that names the place."""
        if not abs(self.seconds) <= MOST_SECONDS:
            raise ValueError(f"field 'seconds' must be a number up to {MOST_SECONDS:g}")
        for name in ("verdicts", "groups") if self.answers else ():
            if (size := len(getattr(self, name))) not in (0, len(self.answers)):
                raise ValueError(f"field {name!r} has {size} values, and field 'answers' {len(self.answers)}")

    @property
    def failed(self) -> bool:
        return bool(self.error)

    @property
    def final(self) -> bool:
        return not (self.error or self.unfinished)

    @property
    def verdict(self) -> bool | None:
        """Whether it is right; `None` also where a budget cut the work short: that is not the last word."""
        return None if self.unfinished else self.correct

    def solution(self, trace: Span | None = None) -> Solution:
        """The same as it was returned; without its trace, unless that is given."""
        rest = {name: getattr(self, name) for name in self.__struct_fields__ if name != "usage"}
        return Solution(**rest, usage=self.usage.usage(), trace=trace or Span("solve"))
