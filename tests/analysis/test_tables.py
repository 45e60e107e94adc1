from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metagen.analysis.curve import Curve, Samples
from metagen.analysis.rules import all_rules, first_k
from metagen.analysis.tables import (
    Source,
    answers,
    at_equal,
    comparisons,
    equals,
    measured,
    reached,
    reaching,
    remarks,
    said,
    sheets,
    versus,
)
from metagen.budget import Price

SAMPLES = Samples(
    groups=np.array([[0, 0], [0, 1], [-1, 0], [0, 1]]),
    right=np.array([[True, True], [True, False], [False, True], [False, False]]),
    tokens=np.array([[10, 20], [10, 10], [5, 5], [30, 10]]),
    labels={"level": ["2", "1", "2", ""]},
)


def source(name: str = "one", samples: Samples = SAMPLES, **more: Any) -> Source:
    return Source(name, ("a", "b", "c", "d"), all_rules(samples, [1, 2]), samples.labels, **more)


def test_rows_hold_every_mean_of_all_and_of_each_label() -> None:
    rows = list(measured(source()))
    assert [(row.label, row.value, row.rule, row.k, row.problems) for row in rows] == [
        (label, value, rule, k, problems)
        for label, value, problems in (("", "", 4), ("level", "1", 1), ("level", "2", 2))
        for rule in ("coverage", "majority")
        for k in (1, 2)
    ]
    assert [row.mean for row in rows[:4]] == pytest.approx([0.5, 0.75, 0.5, 0.625])
    assert [row.tokens for row in rows[:2]] == pytest.approx([12.5, 25.0])
    assert rows[1].low < 0.75 < rows[1].high
    assert {row.error for row in rows} == {0.0}


def test_sheets_say_it_in_per_cent() -> None:
    one = source(scored_by="a judge")
    first, second = sheets(one, measured(one))
    assert first.title == "one: 4 problems, 2 samples each, scored by a judge"
    assert first.columns == ("k", "tokens", "coverage", "majority")
    assert [row[:2] for row in first.rows] == [("1", "12"), ("2", "25")]
    assert first.rows[1][2].startswith("75.0 (16.3–97.9")
    assert second.title == "one, by level, with 2 samples"
    assert second.columns == ("level", "problems", "one sample", "coverage", "majority")
    assert second.rows[0] == ("1", "1", "50.0 (5.5–94.5)", "100.0 (20.7–100.0)", "50.0 (5.5–94.5)")


def test_a_monte_carlo_error_is_shown_where_there_is_one() -> None:
    curve = Curve("majority", (1,), np.array([[0.0], [1.0]]), np.full((2, 1), 2e-6))
    one = Source("one", ("a", "b"), {"majority": curve}, {})
    (sheet,) = sheets(one, measured(one))
    assert sheet.rows == (("1", "", "50.0 ±0.10 (0.3–99.7)"),)


def test_a_fall_and_what_was_left_out_are_remarked() -> None:
    values = np.array([[1.0, 0.0]] * 40 + [[0.0, 0.0]] * 10)
    falling = Curve("best-of", (1, 2), values, np.zeros_like(values))
    one = Source("one", tuple(map(str, range(50))), {"best-of": falling}, {}, notes=("3 are left out",))
    notes = list(remarks(one))
    assert notes[0] == "3 are left out"
    assert notes[1].startswith("best-of is over-optimised: best at k = 1, and from k = 2 on worse")
    assert "-80.0 [" in notes[1]
    assert list(remarks(source())) == []


def test_sources_are_compared_over_the_problems_and_rules_they_share() -> None:
    other = Samples(SAMPLES.groups[:, :1], ~SAMPLES.right[:, :1])
    two = Source("two", ("z", "c", "b", "a"), all_rules(other, [1]), {})
    found = list(versus(source(), two))
    assert [(each.rule, each.k, each.problems) for each in found] == [("coverage", 1, 3), ("majority", 1, 3)]
    # a, b, c: 1, 0.5, 0.5 in the first, 1, 1, 0 in the second
    assert found[0].difference.value == pytest.approx(0.0)
    sheet = comparisons(found)
    assert sheet.rows[0][:4] == ("two - one", "coverage", "1", "3")
    assert sheet.rows[0][4].startswith("+0.0 [")
    assert list(versus(source(), replace(two, ids=("w", "x", "y", "z")))) == []


def test_sources_are_compared_with_as_many_samples_as_both_have() -> None:
    assert {(each.rule, each.k) for each in versus(source(), source("two"))} == {("coverage", 2), ("majority", 2)}


def test_the_first_samples_as_they_stand_have_a_sheet_of_their_own() -> None:
    one = source(first=first_k(SAMPLES))
    whole, drawn, _ = sheets(one, measured(one))
    assert whole.columns == ("k", "tokens", "coverage", "majority")
    assert (drawn.columns, [row[0] for row in drawn.rows]) == (("k", "coverage", "majority"), ["1", "2"])
    assert [row[1].partition(" ")[0] for row in drawn.rows] == ["50.0", "75.0"]


def test_the_answers_of_two_runs_are_compared_where_both_have_a_verdict() -> None:
    one = source("one", correct={"a": True, "b": False, "c": False})
    two = source("two", correct={"b": True, "c": False, "d": True})
    found = answers(one, two)
    assert found is not None
    assert (found.problems, found.only_first, found.only_second) == (2, 0, 1)
    assert said(one, two, found).startswith("Answers of two - one: +50.0 [")
    assert "in one run only 1 and 0, p = 0.5 (McNemar's mid-p)" in said(one, two, found)
    assert answers(one, source()) is None
    assert answers(one, source(correct={"z": True})) is None


def priced(read: float, each: float) -> Samples:
    return replace(SAMPLES, flops=np.full((4, 2), each), prompt_flops=np.full(4, read))


def test_flops_have_a_column_where_they_are_known() -> None:
    one = source(samples=priced(1e9, 2e9))
    assert [row.flops for row in measured(one)][:2] == [3e9, 5e9]
    first, _ = sheets(one, measured(one))
    assert first.columns == ("k", "tokens", "FLOPs", "coverage", "majority")
    assert [row[:3] for row in first.rows] == [("1", "12", "3e+09"), ("2", "25", "5e+09")]


def test_money_has_a_column_and_comes_before_flops_where_all_know_it() -> None:
    paid = source("paid", replace(priced(1e9, 1e9), price=Price(0, 1)))
    dear = source("dear", replace(priced(1e9, 1e9), price=Price(0, 2)))
    first, _ = sheets(paid, measured(paid))
    assert first.columns == ("k", "tokens", "FLOPs", "money", "coverage", "majority")
    assert first.rows[0][:4] == ("1", "12", "2e+09", "1.25e-05")
    assert {each.unit for each in equals(paid, dear)} == {"money"}
    assert {each.unit for each in equals(paid, source("unpaid", priced(1e9, 1e9)))} == {"FLOPs"}
    costs = [
        (row[2].split(" ")[0], row[3])
        for row in reaching([*reached([paid, dear], 0.75)], 0.75).rows
        if row[1] == "coverage"
    ]
    assert costs == [("2.5e-05", "money"), ("5e-05", "money")]


def test_two_sources_are_compared_where_they_cost_the_same() -> None:
    cheap, dear = source("cheap", priced(1e9, 1e9)), source("dear", priced(1e9, 2e9))
    found = [each for each in equals(cheap, dear) if each.rule == "coverage"]
    assert [(each.unit, each.cost) for each in found] == [("FLOPs", 3e9)]
    assert (found[0].first_mean, found[0].second_mean) == pytest.approx((0.75, 0.5))
    assert found[0].difference.value == pytest.approx(-0.25)
    assert at_equal(found).rows[0][:3] == ("dear - cheap", "coverage", "3e+09 FLOPs")
    in_tokens = list(equals(source("one"), cheap))
    assert {each.unit for each in in_tokens} == {"tokens"}
    assert [each.difference.value for each in in_tokens] == pytest.approx([0.0] * 4)
    free = replace(SAMPLES, tokens=None)
    assert not list(equals(source("free", free), source("too", free)))


def test_at_equal_cost_each_problem_is_compared_with_itself_in_whatever_order_it_comes() -> None:
    order = np.array([3, 0, 1])
    samples = Samples(SAMPLES.groups[order], SAMPLES.right[order], tokens=np.full((3, 2), 10))
    even = source(samples=replace(SAMPLES, tokens=np.full((4, 2), 10)))
    other = Source("other", ("d", "a", "b"), all_rules(samples, [1, 2]), {})
    for found in (*equals(even, other), *equals(other, even)):
        assert found.first_mean == pytest.approx(found.second_mean)
        assert (found.difference.low, found.difference.high) == pytest.approx((0, 0))


def test_what_an_accuracy_costs() -> None:
    sheet = reaching([*reached([source(), source("dear", priced(1e9, 2e9))], 0.75)], 0.75)
    assert "75 per cent" in sheet.title
    rows = [(name, rule, cost.split(" ")[0], unit) for name, rule, cost, unit in sheet.rows]
    assert rows == [
        ("one", "coverage", "25", "tokens"),
        ("one", "majority", "never", "tokens"),
        ("dear", "coverage", "5e+09", "FLOPs"),
        ("dear", "majority", "never", "FLOPs"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "between"),
    [
        ("/data/long/runs/one", "/data/long/runs/two", "two - one"),
        ("runs/one", "runs/two", "two - one"),
        ("a/pool.jsonl", "b/pool.jsonl", "b/pool.jsonl - a/pool.jsonl"),
        ("runs/one", "pool.jsonl", "pool.jsonl - runs/one"),
        ("one", "two", "two - one"),
    ],
)
def test_a_column_names_sources_without_the_folders_that_they_share(first: str, second: str, between: str) -> None:
    one, two = source(first), source(second)
    assert {row[0] for row in comparisons(list(versus(one, two))).rows} == {between}
    assert {row[0] for row in at_equal(list(equals(one, two))).rows} == {between}
    assert {row[0] for row in reaching([*reached([one, two], 0.5)], 0.5).rows} == set(between.split(" - "))
