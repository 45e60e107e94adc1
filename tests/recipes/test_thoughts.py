"""Generated thoughts: what they say is true of their tries, and they end in the right answer."""

import re
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.problems.arithmetic import answer_of, compute
from recipes.problems.words import Noise, WordProblem, draw, draw_any, split_of
from recipes.thoughts import (
    CHECK,
    CLOSE,
    EMPTY,
    OPEN,
    REREAD,
    Habits,
    Shares,
    Thinking,
    cut,
    drill,
    think,
    think_rightly,
    verdict,
)

PATIENT = settings(deadline=None)
FLAWLESS = Noise(0.0, 0.0)
STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def some(seed: int) -> tuple[WordProblem, Random]:
    rng = Random(seed)
    return draw_any(rng, "training", 1 / 3), rng


def only(**shares: float) -> Thinking:
    return Thinking(shares=replace(Shares(0, 0, 0), **shares))


@PATIENT
@given(seed=st.integers(0))
def test_a_whole_thought_settles_on_the_right_answer(seed: int) -> None:
    problem, rng = some(seed)
    thought = think_rightly(problem, rng, Habits())
    assert thought.answers[-1] == problem.right.answer
    assert thought.answers[-2] == thought.answers[-1]
    assert thought.text.endswith(" = 0.\n")


def test_many_thoughts_begin_wrong_and_are_repaired() -> None:
    thoughts = [think_rightly(*some(seed), Habits()) for seed in range(200)]
    repaired = sum(thought.answers[0] != thought.answers[-1] for thought in thoughts)
    assert 50 < repaired < 150


@PATIENT
@given(seed=st.integers(0))
def test_every_further_try_is_opened_by_wait(seed: int) -> None:
    problem, rng = some(seed)
    thought = think(problem, rng, Habits())
    assert [each.opening in (CHECK, REREAD) for each in thought.tries] == [False, *[True] * (len(thought.tries) - 1)]
    assert thought.text.count("\nWait, ") == len(thought.tries) - 1
    assert len(thought.tries) <= Habits().longest


def test_a_check_keeps_the_reading_and_repairs_slips() -> None:
    habits = Habits(first=Noise(0.5, 0.5), check=FLAWLESS, rereads=0.0)
    repaired = 0
    for seed in range(60):
        rng = Random(seed)
        problem = draw(rng, "training", 4, "each")
        first, *checks = think(problem, rng, habits).tries
        right = problem.misread if first.misread else problem.right
        assert [check.solution.answer for check in checks] == [right.answer] * len(checks)
        repaired += first.solution.answer != right.answer
    assert repaired > 10


def test_reading_again_repairs_a_misreading() -> None:
    problem = draw(Random(5), "training", 4, "reversed")
    thought = think(problem, Random(0), Habits(first=Noise(0, 1), reread=FLAWLESS, rereads=1.0, doubt=0.0))
    assert thought.answers == [problem.misread.answer, problem.right.answer, problem.right.answer]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([5], "5"),
        ([5, 7], "7, and 7 - 5 = 2"),
        ([7, 5], "5, and 7 - 5 = 2"),
        ([5, 7, 7], "7, and 7 - 7 = 0"),
        ([5, 7, 5], "5, and 7 - 5 = 2"),
    ],
)
def test_the_verdict_is_the_difference_to_the_try_before(answers: list[int], said: str) -> None:
    assert verdict(answers) == said


@pytest.mark.parametrize(("doubt", "fewest"), [(0.0, 2), (1.0, 6)])
def test_doubt_makes_thoughts_longer(doubt: float, fewest: int) -> None:
    habits = Habits(first=FLAWLESS, check=FLAWLESS, reread=FLAWLESS, doubt=doubt, longest=6)
    problem, rng = some(1)
    assert len(think(problem, rng, habits).tries) == fewest


@PATIENT
@given(seed=st.integers(0))
def test_a_cut_is_a_beginning(seed: int) -> None:
    problem, rng = some(seed)
    text = think(problem, rng, Habits()).text
    begun = cut(text, rng)
    assert begun
    assert text.startswith(begun)


@PATIENT
@given(seed=st.integers(0))
def test_the_answer_after_a_thought_is_right_and_in_one_line(seed: int) -> None:
    for recipe in (only(whole=1), only(cut=1)):
        problem, rng = some(seed)
        made = recipe.answered(problem, problem.text, rng)
        thought, _, answer = f"{made.opening}{made.reply}".partition(CLOSE)
        assert thought.startswith(f"{OPEN}\n")
        assert answer == f"\n\nThe answer is {problem.right.answer}."


def test_only_the_answer_is_learned_of_a_cut_thought() -> None:
    made = only(cut=1).exchange(Random(0))
    assert made.opening.startswith(OPEN)
    assert made.opening.endswith(CLOSE)
    assert made.reply.startswith("\n\nThe answer is ")
    assert only(whole=1).exchange(Random(0)).opening == ""


def test_without_a_thought_the_steps_are_the_reply() -> None:
    made = only(empty=1).exchange(Random(0))
    assert made.opening == EMPTY
    assert made.reply.endswith(f"The answer is {answer_of(made.reply)}.")
    assert OPEN not in made.reply


@PATIENT
@given(seed=st.integers(0))
def test_problems_are_those_of_the_training_split(seed: int) -> None:
    plain = replace(only(whole=1), mix=replace(Thinking().mix, chain_of_thought=0, few_shot=0, revise=0))
    assert split_of(plain.exchange(Random(seed)).prompt) == "training"


@PATIENT
@given(seed=st.integers(0))
def test_a_drill_ends_once_two_answers_agree(seed: int) -> None:
    made = drill(Random(seed), Habits(doubt=0.0))
    *differences, last = re.findall(r" = (\d+)\.\n", made.reply)
    assert last == "0"
    assert "0" not in differences
    assert made.reply.endswith(f"The answer is {re.findall('gives ([0-9]+)', made.reply)[-1]}.")


def test_without_noise_all_that_is_written_is_true() -> None:
    problem, rng = some(3)
    thought = think(problem, rng, Habits(first=FLAWLESS, check=FLAWLESS, reread=FLAWLESS))
    for left, sign, right, result in STEP.findall(thought.text):
        assert compute(int(left), sign, int(right)) == int(result)
