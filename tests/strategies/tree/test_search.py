import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, cast

import pytest

from metagen import (
    DVTS,
    MCTS,
    Beam,
    BestFirst,
    Candidate,
    CoT,
    GenerationError,
    InputError,
    MatchesReference,
    Model,
    ParticleFilter,
    Problem,
    Rebase,
    Request,
    Run,
    Score,
    Scripted,
    Vote,
    WeightError,
    Within,
    parse,
    solve,
)
from metagen.strategies.tree.node import Draw, Node, State, expand, key_of
from metagen.strategies.tree.search import TreeSearch
from metagen.trace import Child, Expansion, Span
from tests.support.scripts import NAMES, dice, late, silent
from tests.support.timing import forever
from tests.support.trees import PROBLEM, Lines, spelled

SEARCHES = [
    "Beam(3, 2, by=brief)",
    "Rebase(8, by=brief)",
    "ParticleFilter(6, by=brief)",
    "BestFirst(20, 2, by=brief, window=3)",
    "MCTS(20, 2, by=brief, window=4)",
]


def spans(root: Span, name: str) -> list[Span]:
    return [span for span in root.walk() if span.name == name]


async def test_equal_siblings_are_judged_once() -> None:
    judged: list[int] = []

    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        judged.append(len(candidates))
        return [Score(0.5) for _ in candidates]

    lines = {"": ["a\n", "a\n", "b\n"], "a\n": ["The answer is 7."], "b\n": ["The answer is 8."]}
    solution = await solve(PROBLEM, Beam(2, 3, by=judge, answer="majority"), Scripted(Lines(lines)))
    assert judged == [2, 1, 1], "six first steps are two, and three answers are one"
    first, *_ = spans(solution.trace, "expansion")
    assert first.expansion == Expansion(6, (Child(4, 0.5, "open", "drawn"), Child(2, 0.5, "open", "drawn")))


async def test_children_are_drawn_in_one_request_from_their_own_tokens() -> None:
    requests: list[Request] = []

    class Kept(Scripted):
        async def generate(self, request: Request, spend: Any) -> Any:
            requests.append(request)
            return await super().generate(request, spend)

    await solve(PROBLEM, Beam(1, 3, by=spelled), Kept(Lines({"": ["0.5\n"], "0.5\n": ["The answer is 7."]})))
    assert [(request.n, request.partial, request.tokens) for request in requests] == [
        (3, "", ()),
        (3, "0.5\n", tuple(map(ord, "0.5\n"))),
    ]


@pytest.mark.parametrize(("step", "steps"), [("\n", ["ab\n", "c\n", "7."]), (2, ["ab", "\nc", "\n7", "."])])
async def test_steps_end_by_a_text_or_by_a_number_of_tokens(step: Any, steps: list[str]) -> None:
    seen: list[Sequence[str]] = []

    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        seen.extend(candidate.steps for candidate in candidates)
        return [None for _ in candidates]

    model = Scripted(lambda request: "ab\nc\n7.".removeprefix(request.partial))
    solution = await solve(PROBLEM, Beam(1, 1, by=judge, step=step), model)
    assert seen == [tuple(steps[: length + 1]) for length in range(len(steps))]
    assert solution.text == "ab\nc\n7."


async def test_a_step_cut_by_length_is_not_finished_and_not_gone_on_with() -> None:
    model = Scripted(Lines({"": ["0.9 and so on and on", "0.1\n"], "0.1\n": ["0.1 It is 7."]}), context=100)
    solution = await solve(PROBLEM, Beam(2, 1, of=Model(max_tokens=14), by=spelled), model)
    assert solution.text == "0.1\n0.1 It is 7."
    assert spans(solution.trace, "expansion")[0].expansion == Expansion(
        2, (Child(1, 0.9, "closed", "closed"), Child(1, 0.1, "open", "drawn"))
    )


@pytest.mark.parametrize("lookahead", [0, 2, None])
async def test_a_lookahead_does_not_continue_what_was_cut(lookahead: int | None) -> None:
    search = BestFirst(1, 2, by=spelled, of=Model(max_tokens=14), lookahead=lookahead)
    solution = await solve(PROBLEM, search, Scripted("0.9 and so on and on"))
    assert (solution.text, solution.usage.calls) == ("0.9 and so on ", 1)


async def test_a_tree_without_a_finished_leaf_says_so_and_gives_the_best_of_what_there_is() -> None:
    model = Scripted(lambda request: f"0.{9 - len(request.partial)}\n")
    solution = await solve(PROBLEM, Beam(1, 1, by=spelled, depth=2), model)
    assert solution.text == "0.9\n0.5\n"
    assert solution.notes == ("no reply is finished after 2 expansions: the best unfinished one is returned",)
    assert (solution.answer, solution.samples) == (None, 0) or not solution.correct


async def test_a_tree_of_which_nothing_could_be_drawn_is_a_lost_sample() -> None:
    solution = await solve(PROBLEM, Beam(2, 2, by=spelled), Scripted("x", context=3))
    assert solution.failed
    assert "nothing could be drawn; the first: UnfitRequest" in solution.error
    assert solution.lost == 4


async def test_a_lost_expansion_costs_that_branch() -> None:
    lines = Lines({"": ["1\n", "0.5\n"], "0.5\n": ["0.5 The answer is 7."]})

    def script(request: Request) -> str:
        if request.partial == "1\n":
            raise GenerationError("no")
        return lines(request)

    solution = await solve(PROBLEM, Beam(2, 1, by=spelled), Scripted(script))
    assert (solution.answer, solution.lost) == ("7", 1)


async def test_a_lookahead_is_judged_in_place_of_the_step_and_what_it_finishes_is_a_reply() -> None:
    lines = {
        "": ["0.9 seems good\n", "0.1 seems bad\n"],
        "0.9 seems good\n": ["0.2\n"],
        "0.1 seems bad\n": ["0.8 The answer is 7."],
        "0.9 seems good\n0.2\n": ["0.3 The answer is 8."],
    }
    search = BestFirst(1, 2, by=spelled, lookahead=1)
    solution = await solve(PROBLEM, search, Scripted(Lines(lines)))
    (expansion,) = spans(solution.trace, "expansion")
    assert expansion.expansion == Expansion(2, (Child(1, 0.2, "open", "open"), Child(1, 0.8, "open", "open")))
    assert (solution.answer, solution.samples) == ("7", 1)


@pytest.mark.parametrize("spec", [*SEARCHES, "DVTS(3, 2, by=brief)"])
async def test_an_oracle_ends_a_tree_early(spec: str) -> None:
    search = parse(spec.replace("by=brief", "by=brief, until=MatchesReference()"), NAMES)
    for seed in range(10):
        solution = await solve(Problem("p", "?", "7"), search, Scripted(late(dice, seed), context=2000), seed=seed)
        accepted = any(note.startswith("accepted after") for note in solution.notes)
        assert accepted == (solution.samples_correct > 0)
        assert solution.correct or not accepted
        if accepted:
            return
    pytest.fail("no seed came to the right answer")


@pytest.mark.parametrize("spec", [*SEARCHES, "DVTS(3, 2, by=brief)"])
async def test_a_budget_cuts_a_tree_and_what_is_finished_is_voted_on(spec: str) -> None:
    deep = "length" if spec.startswith(("BestFirst", "MCTS")) else "brief"  # so that they come to an end at all
    voting = spec.replace("by=brief", f'by={deep}, answer="majority"')
    voted = 0
    for seed in range(30):
        tokens = 60 + 20 * seed
        search = parse(f"Within(tokens={tokens}, of={voting})", NAMES)
        solution = await solve(PROBLEM, search, Scripted(dice, context=400), seed=seed)
        cut = any("the budget ended the search" in note for note in solution.notes)
        voted += cut and solution.answer is not None
        assert solution.usage.tokens <= tokens
    assert voted


@pytest.mark.parametrize(
    "spec",
    ["MCTS(20, 2, by=strict)", "ABMCTS(20, by=strict)", "MCTS(20, 2, by=Sigmoid(strict))", "Beam(2, 2, by=strict)"],
)
async def test_infinite_verdicts_are_refused_where_means_are_taken(spec: str) -> None:
    async def strict(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
        return [float("-inf") if len(each.text) % 3 else float(len(each.text)) for each in candidates]

    search = parse(spec, {"strict": strict})
    if spec.endswith("MCTS(20, 2, by=strict)") or spec.startswith("ABMCTS"):
        with pytest.raises(WeightError, match=r"write by=Sigmoid\(strict\)"):
            await solve(PROBLEM, search, Scripted(dice, context=2000), seed=1)
    else:
        assert (await solve(PROBLEM, search, Scripted(dice, context=2000), seed=1)).text


async def test_a_verdict_that_finds_no_room_does_not_end_a_search() -> None:
    async def wordy(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
        await run.ask(Model(), problem.aside("J" * 4000))
        return [1.0] * len(candidates)

    calls = iter(range(1000))

    def flaky(request: Request) -> str:
        if next(calls) == 2:
            raise GenerationError("flaky")
        return request.partial + "a step\n"

    search = Within(tokens=3000, of=BestFirst(10, 2, by=wordy, window=1, depth=12))
    solution = await solve("q", search, Scripted(flaky))
    assert not any("the budget ended" in note for note in solution.notes)
    assert "no reply is finished after 10 expansions: the first unfinished one is returned" in solution.notes


@pytest.mark.parametrize("spec", SEARCHES)
async def test_a_search_is_replayed_from_its_trace(spec: str) -> None:
    """The recorded verdicts alone give the same expansions in the same order."""
    search = parse(spec, NAMES)
    solution = await solve(PROBLEM, search, Scripted(late(dice, 3), context=2000), seed=4)
    (span,) = solution.trace.children
    recorded = {str(each.path[-1]): each.expansion for each in span.children if each.expansion}
    assert span.seed is not None
    assert replayed(search, span.seed, recorded) == [(key, each.n) for key, each in recorded.items()]


def replayed(search: TreeSearch, seed: int, recorded: dict[str, Expansion]) -> list[tuple[str, int]]:
    """What a search would draw, given what was recorded of each expansion."""
    root, random, waiting, drawn = Node(Candidate(())), Random(seed), list[Draw](), []
    while True:
        root, draws = search.choose(root, random)
        waiting += draws
        drawn += [(key_of(draw.path), draw.n) for draw in draws]
        if not waiting:
            return drawn
        path = waiting.pop(0).path
        children = recorded[key_of(path)].children
        grown = [Node(Candidate(()), each.value, each.count, cast("State", each.state)) for each in children]
        root = expand(root, {path: grown})


async def test_what_is_under_way_is_not_waited_for_by_other_problems_or_subtrees() -> None:
    """A step of the slow subtree takes for ever; the others come to their end all the same."""
    done = asyncio.Event()

    async def script(request: Request) -> str:
        if request.partial == "slow\n":
            await done.wait()
        elif request.partial.count("\n") == 5:
            done.set()
        if not request.partial:
            return ["slow\n", "fast\n"][request.draw]
        return "The answer is 7." if request.partial.count("\n") == 6 else "on\n"

    solution = await solve(PROBLEM, DVTS(2, 1, by=spelled), Scripted(script))
    assert solution.samples == 2


async def test_the_likeliest_child_is_continued_while_all_are_judged_and_given_up_if_it_is_not_chosen() -> None:
    """The verdicts wait for the continuation of `a`, which was drawn twice, and which would never end."""
    ahead, running = asyncio.Event(), []

    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        if len(candidates[0].steps) == 1:
            await ahead.wait()
        return [Score(float("b" in candidate.text)) for candidate in candidates]

    async def script(request: Request) -> str:
        if request.partial != "a\n":
            return ["b\n", "a\n", "a\n"][request.draw] if not request.partial else "The answer is 7."
        ahead.set()
        running.append(request.draw)
        try:
            await forever()
        finally:
            running.remove(request.draw)
        return ""

    solution = await solve(PROBLEM, Beam(1, 3, by=judge, ahead=1), Scripted(script))
    assert (solution.answer, running) == ("7", [])
    early = next(span for span in spans(solution.trace, "expansion") if span.path[-1] == "/1")
    assert early.status == "cancelled"
    assert early.total().prompt_tokens == len(PROBLEM.prompt) + 2, "what it read is counted"


@pytest.mark.parametrize("spec", [*SEARCHES, "DVTS(2, 2, by=brief)", "ABMCTS(8, by=brief)"])
@pytest.mark.parametrize(("until", "passing"), [("", False), (", until=MatchesReference()", True)])
async def test_requests_pass_only_where_something_ends_the_search_early(spec: str, until: str, passing: bool) -> None:
    asked: list[bool] = []

    def script(request: Request) -> str:
        asked.append(request.passing)
        return dice(request)

    await solve(PROBLEM, parse(spec[:-1] + until + ")", NAMES), Scripted(script), seed=1)
    assert set(asked) == {passing}


async def test_a_child_that_is_chosen_is_not_drawn_again() -> None:
    script = Lines({"": ["0.9\n", "0.8\n"], "0.9\n": ["0.7 The answer is 7."]})
    solution = await solve(PROBLEM, Beam(1, 2, by=spelled, ahead=1), Scripted(script))
    assert (solution.answer, script.asked) == ("7", ["", "", "0.9\n", "0.9\n"])


async def test_a_generator_that_does_not_go_on_is_found_out() -> None:
    async def forgets(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem.asking("Again: " + problem.prompt))

    with pytest.raises(InputError, match="Beam: of=forgets cannot step: it did not continue"):
        await solve(PROBLEM, Beam(1, 1, of=forgets, by=spelled), Scripted(lambda request: f"{request.seed}\n"), seed=1)


async def test_a_generator_that_stands_still_behind_a_thought_is_found_out() -> None:
    async def stands(problem: Problem, run: Run) -> Candidate:
        return problem.partial if problem.partial and problem.partial.steps else await run.ask(None, problem)

    reply = "<think>\na\n</think>\n\n0.5\n0.5\n"
    model = Scripted(lambda request: reply[len(request.tokens) :], thinking="think")
    with pytest.raises(InputError, match="Beam: of=stands cannot step: it did not continue"):
        await solve(PROBLEM, Beam(1, 1, of=stands, by=spelled), model)


@pytest.mark.parametrize("step", ["\n", 10, 20])
@pytest.mark.parametrize("reply", ["<think>\nno end", "<think>\nab\n</think>\n\n0.5\nThe answer is 7."])
async def test_a_step_inside_a_thought_adds_no_text(step: Any, reply: str) -> None:
    model = Scripted(lambda request: reply[len(request.tokens) :], thinking="think")
    solution = await solve(PROBLEM, Beam(1, 1, by=spelled, step=step), model)
    assert solution.text.strip() == ("0.5\nThe answer is 7." if "</think>" in reply else "")
    assert solution.lost == 0


async def test_a_tree_grows_after_a_thought_that_is_switched_off() -> None:
    requests: list[Request] = []

    def script(request: Request) -> str:
        requests.append(request)
        return "0.5\nThe answer is 7."[len(request.partial) :]

    model = Scripted(script, thinking="think")
    solution = await solve(PROBLEM, Beam(1, 1, by=spelled, of=Model(thinking=False)), model)
    assert solution.text == "0.5\nThe answer is 7."
    assert {"".join(map(chr, each.tokens))[:19] for each in requests} == {"<think>\n\n</think>\n\n"}


@pytest.mark.parametrize("of", ["CoT()", "Within(tokens=9999, of=CoT())", 'Model("model")', "Joined(short, of=CoT())"])
@pytest.mark.parametrize("spec", [*SEARCHES, "DVTS(3, 2, by=brief)"])
async def test_trees_grow_on_whatever_can_step(spec: str, of: str) -> None:
    search = parse(spec.replace("by=brief", f"by=brief, of={of}"), NAMES)
    solution = await solve(PROBLEM, search, Scripted(dice, context=2000), seed=1)
    assert solution.answer in {"7", "8", "9"}


async def test_a_tree_goes_on_from_what_is_written() -> None:
    begun = Candidate(("0.5\n",), finished=False)
    lines = {"0.5\n": ["0.5 The answer is 7."]}
    solution = await solve(PROBLEM.continuing(begun).stepping("."), Beam(1, 1, by=spelled), Scripted(Lines(lines)))
    assert solution.text == "0.5\n0.5 The answer is 7."


async def test_logits_cannot_weigh_votes() -> None:
    async def logit(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(-3.0) for _ in candidates]

    for search in (Beam(1, 1, by=logit, answer="weighted"), ParticleFilter(2, by=logit)):
        model = Scripted(Lines({"": ["a\n", "b The answer is 7."], "a\n": ["The answer is 7."]}))
        with pytest.raises(WeightError, match=r"If logit gives logits, write by=Sigmoid\(logit\)"):
            await solve(PROBLEM, search, model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Beam(2, 2, by=spelled, of=Vote(3)), r"Beam: of=Vote\(3\) cannot step: it gives whole replies only"),
        (lambda: Beam(2, 2, by=spelled, of=CoT(of=Rebase(2, by=spelled))), "Beam: of=CoT.* cannot step"),
        (lambda: MCTS(2, 2, by=spelled, of=Within(tokens=9, of=Vote(3))), "MCTS: of=Within.* cannot step"),
        (lambda: Beam(2, 2, by=None), "Beam: needs a verifier that judges partial replies"),  # type: ignore[arg-type]
        (lambda: Beam(2, 2, by=spelled, step=""), 'Beam: step="": give what ends a step'),
        (lambda: Beam(2, 2, by=spelled, depth=501), "Beam: depth must be at most 500"),
        (lambda: Beam(2, 2, by=spelled, lookahead=-1), "Beam: lookahead must be"),
        (lambda: Beam(2, 2, by=spelled, ahead=-1), "Beam: ahead must be"),
        (lambda: Rebase(4, by=spelled, ahead=1), "Rebase: ahead=1: how many children a node gets depends on"),
        (lambda: Beam(2, 2, by=spelled, answer="last"), "Beam: answer must be best, majority or weighted"),  # type: ignore[arg-type]
        (lambda: Beam(2, 2, by=spelled, until=MatchesReference), "until=MatchesReference is a class"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize("spec", [*SEARCHES, "DVTS(2, 2, by=brief)", "ABMCTS(4, by=brief)"])
async def test_a_search_without_verdicts_says_so(spec: str) -> None:
    reply, said = "The answer is 7.", "no reply has a verdict: the first is returned"
    strategy = parse(spec.replace("by=brief", "by=silent"), {**NAMES, "silent": silent})
    assert said in (await solve(PROBLEM, strategy, Scripted(reply), seed=1)).notes
    judged = parse(spec.replace("by=brief", "by=length"), NAMES)
    assert said not in (await solve(PROBLEM, judged, Scripted(reply), seed=1)).notes


async def test_an_unfinished_reply_without_a_verdict_is_the_first() -> None:
    for by, which in (("silent", "first"), ("length", "best")):
        strategy = parse(f"Beam(2, 2, by={by}, depth=2)", {**NAMES, "silent": silent})
        solution = await solve(PROBLEM, strategy, Scripted("hm\n"), seed=1)
        assert solution.notes[-1].endswith(f"the {which} unfinished one is returned")


class Own:
    """A generator that is a method."""

    async def draw(self, problem: Problem, run: Run, model: str = "") -> Candidate:
        return await run.ask(Model(model), problem)


@pytest.mark.parametrize("of", [Own().draw, partial(Own().draw, model="model")])
async def test_a_method_and_a_partial_function_are_believed_to_step(of: Any) -> None:
    lines = Lines({"": ["0.5\n", "0.1\n"], "0.5\n": ["0.5 The answer is 7."]})
    assert (await solve(PROBLEM, Beam(1, 2, by=spelled, of=of), Scripted(lines))).answer == "7"
