"""What Hugging Face's own package writes is read as problems."""

from pathlib import Path

import pytest

from metagen.disk.problems import ProblemFile

pytest.importorskip("datasets")
pytestmark = [pytest.mark.adapters, pytest.mark.filterwarnings("ignore")]


def test_saved_datasets_are_problems(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = {"question": [f"What is {at} + 1?" for at in range(5)], "answer": [str(at + 1) for at in range(5)]}
    whole = Dataset.from_dict(rows)
    DatasetDict({"train": whole, "test": whole.select([4, 2])}).save_to_disk(str(tmp_path / "both"))
    problems = list(ProblemFile(tmp_path / "both", split="test"))
    assert [(each.id, each.prompt, each.answer) for each in problems] == [
        ("1", "What is 4 + 1?", "5"),
        ("2", "What is 2 + 1?", "3"),
    ]
    whole.save_to_disk(str(tmp_path / "sharded"), num_shards=2)
    assert [each.answer for each in ProblemFile(tmp_path / "sharded")] == list("12345")
    (tmp_path / "hub/data").mkdir(parents=True)
    whole.to_parquet(str(tmp_path / "hub/data/train-00000-of-00001.parquet"))
    assert len(list(ProblemFile(tmp_path / "hub"))) == 5
