"""The problem files that ship with metagen."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metagen.data import EVALUATION, VALIDATION
from recipes.problems.problem_sets import as_line, problem_set
from recipes.problems.words import Split, split_of


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("file", "split", "count"), [(EVALUATION, "evaluation", 500), (VALIDATION, "validation", 300)])
def test_no_shipped_problem_can_be_in_training(file: Path, split: Split, count: int) -> None:
    prompts = {record["prompt"] for record in read(file)}
    assert len(prompts) == count
    assert {split_of(prompt) for prompt in prompts} == {split}


def test_the_files_are_what_the_script_writes() -> None:
    lines = EVALUATION.read_text().splitlines()[:30]
    problems = enumerate(problem_set("evaluation", 30, 0), 1)
    assert [as_line(problem, f"eval-{number:04}") for number, problem in problems] == lines


@pytest.mark.parametrize("first", [100, 500])
def test_any_first_part_is_like_the_whole(first: int) -> None:
    records = read(EVALUATION)[:first]
    steps = Counter(record["steps"] for record in records)
    assert set(steps) == set(range(2, 9))
    assert max(steps.values()) - min(steps.values()) <= 1
    assert sum(record["trap"] is not None for record in records) == (first + 2) // 3
