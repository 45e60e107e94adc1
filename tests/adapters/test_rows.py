from pathlib import Path
from typing import Any

import pytest

from metagen import Problem, Scripted, Vote, solve_all
from metagen.adapters.rows import Solved, Training, answer_rows, candidate_rows, pair_rows
from metagen.disk.runs import RunDirectory
from metagen.messages import Message
from metagen.view.reading import RunRows
from tests.support.viewed import make_run


async def rows_of(folder: Path, name: str, make: Any, *more: Any) -> list[dict[str, Any]]:
    run = RunRows.read(await make_run(folder, name))
    return [row for solved in run.traces() for row in make(solved, *more)]


async def test_candidates_come_with_what_is_known_of_them(tmp_path: Path) -> None:
    rows = await rows_of(tmp_path, "best", candidate_rows)
    assert [(row["problem"], row["number"]) for row in rows[:5]] == [*(("a", at) for at in range(4)), ("b", 0)]
    assert rows[0] | {"tokens": 0, "score": 0} == {
        "problem": "a",
        "number": 0,
        "prompt": "What is 3 + 4?",
        "text": "It is odd.\nThe answer is 7.",
        "thought": "Hm.",
        "answer": "7",
        "reference": "7",
        "right": True,
        "score": 0,
        "steps": [0.5, 0.25],
        "chosen": False,
        "cut": False,
        "tokens": 0,
    }
    assert [row["chosen"] for row in rows[:4]] == [False, False, False, True]


async def test_a_pair_is_a_right_and_a_wrong_reply_and_the_best_scored_of_each(tmp_path: Path) -> None:
    rows = await rows_of(tmp_path, "best", pair_rows, Training(each=2))
    assert [row["problem"] for row in rows] == ["a", "a", "b"]  # c has no right one
    assert rows[0]["prompt"] == [{"role": "user", "content": "What is 3 + 4?"}]
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "The answer is 7.0."}]
    assert rows[0]["rejected"] == [{"role": "assistant", "content": "No idea."}]
    assert (rows[0]["score_chosen"], rows[0]["score_rejected"]) == (0.27, 0.28)


async def test_the_answer_of_the_run_comes_first_among_the_right_ones(tmp_path: Path) -> None:
    rows = await rows_of(tmp_path, "vote", answer_rows, Training(each=3))
    assert [row["problem"] for row in rows] == ["a", "a", "b"]
    thought = {"role": "assistant", "content": "It is odd.\nThe answer is 7.", "reasoning_content": "Hm."}
    assert rows[0]["completion"] == [thought]
    (plain, *_) = await rows_of(tmp_path / "again", "vote", answer_rows, Training(plain=True))
    assert (plain["prompt"], plain["completion"]) == ("What is 3 + 4?", "It is odd.\nThe answer is 7.")


@pytest.mark.parametrize(("name", "pairs"), [("best", [("No idea.", "It is odd.\nThe answer is 7.")]), ("vote", [])])
async def test_without_a_reference_scores_rank_and_without_scores_there_is_no_pair(
    tmp_path: Path, name: str, pairs: list[tuple[str, str]]
) -> None:
    run = RunRows.read(await make_run(tmp_path, name, [Problem("a", "What is 3 + 4?")]))
    (solved,) = run.traces()
    rows = list(pair_rows(solved, Training(plain=True)))
    assert [(row["chosen"], row["rejected"]) for row in rows] == pairs
    assert next(answer_rows(solved, Training(plain=True)))["completion"]


async def solved_by(folder: Path, problem: Problem, model: Scripted) -> Solved:
    with RunDirectory(folder / "run", {}) as run:
        async for solution in solve_all([problem], Vote(2), model):
            run.add(solution)
    (solved,) = RunRows.read(folder / "run").traces()
    return solved


async def test_prompts_keep_the_turns_around_the_question(tmp_path: Path) -> None:
    turns = (Message("system", "Be brief."), Message("user", "What is 3 + 4?"))
    solved = await solved_by(tmp_path, Problem("a", messages=turns, answer="7"), Scripted("The answer is 7."))
    assert next(answer_rows(solved, Training()))["prompt"] == [turn.fields() for turn in turns]
    assert next(answer_rows(solved, Training(plain=True)))["prompt"] == "Be brief.\n\nWhat is 3 + 4?"


async def test_cut_replies_are_left_out(tmp_path: Path) -> None:
    problem = Problem("a", "What is 3 + 4?", answer="7")
    solved = await solved_by(tmp_path, problem, Scripted("The answer is 7. Or so it seems", context=31))
    assert next(candidate_rows(solved))["right"]
    assert next(candidate_rows(solved))["cut"]
    assert list(answer_rows(solved, Training())) == []
