import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, Function, WeightError
from metagen.strategies.tree.answer import choice
from metagen.strategies.tree.node import Leaf
from tests.support.trees import values


def leaf(answer: str, value: float | None, count: int = 1) -> Leaf:
    return Leaf(Candidate((f"The answer is {answer}.",)), value, count)


LEAVES = [leaf("7", 0.3), leaf("8", 0.9), leaf("7", 0.4), leaf("9", 0.2, count=3), leaf("7", None)]


@pytest.mark.parametrize(("rule", "place"), [("best", 1), ("majority", 2), ("weighted", 1)])
def test_rules_differ(rule: str, place: int) -> None:
    assert choice(LEAVES, rule) == (place, "")  # type: ignore[arg-type]


def test_a_leaf_votes_as_often_as_it_was_drawn() -> None:
    assert choice([*LEAVES, leaf("9", 0.1)], "majority") == (3, "")
    assert choice([leaf("7", 0.5), leaf("8", 0.3, count=2)], "weighted") == (1, "")


def test_without_verdicts_the_majority_decides_and_without_answers_the_best() -> None:
    assert choice([leaf("7", None), leaf("8", None, count=2)], "weighted") == (
        1,
        "no finished reply with an answer has a verdict: the majority decides",
    )
    nothing = [Leaf(Candidate(("hm",)), value) for value in (0.1, 0.2)]
    place, said = choice(nothing, "majority")
    assert place == 1
    assert said.startswith("none of 2 finished replies has an answer")


def test_where_no_leaf_has_a_verdict_the_first_is_the_best() -> None:
    silent = [leaf("7", None), leaf("8", None, count=2)]
    assert choice(silent, "best") == (0, "no reply has a verdict: the first is returned")
    assert choice([*silent, leaf("9", -1.0)], "best") == (2, "")
    assert choice(silent, "majority") == (1, "")
    nothing = [Leaf(Candidate(("hm",)), None)] * 2
    for rule in ("majority", "weighted"):
        assert choice(nothing, rule) == (
            0,
            "none of 2 finished replies has an answer that votes: the first is returned",
        )


@pytest.mark.parametrize(("rule", "place"), [("majority", 1), ("weighted", 0)])
def test_a_leaf_that_cannot_be_read_does_not_vote(rule: str, place: int) -> None:
    def reads(text: str) -> str | None:
        if "9" in text:
            raise ValueError(text)
        return text

    assert choice(LEAVES[1:], rule, Function(reads))[0] == place  # type: ignore[arg-type]


def test_where_no_leaf_with_an_answer_has_a_verdict_the_majority_decides() -> None:
    leaves = [Leaf(Candidate(("hm",)), 0.9), leaf("7", None), leaf("8", None, count=2)]
    assert choice(leaves, "weighted") == (2, "no finished reply with an answer has a verdict: the majority decides")


def test_weights_must_be_weights() -> None:
    with pytest.raises(WeightError, match="must be finite and not negative"):
        choice([leaf("7", -1.0)], "weighted")
    assert choice([leaf("7", -1.0)], "best") == (0, "")


@given(st.lists(st.tuples(st.sampled_from("789"), values, st.integers(1, 3)), min_size=1, max_size=8))
def test_a_leaf_drawn_three_times_is_three_leaves(drawn: list[tuple[str, float | None, int]]) -> None:
    merged = [leaf(*one) for one in drawn]
    apart = [leaf(answer, value) for answer, value, count in drawn for _ in range(count)]
    one, other = choice(merged, "majority")[0], choice(apart, "majority")[0]
    assert merged[one].candidate == apart[other].candidate
