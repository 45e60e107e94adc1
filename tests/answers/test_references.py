import pytest

from metagen import Answers, Choice, Function, Json, Label, LastNumber, Maths, Number, Pattern, Text
from metagen.answers.references import unequalled

CAPITALS = Choice("AB", texts=("Paris", "Rome"))
YES = Label("yes", "no")


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (Choice("ABCD"), "C"),
        (Choice("ABCD"), "(c)"),
        (CAPITALS, "B"),
        (CAPITALS, "rome"),
        (YES, "Yes."),
        (Number(), "5"),
        (Number(), "$1,234.50"),
        (Number(), "5 apples"),
        (Number(), r"\frac{1}{2}"),
        (Number(), r"0.\overline{3}"),
        (Number(), "101_2"),
        (LastNumber(), "1.2e5"),
        (Json(), "{}"),
        (Json("a"), ' {"b": 2, "a": 1}\n'),
        (Json("a", "c"), '{"a": 1}'),
        (Maths(), "x+1"),
        (Text(), "x"),
        (Pattern("[a-h][1-8]"), "x"),
        (Function(str.strip), "x"),
    ],
)
def test_a_reference_that_an_answer_can_equal_is_none_of_these(kind: Answers, reference: str) -> None:
    assert unequalled(reference, kind) == ""


@pytest.mark.parametrize(
    ("kind", "reference", "said"),
    [
        (Choice("ABCD"), "Paris", "none of the choices A, B, C, D"),
        (Choice("1234"), "12", "none of the choices 1, 2, 3, 4"),
        (CAPITALS, "Berlin", "none of the choices A, B"),
        (YES, "y", "none of the labels yes, no"),
        (Number(), "x+1", "no number"),
        (LastNumber(), "Paris", "no number"),
        (Json("a"), "Bob", "no JSON object with one of the fields 'a'"),
        (Json("a"), '{"b": 1}', "no JSON object with one of the fields 'a'"),
        (Json("a"), 'So {"a": 1}', "no JSON object with one of the fields 'a'"),
        (Json(), "[1]", "no JSON object"),
    ],
)
def test_a_reference_that_no_answer_can_equal_is_named(kind: Answers, reference: str, said: str) -> None:
    assert unequalled(reference, kind) == said
