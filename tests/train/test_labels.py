from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, GenerationError, InputError, Problem, Request, Run, Score, Scripted
from metagen.candidate import steps_of
from metagen.disk.lines import Appender
from metagen.train.labels import Labelled, Prefixes, first_bad, kept, label, read_labels, samples_of

PROBLEM = Problem("p", "1 + 2 + 3?", "6")
RIGHT = "1 + 2 = 3\n3 + 3 = 6\nThe answer is 6."
WRONG = "1 + 2 = 3\n3 + 3 = 7\nThe answer is 7."


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a\n", ("a\n",)),
        ("a\nb", ("a\n", "b")),
        ("a\n\nb\n", ("a\n", "b\n")),
    ],
)
def test_the_steps_of_a_reply(text: str, steps: tuple[str, ...]) -> None:
    assert steps_of(text) == steps


@given(st.integers(1, 12), st.data())
async def test_bisection_finds_the_first_bad_step_with_few_trials(length: int, data: st.DataObject) -> None:
    good = data.draw(st.integers(0, length - 1))
    steps = tuple(map(str, range(length)))
    trials = []

    async def is_good(prefix: tuple[str, ...]) -> bool:
        trials.append(prefix)
        return len(prefix) <= good

    assert await first_bad(steps, Prefixes(), is_good) == good
    assert len(trials) <= (length - 1).bit_length()
    assert steps not in trials, "that the whole is wrong is known"


async def test_what_right_samples_share_needs_no_trial() -> None:
    known = Prefixes()
    known.add_right(("a", "b", "c"))

    async def never(prefix: tuple[str, ...]) -> bool:
        raise AssertionError(prefix)

    assert await first_bad(("a", "b", "x"), known, never) == 2


def solver(request: Request) -> str:
    """Goes on rightly from what is right, and never recovers."""
    begun = request.partial
    return RIGHT.removeprefix(begun) if RIGHT.startswith(begun) else "The answer is 7."


async def labelled(tmp_path: Path, script: Callable[[Request], str], *texts: str) -> list[Labelled]:
    out = tmp_path / "labels.jsonl"
    async for _ in label([PROBLEM], {"p": texts}, Scripted(script), out):
        pass
    return list(read_labels(out))


async def test_steps_are_good_until_no_rollout_is_right(tmp_path: Path) -> None:
    right, wrong = await labelled(tmp_path, solver, RIGHT, WRONG)
    assert (right.good, right.right) == (3, True)
    assert (wrong.good, wrong.right) == (1, False)
    assert "".join(wrong.steps) == WRONG


async def test_where_no_rollout_is_right_no_step_is_good(tmp_path: Path) -> None:
    (wrong,) = await labelled(tmp_path, lambda _: "The answer is 7.", WRONG)
    assert wrong.good == 0


async def test_labelling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    await labelled(tmp_path, solver, RIGHT, WRONG)

    def never(request: Request) -> str:
        raise AssertionError(request)

    assert len(await labelled(tmp_path, never, RIGHT, WRONG)) == 2


async def test_what_cannot_be_labelled_is_said(tmp_path: Path) -> None:
    def refused(request: Request) -> str:
        raise GenerationError("no power")

    failed: list[str] = []
    out = tmp_path / "labels.jsonl"
    async for _ in label([PROBLEM], {"p": [WRONG]}, Scripted(refused), out, failed=failed.append):
        pass
    assert list(read_labels(out)) == []
    (said,) = failed
    assert said.startswith("a sample of problem 'p': ")
    assert "no power" in said


async def test_rollouts_that_fail_cost_their_own_sample_alone(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        if "2 + 2" in request.partial:
            raise GenerationError("no power")
        return solver(request)

    failed: list[str] = []
    out = tmp_path / "labels.jsonl"
    other = WRONG.replace("1 + 2 = 3", "2 + 2 = 4")
    async for _ in label([PROBLEM], {"p": [other, RIGHT, WRONG]}, Scripted(script), out, failed=failed.append):
        pass
    assert [line.good for line in read_labels(out)] == [3, 1]
    assert len(failed) == 1
    assert "no power" in failed[0]


async def test_what_is_known_of_labelled_samples_is_not_tried_again(tmp_path: Path) -> None:
    assert [line.good for line in await labelled(tmp_path, solver, WRONG)] == [1]
    tried: list[str] = []

    def script(request: Request) -> str:
        tried.append(request.partial)
        return solver(request)

    other = WRONG.replace("answer is 7", "answer is 8")
    assert [line.good for line in await labelled(tmp_path, script, WRONG, other)] == [1, 1]
    assert tried == [], "that 3 + 3 = 7 is bad was known, and that 1 + 2 = 3 is good"


def test_a_whole_that_is_wrong_says_nothing_of_what_continues_it() -> None:
    prefixes = Prefixes()
    prefixes.learn([Labelled("p", "?", ("a\n", "b\n"), 1)])
    assert prefixes.span(("a\n", "b\n", "c\n", "d")) == (1, 3)
    prefixes.learn([Labelled("p", "?", ("a\n", "b\n", "c"), 1)])
    assert prefixes.span(("a\n", "b\n", "c\n", "d")) == (1, 1)


async def test_a_rollout_without_a_verdict_is_no_wrong_one(tmp_path: Path) -> None:
    async def unsure(_: Problem, candidates: Sequence[Candidate], __: Run) -> list[Score | None]:
        return [None if each.text.startswith("1 +") and "roll" in each.text else Score(0.0) for each in candidates]

    failed: list[str] = []
    out = tmp_path / "labels.jsonl"
    samples = {"p": ["2\n3\nThe answer is 2.", WRONG]}
    async for _ in label([PROBLEM], samples, Scripted("a roll"), out, failed=failed.append, grade=unsure):
        pass
    assert [(line.steps[0], line.good) for line in read_labels(out)] == [("2\n", 0)]
    assert failed == ["a sample of problem 'p': no rollout behind step 1 has a verdict"]


def test_a_damaged_file_is_named_with_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    assert kept(path) == []
    with Appender(path) as file:
        file.write([{"problem": "p", "prompt": "?", "steps": ["a"], "good": "many"}])
    with pytest.raises(InputError, match=r"labels.jsonl, line 1: field 'good'"):
        list(read_labels(path))


def test_samples_that_were_cut_are_left_out(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    rows = [
        {"problem": "p", "prompt": "?", "draw": 0, "text": "a"},
        {"problem": "p", "prompt": "?", "draw": 1, "text": "b", "end": "length"},
        {"problem": "p", "prompt": "?", "draw": 2, "text": "<think>so \\boxed{4}"},
        {"problem": "p", "prompt": "?", "draw": 3, "text": "<think>4</think>c"},
    ]
    with Appender(pool) as file:
        file.write(rows)
    assert samples_of(pool) == {"p": ["a", "c"]}
