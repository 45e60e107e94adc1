"""The generator: what every problem promises."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.problems.arithmetic import LARGEST, compute, first_error
from recipes.problems.story import FEWEST_STEPS, MOST_STEPS
from recipes.problems.traps import TRAPS, Trap
from recipes.problems.words import Noise, WordProblem, attempt, draw, draw_any, split_of, traps_within

PATIENT = settings(deadline=None)


@st.composite
def problems(draw_from: st.DrawFn, traps: tuple[Trap | None, ...] = (None, *TRAPS)) -> WordProblem:
    steps = draw_from(st.integers(FEWEST_STEPS, MOST_STEPS))
    trap = draw_from(st.sampled_from([trap for trap in traps if trap is None or trap in traps_within(steps)]))
    return draw(Random(draw_from(st.integers(0))), "training", steps, trap)


@PATIENT
@given(seed=st.integers(0), steps=st.integers(FEWEST_STEPS, MOST_STEPS))
def test_a_problem_has_the_steps_asked_for(seed: int, steps: int) -> None:
    assert len(draw(Random(seed), "training", steps, None).right.steps) == steps


@PATIENT
@given(problem=problems())
def test_the_right_solution_is_right(problem: WordProblem) -> None:
    for step in problem.right.steps:
        assert compute(step.left, step.sign, step.right) == step.result
        assert 0 <= step.result <= LARGEST
        assert step.mistake is None
    assert first_error(problem.right.text, problem.right) is None


@PATIENT
@given(problem=problems())
def test_every_number_of_the_problem_is_in_its_text(problem: WordProblem) -> None:
    told = set(problem.text.replace(".", " ").split())
    spelled_out = {2, 3, 4, 5}
    given_numbers = {
        operand
        for operation in problem.reading("right")
        for operand in (operation.left, operation.right)
        if isinstance(operand, int)
    }
    assert {str(number) for number in given_numbers - spelled_out} <= told


@PATIENT
@given(problem=problems(TRAPS))
def test_a_misread_trap_has_another_answer_and_one_mistake_of_its_own(problem: WordProblem) -> None:
    assert problem.misread.answer != problem.right.answer
    assert [step.mistake for step in problem.misread.steps].count("misreading") == 1
    for step in problem.misread.steps:
        assert compute(step.left, step.sign, step.right) == step.result


@PATIENT
@given(problem=problems((None,)))
def test_without_a_trap_both_readings_are_one(problem: WordProblem) -> None:
    assert problem.misread == problem.right


@PATIENT
@given(problem=problems(), seed=st.integers(0), slip=st.floats(0, 1))
def test_an_attempt_follows_its_own_mistakes(problem: WordProblem, seed: int, slip: float) -> None:
    solution = attempt(problem, Random(seed), Noise(slip=slip))
    for step in solution.steps:
        assert step.mistake or compute(step.left, step.sign, step.right) == step.result
    assert solution.first_mistake == first_error(solution.text, problem.right) or problem.trap


@PATIENT
@given(problem=problems(TRAPS), seed=st.integers(0))
def test_noise_decides_the_reading(problem: WordProblem, seed: int) -> None:
    assert attempt(problem, Random(seed), Noise(slip=0, misreading=1)) == problem.misread
    assert attempt(problem, Random(seed), Noise(slip=0, misreading=0)) == problem.right


def test_a_seed_gives_one_problem() -> None:
    assert draw_any(Random(3), "training", 0.5) == draw_any(Random(3), "training", 0.5)


@PATIENT
@given(seed=st.integers(0))
def test_the_split_is_in_the_text(seed: int) -> None:
    assert split_of(draw_any(Random(seed), "evaluation", 1 / 3).text) == "evaluation"
    assert split_of(draw_any(Random(seed), "training", 1 / 3).text) == "training"


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_told_once(trap: Trap) -> None:
    problem = draw(Random(0), "training", 5, trap)
    assert problem.trap == trap
    assert len({operation.reading for operation in problem.operations}) > 1
