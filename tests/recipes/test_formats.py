"""The prompt forms of the training set."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen.prompts import REVISE, THINK
from recipes.formats import Mix, Recipe
from recipes.problems.arithmetic import answer_of

NOTHING = Mix(plain=0, chain_of_thought=0, few_shot=0, revise=0)

PATIENT = settings(deadline=None)


@PATIENT
@given(seed=st.integers(0))
def test_every_reply_ends_in_its_answer(seed: int) -> None:
    reply = Recipe().exchange(Random(seed)).reply
    assert reply.endswith(f"The answer is {answer_of(reply)}.")


@pytest.mark.parametrize(
    ("form", "ending"),
    [("plain", "?"), ("chain_of_thought", THINK), ("few_shot", "\nAnswer:"), ("revise", REVISE)],
)
def test_each_form_is_the_librarys_own(form: str, ending: str) -> None:
    recipe = Recipe(mix=replace(NOTHING, **{form: 1.0}))
    assert all(recipe.exchange(Random(seed)).prompt.endswith(ending) for seed in range(20))
