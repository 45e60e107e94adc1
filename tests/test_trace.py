from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, Usage
from metagen.trace import Span


def span(
    *path: int | str, tokens: int = 0, status: str = "ok", below: list[Span] | None = None, **detail: object
) -> Span:
    usage = Usage(completion_tokens=tokens)
    return Span("x", path, status=status, usage=usage, detail=detail, children=below or [])  # type: ignore[arg-type]


TREE = span(
    below=[
        span(1, tokens=1, below=[span(1, 10, notes=["third"]), span(1, 2, tokens=5, notes=["second"])]),
        span(0, tokens=2, notes=["first"]),
        span("b", tokens=3),
    ]
)


def test_a_tree_is_walked_by_path_whatever_came_first() -> None:
    assert [each.path for each in TREE.walk()] == [(), (0,), (1,), (1, 2), (1, 10), ("b",)]


def test_a_total_is_what_all_spent() -> None:
    assert TREE.total() == Usage(completion_tokens=11)
    assert TREE.children[0].total() == Usage(completion_tokens=6)


def test_notes_are_told_in_order() -> None:
    assert TREE.notes() == ["first", "second", "third"]


def test_compared_are_the_samples_of_the_outermost_that_compares() -> None:
    outer, inner = Candidate(("outer",)), Candidate(("inner",))
    vote = span(0, 0, below=[span(0, 0, 0)])
    vote.samples, vote.children[0].samples = [outer], [inner]
    assert span(below=[span(0, below=[vote])]).compared() == [outer]
    assert TREE.compared() == []


def test_a_lost_sample_is_counted_once_where_it_was_lost_first() -> None:
    assert span(status="lost", n=4).lost() == 4
    assert span(status="lost").lost() == 1
    assert span(status="lost", n=4, below=[span(0, status="lost"), span(1)]).lost() == 1
    assert span(status="cancelled", below=[span(0, status="failed")]).lost() == 0


def test_a_row_is_plain_and_leaves_out_what_is_empty() -> None:
    full = Span(
        "Model", (0, "b"), 1.23456789, 0.5, "lost", "no", Usage(calls=1), {"n": 0, "scores": [None, 0.0], "partial": ""}
    )
    assert full.row("p") == {
        "problem": "p",
        "path": "0.b",
        "name": "Model",
        "status": "lost",
        "started": 1.234568,
        "seconds": 0.5,
        "error": "no",
        "usage": {"calls": 1},
        "n": 0,
        "scores": [None, 0.0],
    }
    root = {"problem": "p", "path": "", "name": "solve", "status": "open", "started": 0.0, "seconds": 0.0}
    assert Span("solve").row("p") == root


@given(st.permutations(range(12)))
def test_numbers_come_in_the_order_of_numbers(order: list[int]) -> None:
    assert [each.path[0] for each in span(below=[span(n) for n in order]).walk() if each.path] == list(range(12))
