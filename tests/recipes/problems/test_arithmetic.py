"""Operations, slips and what can be read back from a solution's text."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.problems.arithmetic import (
    LARGEST,
    Operation,
    Sign,
    answer_of,
    carry_out,
    compute,
    first_error,
    now_and_then,
)

CHAIN = (
    Operation("bought", "Tom has", 12, "+", 7, "apples"),
    Operation("sold", "Tom has", "bought", "-", 4, "apples"),
    Operation("doubled", "Tom has", "sold", "*", 2, "apples"),
)

PATIENT = settings(deadline=None)


def test_a_solution_is_written_one_step_a_line() -> None:
    solution = carry_out(CHAIN)
    assert solution
    assert solution.text == (
        "Tom has 12 + 7 = 19 apples.\nTom has 19 - 4 = 15 apples.\nTom has 15 * 2 = 30 apples.\nThe answer is 30."
    )
    assert solution.first_mistake is None


@pytest.mark.parametrize(
    ("left", "sign", "right", "result"),
    [(2, "-", 3, None), (7, "/", 2, None), (8, "/", 2, 4), (500, "*", 2, None), (5, "/", 0, None), (3, "-", 3, 0)],
)
def test_only_whole_numbers_in_range_are_computed(left: int, sign: Sign, right: int, result: int | None) -> None:
    assert compute(left, sign, right) == result


@PATIENT
@given(seed=st.integers(0), rate=st.floats(0, 1))
def test_a_slip_is_followed_consistently(seed: int, rate: float) -> None:
    solution = carry_out(CHAIN, now_and_then(Random(seed), rate))
    assert solution
    first, second, third = solution.steps
    assert (second.left, third.left) == (first.result, second.result)
    for step in solution.steps:
        assert (compute(step.left, step.sign, step.right) == step.result) == (step.mistake is None)


def test_a_slip_leaves_the_rest_possible() -> None:
    halved = (Operation("a", "Tom has", 20, "+", 6, "nuts"), Operation("b", "Tom has", "a", "/", 2, "nuts"))
    solution = carry_out(halved, lambda result: [result + 1, result + 10] if result == 26 else [])
    assert solution
    assert [step.result for step in solution.steps] == [36, 18]


@PATIENT
@given(result=st.integers(0, LARGEST), seed=st.integers(0))
def test_slips_are_wrong_by_one_ten_or_a_digit(result: int, seed: int) -> None:
    slip = now_and_then(Random(seed), 1.0)
    for wrong in slip(result):
        digits = sum(a != b for a, b in zip(str(result), str(wrong), strict=False))
        assert wrong != result
        assert abs(wrong - result) in {1, 10} or (digits == 1 and len(str(wrong)) == len(str(result)))


def test_the_slip_rate_is_met() -> None:
    slip = now_and_then(Random(0), 0.11)
    assert sum(bool(slip(50)) for _ in range(10_000)) / 10_000 == pytest.approx(0.11, abs=0.01)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The answer is 7.", 7), ("so\nThe answer is 1.\nThe answer is 2.", 2), ("The answer is", None), ("", None)],
)
def test_the_last_answer_counts(text: str, answer: int | None) -> None:
    assert answer_of(text) == answer


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Tom has 12 + 7 = 19 apples.\nTom has 19 - 4 = 15 apples.\nTom has 15 * 2 = 30 apples.", None),
        ("Tom has 12 + 7 = 18 apples.\nTom has 18 - 4 = 14 apples.\nTom has 14 * 2 = 28 apples.", 0),
        ("Tom has 12 + 7 = 19 apples.\nTom has 19 + 4 = 23 apples.\nTom has 23 * 2 = 46 apples.", 1),
        ("Tom has 12 + 7 = 19 apples.\nThe answer is 19.", 1),
        ("Tom has 12 + 7 = 19 apples.\nTom has 19 - 4 = 15 apples.\nTom has 15 * 2 = 30 apples.\n1 + 1 = 2", 3),
        ("no arithmetic at all", 0),
    ],
)
def test_the_first_error_is_the_first_line_that_departs(text: str, error: int | None) -> None:
    right = carry_out(CHAIN)
    assert right
    assert first_error(text, right) == error
