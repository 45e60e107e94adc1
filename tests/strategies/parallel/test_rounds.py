"""Votes in rounds: how large a round is, and what comes of it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    BetaStop,
    DirichletStop,
    ExactStop,
    GenerationError,
    InputError,
    PredictiveStop,
    Problem,
    Request,
    Rounds,
    Scripted,
    Vote,
    WindowStop,
    parse,
    solve,
)
from metagen.strategies.parallel.stopping import Keys, Stop, needed, scaled, two_largest

SPECS = ["Rounds(7, first=3)", "Rounds(9, until=BetaStop(0.8), first=2, rounds=2)"]
WRAPPERS = ["Rounds(3, of={}, first=2)"]

ASKED = Problem("p", "?", "7")
KEYS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=8)


def saying(*answers: int | None) -> Scripted:
    return Scripted(lambda request: "" if (said := answers[request.draw]) is None else f"The answer is {said}.")


@pytest.mark.parametrize(
    ("keys", "left", "more"),
    [
        (["a", "a", "a", "a"], 4, 0),
        (["a", "a", "a", "b"], 12, 2),  # 3 to 1 is not enough, 4 to 1 is
        (["a", "a", "a", "b", "b"], 99, 25),
        (["a", "b"], 10, 10),  # a tie that stays one is never settled
        ([None, None], 3, 3),
        (["a"], 0, 0),
    ],
)
def test_as_many_are_needed_as_would_settle_it(keys: Keys, left: int, more: int) -> None:
    assert needed(BetaStop(0.85), keys, left) == more


@given(KEYS, st.integers(0, 12))
def test_what_is_needed_settles_the_vote_or_is_all_there_is(keys: Keys, left: int) -> None:
    rule = PredictiveStop(0.8)
    more = needed(rule, keys, left)
    assert 0 <= more <= left
    assert (more == 0) == (not left or rule(keys, [1.0] * len(keys), left))


@given(KEYS, st.integers(0, 40))
def test_votes_are_scaled_in_their_order(keys: Keys, more: int) -> None:
    longer, counts = scaled(keys, len(keys) + more), Counter(keys)
    many = Counter(longer)
    assert len(longer) == len(keys) + more
    assert [key for key in many if key] == [key for key in counts if key]
    assert sorted((many[key] for key in many if key), reverse=True)[:2] == [
        each for each in two_largest(longer) if each
    ]
    for key, count in counts.items():
        assert key is None or -2 < many[key] - count * len(longer) / len(keys) <= 0
    if len(set(two_largest(keys))) == 1:
        assert len(set(two_largest(longer))) == 1


RULES = [ExactStop(), PredictiveStop(0.8), PredictiveStop(0.99), DirichletStop(0.95), BetaStop(0.9)]


@pytest.mark.parametrize("rule", RULES)
@given(keys=KEYS, left=st.integers(1, 9))
def test_rounds_stop_only_where_the_rule_says_that_all_is_settled(rule: Stop, keys: Keys, left: int) -> None:
    assert (needed(rule, keys, left) == 0) == rule(keys, [1.0] * len(keys), left)


@given(st.lists(st.sampled_from("abc"), min_size=12, max_size=12), st.integers(1, 6), st.integers(1, 6))
async def test_rounds_with_the_exact_rule_answer_as_the_whole_vote(answers: list[str], first: int, rounds: int) -> None:
    model = Scripted(lambda request: f"The answer is {answers[request.draw]}.")
    whole = await solve(ASKED, Vote(12), model)
    early = await solve(ASKED, Rounds(12, until=ExactStop(), first=first, rounds=99), model)
    assert early.answer == whole.answer


async def test_a_tie_that_goes_to_an_earlier_answer_is_still_open() -> None:
    model = saying(2, 1, 1, 2)
    for until in (ExactStop(), PredictiveStop(0.99)):
        for strategy in (Vote(4), Vote(4, until=until), Rounds(4, until=until, first=3)):
            assert (await solve(ASKED, strategy, model)).answer == "2", strategy
    settled = await solve(ASKED, Rounds(4, until=ExactStop(), first=3), saying(1, 1, 2, 2))  # a tie is the leader's
    assert (settled.answer, settled.samples) == ("1", 3)


def test_many_small_answers_are_not_taken_for_none() -> None:
    assert needed(DirichletStop(0.95), list("aaaaaabcdef"), 10) > 0
    assert needed(DirichletStop(0.95), [*"aaaaaab", *[None] * 4], 10) == 0


async def test_a_clear_vote_ends_after_its_first_round() -> None:
    solution = await solve(ASKED, Rounds(16, first=4), saying(*[7] * 16))
    assert (solution.answer, solution.samples, solution.usage.calls) == ("7", 4, 1)


async def test_the_rounds_grow_with_the_doubt() -> None:
    solution = await solve(ASKED, Rounds(8, first=2), saying(1, 2, 2, 2, 2, 1, 2, 2))
    assert (solution.answer, solution.samples, solution.usage.calls) == ("2", 8, 2)


async def test_the_last_round_ends_it() -> None:
    backend = saying(1, 1, 1, 2, 2, 1, *[2] * 20)
    found = [await solve(ASKED, Rounds(26, until=BetaStop(0.9), first=4, rounds=n), backend) for n in (1, 2, 3)]
    assert [each.usage.calls for each in found] == [1, 2, 3]
    assert [each.samples for each in found] == [4, 8, 26]
    assert [each.answer for each in found] == ["1", "1", "2"]


async def test_all_rounds_at_once_are_a_vote() -> None:
    backend = saying(1, 2, 2, None, 1, 2)
    assert (await solve(ASKED, Rounds(6, first=6), backend)).text == (await solve(ASKED, Vote(6), backend)).text


async def test_a_later_round_that_is_lost_ends_the_vote() -> None:
    def script(request: Request) -> str:
        if request.draw >= 2:
            raise GenerationError("no more")
        return f"The answer is {request.draw}."

    solution = await solve(ASKED, Rounds(8, first=2), Scripted(script))
    assert solution.answer == "0"
    assert "no more than 2 samples" in " ".join(solution.notes)


@pytest.mark.parametrize("spec", ["Rounds(0)", "Rounds(4, first=0)", "Rounds(4, rounds=0)", "Rounds(4, until=3)"])
def test_nonsense_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match="Rounds"):
        parse(spec)


def test_a_rule_must_count() -> None:
    with pytest.raises(InputError, match="must count votes: use PredictiveStop or BetaStop"):
        Rounds(8, until=WindowStop(4))
