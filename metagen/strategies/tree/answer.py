"""The answer of a tree: one of its finished replies, by a rule. Pure."""

from collections.abc import Hashable, Sequence
from typing import Literal

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.strategies.choosing import best, key_of, weighted_majority
from metagen.strategies.tree.node import Leaf

Rule = Literal["best", "majority", "weighted"]


def choice(leaves: Sequence[Leaf], rule: Rule, answers: Answers = MATHS) -> tuple[int, str]:
    """The place of the answer, and what is to be said about how it was found.

    The `best` verdict; the `majority`, to which each leaf gives as many votes as it was drawn; or the vote `weighted`
    by verdicts. A vote is won by an answer, and the leaf with the best verdict gives it. If no leaf with an answer has
    a verdict, the majority decides in place of the weights; if none has an answer, the best verdict does. Ties go to
    the first, and so does the answer where no leaf has a verdict.
    Raises `WeightError` if a weight is negative or not finite.
    """
    values = [leaf.value for leaf in leaves]
    any_verdict = any(value is not None for value in values)
    if rule == "best":
        return best(values), "" if any_verdict else "no reply has a verdict: the first is returned"
    keys = [key_of(answers, leaf.candidate) for leaf in leaves]
    winner, said = None, ""
    if rule == "weighted":
        winner = weighted_majority(keys, [_weight(leaf) for leaf in leaves])
    if winner is None and (winner := weighted_majority(keys, [leaf.count for leaf in leaves])) is not None:
        said = "no finished reply with an answer has a verdict: the majority decides" if rule == "weighted" else ""
    if winner is None:
        which = "best" if any_verdict else "first"
        return best(values), f"none of {len(leaves)} finished replies has an answer that votes: the {which} is returned"
    return _best_of(keys[winner], keys, values), said


def _weight(leaf: Leaf) -> float | None:
    return None if leaf.value is None else leaf.value * leaf.count


def _best_of(key: Hashable, keys: Sequence[Hashable], values: Sequence[float | None]) -> int:
    places = [place for place, each in enumerate(keys) if each == key]
    return places[best([values[place] for place in places])]
