from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    Ask,
    BestOf,
    Candidate,
    Chain,
    CoT,
    Fallback,
    GenerationError,
    Generator,
    InputError,
    Limited,
    Model,
    Problem,
    Recorded,
    Request,
    Run,
    Scripted,
    Solution,
    System2Attention,
    Vote,
    parse,
    parse_answers,
    solve,
    solve_all,
)
from tests.support.scripts import Counting, asks_twice, dice, length


def hurried(problem: Problem) -> str:
    """A prompt that is a function."""
    return f"{problem.text}\nBe quick."


SPECS = [
    "CoT()",
    'CoT(shots=(("1 + 1?", "The answer is 2."),))',
    'Chain(Ask("{question} Plan."), CoT(), two_stages)',
    "System2Attention()",
    'Ask("{question} Answer.")',
    "Ask(hurried, of=CoT())",
]
WRAPPERS = ["CoT(of={})", "Chain({}, Model())", "System2Attention(of={})", "Ask(hurried, of={})"]
GIVEN = {"hurried": hurried}

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def asked(strategy: Generator) -> list[tuple[str, int]]:
    backend = Counting(dice)
    await solve(PROBLEM, strategy, backend)
    return [(request.prompt, request.n) for request in backend.requests]


async def test_zero_shot_asks_for_the_thought() -> None:
    assert await asked(CoT(asks=False)) == [("What is 3 + 4?\n\nLet's think step by step.", 1)]


@pytest.mark.parametrize(
    ("spec", "asks"),
    [
        ("Maths()", "End with: The answer is X."),
        ('Choice("ABC")', "End with: The answer is X. X is one of A, B, C."),
        ('Json("name")', 'End with a JSON object with the fields "name".'),
    ],
)
async def test_the_answer_is_asked_for_in_the_form_of_the_task(spec: str, asks: str) -> None:
    problem = Problem("p", "What is it?", answers=parse_answers(spec))
    for strategy, prompt in (
        (CoT(), f"What is it?\n\nLet's think step by step. {asks}"),
        (CoT(shots=(("?", "!"),)), f"{asks}\n\nQuestion: ?\nAnswer: !\n\nQuestion: What is it?\nAnswer:"),
    ):
        backend = Counting(dice)
        await solve(problem, strategy, backend)
        assert [request.prompt for request in backend.requests] == [prompt]


async def test_the_models_that_ship_are_asked_as_in_training(tmp_path: Path) -> None:
    """By their name, behind whatever is wrapped around them, in a pool of theirs, or at a server."""

    def model(name: str) -> Scripted:
        backend = Counting(dice)
        backend.name = name
        return backend

    wrapped = Recorded(tmp_path / "pool.jsonl", Limited(model("small-moe"), 2))
    async with wrapped:
        first = await solve(PROBLEM, CoT(), wrapped)
    played = await solve(PROBLEM, CoT(), Recorded(tmp_path / "pool.jsonl"))
    assert (played.text, played.lost) == (first.text, 0)
    for name, shipped in (("models/small-moe", True), ("small-moe-2", False)):
        backends = {"a": model("other"), "b": model(name)}
        await solve(PROBLEM, CoT(of=Model("b")), backends)
        assert backends["b"].requests[0].prompt.endswith("step by step.") is shipped  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("of", "drawing"),
    [
        ('BestOf(2, by=Judge(of=Model("judge")))', "a"),
        ('BestOf(2, by=Judge(of=Model("judge")), of=Model("b"))', "b"),
        ('Vote(2, by=Judge(of=Model("judge")), of=Model("b"))', "b"),
        ('Select(2, by=Model("judge"), of=Model("b"))', "b"),
        ('Select(2, by=Model("judge"))', "a"),
        ('System2Attention(by=Model("judge"), of=Model("b"))', "b"),
        ('Chain(Ask("{question}", of=Model("judge")), Ask("{last}", of=Model("b")))', "b"),
        ('Escalate((Model("b"), Model("b")), until=Judge(of=Model("judge")))', "b"),
        ('Panel((Model("a"), Model("b")))', "ab"),
        ('Panel((Model("b"), Model("a")))', "ab"),
        ('Fallback(Model("a"), Model("b"))', "ab"),
        ("asks_twice", "a"),
    ],
)
@pytest.mark.parametrize("shipped", [("a",), ("b",), ("judge",), ("a", "b"), ("a", "judge"), ()])
async def test_the_models_that_draw_decide_whether_the_form_is_asked_for(
    of: str, drawing: str, shipped: tuple[str, ...]
) -> None:
    backends = {name: Counting(lambda _: "The answer is 7.") for name in ("a", "b", "judge")}
    for name, backend in backends.items():
        backend.name = "small-moe" if name in shipped else name
    await solve(PROBLEM, CoT(of=parse(of, {"asks_twice": asks_twice})), backends)
    prompts = [request.prompt for backend in backends.values() for request in backend.requests]
    asked = any("End with: The answer is X." in prompt for prompt in prompts)
    assert asked is bool(set(drawing) - set(shipped))


async def test_few_shot_shows_examples_first() -> None:
    strategy = CoT(shots=(("1 + 1?", "1 + 1 = 2\nThe answer is 2."),), asks=False)
    prompt = "Question: 1 + 1?\nAnswer: 1 + 1 = 2\nThe answer is 2.\n\nQuestion: What is 3 + 4?\nAnswer:"
    assert await asked(strategy) == [(prompt, 1)]


async def test_samples_of_a_chain_share_one_request() -> None:
    strategy = Vote(3, of=CoT(of=Model(temperature=0.5), asks=False))
    assert await asked(strategy) == [("What is 3 + 4?\n\nLet's think step by step.", 3)]


@pytest.mark.parametrize("strategy", [Ask("{question} Plan."), Ask(lambda problem: f"{problem.text} Plan.")])
async def test_samples_of_a_prompt_of_ones_own_share_one_request(strategy: Ask) -> None:
    assert await asked(Vote(8, of=strategy)) == [("What is 3 + 4? Plan.", 8)]
    assert await asked(Vote(8, of=Ask("{question} So?", of=strategy))) == [("What is 3 + 4? So? Plan.", 8)]
    assert await asked(strategy) == [("What is 3 + 4? Plan.", 1)]


async def test_a_prompt_of_ones_own_can_step() -> None:
    async def steps(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Ask("{question}!"), problem.stepping("\n").continuing(Candidate(("x\n",))))

    _, requests = await sent(steps, "x\ny\nz")
    assert [(each.prompt, each.partial, each.sampling.stop) for each in requests] == [
        ("What is 3 + 4?!", "x\n", ("\n",))
    ]
    assert Ask(hurried).can_step
    assert not Ask(hurried, of=Vote(2)).can_step


async def test_a_prompt_that_is_no_text_costs_its_sample() -> None:
    solution = await solve(PROBLEM, Ask(wrong_prompt), Scripted("7"))  # type: ignore[arg-type]
    assert solution.error == "ToolError: wrong_prompt returned int, not a text"


def odd_prompt(problem: Problem) -> str:
    if "odd" in problem.text:
        raise ValueError("an odd text")
    return f"{problem.text} Plan."


@pytest.mark.parametrize(
    "strategy",
    [
        Ask(odd_prompt),
        Vote(2, of=Ask(odd_prompt)),
        Chain(Ask(odd_prompt), Ask("{last}")),
        BestOf(2, of=Chain(CoT(), Ask(odd_prompt)), by=length),
    ],
)
async def test_a_prompt_that_fails_on_one_problem_costs_no_other(strategy: Generator) -> None:
    problems = [Problem("1", "odd"), Problem("2", "even")]
    solved = {each.problem: each async for each in solve_all(problems, strategy, Scripted("The answer is 7."))}
    assert "odd_prompt raised ValueError: an odd text" in solved["1"].error
    assert solved["2"].answer == "7"


async def test_where_a_prompt_fails_the_next_strategy_is_tried() -> None:
    solution = await solve("odd", Fallback(Ask(odd_prompt), CoT()), Scripted("The answer is 7."))
    assert (solution.answer, solution.error) == ("7", "")


def wrong_prompt(problem: Problem) -> int:
    return 3


async def late_prompt(problem: Problem) -> str:
    return "?"


async def test_a_function_is_a_prompt_in_a_chain_too() -> None:
    _, requests = await sent(Chain(Ask(hurried), Ask("{last} {question}")), "a", "b")
    assert [request.prompt for request in requests] == ["What is 3 + 4?\nBe quick.", "a What is 3 + 4?"]


@pytest.mark.parametrize("shots", [("ab",), (("only one",),), ((1, 2),), (("a", "b", "c"),)])
def test_shots_that_are_no_pairs_are_refused(shots: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(InputError, match="pairs of texts"):
        CoT(shots=shots)


async def sent(strategy: Generator, *texts: str) -> tuple[Solution, list[Request]]:
    left = iter(texts)
    backend = Counting(lambda request: next(left))
    return await solve(PROBLEM, strategy, backend), backend.requests


async def test_each_stage_reads_what_was_written_before() -> None:
    async def checks(problem: Problem, earlier: Sequence[Candidate], run: Run) -> Candidate:
        return await run.ask(None, problem.asking(f"Check: {earlier[0].text} / {earlier[1].text}"))

    strategy = Chain(Ask("Plan for: {question}"), Model(), checks, Ask("{1}|{2}|{3}|{last}|{4}|{x}"))
    solution, requests = await sent(strategy, "add", "3 + 4", "fine {2}", "The answer is 7.")
    assert [request.prompt for request in requests] == [
        "Plan for: What is 3 + 4?",
        "What is 3 + 4?\n\nPart 1:\nadd\n\nPart 2:",
        "Check: add / 3 + 4",
        "add|3 + 4|fine {2}|fine {2}|{4}|{x}",
    ]
    assert solution.correct
    assert [child.name for child in solution.trace.children[0].children] == ["Ask", "Model", "checks", "Ask"]


async def test_stages_use_models_of_their_own() -> None:
    models = {"small": Scripted("plan"), "large": Scripted(lambda request: f"The answer is {len(request.prompt)}.")}
    strategy = Chain(Ask("{question}", of=Model("small")), Ask("{last}", of=Model("large")))
    assert (await solve(PROBLEM, strategy, models)).answer == "4"


async def test_the_demonstrations_of_a_stage_are_data() -> None:
    strategy = Chain(Ask("Plan: {question}", shots=(("Plan: 1 + 1?", "add"),)))
    _, requests = await sent(strategy, "x")
    assert requests[0].prompt == "Question: Plan: 1 + 1?\nAnswer: add\n\nQuestion: Plan: What is 3 + 4?\nAnswer:"


async def test_a_chain_whose_stage_is_lost_is_lost() -> None:
    async def lost(problem: Problem, run: Run) -> Candidate:
        raise GenerationError("no")

    solution, requests = await sent(Chain(Model(), lost, Model()), "x")
    assert solution.failed
    assert len(requests) == 1


async def test_chains_write_whole_replies_also_inside_a_step() -> None:
    async def again(problem: Problem, earlier: Sequence[Candidate], run: Run) -> Candidate:
        return await run.ask(None, problem)

    async def steps(problem: Problem, run: Run) -> Candidate:
        chain = Chain(Ask("{question}"), again, Model())
        return await run.ask(chain, problem.stepping("\n").continuing(Candidate(("x\n",))))

    _, requests = await sent(steps, "a", "b", "c")
    assert [(request.partial, request.sampling.stop) for request in requests] == [("", ())] * 3


async def test_system_2_attention_answers_what_it_rewrote() -> None:
    solution, requests = await sent(System2Attention(), " 3 + 4? \n", "The answer is 7.")
    assert requests[0].prompt.startswith("What is 3 + 4?\n\nRewrite the text above: keep every fact")
    assert requests[1].prompt == "3 + 4?"
    assert solution.correct


@pytest.mark.parametrize(("rewritten", "note"), [(" \n", "empty"), ("x" * 50, "cut off")])
async def test_where_rewriting_fails_the_question_is_asked_as_it_is(rewritten: str, note: str) -> None:
    strategy = System2Attention(by=Model(max_tokens=20), of=CoT(asks=False))
    solution, requests = await sent(strategy, rewritten, "The answer is 7.")
    assert requests[1].prompt == "What is 3 + 4?\n\nLet's think step by step."
    assert solution.notes == (f"the rewritten question was {note}: the original is asked",)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Chain, "Chain: needs stages"),
        (lambda: Chain(CoT), "Chain: .* is neither a stage nor a strategy"),  # type: ignore[arg-type]
        (lambda: Chain("plan"), 'Chain: "plan" is neither'),  # type: ignore[arg-type]
        (lambda: Ask(" "), "Ask: needs a template"),
        (lambda: Ask(str), "Ask: needs a template"),
        (lambda: Ask(lambda: "x"), "Ask: needs a template"),  # type: ignore[arg-type, misc]
        (lambda: Ask(late_prompt), "Ask: template=late_prompt is async: write a plain def"),  # type: ignore[arg-type]
        (lambda: Ask(3), "Ask: needs a template"),  # type: ignore[arg-type]
        (lambda: Ask("x", shots=("ab",)), "Ask: shots must be pairs"),  # type: ignore[arg-type]
        (
            lambda: Ask("{prompt} Plan."),
            r'Ask: nothing is filled in for {prompt} of "{prompt} Plan.": write {question}',
        ),
        (
            lambda: Chain(CoT(), Ask("By {2}:")),
            r"Chain: Ask\(.*\) reads nothing of what is there, which is \{1\}, \{last\}, \{question\}$",
        ),
        (lambda: Chain(Ask("By {0}"), CoT()), "Chain: .* reads nothing of what is there, which is {last}, {question}$"),
        (lambda: System2Attention(by=3), "System2Attention: by=3 is not a strategy"),  # type: ignore[arg-type]
    ],
)
def test_chains_that_make_no_sense_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


async def test_a_strategy_with_a_further_setting_is_no_stage_that_reads_earlier_replies() -> None:
    async def again(problem: Problem, run: Run, times: int = 1) -> Candidate:
        return (await run.sample(None, problem, times))[0]

    solution, requests = await sent(Chain(Ask("{question} Plan."), again), "Add.", "The answer is 7.")
    assert (solution.answer, requests[1].prompt.endswith("Part 1:\nAdd.\n\nPart 2:")) == ("7", True)


def test_braces_of_mathematics_are_no_mistake() -> None:
    assert Chain(Ask(r"{question} As in \frac{1}{2}."), Ask("By {1}: x^{3}, as {name}")).of
