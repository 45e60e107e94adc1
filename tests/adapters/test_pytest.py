"""The plug-in, in a pytest of its own, with the example of its page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metagen import sync
from metagen.adapters.pytest import Measure

PAGE = (Path(__file__).parents[2] / "docs/adapters/pytest.md").read_text()
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
FAILURE = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problems = [{"id": str(at), "prompt": f"What is {at} + {at}?", "answer": str(2 * at)} for at in range(1, 5)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    write_pool(tmp_path, wrong=1)
    return tmp_path


def write_pool(folder: Path, *, wrong: int, of: int = 4) -> None:
    """Three samples a problem, of which the last `wrong` problems have wrong ones."""
    rows = [
        {"problem": str(at), "text": f"The answer is {2 * at + (at > 4 - wrong)}."}
        for at in range(1, of + 1)
        for _ in range(3)
    ]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, test: str) -> str:
    """What pytest says of a test, with our plug-in alone."""
    (folder / "test_prompt.py").write_text(test)
    options = ["-q", "-p", "no:cacheprovider", "-p", "metagen.adapters.pytest", "-W", "error"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder / "test_prompt.py"), "--rootdir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    return done.stdout + done.stderr


def test_the_example_passes_and_fails_as_its_page_says(folder: Path) -> None:
    assert "1 passed" in run(folder, EXAMPLE)
    write_pool(folder, wrong=2)
    said = run(folder, EXAMPLE)
    assert FAILURE in said
    assert "1 failed" in said


def test_an_interval_an_error_and_a_setting_of_the_test(folder: Path) -> None:
    sure = EXAMPLE.replace("at_least=0.75", "at_least=0.75, sure=True")
    assert "the lower end of the interval is below 75.0%: 75.0% [30.1%, 95.4%], 3 of 4 problems" in run(folder, sure)
    write_pool(folder, wrong=0, of=3)
    said = run(folder, EXAMPLE)
    assert "MetagenError: no answer to 1 of 4 problems: 4: " in said
    assert "1 failed" in said
    assert "1 passed" in run(folder, EXAMPLE.replace("at_least=0.75", "at_least=1, limit=3"))
    assert "InputError: strtegy: metagen has no such setting" in run(folder, EXAMPLE.replace("strategy", "strtegy"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("at_least=0.75, limit=0", "limit must be 1 or more, not 0"),
        ("at_least=float('nan')", "at_least must be a number from 0 to 1, not nan"),
        ("at_least=75", "at_least must be a number from 0 to 1, not 75"),
    ],
)
def test_settings_that_no_test_can_fail_by_are_refused(folder: Path, setting: str, said: str) -> None:
    assert f"InputError: {said}" in run(folder, EXAMPLE.replace("at_least=0.75", setting))


KIND = """
from metagen.answers.kinds import Number


class Mine(Number):
    pass
"""
COUNTED = """
from metagen import Scripted


def counted():
    def reply(request):
        print("PAID")
        return "The answer is 7."

    return Scripted(reply)
"""


def test_a_loaded_kind_of_answers_is_read_from_the_test_and_from_rows(folder: Path) -> None:
    (folder / "kind.py").write_text(KIND)
    assert "1 passed" in run(
        folder, EXAMPLE.replace("at_least=0.75", 'at_least=0.75, load="kind.py", answers="Mine()"')
    )
    rows = [json.loads(line) | {"answers": "Mine()"} for line in (folder / "problems.jsonl").read_text().splitlines()]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "1 passed" in run(folder, EXAMPLE.replace("at_least=0.75", 'at_least=0.75, load="kind.py"'))


@pytest.mark.parametrize("strategy", ["Vote(2)", "BestOf(2, by=MatchesReference())"])
def test_problems_that_cannot_be_judged_are_refused_before_one_is_paid_for(folder: Path, strategy: str) -> None:
    (folder / "counted.py").write_text(COUNTED)
    with (folder / "problems.jsonl").open("a") as file:
        file.write('{"id": "5", "prompt": "What is 5 + 5?"}\n')
    settings = f'model="counted", load="counted.py", strategy="{strategy}"'
    said = run(folder, EXAMPLE.replace('model="pool.jsonl", strategy="Vote(3)"', settings))
    assert "InputError: " in said
    assert "PAID" not in said
    first = EXAMPLE.replace('model="pool.jsonl", strategy="Vote(3)"', settings).replace("0.75", "0, limit=4")
    assert "1 passed" in run(folder, first)


@pytest.mark.parametrize("model", ["'a=pool.jsonl'", "['pool.jsonl']", "['a=pool.jsonl']", "{'a': 'pool.jsonl'}"])
def test_paths_are_from_the_folder_of_the_test_however_they_are_given(folder: Path, model: str) -> None:
    assert "1 passed" in run(folder, EXAMPLE.replace('"pool.jsonl"', model))


def test_as_many_problems_are_solved_at_once_as_the_test_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    solving = sync.solve_all

    def solve_all(*given: object, concurrency: int, **settings: object) -> object:
        seen.append(concurrency)
        return solving(*given, concurrency=concurrency, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(sync, "solve_all", solve_all)
    Measure(folder)("problems.jsonl", model="pool.jsonl", strategy="Vote(3)", at_least=0.75, concurrency=2)
    assert seen == [2]
