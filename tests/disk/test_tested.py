import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from metagen import InputError
from metagen.disk import tested
from metagen.disk.problems import ProblemFile
from tests.support.confined import needs_sandbox

CHECK = "def check(candidate):\n    assert candidate(2) == 4\n"


@pytest.mark.parametrize(
    ("row", "tests"),
    [
        ({}, None),
        ({"test": True, "tests": None, "inputs": "Ask", "outputs": "Answer"}, None),
        ({"test": "a sentence of the test part"}, None),
        ({"test": CHECK, "entry_point": "double"}, f"{CHECK}\n\ncheck(double)\n"),
        ({"test": "assert f(1)"}, "assert f(1)"),
        ({"test_list": ["assert f(1)", "assert f(2)"]}, "assert f(1)\nassert f(2)"),
        ({"test_list": ["assert f(1)"], "test_setup_code": "x = 1"}, "x = 1\nassert f(1)"),
        ({"test_list": ["assert f(1)"], "test_imports": ["import math"]}, "import math\nassert f(1)"),
        ({"tests": "assert f(1)"}, "assert f(1)"),
        ({"tests": ["assert f(1)"]}, "assert f(1)"),
        ({"test_list": "assert f(1)"}, "assert f(1)"),
        ({"tests": "assert f(x)", "test_setup_code": "x = 1"}, "x = 1\nassert f(x)"),
        ({"tests": " ", "test_list": []}, None),
        ({"tests": {"inputs": ["1"], "outputs": ["2"]}}, '{"inputs": ["1"], "outputs": ["2"]}'),
        ({"inputs": ["1"], "outputs": ["2"]}, '{"inputs": ["1"], "outputs": ["2"]}'),
        ({"inputs": [date(2024, 1, 2)], "outputs": [b"2"]}, '{"inputs": ["2024-01-02"], "outputs": ["2"]}'),
    ],
)
def test_tests_are_read_from_the_usual_fields(row: dict[str, Any], tests: str | None) -> None:
    assert tested.tests_of(row, "p") == tests


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"tests": 3}, "field 'tests' must be a text or a list of texts, not 3"),
        ({"test_list": [1]}, "field 'test_list' must be"),
        ({"tests": [b"x"]}, "field 'tests' must be"),
        (
            {"test_list": ["assert f(1)"], "test_setup_code": 5},
            "field 'test_setup_code' must be a text or a list of texts, not 5",
        ),
        ({"test_list": ["assert f(1)"], "test_imports": {"a": 1}}, "field 'test_imports' must be"),
        ({"tests": [timedelta(1)]}, "field 'tests' must be"),
        ({"test": CHECK, "entry_point": "a b"}, "field 'entry_point' must be the name of a function"),
        ({"test": CHECK}, "problem 'p': its tests define check"),
        ({"tests": "import math"}, "problem 'p': its tests run nothing"),
        ({"inputs": ["1"], "outputs": []}, "problem 'p': its tests need as many outputs"),
    ],
)
def test_tests_that_are_none_are_refused(row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tested.tests_of(row, "p")


def test_the_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "code.jsonl"
    path.write_text(
        json.dumps({"prompt": "?", "answer": "1"}) + "\n" + json.dumps({"prompt": "?", "tests": "1"}) + "\n"
    )
    with pytest.raises(InputError, match=r"code\.jsonl, line 2: problem '2': its tests run nothing"):
        ProblemFile(path).check()


@needs_sandbox
def test_other_tests_are_another_file(tmp_path: Path) -> None:
    path, digests = tmp_path / "code.jsonl", set()
    for tests in ("assert f(1)", "assert f(2)"):
        path.write_text(json.dumps({"prompt": "?", "tests": tests}) + "\n")
        digests.add(ProblemFile(path).check().digest)
    assert len(digests) == 2


def test_without_a_sandbox_a_file_with_tests_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "code.jsonl"
    path.write_text(json.dumps({"prompt": "?", "tests": "assert f(1)"}) + "\n")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(InputError, match="a sandbox needs Linux"):
        ProblemFile(path).check()
