"""The studies that a page tells its readers to make again, over a few samples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("study", "row"),
    [("adaptive.py", "`ExactStop()`"), ("rounds.py", "`Rounds(4, first=4)`"), ("allocate.py", "`Allocate(2, most=4)`")],
)
def test_a_study_of_votes_that_stop_runs_over_recorded_answers(tmp_path: Path, study: str, row: str) -> None:
    drawn = [
        {"answer": answer, "n_tokens": 10 + place, "logprob": -0.5} for place, answer in enumerate(["7", "8", "7", ""])
    ]
    lines = [{"gold": gold, "trajectories": drawn} for gold in ("7", "8", "7")]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command: list[str | Path] = [sys.executable, ROOT / "benchmarks" / "studies" / study, pool, "--orders", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert any(line.startswith(f"| {row}") for line in done.stdout.splitlines()), done.stdout
