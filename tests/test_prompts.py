"""The prompts, letter for letter: the model that ships with metagen was trained on these forms."""

import pytest

from metagen.prompts import (
    action,
    chain_of_thought,
    compare,
    criticism,
    few_shot,
    filled,
    follow_on,
    follow_up,
    grade,
    next_query,
    query_of,
    quoted,
    revise,
    verify,
    with_passages,
)
from tests.support.injections import INJECTIONS


def test_chain_of_thought() -> None:
    assert chain_of_thought("1 + 1?") == "1 + 1?\n\nLet's think step by step."
    assert chain_of_thought("1 + 1?", "End.") == "1 + 1?\n\nLet's think step by step. End."


def test_few_shot() -> None:
    shots = [("1 + 1?", "It is\n2."), ("2 + 2?", "4")]
    assert few_shot("3 + 3?", shots) == (
        "Question: 1 + 1?\nAnswer: It is\n2.\n\nQuestion: 2 + 2?\nAnswer: 4\n\nQuestion: 3 + 3?\nAnswer:"
    )
    assert few_shot("3 + 3?", []) == "Question: 3 + 3?\nAnswer:"
    assert few_shot("3 + 3?", [], "End.") == "End.\n\nQuestion: 3 + 3?\nAnswer:"


def test_revise() -> None:
    ending = "\n\nCheck each step, then write the corrected solution."
    assert revise("1 + 1?", "It is 3.") == f"1 + 1?\n\nPrevious solution:\nIt is 3.{ending}"
    assert revise("1 + 1?", "It is 3.", "No.") == f"1 + 1?\n\nPrevious solution:\nIt is 3.\n\nFeedback:\nNo.{ending}"


def test_what_judges_are_asked() -> None:
    shown = "Question:\n1 + 1?\n\nSolution:\nIt is 3.\n\n"
    assert verify("1 + 1?", "It is 3.") == f"{shown}Is the solution correct? Answer Yes or No."
    assert grade("1 + 1?", "It is 3.", 5) == (
        f"{shown}Grade the solution from 0 (wrong) to 5 (right and complete). End with: The grade is N."
    )
    assert compare("1 + 1?", "2", "3") == (
        "Question:\n1 + 1?\n\nSolution A:\n2\n\nSolution B:\n3\n\nWhich solution is better? Answer A or B."
    )


@pytest.mark.parametrize(
    ("reply", "silent"),
    [
        ("Nothing is wrong.", True),
        ("**Nothing is wrong**", True),
        ("Nothing is wrong with the solution.", True),
        ("All steps are correct, so nothing is wrong.", True),
        ("I checked whether any step is wrong. Nothing is wrong.", True),
        ("Step 1: Nothing is wrong.\nStep 2: Nothing is wrong.", True),
        ("The solution does not have errors: nothing is wrong.", True),
        ("", True),
        ("I could not find a slip and nothing is wrong.", True),
        ("I checked if each step follows and nothing is wrong.", True),
        ("At first I thought that step 2 is wrong, but it is right. Nothing is wrong.", True),
        ("By steps:\n1. Step 1: Nothing is wrong.\n2. Step 2: Nothing is wrong.", True),
        ("I cannot say that nothing is wrong.", False),
        ("Nothing is wrong with step 1, but step 2 is wrong.", False),
        ("Step 1: Nothing is wrong.\nStep 2: 3 + 4 is 7, not 8.", False),
        ("Step 2: 3+4=8 is wrong.\nOtherwise, nothing is wrong.", False),
        ("Step 2 is wrong: 3 + 4 is 7, not 8. In step 1 nothing is wrong.", False),
        ("The sum is clearly incorrect. Nothing is wrong.", False),
        ("It is not true that nothing is wrong.", False),
        ("Step 2 is wrong.", False),
    ],
)
def test_a_criticism_is_silent_where_it_says_so_of_the_whole(reply: str, *, silent: bool) -> None:
    assert criticism(reply) == (None if silent else reply)


def test_braces_and_percent_signs_are_text() -> None:
    assert chain_of_thought("{0} 50%s") == "{0} 50%s\n\nLet's think step by step."
    assert "{x}" in revise("{x}", "{y}")


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_line_of_a_quotation_can_pass_for_the_prompt(text: str) -> None:
    assert all(line.startswith(">") for line in quoted(text).splitlines())
    assert not any(mark in quoted(text) for mark in ("<|", "<s>", "[INST]", "[/INST]"))


def test_a_quotation_says_what_was_said() -> None:
    assert quoted("a\n\nb < c, [NASA] and [Ada] x[i]") == "> a\n>\n> b < c, [ NASA] and [Ada] x[i]"
    assert quoted("") == quoted("\n") == "> (nothing)"


def test_a_template_is_filled_in_once() -> None:
    assert filled("{question} {1} {2} {last}", "{1}", ["{2}", "{question}"]) == "{1} {2} {question} {question}"
    assert filled("{3} {{1}} {other}", "q", ["a"]) == "{3} {a} {other}"
    assert filled("{last}", "q", []) == ""


def test_a_stage_reads_the_parts_before_it() -> None:
    assert follow_on("q", []) == "q"
    assert follow_on("q", ["a", "b"]) == "q\n\nPart 1:\na\n\nPart 2:\nb\n\nPart 3:"


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        ("Follow up: who?", "who?"),
        ("Yes.\n  follow-up question: who? \nFollow up: where?", "who?"),
        ("Followup: who?", "who?"),
        ("So the final answer is: x\nFollow up: who?", None),
        ("Follow up:\nwho?", None),
        ("I follow up: who?", None),
        ("", None),
    ],
)
def test_the_follow_up_is_the_first_before_the_answer(reply: str, asked: str | None) -> None:
    assert follow_up(reply) == asked


@pytest.mark.parametrize(
    ("reply", "query"),
    [("\n\n a b \nc", "a b"), ("Search: x: y", "x: y"), ("query:x", "x"), ("", ""), (" \n ", ""), ("Search:", "")],
)
def test_the_query_is_the_first_line(reply: str, query: str) -> None:
    assert query_of(reply) == query


@pytest.mark.parametrize(
    ("reply", "call"),
    [
        ("Action: search[x]", ("search", "x")),
        ("Thought.\n  action 2: search [ a [b] c ] \nAction: other[y]", ("search", "a [b] c")),
        ("Action: python\n```python\nfor x in y:\n    f(x)\n```\nmore", ("python", "for x in y:\n    f(x)")),
        ("Action: python:\n```\n```", ("python", "")),
        ("Action: search[]", ("search", "")),
        ("Action: python\n```\nnever closed", None),
        ("Action: search[x\ny]", None),
        ("My Action: search[x]", None),
        ("> Action: search[x]", None),
        ("Action: [x]", None),
        ("", None),
    ],
)
def test_an_action_is_a_line_of_its_own(reply: str, call: tuple[str, str] | None) -> None:
    assert action(reply) == call


def test_a_demonstration_is_shown_as_far_as_the_search_has_come() -> None:
    long, short = ("a?", (("b", "c"), ("d", "e")), "f"), ("g?", (("h", "i"),), "j")
    first = next_query("q?", [long, short], [])
    assert "Question: a?\nSearch: b\n\nQuestion: g?\nSearch: h\n\nQuestion: q?\n\n" in first
    second = next_query("q?", [long, short], [("x", "y")])
    assert "Question: a?\nSearch: b\n> c\nSearch: d\n\nQuestion: q?\nSearch: x\n> y\n\n" in second
    last = with_passages("q?", [short], [("x", "y")])
    assert "Question: g?\nSearch: h\n> i\nAnswer: j\n\nQuestion: q?\nSearch: x\n> y\n\n" in last
