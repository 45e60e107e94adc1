from collections.abc import Sequence

import pytest

from metagen import (
    Candidate,
    CodeT,
    CodeVote,
    GenerationError,
    InputError,
    Problem,
    Request,
    Run,
    Sandbox,
    Scripted,
    ToolError,
    parse,
    solve,
)
from metagen.execution.probes import kind_of, outcomes
from metagen.execution.processes import Finished
from metagen.execution.programs import limits
from metagen.strategies.parallel.behaviour import agreed
from tests.support.confined import needs_sandbox

SPECS = ["CodeVote(3)", 'CodeVote(2, inputs=("f(1)",))', "CodeT(2, k=4)"]
WRAPPERS = ["CodeVote(2, of={})", "CodeT(2, of={})"]
PROBLEM = Problem("1", "Write double(x).", tests="assert double(3) == 6")
CODES = (
    "def double(x): return x * x",
    "def double(x): return 2 * x",
    "double = lambda x: x + x",
    "def double(x): 1 / 0",
)
CALLS = "```python\ndouble(2)\ndouble(3)\nx = 1\n```"
TESTS = "```python\nassert double(2) == 4\nassert double(0) == 0\nassert double(3) == 6\n```"


def model(written: str | None) -> Scripted:
    def script(request: Request) -> str:
        if "Do not solve this." in request.prompt:
            if written is None:
                raise GenerationError("no room")
            return written
        return f"```python\n{CODES[request.draw % len(CODES)]}\n```"

    return Scripted(script)


@pytest.mark.parametrize(
    ("probe", "kind"),
    [
        ("f(1)", "call"),
        ("assert f(1) == 2", "assert"),
        ("1 2\n", "input"),
        ("x = 1", "input"),
        ("assert await f(1) == 2", "input"),
        ("f([x async for x in g()])", "input"),
        ("f((yield))", "call"),
        ("print(*f(1))", "call"),
        ("print()", "call"),
    ],
)
def test_probes_are_told_apart(probe: str, kind: str) -> None:
    assert kind_of(probe) == kind


@pytest.mark.parametrize(
    ("behaviours", "chosen"),
    [
        ([("True", "E"), ("True", "True"), ("True", "E")], 0),
        ([("True", "E"), ("True", "True"), ("E", "E")], 1),
        ([("E", "E"), ("E", "E"), None, ("E", "True")], 3),
        ([("E",), None], None),
        ([("True", "AssertionError"), ("True", "TypeError"), ("True", "ValueError"), ("True", "True")], 0),
        ([], None),
    ],
)
def test_dual_agreement(behaviours: list[tuple[str, ...] | None], chosen: int | None) -> None:
    assert agreed(behaviours) == chosen


@needs_sandbox
class TestRun:
    async def test_programs_that_do_the_same_vote_together(self) -> None:
        for strategy in (CodeVote(4, inputs=("double(2)", "double(3)")), CodeVote(4)):
            solution = await solve(PROBLEM, strategy, model(CALLS))
            assert (solution.correct, solution.answer, solution.notes) == (True, f"{CODES[1]}\n", ())

    async def test_inputs_may_be_for_programs(self) -> None:
        codes = ("print(input() * 2)", "print(2 * int(input()))", "x = int(input())\nprint(x + x)")
        backend = Scripted(lambda request: f"```\n{codes[request.draw]}\n```")
        assert (await solve("?", CodeVote(3, inputs=("3\n",)), backend)).text == f"```\n{codes[1]}\n```"

    async def test_an_endless_program_is_alone(self) -> None:
        codes = ("while True: pass", "print(1)", "print(1 )")
        backend = Scripted(lambda request: f"```\n{codes[request.draw]}\n```")
        solution = await solve("?", CodeVote(3, inputs=("",), seconds=1), backend)
        assert solution.text == "```\nprint(1)\n```"

    async def test_programs_that_raise_on_every_input_do_not_vote(self) -> None:
        codes = ("def dbl(x): return 2 * x", "def dbl(x): return x + x", "def double(x): return 2 * x")
        backend = Scripted(lambda request: f"```\n{codes[request.draw]}\n```")
        solution = await solve("?", CodeVote(3, inputs=("double(2)",)), backend)
        assert (solution.text, solution.notes) == (f"```\n{codes[2]}\n```", ())

    @pytest.mark.parametrize("probe", ['f("a b c d e f g h")', "a b c d e f g h"])
    async def test_sets_of_texts_are_written_in_one_order(self, probe: str) -> None:
        shown = "print(f(input()))" if "(" not in probe else ""
        codes = [f"def f(s): return set(s.split(){end})\n{shown}" for end in ("", " ", "  ", "   ", "    ")]
        backend = Scripted(lambda request: f"```\n{['f = None', *codes][request.draw]}\n```")
        solution = await solve("?", CodeVote(6, inputs=(probe,)), backend)
        assert solution.text == f"```\n{codes[0]}\n```"
        found = {await outcomes(code, [probe], Sandbox(), limits(10, 2**31)) for code in codes}
        assert len(found) == 1

    @pytest.mark.parametrize(
        ("probe", "codes"),
        [
            ("f(3)", [f"def f(n):\n    {each}" for each in ("yield from range(n)", "return map(int, range(n))")]),
            ("f(3)", ["from itertools import count as f", "def f(n):\n    while 1: yield (n := n + 1) - 1"]),
            ("f(3)", [f"class A:{space}pass\ndef f(n): return [A(), f]" for space in ("", " ")]),
        ],
        ids=["iterators", "endless iterators", "objects"],
    )
    async def test_addresses_set_no_programs_apart(self, probe: str, codes: list[str]) -> None:
        shown = {await outcomes(code, [probe], Sandbox(), limits(10, 2**31)) for code in codes}
        assert len(shown) == 1
        wrong = await outcomes("def f(n): return map(int, range(n + 1))", [probe], Sandbox(), limits(10, 2**31))
        assert wrong not in shown
        backend = Scripted(lambda request: f"```\n{['def f(n): return n', *codes][request.draw]}\n```")
        solution = await solve("?", CodeVote(3, inputs=(probe,)), backend)
        assert solution.text == f"```\n{codes[0]}\n```"

    async def test_an_iterator_that_raises_has_raised(self) -> None:
        code = "def f():\n    yield 1\n    raise KeyError"
        assert await outcomes(code, ["f()"], Sandbox(), limits(10, 2**31)) == ("raised KeyError",)

    async def test_what_a_call_prints_to_show_it_is_what_it_returns(self) -> None:
        written = "```python\nprint(double(2))\nprint(*[double(3)], double(4))\n```"
        solution = await solve(PROBLEM, CodeVote(4), model(written))
        assert (solution.correct, solution.answer, solution.notes) == (True, f"{CODES[1]}\n", ())

    async def test_tests_and_programs_agree(self) -> None:
        solution = await solve(PROBLEM, CodeT(4), model(TESTS))
        assert (solution.correct, solution.answer) == (True, f"{CODES[1]}\n")

    async def test_of_a_call_that_ends_the_program_the_others_count(self) -> None:
        codes = ("import os\ndef f(x): return os._exit(0) if x else 1", "def f(x): return 1", "def f(x): return 1 ")
        backend = Scripted(lambda request: f"```\n{codes[request.draw]}\n```")
        assert (await solve("?", CodeVote(3, inputs=("f(0)", "f(1)")), backend)).text == f"```\n{codes[1]}\n```"


@pytest.mark.parametrize("strategy", [CodeVote(3), CodeT(3)])
@pytest.mark.parametrize("written", [None, "I would rather not."])
async def test_without_inputs_the_first_is_returned(strategy: CodeVote, written: str | None) -> None:
    solution = await solve(PROBLEM, strategy, model(written), grade=_right)
    assert solution.answer == f"{CODES[0]}\n"
    assert "there are no inputs to tell the programs apart by" in solution.notes


async def _right(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
    return [1.0 for _ in candidates]


async def test_a_sandbox_that_fails_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> Finished:
        raise ToolError("no room")

    monkeypatch.setattr(Sandbox, "run", fails)
    solution = await solve(PROBLEM, CodeVote(2, inputs=("double(2)",)), model(CALLS), grade=_right)
    assert "not run: no room" in solution.notes


async def test_samples_without_code_do_not_vote() -> None:
    solution = await solve("?", CodeVote(2), Scripted("The answer is 7."))
    assert solution.notes == ("none of 2 samples has an answer: the first is returned",)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("CodeVote(0)", "n must be"),
        ('CodeVote(2, inputs="f(1)")', "inputs must be a tuple of texts"),
        ("CodeT(2, k=0)", "k must be"),
        ("CodeT(2, seconds=0)", "seconds must be"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)
