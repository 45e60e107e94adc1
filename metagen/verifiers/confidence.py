"""Verifiers without a model: how sure the generator was of its own words.

They read what the engine returned beside the tokens, so they cost nothing more. It has to be asked for: a candidate
that was drawn without is an `InputError`, since a whole run without verdicts would be a vote that only looks weighted.
Where it is sure that all would be, the run is refused before it draws.
A candidate without words has no verdict. Tokens that a strategy wrote into a reply do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import ClassVar

from metagen.candidate import Candidate, Score
from metagen.confidence import lowest_group
from metagen.errors import InputError
from metagen.leaves import reads_more
from metagen.model import Model
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import require_whole, spelled


class Confidence:
    """A verifier of this module, which judges each candidate alone."""

    __slots__ = ()
    __repr__ = spelled
    drawn_by: ClassVar[Model]
    """A model whose samples it can judge."""

    async def __call__(self, _problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
        return [self._verdict(candidate) for candidate in candidates]

    def _verdict(self, candidate: Candidate) -> Score | None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, repr=False)
class MeanLogprob(Confidence):
    """1/T Σₜ log p(yₜ | x, y₁ … yₜ₋₁), in nats: at most 0, so it ranks; to weigh a vote, `Sigmoid(MeanLogprob())`.

    Samples from `Model(logprobs=True)`. The mean, since a sum favours short answers.
    """

    drawn_by: ClassVar[Model] = Model(logprobs=True)

    def _verdict(self, candidate: Candidate) -> Score | None:
        known = _known(self, candidate, candidate.logprobs)
        return Score(fmean(known)) if known else None


@dataclass(frozen=True, slots=True, repr=False)
class SelfCertainty(Confidence):
    """The mean over all tokens of −1/k Σⱼ log pⱼ, over the k most probable tokens at each place.

    Samples from `Model(top_logprobs=k)`. (Self-certainty, Kang et al. 2025, section 3, which takes the whole
    vocabulary for k and subtracts its logarithm; with k = 20 it is the average trace confidence of Fu et al. 2025.)
    """

    drawn_by: ClassVar[Model] = Model(top_logprobs=20)

    def _verdict(self, candidate: Candidate) -> Score | None:
        known = _known(self, candidate, candidate.confidences)
        return Score(fmean(known)) if known else None


@dataclass(frozen=True, slots=True, repr=False)
class LowestGroupConfidence(Confidence):
    """The lowest mean confidence of `size` tokens in a row: a thought is as sure as its least sure passage.

    Samples from `Model(top_logprobs=k)`; 2048 is the paper's size, for thoughts of ten thousand tokens. A candidate
    that ended with fewer tokens is one group; one that may grow has no verdict before it has a whole group, and from
    then on a verdict that never rises as it grows. (DeepConf, Fu et al. 2025, section 2.)
    """

    size: int = 2048

    drawn_by: ClassVar[Model] = Model(top_logprobs=20)

    def __post_init__(self) -> None:
        require_whole(self, size=self.size)

    def _verdict(self, candidate: Candidate) -> Score | None:
        known = _known(self, candidate, candidate.confidences)
        too_early = not (candidate.finished or candidate.cut) and len(known) < self.size
        return None if too_early or not known else Score(lowest_group(known, self.size))


def _known(by: Confidence, candidate: Candidate, numbers: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of the tokens that the model drew, without those that a strategy wrote."""
    if (candidate.text or candidate.thought) and not numbers:
        raise InputError(reads_more(by, by.drawn_by))
    return tuple(number for number in numbers if not isnan(number))
