from dataclasses import replace

import pytest

from metagen import (
    Beam,
    Candidate,
    CoT,
    GenerationError,
    InputError,
    Joined,
    Problem,
    Request,
    Run,
    Scripted,
    Vote,
    Within,
    solve,
)
from metagen.run import Generator
from tests.support.scripts import Patient, forgets, length
from tests.support.trees import PROBLEM, Lines, spelled

SPECS = ["Beam(2, 2, of=Joined(short), by=brief, lookahead=1)"]

LINES = {"": ["so\n"], "so\n": ["0.5\n"], "so\n0.5\n": ["and\n"], "so\n0.5\nand\n": ["0.7 The answer is 7."]}


def closes(text: str) -> bool:
    return "0." in text


async def test_lines_are_joined_until_the_users_function_says_so() -> None:
    seen: list[tuple[str, ...]] = []

    async def last(problem: object, candidates: list[Candidate], run: object) -> object:
        seen.extend(candidate.steps for candidate in candidates)
        return [None for _ in candidates]

    search = Beam(1, 1, of=Joined(closes), by=last)  # type: ignore[arg-type]
    solution = await solve(PROBLEM, search, Scripted(Lines(LINES)))
    assert seen == [("so\n0.5\n",), ("so\n0.5\n", "and\n0.7 The answer is 7.")]
    assert solution.answer == "7"


async def test_several_are_begun_in_one_request_and_whole_replies_are_handed_through() -> None:
    script = Lines(LINES)
    await solve(PROBLEM, Beam(1, 3, of=Joined(closes), by=spelled), Scripted(script))
    assert script.asked[:6] == ["", "", "", "so\n", "so\n", "so\n"]
    solution = await solve(PROBLEM, Joined(closes), Scripted("The answer is 7."))
    assert solution.answer == "7"


def test_what_cannot_step_cannot_be_joined() -> None:
    with pytest.raises(InputError, match=r"Joined: of=Vote\(2\) cannot step"):
        Joined(closes, of=Vote(2))
    with pytest.raises(InputError, match="Joined: until=3 is not a function"):
        Joined(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("until", [lambda text: False, lambda text: "0.5" in text, lambda text: True])
@pytest.mark.parametrize("reply", ["{}\n", "0.5\n"])
async def test_a_generator_that_begins_anew_is_found_out(until: object, reply: str) -> None:
    search = Beam(1, 2, by=spelled, of=Joined(until, of=forgets))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Joined: of=forgets cannot step: it did not continue the reply so far"):
        await solve(PROBLEM, search, Patient(lambda request: reply.format(request.seed)), seed=1)


@pytest.mark.parametrize("of", [None, CoT(), Within(tokens=500)])
async def test_a_generator_that_continues_is_joined(of: Generator | None) -> None:
    reply = "so\n0.5\nand\n0.7 The answer is 7."
    search = Beam(1, 2, by=spelled, of=Joined(closes, of=of))
    assert (await solve(PROBLEM, search, Patient(lambda request: reply[len(request.partial) :]))).answer == "7"


@pytest.mark.parametrize("thought", ["a\nb\n</think>\n\n", "a\nb\n and so on, without an end"])
@pytest.mark.parametrize("step", ["\n", 10])
async def test_thoughts_are_steps_too(thought: str, step: str | int) -> None:
    reply = f"<think>\n{thought}0.5\nThe answer is 7."
    model = Patient(lambda request: reply[len(request.tokens or request.thought + request.partial) :], thinking="think")
    solution = await solve(replace(PROBLEM, step=step), Joined(lambda text: False), model)
    assert not solution.failed
    assert solution.answer == ("7" if "</think>" in thought else None)


@pytest.mark.parametrize("tokens", range(3, 60))
async def test_a_budget_cuts_what_is_written(tokens: int) -> None:
    """Wherever it ends, at the end of a part or inside one."""
    strategy = Within(tokens=len(PROBLEM.text) + tokens, of=Joined(lambda text: False))
    model = Patient(lambda request: "a\n")
    solution = await solve(replace(PROBLEM, step="\n"), strategy, model)
    assert solution.candidate is not None
    assert solution.candidate.cut
    assert not solution.failed


async def test_a_part_that_fails_loses_the_sample() -> None:
    def script(request: Request) -> str:
        if request.partial:
            raise GenerationError("flaky")
        return "a\n"

    solution = await solve(replace(PROBLEM, step="\n"), Joined(lambda text: False), Scripted(script))
    assert "flaky" in solution.error


async def test_a_function_that_fails_costs_its_sample_alone() -> None:
    def odd(text: str) -> bool:
        if "odd" in text:
            raise ValueError("an odd text")
        return True

    def script(request: Request) -> str:
        return ["odd\n", "0.5\n"][request.draw % 2] if not request.partial else "0.7 The answer is 7."

    solution = await solve(PROBLEM, Beam(2, 2, of=Joined(odd), by=spelled), Scripted(script))
    assert solution.answer == "7"
    assert "odd raised ValueError: an odd text" in solution.why_lost
    alone = await solve(replace(PROBLEM, step="\n"), Joined(odd), Scripted("odd\n"))
    assert alone.error.startswith("ToolError: odd raised ValueError: an odd text (test_joined.py, line ")


@pytest.mark.parametrize("truth", [1, "yes", [0], True])
async def test_whatever_counts_as_true_ends_a_step(truth: object) -> None:
    strategy = Joined(lambda text: truth)  # type: ignore[arg-type, return-value]
    assert (await solve(replace(PROBLEM, step="\n"), strategy, Scripted("a\nb\n"))).text == "a\n"


async def test_pieces_that_a_function_joins_are_kept() -> None:
    text = "I add.\nThen I check.\nThen more.\nAnd more.\nThe answer is 4."

    async def joining(problem: Problem, run: Run) -> Candidate:
        drawn = await run.ask(None, problem)
        return Candidate((drawn.text,), finished=drawn.finished, cut=drawn.cut)

    model = Scripted(lambda request: text.removeprefix(request.partial))
    search = Beam(1, 1, of=Joined(lambda said: said.count("\n") >= 2, of=joining), by=length)
    assert (await solve("2 + 2?", search, model)).answer == "4"
