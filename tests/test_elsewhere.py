"""The page on samples from elsewhere: each of its pieces reads the form that it is about."""

import json
import re
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metagen import (
    BestOf,
    InputError,
    Model,
    Problem,
    ProblemFile,
    Recorded,
    RecordedScore,
    Score,
    Until,
    Vote,
    canonical,
    cli,
    compare,
    curves,
    extract,
    grade,
    solve,
)
from metagen.analysis.reading import read
from metagen.disk.pool import read_samples
from tests.support.confined import needs_sandbox

PAGE = (Path(__file__).parents[1] / "docs/elsewhere.md").read_text()
PIECES = dict(re.findall(r"^## ([\w-]+).*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
PROBLEMS = [{"id": "a", "prompt": "1 + 1?", "answer": "2"}, {"id": "b", "prompt": "1 + 2?", "answer": "3"}]
TEXTS = {"a": ["The answer is 2.", "The answer is 1."], "b": ["The answer is 5.", "The answer is 3."]}


def lines(name: str, rows: list[Any]) -> None:
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run_piece(name: str) -> list[dict[str, Any]]:
    program = compile(PIECES[name], name, "exec")
    exec(program, {"json": json, "Path": Path})  # noqa: S102 (our own page)
    pool: list[dict[str, Any]] = json.loads(Path("pool.json").read_text())
    return pool


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines("problems.jsonl", PROBLEMS)


def coverage() -> list[float]:
    curve = read(Path("pool.json"), ProblemFile(Path("problems.jsonl"))).curves["coverage"]
    return [float(mean) for mean in curve.means]


def test_search_and_learn() -> None:
    scores = {"a": [[0.9, 0.8], [0.2]], "b": [[0.9], [0.3, 0.6]]}
    lines("completions.jsonl", [{"unique_id": key, "completions": TEXTS[key], "scores": scores[key]} for key in TEXTS])
    run_piece("search-and-learn")
    source = read(Path("pool.json"), ProblemFile(Path("problems.jsonl")))
    assert source.scored_by == "the pool's score"
    assert [float(mean) for mean in source.curves["best-of"].means] == [0.5, 0.5]
    assert coverage() == [0.5, 1]


def test_inspect() -> None:
    samples = [
        {"id": key, "epoch": epoch, "output": {"choices": [{"message": {"content": TEXTS[key][epoch - 1]}}]}}
        for key in TEXTS
        for epoch in (2, 1)
    ]
    Path("log.json").write_text(json.dumps({"samples": samples}))
    assert [each["text"] for each in run_piece("inspect_ai") if each["problem"] == "b"] == TEXTS["b"]
    assert coverage() == [0.5, 1]


@needs_sandbox
def test_humaneval() -> None:
    test = "def check(candidate):\n    assert candidate(2) == 4\n"
    row = {"task_id": "HumanEval/0", "prompt": "def double(x):\n", "test": test, "entry_point": "double"}
    lines("problems.jsonl", [row])
    lines("samples.jsonl", [{"task_id": "HumanEval/0", "completion": f"    return {x}\n"} for x in ("2 * x", "x")])
    run_piece("HumanEval")
    assert coverage() == [0.5, 1]


def test_openai() -> None:
    ends = {TEXTS["b"][0]: "content_filter"}
    choices = {
        key: [{"message": {"content": text}, "finish_reason": ends.get(text, "stop")} for text in texts]
        for key, texts in TEXTS.items()
    }
    lines("output.jsonl", [{"custom_id": key, "response": {"body": {"choices": choices[key]}}} for key in TEXTS])
    run_piece("OpenAI")
    assert coverage() == [0.5, 1]


async def test_what_is_public_in_python() -> None:
    samples = [TEXTS["a"], TEXTS["b"]]
    right = [[await grade(extract(text), row["answer"]) is True for text in TEXTS[row["id"]]] for row in PROBLEMS]
    assert right == [[True, False], [False, True]]
    answers = [[(answer := extract(text)) and canonical(answer) for text in texts] for texts in samples]
    found = curves(right, answers, scores=[[0.9, None], [0.1, 0.2]], tokens=[[3, 4], [5, 6]])
    assert {rule: curve.means.tolist() for rule, curve in found.items()} == {
        "coverage": [0.5, 1],
        "majority": [0.5, 0.5],
        "weighted vote": [0.5, 1],
        "best-of": [0.5, 1],
    }
    assert list(curves(right)) == ["coverage"]
    assert compare([True, False, True], [True, True, True]).only_second == 1
    with pytest.raises(InputError, match="right must hold a list per problem, all of one length"):
        curves([[True], [True, False]])


async def test_samples_without_an_answer_are_no_party_in_the_vote_of_the_page() -> None:
    program = re.search(r"^## In Python.*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert program
    printed: list[Any] = []
    names = {"samples": [["I give up.", "No idea.", "The answer is 12."]], "curves": curves, "compare": compare}
    names |= {"extract": extract, "canonical": canonical, "grade": grade, "print": printed.append}
    code = compile(program[1], "page", "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)  # noqa: S307 (our own page)
    assert printed[0].tolist() == [1 / 3, 2 / 3, 1]


PROBLEM = Problem("a", "1 + 1?", "2")


async def test_a_line_needs_neither_prompt_nor_number_nor_settings() -> None:
    lines("pool.jsonl", [{"problem": "a", "text": text} for text in TEXTS["a"]])
    for strategy in (
        Vote(2),
        Until(RecordedScore(), limit=2),
        BestOf(2, of=Model(temperature=0.3), by=RecordedScore()),
    ):
        solution = await solve(PROBLEM, strategy, Recorded("pool.jsonl"))
        assert (solution.text, solution.lost) == (TEXTS["a"][0], 0)


async def test_recorded_scores_are_played() -> None:
    lines(
        "pool.jsonl",
        [
            {"problem": "a", "text": "The answer is 1.", "score": 0.25},
            {"problem": "a", "text": "The answer is 2.", "score": 0.75, "steps": [0.5, 0.25]},
            {"problem": "a", "text": "The answer is 1.", "steps": [0.25, 0.125]},
            {"problem": "a", "text": "The answer is 3."},
        ],
    )
    best = await solve(PROBLEM, BestOf(4, by=RecordedScore()), Recorded("pool.jsonl"))
    assert (best.answer, (await solve(PROBLEM, Vote(4), Recorded("pool.jsonl"))).answer) == ("2", "1")
    span = next(span for span in best.trace.walk() if span.verdicts is not None)
    assert span.verdicts == [0.25, 0.75, 0.125, None]
    strategy = BestOf(4, by=RecordedScore(aggregate="mean"))
    verdicts = next(
        span.verdicts for span in (await solve(PROBLEM, strategy, Recorded("pool.jsonl"))).trace.walk() if span.verdicts
    )
    assert verdicts == [None, 0.375, 0.1875, None]


def test_another_aggregate_is_refused() -> None:
    with pytest.raises(InputError, match="aggregate must be one of min, prod, mean, last, not 'max'"):
        RecordedScore(aggregate="max")  # type: ignore[arg-type]
    assert RecordedScore()._verdict(Score(1.0)) == Score(1.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pool.jsonl", '{"problem": "a"}\n', "pool.jsonl, line 1: .*'text'"),
        ("pool.jsonl", '{"problem": "a", "text": "x", "completion": "x"}\n', "completion"),
        ("pool.jsonl", '{"problem": "a", "text": "x", "steps": ["one"]}\n', "steps"),
        ("pool.json", '{"problem": "a", "text": "x"}', "is not a JSON list of samples"),
        ("pool.json", '[{"problem": "a", "text": "x"}, {"problem": "a"}]', "pool.json, item 2"),
    ],
)
def test_an_error_says_what_a_line_is(name: str, text: str, said: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        Recorded(name)
    assert 'a line of a pool is {"problem": ID, "text": REPLY}' in str(refused.value)


def test_a_list_may_hold_what_lines_may() -> None:
    """A byte order mark, and numbers that are none."""
    rows = '{"problem": "a", "text": "x", "logprobs": [-Infinity, NaN]}'
    Path("pool.json").write_text(f"\ufeff[{rows}]")
    Path("pool.jsonl").write_text(f"\ufeff{rows}\n")
    assert [str(sample) for *_, sample in read_samples(Path("pool.json"))] == [
        str(sample) for *_, sample in read_samples(Path("pool.jsonl"))
    ]


def test_first_counts_the_samples_as_they_stand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = [{"problem": key, "text": text, "score": number} for key in TEXTS for number, text in enumerate(TEXTS[key])]
    Path("pool.json").write_text(json.dumps(pool))
    first = read(Path("pool.json"), ProblemFile(Path("problems.jsonl")), first=True).first
    assert {rule: curve.values.tolist() for rule, curve in first.items()} == {
        "coverage": [[1, 1], [0, 1]],
        "majority": [[1, 0.5], [0, 0.5]],
        "weighted vote": [[1, 0], [0, 1]],
        "best-of": [[1, 0], [0, 1]],
    }
    assert np.all([curve.variances == 0 for curve in first.values()])
    monkeypatch.setattr(sys, "argv", ["metagen", "report", "pool.json", "--problems", "problems.jsonl", "--first"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "the first k samples as they stand" in capsys.readouterr().out
