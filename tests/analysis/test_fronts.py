"""The points of a sweep: what counts as right, and of how many problems."""

from dataclasses import replace
from pathlib import Path

import pytest

from metagen import InputError
from metagen.analysis.fronts import Point, fronts, point, sheet, uneven, unit_of

KEY = ("problems", "model", "strategy", "budget")


def run(folder: Path, *rows: str) -> Path:
    folder.mkdir()
    (folder / "solutions.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return folder


def test_what_has_no_verdict_is_in_no_share(tmp_path: Path) -> None:
    folder = run(
        tmp_path / "one",
        '{"problem": "right", "answer": "7", "correct": true}',
        '{"problem": "failed, with a reference", "answer": null, "correct": false, "error": "refused"}',
        '{"problem": "failed, without one", "answer": null, "error": "refused"}',
        '{"problem": "without a reference", "answer": "7"}',
        '{"problem": "without a verdict", "answer": "x", "unjudged": true}',
    )
    found = point(KEY, [folder])
    assert (found.count, found.accuracy) == (2, 0.5)


def test_seeds_of_a_problem_are_taken_together(tmp_path: Path) -> None:
    rows = ('{"problem": "p", "answer": "7", "correct": true}', '{"problem": "p", "answer": "8", "correct": false}')
    found = point(KEY, [run(tmp_path / str(seed), row) for seed, row in enumerate(rows)])
    assert (found.seeds, found.count, found.accuracy) == (2, 1, 0.5)


def test_only_the_problems_that_are_wanted_count(tmp_path: Path) -> None:
    usage = '"usage": {"calls": 3, "verifier_calls": 2, "prompt_tokens": 5, "completion_tokens": 6}'
    rows = [f'{{"problem": "{name}", "answer": "7", "correct": {name == "p"}, {usage}}}'.lower() for name in "pq"]
    found = point(KEY, [run(tmp_path / "one", *rows)], {"p"})
    assert (found.count, found.accuracy, found.calls, found.tokens) == (1, 1, 5, 11)


def test_without_any_verdict_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no answer there has a verdict"):
        point(KEY, [run(tmp_path / "one", '{"problem": "p", "answer": null, "error": "refused"}')])


def test_rows_that_count_different_problems_say_so() -> None:
    one, other = costing("one", 10), replace(costing("other", 20), count=2)
    assert "Not all rows count the same problems of problems" in uneven([one, other])
    assert sheet("Title", [one, other]).columns[-1] == "graded"
    assert uneven([one, one]) == ""
    assert "graded" not in sheet("Title", [one, one]).columns


def costing(strategy: str, tokens: float, flops: float = 0, money: float = 0) -> Point:
    return Point(*KEY[:2], strategy, "", 1, 1, 0.5, 0.4, 0.6, tokens=tokens, flops=flops, calls=1, money=money)


def test_points_are_compared_in_a_cost_that_all_of_them_know() -> None:
    paid, free = costing("paid", 30, flops=9e9, money=0.5), costing("free", 20, flops=8e9)
    assert [unit_of([paid]), unit_of([paid, free]), unit_of([paid, costing("bare", 10)])] == [
        "money",
        "FLOPs",
        "tokens",
    ]
    (panel,) = fronts([paid, free]).values()
    assert [each.strategy for each in panel] == ["free", "paid"]
    assert [each.costs_in("FLOPs") for each in panel] == [8e9, 9e9]
