from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import MCTS, BestFirst, InputError, Scripted, solve
from metagen.strategies.tree.node import Draw, Node, at, begin
from tests.support.trees import PROBLEM, Lines, node, spelled, trees

SPECS = [
    "BestFirst(30, 2, by=brief, window=3)",
    "MCTS(30, 2, by=brief, lookahead=None, until=two_hms)",
    "BestFirst(12, 2, by=brief, window=2, ahead=2)",
]

UNUSED = Random(0)


def test_best_first_goes_back_to_an_older_better_node() -> None:
    tree = node("", None, node("a", 0.6), node("b", 0.9, node("b/a", 0.1), node("b/b", 0.2)))
    assert BestFirst(9, 2, by=spelled).select(tree) == (0,)
    assert BestFirst(9, 2, by=spelled).select(begin(tree, (0,))) == (1, 1)


async def test_a_worse_branch_is_left_and_taken_up_again() -> None:
    lines = {
        "": ["0.9\n", "0.6\n"],
        "0.9\n": ["0.3\n", "0.2\n"],
        "0.6\n": ["0.1\n", "0.25\n"],
        "0.9\n0.3\n": ["0.8 The answer is 7.", "0.0\n"],
    }
    script = Lines(lines)
    solution = await solve(PROBLEM, BestFirst(4, 2, by=spelled, window=1), Scripted(script))
    assert script.asked[::2] == ["", "0.9\n", "0.6\n", "0.9\n0.3\n"]
    assert solution.answer == "7"


def test_a_window_is_filled_and_the_expansions_are_counted() -> None:
    tree = node("", None, *[node("a", value) for value in (0.1, 0.9, 0.5)])
    tree, draws = BestFirst(3, 2, by=spelled, window=5).choose(tree, UNUSED)
    assert draws == [Draw((1,), 2), Draw((2,), 2)], "with the root, three"
    assert BestFirst(9, 2, by=spelled, window=2).choose(tree, UNUSED) == (tree, [])


def test_mcts_descends_by_mean_and_visits() -> None:
    tree = node(
        "",
        None,
        node("a", 0.5, node("a/a", 0.9), node("a/b", 0.8)),
        node("b", 0.55, node("b/a", 0.1), node("b/b", 0.1)),
    )
    assert MCTS(9, 2, by=spelled, exploration=0).select(tree) == (0, 0)
    assert BestFirst(9, 2, by=spelled).select(tree) == (0, 0)
    busy = begin(begin(tree, (0, 0)), (0, 1))
    assert MCTS(9, 2, by=spelled).select(busy) == (1, 0), "nothing else is open"


def test_a_virtual_loss_sends_the_next_elsewhere() -> None:
    tree = node("", None, *[node(text, 0.5, node(f"{text}/a", 0.5), node(f"{text}/b", 0.5)) for text in "ab"])
    _, draws = MCTS(9, 2, by=spelled, window=2).choose(tree, UNUSED)
    assert [draw.path[0] for draw in draws] == [0, 1]


@given(trees.filter(lambda tree: tree.sums.open > 0), st.sampled_from([0.0, 1.0, 30.0]))
def test_what_is_selected_is_open_and_best_first_takes_the_best(tree: Node, exploration: float) -> None:
    assert at(tree, MCTS(9, 2, by=spelled, exploration=exploration).select(tree)).state == "open"
    chosen = at(tree, BestFirst(9, 2, by=spelled).select(tree))
    assert chosen.state == "open"
    assert chosen.value is None or chosen.value == tree.sums.best
    assert (chosen.value is None) == (tree.sums.best == float("-inf"))


async def test_mcts_reads_its_verdicts_from_rollouts() -> None:
    lines = {
        "": ["dull\n", "bright\n"],
        "dull\n": ["0.1 The answer is 8."],
        "bright\n": ["0.9 The answer is 7."],
    }
    solution = await solve(PROBLEM, MCTS(1, 2, by=spelled, lookahead=None), Scripted(Lines(lines)))
    assert (solution.answer, solution.samples) == ("7", 2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BestFirst(0, 4, by=spelled), "BestFirst: expansions must be"),
        (lambda: MCTS(4, 4, by=spelled, window=0), "MCTS: window must be"),
        (lambda: MCTS(4, 4, by=spelled, exploration=-1), "MCTS: exploration must be a number of 0 or more"),
    ],
)
def test_nonsense_is_refused(make: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()  # type: ignore[operator]
