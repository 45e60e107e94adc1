"""A generator that is asked for steps one after the other, and does not take any, is found out."""

import pytest

from metagen import Candidate, InputError, Vote
from metagen.strategies.tree.steps import check_steps, stands_still

BEGUN = Candidate(("a\n", "b\n"), finished=False)
THOUGHT = Candidate((), finished=False, open=True, thoughts=("hm",), thought_tokens=2)


@pytest.mark.parametrize(
    ("begun", "after"),
    [
        (Candidate(()), Candidate(("a\n",), finished=False)),
        (BEGUN, Candidate(("a\n", "b\n", "c\n"), finished=False)),
        (BEGUN, Candidate(("a\n", "b\n", ""))),
        (THOUGHT, Candidate((), finished=False, open=True, thoughts=("hm", " so"), thought_tokens=4)),
        (THOUGHT, Candidate((), finished=False, open=True, thoughts=("hm",), thought_tokens=3)),
        (THOUGHT, Candidate((), finished=False, thoughts=("hm",), thought_tokens=2)),
        (THOUGHT, Candidate((), open=True, thoughts=("hm",), thought_tokens=2)),
        (THOUGHT, Candidate(("a",), thoughts=("hm",), thought_tokens=2)),
        (Candidate(()), Candidate((), finished=False, thoughts=("hm",), tokens=(1, 2))),
    ],
    ids=str,
)
def test_what_is_added_is_a_step(begun: Candidate, after: Candidate) -> None:
    assert not stands_still(begun, after)
    check_steps(Vote(2), Vote(2), begun, [after])


@pytest.mark.parametrize(
    ("begun", "after"),
    [
        (BEGUN, BEGUN),
        (BEGUN, Candidate(("a\n",), finished=False)),
        (BEGUN, Candidate(("c\n", "b\n", "d\n"), finished=False)),
        (BEGUN, Candidate(("a\nb\n",))),
        (THOUGHT, THOUGHT),
        (THOUGHT, Candidate((), finished=False, open=True, thoughts=("oh", " so"), thought_tokens=4)),
        (THOUGHT, Candidate((), finished=False, open=True, thoughts=("hm",), thought_tokens=1)),
        (THOUGHT, Candidate(("a",))),
        (Candidate(()), Candidate((), finished=False)),
    ],
    ids=str,
)
def test_what_adds_nothing_or_begins_anew_is_none(begun: Candidate, after: Candidate) -> None:
    assert stands_still(begun, after)
    with pytest.raises(InputError, match=r"Vote: of=Vote\(2\) cannot step: it did not continue the reply so far"):
        check_steps(Vote(2), Vote(2), begun, [Candidate((*begun.steps, "c"), thoughts=begun.thoughts), after])
