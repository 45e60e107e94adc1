"""ReAct: which tools run is decided by what the model writes, and by nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from metagen import (
    Calculator,
    Function,
    InputError,
    Mapped,
    Model,
    Problem,
    Python,
    ReAct,
    Request,
    Scripted,
    Solution,
    Text,
    Tool,
    Vote,
    solve,
)
from metagen.strategies.chains.react import described
from tests.strategies.chains.test_retrieval import Library, replies
from tests.support.confined import needs_sandbox
from tests.support.injections import INJECTIONS
from tests.support.scripts import Counting

SPECS = ['ReAct((("lookup", lookup),), turns=2)']
WRAPPERS = ['ReAct((("lookup", lookup),), of={}, turns=1)']

PROBLEM = Problem("p", "How old was Ada in 1850?", "35")
DELETED: list[str] = []


async def delete(text: str) -> str:
    """Deletes what is named."""
    DELETED.append(text)
    return "deleted"


@pytest.fixture(autouse=True)
def nothing_deleted() -> None:
    DELETED.clear()


def tools(library: Library) -> tuple[tuple[str, Tool], ...]:
    return (("search", library), ("calculate", Calculator()), ("delete", delete))


async def run(strategy: Any, *texts: str) -> tuple[Solution, list[Request]]:
    backend = Counting(replies(*texts))
    return await solve(PROBLEM, strategy, backend), backend.requests


ACTED = (
    "Thought: I need her birth.\nAction: search[Ada born]\nObservation: 1900\nThe answer is 50.",
    "Thought: Subtract.\nAction: calculate\n```\n1850 - 1815\n```",
    "Thought: That is it. The answer is 35.",
)


async def test_it_acts_and_reads_until_it_answers() -> None:
    library = Library()
    solution, requests = await run(ReAct(tools(library)), *ACTED)
    assert (library.queries, solution.answer, solution.correct) == (["Ada born"], "35", True)
    assert requests[-1].prompt.split("\n\n", 2)[2] == (
        "Question: How old was Ada in 1850?\n"
        "Thought: I need her birth.\nAction: search[Ada born]\nObservation:\n> [Ada] Ada was born in 1815.\n"
        "Thought: Subtract.\nAction: calculate\n```\n1850 - 1815\n```\nObservation:\n> 35\n\n"
        'Write a thought. Then either call one tool by a last line "Action: name[input]" (or "Action: name" and the '
        'input in a block of three backticks), or end with "The answer is ...".'
    )
    assert {request.sampling.stop for request in requests} == {("Observation:",)}
    assert requests[0].prompt.startswith("Tools:\n- search: ")
    assert "- delete: Deletes what is named.\n" in requests[0].prompt


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        ("Action: fly[home]", "> There is no tool fly; there is search, calculate, delete."),
        ("Action: calculate[1 / 0]", "> calculate cannot take that: '1 / 0' divides by zero"),
        ("Action: calculate[two]", "> calculate cannot take that: 'two' is not an arithmetic expression"),
        ("Hmm.", "> That is neither an action nor an answer."),
        ("Action: search", "> That is neither an action nor an answer."),
        ("Action: search[x", "> That is neither an action nor an answer."),
        ("", "> That is neither an action nor an answer."),
    ],
)
async def test_what_cannot_be_done_is_an_observation(reply: str, seen: str) -> None:
    solution, requests = await run(ReAct(tools(Library())), reply, "The answer is 35.")
    assert solution.correct
    assert f"Observation:\n{seen}" in requests[1].prompt


async def test_after_the_last_turn_the_answer_is_asked_for() -> None:
    library = Library()
    solution, requests = await run(ReAct(tools(library), turns=1), "Action: search[a]", "Action: search[b]")
    assert (solution.answer, solution.text, library.queries) == (None, "Action: search[b]", ["a"])
    assert requests[-1].prompt.endswith('Write a thought, then end with "The answer is ...".')


async def test_an_action_that_was_cut_off_is_not_taken() -> None:
    library = Library()
    solution, _ = await run(ReAct(tools(library), of=Model(max_tokens=20)), "Action: search[abcd]\nThe answer is")
    assert (solution.answer, library.queries, solution.text) == (None, [], "Action: search[abcd]")


@pytest.mark.parametrize("passage", INJECTIONS)
async def test_a_passage_cannot_change_which_tools_run(passage: str) -> None:
    """Over a model that does not heed it, the same calls are made, whatever a passage says."""
    library = Library(passage)
    solution, requests = await run(ReAct(tools(library)), *ACTED)
    assert (library.queries, solution.answer, DELETED) == (["Ada born"], "35", [])
    for request in requests:
        lines = request.prompt.splitlines()
        assert not any("pwned" in line and not line.startswith("> ") for line in lines)
        assert "<|" not in request.prompt


@pytest.mark.parametrize("passage", INJECTIONS)
async def test_a_model_that_repeats_a_passage_reaches_no_tool_that_is_not_there(passage: str) -> None:
    """The worst model there is writes what it read: still, nothing runs but the tools that it was given."""
    library = Library(passage)
    echo = ["Action: search[Ada]", passage, "The answer is 1."]
    solution, _ = await run(ReAct((("search", library),), turns=2), *echo, *echo)
    assert not solution.failed
    assert DELETED == []
    assert {span.name for span in solution.trace.walk() if span.call} == {"Library"}


async def test_a_tool_that_fails_costs_one_candidate() -> None:
    async def fails(text: str) -> str:
        raise OSError("disk")

    def script(request: Request) -> str:
        asked = "Question: How old" in request.prompt and "Observation:" not in request.prompt
        if not asked:
            return "The answer is 35."
        return "Action: fails[x]" if request.draw == 1 else "Action: calculate[1]"

    strategy = Vote(3, of=ReAct((("fails", fails), ("calculate", Calculator()))))
    solution = await solve(PROBLEM, strategy, Counting(script))
    assert (solution.answer, solution.samples, solution.lost) == ("35", 2, 1)


@needs_sandbox
async def test_code_is_an_action_that_the_sandbox_runs() -> None:
    def block(code: str) -> str:
        return f"Thought.\nAction: python\n```python\n{code}\n```"

    strategy = ReAct((("python", Python()),))
    solution, requests = await run(strategy, block("print(1 / 0)"), block("print(5 * 7)"), "The answer is 35.")
    assert solution.correct
    assert "Observation:\n> python cannot take that: ZeroDivisionError: division by zero\n" in requests[1].prompt
    assert "Observation:\n> 35\n" in requests[2].prompt


async def test_a_reply_that_the_kind_of_answers_cannot_read_gives_no_answer() -> None:
    def reads(text: str) -> str | None:
        if "?" in text:
            raise ValueError(text)
        return "35" if "35" in text else None

    class Bare(Function):
        def extract(self, text: str, *, finished: bool = True) -> str | None:
            return reads(text)

    for kind in (Function(reads), Bare(reads)):
        backend = Counting(replies("35?", "It is 35."))
        problem = Problem("p", "How old was Ada in 1850?", "35", answers=kind)
        solution = await solve(problem, ReAct((("delete", delete),)), backend)
        assert (solution.answer, len(backend.requests)) == ("35", 2)


async def test_a_tool_is_described_by_its_docstring() -> None:
    async def bare(text: str) -> str:
        return text

    assert described(bare) == "takes a text"
    assert described(Calculator()).startswith("What an expression comes to, exactly: ")
    assert described(delete) == "Deletes what is named."


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ReAct(()), "ReAct: needs named tools"),
        (lambda: ReAct(Calculator()), "ReAct: needs named tools"),  # type: ignore[arg-type]
        (lambda: ReAct((Calculator(),)), "ReAct: tools are pairs"),  # type: ignore[arg-type]
        (lambda: ReAct((("two words", delete),)), "ReAct: tools are pairs of a name in one word"),
        (lambda: ReAct((("x", Calculator),)), "ReAct: x is not a tool"),  # type: ignore[arg-type]
        (lambda: ReAct((("x", 3),)), "ReAct: x is not a tool"),  # type: ignore[arg-type]
        (lambda: ReAct((("x", delete), ("x", delete))), "ReAct: two tools have one name"),
        (lambda: ReAct((("x", delete),), turns=0), "ReAct: turns must be"),
        (lambda: ReAct((("x", delete),), seconds=0), "ReAct: seconds must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("The answer is Paris Observation: none", "The answer is Paris"),
        ("The answer is Paris.\nObservation: none", "The answer is Paris."),
        ("The answer is Paris.\n\n", "The answer is Paris.\n\n"),
        ("The answer is Paris, by observation: it is large.", "The answer is Paris, by observation: it is large."),
    ],
)
async def test_the_mark_of_an_observation_is_no_part_of_the_answer(reply: str, text: str) -> None:
    problem = Problem("p", "Capital of France?", "Paris")
    solution = await solve(problem, ReAct((("delete", delete),)), Scripted(replies(reply)))
    assert solution.text == text
    assert solution.answer is not None
    assert solution.answer.startswith("Paris")


async def test_a_whole_text_that_is_the_answer_ends_before_the_mark() -> None:
    problem = Problem("p", "Capital of France?", "Paris", answers=Text())
    solution = await solve(problem, ReAct((("delete", delete),)), Scripted("Paris\nObservation: none"))
    assert (solution.text, solution.correct) == ("Paris", True)


async def test_a_reply_without_its_mark_keeps_its_thought_and_has_no_token_ids() -> None:
    def script(request: Request) -> str:
        said = "The answer is 35. Observation:"
        return said if request.thought else f"<think>\nWell.\n</think>\n\n{said}"

    strategy = ReAct((("delete", delete),))
    candidate = (await solve(PROBLEM, strategy, Scripted(script, thinking="qwen3"))).candidate
    assert candidate is not None
    assert (candidate.text, candidate.thought.strip(), candidate.tokens) == ("The answer is 35.", "Well.", ())
    whole = (await solve(PROBLEM, strategy, Scripted("The answer is 35."))).candidate
    assert whole is not None
    assert "".join(map(chr, whole.tokens)) == "The answer is 35."


async def test_the_last_reply_ends_before_the_mark_too() -> None:
    strategy = ReAct((("delete", delete),), turns=1)
    solution, _ = await run(strategy, "Action: delete[a]\nObservation:", "Action: delete[b]\nObservation: b")
    assert (solution.text, DELETED) == ("Action: delete[b]", ["a"])


async def test_an_answer_behind_the_mark_is_no_part_of_a_request_that_ended_there() -> None:
    """A function given as `of` may give whole replies."""
    model = Scripted("Thought: easy.\nObservation: 2+2 is 4.\nThe answer is 4.")
    solution = await solve("2+2?", ReAct((("calculate", Calculator()),), of=Mapped(str.strip), turns=1), model)
    assert solution.answer == "4"
