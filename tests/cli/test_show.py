import json
import re
from pathlib import Path

import pytest

from metagen import InputError, Problem, Scripted, parse, solve
from metagen.cli.show import show_problem, show_problems
from metagen.disk.runs import RunDirectory
from tests.support.viewed import PROBLEMS, make_run


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


async def test_a_problem_is_printed_with_its_candidates_by_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_problem(await make_run(tmp_path, "best"), "b")
    text = printed(capsys)
    assert "Problem b, level 2 What is 4 + 4? Answer: no answer, wrong (reference: 8)" in text
    assert "7: 2 of 4 candidates, wrong It is odd. The answer is 7. [score 0.25, steps 0.50 0.25" in text
    assert "8: 1 of 4 candidates, right" in text
    assert "[chosen, score 0.28" in text
    assert "Cost: " in text


async def test_a_problem_is_named_by_the_number_at_the_end_of_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ["eval-0017", "eval-0117", "x-3", "y-3", "17th"]
    folder = await make_run(tmp_path, problems=[Problem(each, "What is 3 + 4?") for each in ids])
    show_problem(folder, "17")
    assert "Problem eval-0017" in printed(capsys)
    for several in ("3", "7"):
        with pytest.raises(InputError, match=f"has no problem '{several}'"):
            show_problem(folder, several)


async def test_a_tree_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_problem(await make_run(tmp_path, "beam"), "a")
    assert "* 0.25 x4 drawn: We add." in printed(capsys)


async def test_equal_notes_are_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = await make_run(tmp_path, problems=PROBLEMS[:1])
    row = json.loads((folder / "solutions.jsonl").read_text())
    (folder / "solutions.jsonl").write_text(json.dumps(row | {"notes": ["cut", "odd", "cut", "cut"]}) + "\n")
    show_problem(folder, "a")
    assert "Note: cut (3 times) Note: odd Cost" in printed(capsys)


async def test_where_no_problem_is_found_there_is_no_empty_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_problems(await make_run(tmp_path, problems=PROBLEMS[:1]), missed=False, found=True)
    text = printed(capsys)
    assert text.startswith("0 of 1 problem of ")
    assert "reference" not in text


async def test_a_problem_that_failed_is_not_called_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = await make_run(tmp_path, problems=PROBLEMS[:1])
    row = json.loads((folder / "solutions.jsonl").read_text())
    failed = {"answer": None, "text": "", "correct": False, "error": "GenerationError: away"}
    (folder / "solutions.jsonl").write_text(json.dumps(row | failed) + "\n")
    show_problems(folder, missed=False, found=False)
    show_problem(folder, "a")
    text = printed(capsys)
    assert "Answer: no answer, failed (reference: 7) Failed: GenerationError: away" in text
    assert text.count("wrong") == text.partition("Failed:")[2].count("wrong")


async def test_problems_that_were_missed_or_found_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = await make_run(tmp_path)
    listed = {}
    for missed, found in ((False, False), (True, False), (False, True)):
        show_problems(folder, missed=missed, found=found)
        listed[missed, found] = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " of 4" in line]
    assert listed == {(False, False): ["a", "b", "c"], (True, False): ["b", "c"], (False, True): ["b"]}


async def test_answers_are_listed_as_they_are_and_long_ones_by_their_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = ["(3, 4)", "f (x)", "3 (mod 5)", "def f(x):\n    return x\n" * 40]
    problems = [Problem(f"number {place}", "?", answer=answer) for place, answer in enumerate(answers)]
    folder = await make_run(tmp_path, problems=problems)
    show_problems(folder, missed=False, found=False)
    text = capsys.readouterr().out
    assert {"(3, 4)", "f (x)", "3 (mod 5)"} <= {part.strip() for part in re.split(r"\s{2,}", text)}, text
    assert text.count("return x") < 3, text
    assert f"metagen show {folder} 'number 0'" in text


async def test_a_problem_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = await make_run(tmp_path, problems=[Problem(name, "?") for name in "abcd"])
    with pytest.raises(InputError, match=r"has no problem 'x'; it has a, b, c and others$"):
        show_problem(folder, "x")


async def test_no_others_are_named_if_there_are_none(tmp_path: Path) -> None:
    folder = await make_run(tmp_path)
    with pytest.raises(InputError, match=r"has no problem 'x'; it has a, b, c$"):
        show_problem(folder, "x")
    several = await make_run(tmp_path / "several", problems=[Problem(f"p-{each}", "?") for each in range(4)])
    with pytest.raises(InputError, match=r"has no problem 'x'; it has p-0, p-1, p-2 and others$"):
        show_problem(several, "x")
    with pytest.raises(InputError, match=r"has no problem '-1'; it has p-1 and others$"):
        show_problem(several, "-1")


async def test_of_several_models_each_candidate_names_the_one_that_wrote_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team = {"a": Scripted("The answer is 7.", name="small"), "b": Scripted("So 7. The answer is 7.", name="big")}
    with RunDirectory(tmp_path, {}) as run:
        run.add(await solve(PROBLEMS[0], parse('Vote(4, of=Panel((Model("a"), Model("b"))))'), team))
    show_problem(tmp_path, PROBLEMS[0].id)
    text = printed(capsys)
    assert "2 times, by small" in text
    assert "2 times, by big" in text
