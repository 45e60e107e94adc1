"""Problems that are solved through the harnesses of others, and through `metagen solve`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen import parse, sync
from metagen.adapters.caller import read_caller
from metagen.disk.problems import ProblemFile

MODELS = str(Path(__file__).with_name("harness_models.py"))
SUMS = [{"id": f"s{at}", "question": f"What is {at} + {at % 7} ?", "answer": str(at + at % 7)} for at in range(40)]
LETTERS = [
    {"id": f"c{at}", "question": f"Which letter has the number {at} ?", "choices": [*"wxyz"], "answer": "ABCD"[at % 4]}
    for at in range(12)
]


def saved(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def right_by_solve(problems: Path, model: str, strategy: str, answers: str = "") -> float:
    """The accuracy of the same model and strategy on the same problems without a harness."""
    models = read_caller({"model": model, "load": MODELS}).models
    solved = list(sync.solve_all(ProblemFile(problems, answers=answers), parse(strategy), models))
    return sum(each.correct is True for each in solved) / len(solved)
