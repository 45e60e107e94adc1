from collections import Counter
from collections.abc import Sequence
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    DVTS,
    Beam,
    Candidate,
    GenerationError,
    InputError,
    MatchesReference,
    ParticleFilter,
    Problem,
    Rebase,
    Request,
    Run,
    Score,
    Scripted,
    WeightError,
    solve,
)
from metagen.strategies.tree.node import Draw, at
from metagen.strategies.tree.shares import apportion
from tests.support.trees import PROBLEM, Lines, node, spelled, values

SPECS = [
    "Beam(2, 2, by=brief)",
    'DVTS(2, 2, by=brief, answer="majority", depth=30)',
    'Rebase(4, by=brief, temperature=0.5, answer="weighted")',
    "ParticleFilter(4, by=brief, of=CoT())",
    "Beam(2, 2, by=brief, ahead=1)",
]

UNUSED = Random(0)


def test_a_beam_keeps_the_best_of_a_depth_finished_ones_among_them() -> None:
    beam = Beam(2, 3, by=spelled)
    tree, draws = beam.choose(node(), UNUSED)
    assert draws == [Draw((), 6)]
    grown = node("", None, node("a", 0.5), node("b.", 0.75), node("c", 0.25), node("d", None))
    tree, draws = beam.choose(grown, UNUSED)
    assert draws == [Draw((0,), 3)]
    assert [child.state for child in tree.children] == ["drawing", "finished", "closed", "closed"]
    assert beam.choose(tree, UNUSED) == (tree, []), "it waits for its depth"


def test_a_beam_ends_when_all_that_stay_are_finished() -> None:
    tree, draws = Beam(1, 3, by=spelled).choose(node("", None, node("a", 0.5), node("b.", 0.75)), UNUSED)
    assert draws == []
    assert at(tree, (0,)).state == "closed"


def test_of_equal_candidates_a_beam_keeps_those_of_the_better_parent() -> None:
    """As in Yao et al. 2023: whoever comes first in the tree is no better for it."""
    grown = node(
        "", None, node("a", 0.5, node("aa", 0.7), node("ab", 0.7)), node("b", 0.9, node("ba", 0.7), node("bb", 0.7))
    )
    tree, draws = Beam(2, 3, by=spelled).choose(grown, UNUSED)
    assert draws == [Draw((1, 0), 3), Draw((1, 1), 3)]
    assert [child.state for child in tree.children[0].children] == ["closed", "closed"]


def test_of_equal_candidates_the_last_parent_counts_before_the_first() -> None:
    tree, _ = Beam(1, 2, by=spelled).choose(
        node(
            "",
            None,
            node("a", 0.9, node("aa", 0.5, node("aaa", 0.6))),
            node("b", 0.5, node("ba", 0.7, node("baa", 0.6))),
        ),
        UNUSED,
    )
    assert [at(tree, path).state for path in ((0, 0, 0), (1, 0, 0))] == ["closed", "drawing"]


def test_a_finished_reply_ranks_by_itself_before_its_parents() -> None:
    """In the second depth it was 0.6, as it is now, and the parent of the other is 0.55."""
    other = node("ba", 0.5, node("baa", 0.55, node("baaa", 0.6)))
    tree, _ = Beam(1, 2, by=spelled).choose(
        node("", None, node("b", 0.5, other), node("a", 0.5, node("aa.", 0.6))), UNUSED
    )
    assert [at(tree, path).state for path in ((0, 0, 0, 0), (1, 0))] == ["closed", "finished"]


@pytest.mark.parametrize(("verdict", "stays"), [(0.6, False), (0.7, True)])
def test_a_finished_reply_ranked_in_each_depth_as_it_does_now(verdict: float, stays: bool) -> None:
    """Between the two parents, 0.5 and 0.65, and all that is left equal to it."""
    grown = node(
        "", None, node("a", 0.5, node("aa", verdict)), node("b.", verdict), node("c", 0.65, node("ca", verdict))
    )
    tree, _ = Beam(1, 2, by=spelled).choose(grown, UNUSED)
    assert (at(tree, (1,)).state == "finished") is stays
    assert at(tree, (0, 0)).state == "closed"


async def test_the_trace_says_what_each_depth_kept() -> None:
    lines = {"": ["0.5\n", "0.9\n"], "0.9\n": ["0.7\n", "0.6\n"], "0.9\n0.7\n": ["0.8 It is 8."]}
    solution = await solve(PROBLEM, Beam(1, 2, by=spelled), Scripted(Lines(lines)))
    kept = {
        span.path[-1]: [(child.value, child.became) for child in span.expansion.children]
        for span in solution.trace.walk()
        if span.expansion
    }
    assert kept["/"] == [(0.5, "closed"), (0.9, "drawn")]
    assert kept["/1"] == [(0.7, "drawn"), (0.6, "closed")]


def test_rebase_shares_its_budget_by_the_papers_formula() -> None:
    """exp(0.9 / 0.2), exp(0.5 / 0.2) and exp(0.1 / 0.2) are 0.8668, 0.1173 and 0.0159 of their sum."""
    leaves = [node("a", 0.9), node("b", 0.5), node("c", 0.1)]
    assert Rebase(8, by=spelled, temperature=0.2).allocate(leaves, UNUSED) == [7, 1, 0]
    assert Rebase(64, by=spelled, temperature=0.2).allocate(leaves, UNUSED) == [55, 8, 1]


def test_rebase_takes_finished_replies_from_the_budget() -> None:
    leaves = [node("a.", 0.1, count=5), node("b", 0.5), node("c", 0.5)]
    assert Rebase(8, by=spelled).allocate(leaves, UNUSED) == [5, 2, 1]
    assert Rebase(5, by=spelled).allocate(leaves, UNUSED) == [5, 0, 0]


def test_particles_are_drawn_anew_by_their_odds() -> None:
    leaves = [node("a", 0.8), node("b.", 0.5, count=4), node("c", 0.0)]  # odds of 4, four times 1, and 0
    for seed in range(5):
        assert ParticleFilter(8, by=spelled).allocate(leaves, Random(seed)) == [4, 4, 0]
    cold = ParticleFilter(8, by=spelled, temperature=0.1).allocate(leaves, UNUSED)
    assert cold == [8, 0, 0]
    with pytest.raises(WeightError, match="must be a probability"):
        ParticleFilter(8, by=spelled).allocate([node("a", 3.0)], UNUSED)


@given(st.lists(st.tuples(values, st.booleans(), st.integers(1, 3)), min_size=1, max_size=9), st.integers(1, 40))
def test_no_more_is_allotted_than_there_is(found: list[tuple[float | None, bool, int]], n: int) -> None:
    leaves = [node("a." if done else "a", value, count=count) for value, done, count in found]
    particles = ParticleFilter(n, by=spelled).allocate(leaves, UNUSED)
    assert sum(particles) == n
    if any(leaf.state == "open" for leaf in leaves):
        shares = Rebase(n, by=spelled).allocate(leaves, UNUSED)
        done = sum(leaf.count for leaf in leaves if leaf.state == "finished")
        assert sum(shares) == max(n, done)
        beam = Beam(n, 2, by=spelled).allocate(leaves, UNUSED)
        assert sum(share > 0 for share in beam) == min(n, len(leaves))


class World:
    """A tree that follows from a seed: what may be written after each text, and how good it is."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def step(self, text: str, draw: int) -> str:
        random = Random(f"{self.seed} {text} {draw}")
        ends = text.count("\n") > 2 or random.random() < 0.25
        return f"It is {random.choice('123')}, {draw}." if ends else random.choice("abcd") + "\n"

    def grown(self, text: str, count: int) -> Counter[str]:
        return Counter(text + self.step(text, draw) for draw in range(count))

    def value(self, text: str) -> float:
        return Random(f"{self.seed} {text}").choice([0.1, 0.3, 0.3, 0.5, 0.7, 0.9])

    async def solved(self, search: type[Beam] | type[Rebase], *numbers: int) -> tuple[float, int]:
        """The verdict on what a search returns, and how many replies it finished."""

        async def by(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
            return [Score(self.value(each.text)) for each in candidates]

        solution = await solve("?", search(*numbers, by=by), Scripted(lambda each: self.step(each.partial, each.draw)))
        return self.value(solution.text), solution.compared


@given(seed=st.integers(), width=st.integers(1, 3), branch=st.integers(1, 3))
async def test_a_beam_is_that_of_its_definition(seed: int, width: int, branch: int) -> None:
    world, depth, finished = World(seed), 0, set[str]()
    found: dict[str, tuple[float, ...]]
    found = {text: (world.value(text),) for text in world.grown("", width * branch)}
    """The verdicts on the way to each text."""
    while True:
        finished |= {text for text in found if not text.endswith("\n")}
        ranks = {text: way[-1:] * (depth + 1 - len(way)) + way[::-1] for text, way in found.items()}
        kept = sorted(found, key=ranks.__getitem__, reverse=True)[:width]
        if all(text in finished for text in kept):
            break
        found = {
            after: found[text] if after == text else (*found[text], world.value(after))
            for text in [text for text in found if text in kept]
            for after in ([text] if text in finished else world.grown(text, branch))
        }
        depth += 1
    assert await world.solved(Beam, width, branch) == (max(map(world.value, finished)), len(finished))


@given(seed=st.integers(), n=st.integers(1, 8))
async def test_rebase_is_algorithm_1_of_its_paper(seed: int, n: int) -> None:
    world, finished = World(seed), Counter[str]()
    found = world.grown("", n)
    while True:
        finished += Counter({text: count for text, count in found.items() if not text.endswith("\n")})
        growing = [text for text in found if text not in finished]
        weights = [found[text] * exp(world.value(text) / 0.2) for text in growing]
        budget = n - finished.total()
        if not growing or budget < 1:
            break
        shares = apportion([weight / sum(weights) for weight in weights], budget)
        found = Counter[str]()
        for text, share in zip(growing, shares, strict=True):
            found += world.grown(text, share)
    assert await world.solved(Rebase, n) == (max(map(world.value, finished)), len(finished))


async def test_the_answer_of_particles_is_among_those_that_are_left() -> None:
    lines = {"": ["1.0 The answer is 7.", "0.0 The answer is 8.", "0.9\n"], "0.9\n": ["0.9 The answer is 7."]}
    search = ParticleFilter(3, by=spelled, answer="majority", temperature=0.1)
    solution = await solve(PROBLEM, search, Scripted(Lines(lines)))
    assert (solution.answer, solution.samples) == ("7", 1), "8 was not drawn again, nor was 0.9"


async def test_subtrees_go_their_own_ways_and_answer_together() -> None:
    lines = {
        "": ["0.1\n", "0.2\n", "0.3\n", "0.4 The answer is 8."],
        "0.2\n": ["0.5 The answer is 7.", "0.9 The answer is 7."],
    }
    script = Lines(lines)
    solution = await solve(PROBLEM, DVTS(2, 2, by=spelled, answer="majority"), Scripted(script))
    assert script.asked == ["", "", "", "", "0.2\n", "0.2\n"], (
        "a subtree of the best keeps its best, not the best of all"
    )
    assert (solution.answer, solution.samples) == ("7", 3)
    assert solution.notes == ()


async def test_subtrees_end_with_the_first_that_has_an_accepted_reply() -> None:
    lines = {"": ["0.4 The answer is 8.", "0.3 The answer is 7.", "0.2\n", "0.1\n"]}
    script = Lines(lines)
    search = DVTS(2, 2, by=spelled, until=MatchesReference())
    solution = await solve(PROBLEM, search, Scripted(script))
    assert (solution.answer, script.asked) == ("7", [""] * 4)


async def test_subtrees_that_are_lost_are_told() -> None:
    def script(request: Request) -> str:
        if request.draw < 2:
            raise GenerationError("no")
        return "0.5 The answer is 7."

    solution = await solve(PROBLEM, DVTS(2, 2, by=spelled), Scripted(script))
    assert solution.answer == "7"
    assert "nothing could be drawn in 1 of 2 subtrees; the first: GenerationError: no" in solution.notes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Beam(0, 4, by=spelled), "Beam: width must be"),
        (lambda: DVTS(4, 0, by=spelled), "DVTS: branch must be"),
        (lambda: Rebase(4, by=spelled, temperature=0), "Rebase: temperature must be a number above 0"),
        (lambda: ParticleFilter(0, by=spelled), "ParticleFilter: n must be"),
    ],
)
def test_nonsense_is_refused(make: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()  # type: ignore[operator]
