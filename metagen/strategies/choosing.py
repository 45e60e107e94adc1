"""Choosing among candidates: pure functions over plain data. Each returns the index of its choice."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite

from metagen.answers.protocol import Answers, read_answer, read_each, read_keyed
from metagen.candidate import Candidate, Score
from metagen.errors import SampleError, VerifierError, WeightError
from metagen.problem import Problem
from metagen.settings import literal


def values(scores: Sequence[Score | SampleError | None]) -> list[float | None]:
    """The numbers of verdicts; `None` where there is none, or an error in its place."""
    return [score.value if isinstance(score, Score) else None for score in scores]


def vote_key(problem: Problem, candidate: Candidate) -> str | None:
    """The key of the answer that a candidate votes for, as the problem reads it; `None` if it has none."""
    return key_of(problem.answers, candidate)


def vote_answer(problem: Problem, candidate: Candidate) -> str | None:
    """The answer itself that a candidate votes for; `None` if it has none, or none that can be read."""
    try:
        return read_answer(problem.answers, candidate.text, finished=candidate.finished)
    except VerifierError:
        return None


def vote_keys(problem: Problem, candidates: Iterable[Candidate]) -> list[str | None]:
    """The keys of the answers that candidates vote for."""
    read, _ = read_each(problem.answers, [(each.text, each.finished) for each in candidates])
    return [key for _, key in read]


def broke_off(problem: Problem, reply: Candidate) -> bool:
    """Whether a reply was cut off, or its thought has no end, and it gives no answer."""
    return (reply.cut or reply.open) and vote_key(problem, reply) is None


def key_of(answers: Answers, candidate: Candidate) -> str | None:
    """The key of the answer that a candidate gives, as that kind of answers reads it; `None` if it gives none.

    What the kind of answers cannot read does not vote. Its reason is a note of the solution.
    """
    try:
        return read_keyed(answers, candidate.text, finished=candidate.finished)[1]
    except VerifierError:
        return None


def majority(keys: Sequence[Hashable | None]) -> int | None:
    """The first member of the largest group of equal keys; `None` if no key votes.

    A key of `None` does not vote. Ties go to the group whose first member came first, so a vote ignores order up to
    ties. (Self-consistency; Wang et al. 2023, section 2.)
    """
    votes = Counter(keys)
    votes.pop(None, None)
    return keys.index(max(votes, key=votes.__getitem__)) if votes else None


def weighted_majority(keys: Sequence[Hashable | None], weights: Sequence[float | None]) -> int | None:
    """The heaviest member of the group with the largest sum of weights; `None` if nobody votes.

    A member without a key or a weight does not vote. Ties, between groups and inside one, go to the first.
    Raises `WeightError` for a weight that is negative or not finite. (Li et al. 2023, "Making language models better
    reasoners with step-aware verifier", section 3.)
    """
    sums: dict[Hashable, float] = {}
    heaviest: dict[Hashable, tuple[float, int]] = {}
    for index, (key, weight) in enumerate(zip(keys, weights, strict=True)):
        if key is None or weight is None:
            continue
        if not (isfinite(weight) and weight >= 0):
            raise WeightError(f"a vote cannot have the weight {weight}: weights must be finite and not negative")
        sums[key] = sums.get(key, 0.0) + weight
        if key not in heaviest or weight > heaviest[key][0]:
            heaviest[key] = (weight, index)
    if not sums:
        return None
    return heaviest[max(sums, key=sums.__getitem__)][1]


@contextmanager
def explaining_weights(strategy: object, by: object) -> Iterator[None]:
    """Say in a `WeightError` which strategy it stopped, and how its verifier `by` can give other verdicts."""
    try:
        yield
    except WeightError as error:
        raise WeightError(
            f"{strategy!r}: {error}. If {literal(by)} gives logits, write by=Sigmoid({literal(by)})"
        ) from None


def best(values: Sequence[float | None]) -> int:
    """The index of the highest value. `None` ranks last; ties go to the first."""
    return max(range(len(values)), key=lambda index: (values[index] is not None, values[index] or 0.0))
