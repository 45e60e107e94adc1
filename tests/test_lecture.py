"""The page of the lecture says what its data say."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_made_of_the_data() -> None:
    spec = importlib.util.spec_from_file_location("lecture", ROOT / "benchmarks/studies/lecture.py")
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    data = json.loads((ROOT / "docs/data/lecture.json").read_text())
    assert study.page(data) == (ROOT / "docs/lecture.md").read_text()
    data["curves"]["majority"][-1][1] += 1
    assert study.page(data) != (ROOT / "docs/lecture.md").read_text()
