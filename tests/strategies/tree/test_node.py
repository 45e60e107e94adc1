from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate
from metagen.strategies.tree.node import (
    Draw,
    Leaf,
    Node,
    Sums,
    amended,
    at,
    begin,
    expand,
    finished,
    frontier,
    key_of,
    merged,
    share_out,
    unfinished,
)
from tests.support.trees import node, trees

TREE = node("", None, node("a", 0.5, node("a/a", 0.25), node("a/b.", 1.0)), node("b", 0.75), node("c.", None))


def every(root: Node) -> list[tuple[tuple[int, ...], Node]]:
    return [((), root)] + [
        ((place, *path), found) for place, child in enumerate(root.children) for path, found in every(child)
    ]


def test_a_node_sums_up_what_is_below() -> None:
    assert TREE.sums == Sums(
        alive=4, open=2, drawing=0, expansions=2, best=0.75, visits=4, total=2.5, low=0.25, high=1.0
    )
    assert node("a").sums == Sums(
        alive=1, open=1, drawing=0, expansions=0, best=-inf, visits=0, total=0.0, low=inf, high=-inf
    )


def test_an_expansion_backs_its_verdicts_up_to_the_root() -> None:
    begun = begin(TREE, (0, 0))
    assert (begun.sums.open, begun.sums.drawing, begun.sums.expansions) == (1, 1, 3)
    grown = expand(begun, {(0, 0): [node("a/a/a", 0.5), node("a/a/b", 0.125)]})
    assert (grown.sums.open, grown.sums.drawing, grown.sums.visits, grown.sums.total) == (3, 0, 6, 3.125)
    assert grown.children[0].sums.low == grown.sums.low == 0.125
    assert grown.children[1] is TREE.children[1], "what did not change is shared"
    assert at(grown, (0, 0, 1)).candidate.text == "a\na\nb\n"
    assert TREE.sums.visits == 4, "the old tree is as it was"


def test_a_lost_expansion_closes_its_node() -> None:
    grown = expand(begin(TREE, (1,)), {(1,): []})
    assert [path for path, _ in frontier(grown)] == [(0, 0), (0, 1), (2,)]
    assert at(grown, (1,)).state == "drawn"


@given(trees, st.data())
def test_expansions_taken_at_once_make_the_tree_that_they_make_one_by_one(tree: Node, data: st.DataObject) -> None:
    grown = {
        path: [node("x", data.draw(st.none() | st.floats(0, 1)))] * data.draw(st.integers(0, 2))
        for path, leaf in frontier(tree)
        if leaf.state == "open"
    }
    one_by_one = tree
    for path, children in grown.items():
        one_by_one = expand(one_by_one, {path: children})
    at_once = expand(tree, grown)
    assert at_once == one_by_one
    assert at_once.sums == one_by_one.sums


def test_shares_say_what_is_drawn_what_stays_and_what_is_dropped() -> None:
    leaves = frontier(TREE)
    assert [path for path, _ in leaves] == [(0, 0), (0, 1), (1,), (2,)]
    tree, draws = share_out(TREE, leaves, [3, 2, 0, 0])
    assert draws == [Draw((0, 0), 3)]
    assert [at(tree, path).state for path, _ in leaves] == ["drawing", "finished", "closed", "closed"]
    assert at(tree, (0, 1)).count == 2
    assert [path for path, _ in frontier(tree)] == [(0, 1)]


def test_finished_replies_are_found_also_among_what_was_dropped() -> None:
    tree, _ = share_out(TREE, frontier(TREE), [0, 0, 0, 0])
    assert [(leaf.candidate.text, leaf.value) for leaf in finished(tree)] == [("a\nb.\n", 1.0), ("c.\n", None)]
    assert [leaf.candidate.text for leaf in unfinished(tree)] == ["a\na\n", "b\n"]


def test_a_rollout_is_a_finished_reply() -> None:
    rollout = Candidate(("a", "b."))
    tree = node("", None, Node(Candidate(("a",), finished=False), 0.5, 2, rollout=rollout))
    assert list(finished(tree)) == [Leaf(rollout, 0.5, 2)]


def test_nothing_drawn_is_nothing_unfinished() -> None:
    assert list(unfinished(node("a", state="drawn"))) == []
    assert list(finished(node("a."))) == [], "what the search began with is no reply of its own"


def test_equal_siblings_are_merged_and_counted() -> None:
    a, b, cut = Candidate(("a",)), Candidate(("b",)), Candidate(("a",), finished=False, cut=True)
    assert merged([a, b, a, cut, a]) == [(a, 3), (b, 1), (cut, 1)]


def test_a_path_is_a_name() -> None:
    assert [key_of(path) for path in [(), (0,), (0, 12)]] == ["/", "/0", "/0/12"]


def test_changing_the_root_changes_all() -> None:
    assert amended(TREE, {(): node("z")}) == node("z")
    assert amended(TREE, {}) is TREE


@given(trees)
def test_sums_are_those_of_all_nodes(tree: Node) -> None:
    nodes = [found for _, found in every(tree)]
    judged = [found.value for found in nodes if found.value is not None]
    assert tree.sums.open == sum(found.state == "open" for found in nodes)
    assert tree.sums.visits == len(judged)
    assert tree.sums.total == pytest.approx(sum(judged))
    assert tree.sums.low == min(judged, default=inf)
    assert tree.sums.high == max(judged, default=-inf)
    assert [path for path, found in every(tree) if found.state in {"open", "finished"}] == [
        path for path, _ in frontier(tree)
    ]


@given(trees, st.data())
def test_one_change_after_the_other_is_all_at_once(tree: Node, data: st.DataObject) -> None:
    leaves = frontier(tree)
    shares = data.draw(st.lists(st.integers(0, 3), min_size=len(leaves), max_size=len(leaves)))
    together, draws = share_out(tree, leaves, shares)
    single = tree
    for (path, leaf), share in zip(leaves, shares, strict=True):
        single, _ = share_out(single, [(path, leaf)], [share])
    assert single == together
    assert single.sums[:4] == together.sums[:4]
    assert {draw.path for draw in draws} == {path for path, found in every(together) if found.state == "drawing"}
