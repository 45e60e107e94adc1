"""What can go wrong, and what each error costs.

    MetagenError
    ├── InputError            the caller's input is wrong: exit code 2, in most cases before anything is spent
    │   └── WeightError       a weighted vote was given a weight that cannot be one, after the samples were drawn
    ├── BackendGone           the model cannot be reached any more: the run ends, unless a `Fallback` has another
    ├── StorageError          the disk takes no more: the run ends, and can be resumed; exit code 1
    └── SampleError           costs one sample, is written on its span, and the search continues
        ├── GenerationError   the model refused or failed this one request
        │   ├── UnfitRequest      the model cannot take it, and would refuse it again: its prompt is too long
        │   └── TransientError    asked again, it may answer: what `Retrying` waits for
        │       └── ServerBusy        the server takes no more requests at the moment
        ├── BudgetExceeded    the budget has no room for this request
        ├── VerifierError     a verifier raised or broke its contract
        ├── ToolError         a tool or a plain function raised, took too long or broke its contract
        │   └── ToolRefusal       the tool cannot take this input; a strategy may show the reason to the model
        └── NoCandidate       every sample of a strategy was lost

Anything that is not a `MetagenError` is a bug: it cancels its siblings and stops the run.
Foreign errors are translated once, where the foreign code is called.
"""

from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pydantic import ValidationError


def first_fault(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong in what was read: the field, and what it must be."""
    found = error.errors()
    if unknown := next((each for each in found if each["type"] == "extra_forbidden"), None):
        return (
            f"field {'.'.join(map(str, unknown['loc']))!r}: there is no such field"  # perhaps the one that is missing
        )
    first = found[0]
    return f"field {'.'.join(map(str, first['loc']))!r}: {first['msg']}"


class MetagenError(Exception):
    """The root of all errors that metagen raises on purpose."""


class InputError(MetagenError):
    """The caller's input is wrong. The message names the place and says what to do."""


class WeightError(InputError):
    """A weighted vote was given a negative or non-finite weight."""


class BackendGone(MetagenError):
    """The model cannot be reached any more. The run ends, keeps what it has and can be resumed."""


class StorageError(MetagenError):
    """A file cannot be written any further, as on a full disk. The run ends, keeps what it has and can be resumed."""


class SampleError(MetagenError):
    """One sample is lost; its siblings continue."""


class GenerationError(SampleError):
    """The model refused or failed one request."""


class UnfitRequest(GenerationError):
    """The model cannot take this request, and would refuse it again: its prompt is too long, or its form is wrong."""


class TransientError(GenerationError):
    """A request failed in a way that may pass: asked again, the server may answer."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        sent: bool = False,
        unreachable: bool = False,
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server wants us to wait, if it said so."""
        self.sent = sent
        """Whether the server had taken the request, so that it may have worked on it."""
        self.unreachable = unreachable
        """Whether there was no connection to the server at all."""
        self.remedy = remedy
        """What to do about that, or to look at, where it is known."""

    @property
    def advice(self) -> str:
        """The message, and after it what to look at where a server cannot be opened."""
        remedy = self.remedy or ("is the server running?" if self.unreachable else "")
        return f"{self}: {remedy}" if remedy else str(self)


class ServerBusy(TransientError):
    """The server takes no more requests at the moment, as where it limits the rate."""


class BudgetExceeded(SampleError):
    """The budget has no room for this request."""

    def __init__(self, message: str, level: float = inf) -> None:
        super().__init__(message)
        self.level = level
        """How many accounts are around the one that refused it; infinite where none did."""


class VerifierError(SampleError):
    """A verifier raised, or returned something other than one score or `None` a candidate."""


class ToolError(SampleError):
    """A tool, or a plain function of the user's, raised, took too long, or returned something that it may not."""


class ToolRefusal(ToolError):
    """A tool cannot take this input. The message says what is wrong with it, in words that a model may read."""


class NoCandidate(SampleError):
    """Every sample of a strategy was lost, so there is nothing to choose from."""

    @classmethod
    def of(cls, samples: int, why: str, *, most: bool = False) -> Self:
        """For a strategy that lost all its samples, or with `most` up to so many. The message ends with `why`."""
        many = f"all of up to {samples:,}" if most else f"all {samples:,}"
        return cls(f"{'the sample was' if samples == 1 else f'{many} samples were'} lost{why}")
