from dataclasses import KW_ONLY, dataclass

import pytest

from metagen import CoT, InputError, MatchesReference, Model, Vote
from metagen.settings import literal, require_generator, require_verifier, require_whole, spelled


@dataclass(frozen=True, repr=False)
class Example:
    n: int
    by: object = None
    _: KW_ONLY
    name: str = "x"
    of: object = None

    __repr__ = spelled


async def judge(problem: object, candidates: object, run: object) -> None: ...


@pytest.mark.parametrize(
    ("example", "spec"),
    [
        (Example(3), "Example(3)"),
        (Example(n=3, by=None, name="x"), "Example(3)"),
        (Example(3, judge), "Example(3, judge)"),
        (Example(3, name='say "hi"\n'), r'Example(3, name="say \"hi\"\n")'),
        (Example(3, of=Example(1), name="日本"), 'Example(3, name="日本", of=Example(1))'),
        (Example(3, Vote(2, of=CoT())), "Example(3, Vote(2, of=CoT()))"),
    ],
)
def test_an_object_prints_as_the_call_that_makes_it(example: Example, spec: str) -> None:
    assert repr(example) == spec


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("it's", '"it\'s"'),
        ("\x00\t\\", r'"\u0000\t\\"'),
        ("\ud800", r'"\ud800"'),
        ((), "()"),
        ((1,), "(1,)"),
        (("a", ("b", -0.5)), '("a", ("b", -0.5))'),
        (float("inf"), "1e999"),
        (float("-inf"), "-1e999"),
        (1e-7, "1e-07"),
        (True, "True"),
        (None, "None"),
        (judge, "judge"),
    ],
)
def test_a_setting_is_written_as_a_literal(value: object, text: str) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, float("nan")])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(InputError) as error:
        require_whole(Example(1), limit=value)
    assert str(error.value) == f"Example: limit must be a whole number of 1 or more, not {value!r}"


def test_the_least_whole_number_can_be_chosen() -> None:
    require_whole(Example(1), least=-1, k=-1)
    with pytest.raises(InputError, match="-1 or more, not -2"):
        require_whole(Example(1), least=-1, k=-2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Vote, r"Example: of=Vote is a class: write Vote\(\.\.\.\)"),
        (8, "Example: of=8 is not a strategy"),
        ("CoT()", r'Example: of="CoT\(\)" is not a strategy, called with \(problem, run\)'),
        (MatchesReference(), r"Example: of=MatchesReference\(\) is not a strategy"),
        (judge, "Example: of=judge is not a strategy"),
    ],
)
def test_what_is_no_generator_is_refused(value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        require_generator(Example(1), of=value)


@pytest.mark.parametrize("value", [Vote, 8, Vote(2), Model()])
def test_what_is_no_verifier_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="Example: by="):
        require_verifier(Example(1), by=value)


def test_what_fits_is_accepted() -> None:
    require_generator(Example(1), of=None)
    require_generator(Example(1), of=Model())
    require_verifier(Example(1), by=MatchesReference())
    require_verifier(Example(1), by=judge)
