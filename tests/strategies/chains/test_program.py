from collections.abc import Iterator
from dataclasses import replace
from math import factorial
from typing import Any

import pytest

from metagen import (
    Answers,
    AnyOf,
    BestOf,
    Function,
    InputError,
    Json,
    Label,
    Maths,
    Model,
    Problem,
    ProgramOfThought,
    Python,
    ReAct,
    Request,
    Scripted,
    Text,
    ToolRefusal,
    Vote,
    extract,
    parse,
    solve,
)
from metagen.prompts import PROGRAM, corrected_program, program_of_thought
from metagen.settings import WAITING
from metagen.strategies.chains.program import outcome
from tests.support.confined import needs_sandbox
from tests.support.scripts import NAMES, Counting, compute, length
from tests.support.timing import outlast

SPECS = ["ProgramOfThought(compute, rounds=1)"]
WRAPPERS = ["ProgramOfThought(compute, of={})"]

PROBLEM = Problem("p", "What is 6 times 7?", "42")


def block(code: str) -> str:
    return f"So:\n```python\n{code}\n```"


async def strict(text: str) -> str:
    """An interpreter that knows one program."""
    if "6 * 7" not in text:
        raise ToolRefusal("NameError: name 'six' is not defined")
    return "42"


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("42", "\n\nIt prints:\n42\n\nThe answer is 42."),
        ("a\n x = 1/2 ", "\n\nIt prints:\na\n x = 1/2\n\nThe answer is x = 1/2."),
        ("The answer is 42.", "\n\nIt prints:\nThe answer is 42.\n\nThe answer is 42."),
    ],
)
def test_the_last_line_is_the_answer(printed: str, text: str) -> None:
    assert outcome(printed) == text


@pytest.mark.parametrize(
    "printed",
    [
        "[1. 2.]",
        "[0.5 1. ]",
        "x**2",
        "a**2 + b**2",
        "-x**3/3 + x",
        "exp(-x**2)",
        " + ".join(f"{k}*x**{k}" for k in range(2, 20)),
        str(factorial(60)),
        "0." + "3" * 70,
        "5! = 120",
        "∞",
    ],
)
@pytest.mark.parametrize("said", ["{}", "The answer is {}", "The answer is {}.", "Answer: {}", "1\n2\n{}"])
def test_an_answer_that_a_sentence_does_not_hold_is_given_in_a_box(printed: str, said: str) -> None:
    text = outcome(said.format(printed))
    assert extract(f"```python\n# The answer is 99.\n```{text}") == printed


@pytest.mark.parametrize(
    "printed",
    [
        "7.",
        "42 km",
        "$42",
        "50%",
        "x = 1/2",
        "(1, 2)",
        "[0.5 0.25]",
        "{1, 2}",
        "['a', 'b']",
        "1e-05",
        "(1+2j)",
        "sqrt(2)/2",
        "New York",
        "B. two",
        "Yes.",
        "No, because it is odd",
        "7 (seven)",
        "60 of the students",
        "tensor([1., 2.])",
        "2024-01-05",
        "}",
        "the total of all of the many things that we counted here in the end is 7",
    ],
)
def test_an_answer_that_a_sentence_holds_is_given_in_a_sentence(printed: str) -> None:
    assert outcome(printed).endswith(f"\n\nThe answer is {printed}.")


@pytest.mark.parametrize("kind", [Text(), Json(), Label("x**2", "y"), Function(str.strip), AnyOf(of=Text())])
def test_a_kind_of_answers_that_knows_no_boxes_is_given_none(kind: Answers) -> None:
    assert outcome("x**2", kind).endswith("\n\nThe answer is x**2.")
    assert outcome("x**2", Maths(seconds=1.0)).endswith(r"The answer is \boxed{x**2}.")
    assert outcome("x**2", AnyOf()).endswith(r"The answer is \boxed{x**2}.")


def test_what_is_no_answer_is_not_read_from_the_program() -> None:
    assert extract(f"```python\n# The answer is 99.\n```{outcome('...')}") == "..."


async def test_what_numpy_prints_is_right() -> None:
    async def prints(text: str) -> str:
        return "[1. 2.]"

    solution = await solve(Problem("p", "?", "[1. 2.]"), ProgramOfThought(prints), Scripted(block("print(x)")))
    assert (solution.answer, solution.correct) == ("[1. 2.]", True)


def thinking(thought: str, said: str) -> Scripted:
    """A model that thinks so, and says so."""
    return Scripted(f"<think>\n{thought}{said}", thinking="qwen3")


async def test_the_thought_before_a_program_is_kept() -> None:
    backend = thinking("Multiply.\n</think>\n\n", block("print(6 * 7)"))
    candidate = (await solve(PROBLEM, ProgramOfThought(strict), backend)).candidate
    assert candidate is not None
    assert (candidate.thought.strip(), candidate.thought_tokens > 0, candidate.tokens) == ("Multiply.", True, ())
    assert (candidate.finished, candidate.steps[0]) == (True, block("print(6 * 7)"))


async def test_a_program_inside_of_a_thought_is_not_run() -> None:
    called: list[str] = []

    async def lenient(text: str) -> str:
        called.append(text)
        return "42"

    solution = await solve(PROBLEM, ProgramOfThought(lenient), thinking("Multiply.\n", block("print(6 * 7)")))
    assert (solution.answer, called) == (None, [])
    assert "cut off before its end" in solution.error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ProgramOfThought(Python)", "Python is a class"),
        ("ProgramOfThought(length)", "is not a tool"),
        ("ProgramOfThought(compute, rounds=-1)", "rounds"),
        ("ProgramOfThought(compute, seconds=0)", "seconds"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(text, NAMES)


def test_its_spec_names_the_tool() -> None:
    assert repr(ProgramOfThought(Python(), rounds=1)) == "ProgramOfThought(Python(), rounds=1)"
    assert repr(ProgramOfThought(compute)) == "ProgramOfThought(compute)"


async def test_it_asks_for_a_program_and_answers_with_what_it_prints() -> None:
    backend = Counting(lambda _: block("print(6 * 7)"))
    solution = await solve(PROBLEM, ProgramOfThought(strict), backend)
    assert [request.prompt for request in backend.requests] == [f"{PROBLEM.prompt}\n\n{PROGRAM}"]
    assert solution.text == f"{block('print(6 * 7)')}\n\nIt prints:\n42\n\nThe answer is 42."
    assert solution.correct


async def test_a_program_that_fails_goes_back_with_the_reason() -> None:
    replies = iter([block("print(six * 7)"), block("print(6 * 7)")])
    backend = Counting(lambda _: next(replies))
    solution = await solve(PROBLEM, ProgramOfThought(strict, rounds=2), backend)
    assert solution.correct
    asked = corrected_program(PROBLEM.prompt, block("print(six * 7)"), "NameError: name 'six' is not defined")
    assert [request.prompt for request in backend.requests] == [program_of_thought(PROBLEM.prompt), asked]
    assert "\n> NameError: name 'six' is not defined\n" in asked


@pytest.mark.parametrize("rounds", [0, 2])
async def test_after_its_rounds_the_sample_is_lost(rounds: int) -> None:
    backend = Counting(lambda _: block("print(six * 7)"))
    solution = await solve(PROBLEM, ProgramOfThought(strict, rounds=rounds), backend)
    assert solution.failed
    assert "name 'six' is not defined" in str(solution.trace.why_lost())
    assert len(backend.requests) == rounds + 1


@pytest.mark.parametrize("printed", ["", " \n"])
async def test_nothing_printed_is_no_answer(printed: str) -> None:
    async def silent(text: str) -> str:
        return printed

    solution = await solve(PROBLEM, ProgramOfThought(silent, rounds=1), Scripted(block("six = 6")))
    assert (solution.answer, solution.failed) == (None, True)
    assert "the program prints nothing" in str(solution.trace.why_lost())


async def test_a_program_that_is_cut_off_is_not_run() -> None:
    cut = ProgramOfThought(strict, of=Model(max_tokens=30))
    solution = await solve(PROBLEM, cut, Scripted(block("print(6 * 7)\nprint(6 * 7 - 1)")))
    assert (solution.answer, solution.failed) == (None, True)
    assert "cut off before its end" in str(solution.trace.why_lost())
    replies = iter([block("print(6 * 7) # and so on"), "```python\n6 * 7\n```"])
    backend = Counting(lambda _: next(replies))
    solution = await solve(PROBLEM, replace(cut, rounds=1), backend)
    assert solution.correct
    assert "\n> the program was cut off before its end" in backend.requests[1].prompt


async def test_a_program_may_end_before_the_limit_that_cuts_the_reply() -> None:
    backend = Scripted(f"{block('print(6 * 7)')}\nThis computes the product.")
    solution = await solve(PROBLEM, ProgramOfThought(strict, of=Model(max_tokens=40)), backend)
    assert solution.correct
    assert solution.candidate is not None
    assert solution.candidate.cut


def test_a_tool_has_time_to_wait_for_a_processor() -> None:
    assert ProgramOfThought(compute).seconds == ReAct((("compute", compute),)).seconds == WAITING


async def hangs(text: str) -> str:
    await outlast()
    return text


async def raises(text: str) -> str:
    raise ZeroDivisionError(text)


async def floods(text: str) -> str:
    return text * 100_000


@pytest.mark.parametrize("tool", [hangs, raises, floods])
async def test_a_tool_that_fails_costs_one_candidate(tool: Any) -> None:
    async def sometimes(text: str) -> str:
        return await tool(text) if "one" in text else "42"

    replies = iter(["two", "one", "three"])
    strategy = BestOf(3, by=length, of=ProgramOfThought(sometimes, seconds=60.0))
    solution = await solve(PROBLEM, strategy, Scripted(lambda _: next(replies)))
    assert (solution.samples, solution.lost, solution.correct) == (2, 1, True)


@needs_sandbox
async def test_hostile_programs_cost_their_candidates_alone() -> None:
    programs: Iterator[str] = iter(
        [
            "print(6 * 7)",
            "while True: pass",
            "import os; os.kill(os.getppid(), 9)",
            "print('x' * 10**7)",
            "print(6 * 7)",
        ]
    )

    def script(_: Request) -> str:
        return block(next(programs))

    solution = await solve(PROBLEM, Vote(5, of=ProgramOfThought(Python(seconds=4.0))), Scripted(script))
    assert (solution.samples, solution.answer) == (2, "42")
    assert solution.lost == 3


@pytest.mark.parametrize("printed", ["ab" * 9500, "a b" * 6000, "-" * 19000, "=\n" * 9000])
def test_whatever_is_printed_is_read_at_once(printed: str) -> None:
    assert "The answer is" in outcome(printed)


@pytest.mark.parametrize(
    ("printed", "answer"),
    [
        ("The answer is 5!", "5"),
        ("The answer is **5** apples", "5"),
        ("The answer is 3. x = 3", "3"),
        ("7\n-----", "7"),
        ("7\n=====", "7"),
    ],
)
def test_a_last_line_that_says_it_in_prose_is_read_as_ever(printed: str, answer: str) -> None:
    assert extract(outcome(printed)) == answer
