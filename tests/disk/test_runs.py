import errno
import json
import os
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Never

import pytest

from metagen import Candidate, Function, InputError, Model, Problem, Run, Scripted, Solution, Usage, solve
from metagen.disk import runs
from metagen.disk.lines import rewrite
from metagen.disk.records import SETTLED, Record
from metagen.disk.rows import SolutionRow
from metagen.disk.runs import RunDirectory, check_root, check_run, read_solutions
from metagen.disk.traces import VERSION
from metagen.distribution import version
from metagen.errors import StorageError
from metagen.trace import Span

CONFIGURATION = {"strategy": "Vote(16)", "seed": None, "models": {"model": "scripted"}}


def solution(problem: str, **rest: Any) -> Solution:
    trace = Span("solve", children=[Span("Vote", (0,), status="ok")])
    return Solution(problem, "7", f"The answer is 7. ½ \ud800 {problem}", trace=trace, **rest)


def kept(path: Path, *solutions: Solution | Record) -> list[Solution]:
    """Write more solutions down, and read all."""
    with RunDirectory(path, CONFIGURATION) as run:
        for each in solutions:
            run.add(each)
        return list(run.solutions())


def traced(path: Path) -> list[str]:
    return [json.loads(line)["problem"] for line in (path / "trace.jsonl").read_text().splitlines()]


def test_what_is_written_down_is_read_back(tmp_path: Path) -> None:
    full = solution(
        "b", correct=True, samples=4, samples_correct=3, lost=1, notes=("a", "b"), usage=Usage(calls=1), seconds=0.25
    )
    assert kept(tmp_path / "runs" / "r", solution("a"), full) == [solution("a"), full]
    assert list(read_solutions(tmp_path / "runs" / "r")) == [solution("a"), full]
    assert traced(tmp_path / "runs" / "r") == ["a", "a", "b", "b"]
    record = json.loads((tmp_path / "runs" / "r" / "run.json").read_text())
    assert record == {"version": VERSION, **CONFIGURATION, "begun": record["begun"]}


class Foreign(str):
    """A text of a kind of its own, as numpy's are."""

    __slots__ = ()


async def test_texts_of_other_kinds_are_written_down(tmp_path: Path) -> None:
    async def asks(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Model(), problem.asking(Foreign("How many?")))

    answers = Function(lambda text: Foreign(text[-1]))
    problem = Problem(Foreign("1"), Foreign("?"), Foreign("7"), tags={Foreign("a"): Foreign("b")}, answers=answers)
    solved = await solve(problem, asks, Scripted(lambda _: Foreign("It is 7")))
    (read,) = kept(tmp_path, solved)
    assert read == solved
    assert (read.answer, read.correct, read.tags, type(solved.answer)) == ("7", True, {"a": "b"}, str)


def test_a_run_says_when_with_what_and_where_it_was_begun_and_goes_on_elsewhere(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"))
    record = json.loads((tmp_path / "run.json").read_text())
    begun = record["begun"]
    assert datetime.now(UTC) - datetime.fromisoformat(begun["at"]) < timedelta(minutes=5)
    assert begun["metagen"] == version()
    assert begun["python"] == platform.python_version()
    assert begun["machine"]["processors"] == os.cpu_count()
    assert {"vllm"} <= begun.keys()
    other = record | {"begun": {"at": "1999-12-31T00:00:00+00:00", "metagen": "0.0.9"}}
    (tmp_path / "run.json").write_text(json.dumps(other))
    assert kept(tmp_path, solution("b")) == [solution("a"), solution("b")]
    assert json.loads((tmp_path / "run.json").read_text()) == other
    (tmp_path / "run.json").write_text(json.dumps({key: record[key] for key in record if key != "begun"}))
    assert kept(tmp_path) == [solution("a"), solution("b")]


def test_a_resumed_run_has_what_is_solved_and_adds_to_it(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"))
    assert kept(tmp_path, solution("b")) == [solution("a"), solution("b")]
    assert kept(tmp_path) == [solution("a"), solution("b")]


def test_what_is_solved_is_known_and_seen_when_it_is_opened(tmp_path: Path) -> None:
    kept(tmp_path, solution("a", correct=True, samples=2), solution("b", error="lost"))
    seen: list[SolutionRow] = []
    with RunDirectory(tmp_path, CONFIGURATION, seen.append) as run:
        assert run.solved == {"a"}
    assert [row.solution() for row in seen] == [solution("a", correct=True, samples=2)]


def test_a_failed_problem_is_taken_up_again(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"), solution("b", error="NoCandidate: all 4 samples were lost"), solution("c"))
    assert kept(tmp_path) == [solution("a"), solution("c")]
    assert traced(tmp_path) == ["a", "a", "c", "c"]
    assert {file.name for file in tmp_path.iterdir()} == {"run.json", "trace.jsonl", "solutions.jsonl"}


def test_a_problem_that_the_budget_left_unfinished_is_taken_up_again(tmp_path: Path) -> None:
    assert len(kept(tmp_path, solution("a"), solution("b", unfinished=True), solution("c"))) == 3
    assert kept(tmp_path) == [solution("a"), solution("c")]
    assert traced(tmp_path) == ["a", "a", "c", "c"]
    (aside,) = (tmp_path / "solutions.jsonl.torn").read_text().splitlines()
    assert json.loads(aside)["problem"] == "b"
    assert kept(tmp_path, solution("b")) == [solution("a"), solution("c"), solution("b")]


@pytest.mark.parametrize("of", [lambda each: each, Record.of])
def test_what_gets_no_further_with_another_budget_is_kept(
    tmp_path: Path, of: Callable[[Solution], Solution | Record]
) -> None:
    """Else one problem that takes more than the budget of a call would be solved in each call, and no other."""
    for _ in range(3):
        (failed,) = kept(tmp_path, of(solution("a", unfinished=True, error="BudgetExceeded: no room")))
        assert not failed.notes
    for tokens in (10, 20):
        (cut,) = kept(tmp_path, of(solution("a", unfinished=True, usage=Usage(completion_tokens=tokens))))
        assert cut.unfinished
    (again,) = kept(tmp_path, of(solution("a", unfinished=True, usage=Usage(completion_tokens=20))))
    assert again == solution("a", usage=Usage(completion_tokens=20), notes=(SETTLED,))
    assert kept(tmp_path) == [again]


@pytest.mark.parametrize("error", ["", "NoCandidate: all were lost"])
def test_a_problem_that_stands_twice_is_named_and_nothing_is_changed(tmp_path: Path, error: str) -> None:
    kept(tmp_path, solution("a", error=error), solution("b"))
    solutions = tmp_path / "solutions.jsonl"
    solutions.write_text(solutions.read_text() + solutions.read_text().splitlines()[0] + "\n")
    before = solutions.read_bytes()
    with pytest.raises(InputError, match=r"solutions\.jsonl, line 3: problem 'a' is here for the second time"):
        kept(tmp_path)
    assert solutions.read_bytes() == before


def test_spans_without_a_solution_are_dropped(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"), solution("b"))
    solutions = tmp_path / "solutions.jsonl"
    solutions.write_text(solutions.read_text().splitlines()[0] + "\n")
    kept(tmp_path, solution("c"))
    assert traced(tmp_path) == ["a", "a", "c", "c"]


@pytest.mark.parametrize("name", ["solutions.jsonl", "trace.jsonl"])
def test_a_run_killed_at_any_byte_is_resumed(tmp_path: Path, name: str) -> None:
    kept(tmp_path, solution("a"), solution("b"))
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / name).write_bytes(whole[:length])
        solved = kept(tmp_path)
        assert solved == [solution("a"), solution("b")][: len(solved)]
        assert set(traced(tmp_path)) <= {each.problem for each in solved}
        kept(tmp_path, *[solution("a"), solution("b")][len(solved) :])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strategy": "Vote(8)"}, "strategy: Vote(16) there, Vote(8) here"),
        ({"seed": 1}, "seed: none there, 1 here"),
        ({"models": {"model": "b"}}, "models: {'model': 'scripted'} there, {'model': 'b'} here"),
        ({"new": 3}, "new: none there, 3 here"),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    kept(tmp_path, solution("a"))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError) as error, RunDirectory(tmp_path, CONFIGURATION | change):
        pass
    assert str(error.value) == f"{tmp_path}: holds a run that differs in {said}. Give the same, or another --out"
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert kept(tmp_path) == [solution("a")]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            {},
            {"price": {"m": "1/2"}},
            "counted with no price, and this run counts them with the price m=1/2: leave the price out, or",
        ),
        (
            {"price": {"m": "1/2"}},
            {},
            "counted with the price m=1/2, and this run counts them with no price: give the same price, or",
        ),
        (
            {},
            {"card": {"m": "0fa3"}},
            "with no card, and this run counts them with a card: leave the card out, or",
        ),
        (
            {"card": {"m": "0fa3"}},
            {},
            "with a card, and this run counts them with no card: give the same card, or",
        ),
        (
            {"card": {"m": "0fa3"}},
            {"card": {"m": "1b"}},
            "them with a card that counts differently: give the same card, or remove",
        ),
    ],
)
def test_another_price_or_card_says_that_the_costs_were_counted_without_it(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], said: str
) -> None:
    with RunDirectory(tmp_path, CONFIGURATION | before) as run:
        run.add(solution("a"))
    with pytest.raises(InputError) as error, RunDirectory(tmp_path, CONFIGURATION | now):
        pass
    assert str(error.value).startswith(f"{tmp_path}: the costs of its problems were counted with ")
    assert said in str(error.value)
    assert "a sweep keeps its samples in pools/" in str(error.value)
    assert "0fa3" not in str(error.value)
    with RunDirectory(tmp_path, CONFIGURATION | before) as run:
        assert run.solved == {"a"}


def test_a_configuration_is_the_same_after_json(tmp_path: Path) -> None:
    configuration = {"engine": {"sizes": (1, 2), "text": "½ \ud800"}, "seed": None}
    for _ in range(2):
        with RunDirectory(tmp_path, configuration):
            pass


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, CONFIGURATION) as run:
        run.add(solution("a"))
        with (
            pytest.raises(InputError, match="another process is writing to this run"),
            RunDirectory(tmp_path, CONFIGURATION),
        ):
            pass
        run.add(solution("b"))
    assert kept(tmp_path) == [solution("a"), solution("b")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("run.json", b"{", "run.json: is not the record of a run"),
        ("run.json", b"[1]", "run.json: is not the record of a run"),
        ("run.json", b'"\xff"', "run.json: is not the record of a run"),
        ("solutions.jsonl", b"{}\n", "solutions.jsonl, line 1: field 'problem': Field required"),
        ("solutions.jsonl", b'{"problem": []}\n', "solutions.jsonl, line 1: field 'problem': "),
        ("solutions.jsonl", b"x\n", "solutions.jsonl, line 1: is not JSON"),
        ("solutions.jsonl", b'{"problem": "a", "answer": "7", "samples": "x"}\n', "line 1: field 'samples': "),
        ("trace.jsonl", b"\n[]\n", "trace.jsonl, line 2: must be a JSON object"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, name: str, text: bytes, said: str) -> None:
    kept(tmp_path)
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError) as error:
        kept(tmp_path)
    assert said in str(error.value)
    assert (tmp_path / name).read_bytes() == text


def test_spans_of_no_problem_are_moved_away(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"))
    more = '{"name": "x"}\n\n{"problem": ["a"]}\n{"problem": "a", "pa'
    with (tmp_path / "trace.jsonl").open("a") as trace:
        trace.write(more)
    kept(tmp_path)
    assert traced(tmp_path) == ["a", "a"]
    assert (tmp_path / "trace.jsonl.torn").read_text() == more + "\n"


def test_spans_without_a_solution_are_moved_away_beside_failed_problems_too(tmp_path: Path) -> None:
    kept(tmp_path, solution("a"), solution("b", error="lost"), solution("c"))
    solutions, trace = tmp_path / "solutions.jsonl", tmp_path / "trace.jsonl"
    unfinished = [
        line for line in trace.read_text().splitlines() if '"problem": "c"' in line or '"problem":"c"' in line
    ]
    solutions.write_text("".join(line + "\n" for line in solutions.read_text().splitlines()[:2]))
    with trace.open("a") as file:
        file.write('{"problem": "d", "pa')
    assert kept(tmp_path) == [solution("a")]
    assert traced(tmp_path) == ["a", "a"]
    assert len(unfinished) == 2
    assert (tmp_path / "trace.jsonl.torn").read_text().splitlines() == [*unfinished, '{"problem": "d", "pa']


def test_a_kill_between_the_two_rewritings_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, solution("a"), solution("b", error="lost"), solution("c"))
    rewritten: list[str] = []

    def once(path: Path, *which: Any) -> None:
        if rewritten:
            raise KeyboardInterrupt
        rewritten.append(path.name)
        rewrite(path, *which)

    monkeypatch.setattr(runs, "rewrite", once)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path)
    monkeypatch.undo()
    assert kept(tmp_path, solution("b")) == [solution("a"), solution("c"), solution("b")]
    assert traced(tmp_path) == ["a", "a", "c", "c", "b", "b"]


FOREIGN = {
    "solutions.jsonl": b'{"problem": "a", "answer": "7"}\n',
    "trace.jsonl": b'{"problem": "a"}',
    "run.json": b'{"name": "my-package"}',
}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["one/run.json", "two/run.json", "notes.txt"], "holds 2 runs, such as one, and a run needs a folder of"),
        (["run.json.d/run.json"], "holds 1 run, such as run.json.d, and"),
    ],
)
def test_a_folder_of_other_runs_is_refused_and_left_as_it_was(tmp_path: Path, there: list[str], said: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=said):
        check_run(tmp_path, CONFIGURATION)
    with pytest.raises(InputError, match=said):
        kept(tmp_path, solution("a"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_begins_beside_other_files(tmp_path: Path) -> None:
    for name in (".gitignore", "trace.jsonl.torn", "solutions.jsonl", "run.json", "job.log"):
        (tmp_path / name).write_bytes(b"")
    kept(tmp_path, solution("a"))
    (tmp_path / "page.html").write_text("<html>")
    assert len(kept(tmp_path, solution("b"))) == 2


@pytest.mark.parametrize("name", ["trace.jsonl", "solutions.jsonl"])
def test_a_run_that_is_removed_while_it_is_written_says_so(tmp_path: Path, name: str) -> None:
    run = RunDirectory(tmp_path / "run", CONFIGURATION).__enter__()
    run.add(solution("a"))
    (tmp_path / "run" / name).unlink()
    with pytest.raises(StorageError, match=f"{name}: was removed while it was being written"):
        run.__exit__(None, None, None)


def test_a_run_may_be_moved_while_it_is_written_and_afterwards(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", CONFIGURATION) as run:
        run.add(solution("a"))
        (tmp_path / "run").rename(tmp_path / "moved")
        run.add(solution("b"))
    assert kept(tmp_path / "moved", solution("c")) == [solution("a"), solution("b"), solution("c")]


@pytest.mark.parametrize(("there", "said"), [("folder/run.json", "the folder of a run"), ("folder", "it is no folder")])
def test_runs_are_kept_in_no_run_and_no_file(tmp_path: Path, there: str, said: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("{}")
    with pytest.raises(InputError, match=said):
        check_root(tmp_path / "folder")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_files_of_someone_else_is_refused_and_left_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        kept(tmp_path, solution("b"))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {name: FOREIGN[name]}


@pytest.mark.parametrize("name", ["run.json", "solutions.jsonl", "trace.jsonl"])
@pytest.mark.parametrize("target", [b"precious", None])
def test_no_link_in_a_run_is_followed(tmp_path: Path, name: str, target: bytes | None) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    kept(run)
    (run / name).unlink()
    (run / name).symlink_to(other)
    if target:
        other.write_bytes(target)
    with pytest.raises(InputError, match=r"is a link|was not written by metagen"):
        kept(run, solution("a"))
    assert (other.read_bytes() if other.exists() else None) == target


def test_on_a_full_disk_what_is_written_is_whole_and_the_run_can_go_on(
    tmp_path: Path, full: Callable[[int], None]
) -> None:
    all_solved = [solution(name * 30) for name in "abcdef"]
    whole = tmp_path / "whole"
    kept(whole, *all_solved)
    for room in range(0, (whole / "trace.jsonl").stat().st_size, 97):
        run = tmp_path / str(room)
        full(room)
        with pytest.raises(StorageError, match=f"{run}.*: the disk takes no more: File too large"):
            kept(run, *all_solved)
        full(1 << 20)
        solved = kept(run)
        assert solved == all_solved[: len(solved)]
        assert kept(run, *all_solved[len(solved) :]) == all_solved
        assert traced(run) == traced(whole)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("name", ["run.json", "solutions.jsonl", "trace.jsonl"])
def test_a_disk_without_room_for_one_file_more_is_no_wrong_input(
    tmp_path: Path, name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = os.open

    def opened(path: Any, flags: int, *mode: int) -> int:
        if str(path).endswith(name) and flags & os.O_CREAT:
            raise OSError(code, os.strerror(code))
        return system(path, flags, *mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", opened)
        with pytest.raises(StorageError, match=f"{name}: the disk takes no more: {os.strerror(code)}"):
            kept(tmp_path, solution("a"))
    assert kept(tmp_path, solution("a")) == [solution("a")]


def test_a_disk_that_can_only_be_read_is_the_wrong_place_for_a_new_run_and_keeps_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> Never:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "empty").mkdir()
    kept(tmp_path / "run", solution("a"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        patched.setattr(Path, "mkdir", refused)
        with pytest.raises(InputError, match="new: cannot be a run's folder: Read-only file system"):
            kept(tmp_path / "new")
        patched.undo()
        patched.setattr(os, "open", refused)
        with pytest.raises(InputError, match=r"run\.json: cannot be written: Read-only file system"):
            kept(tmp_path / "empty")
        with pytest.raises(StorageError, match=r"run\.json: the disk takes no more: Read-only file system"):
            kept(tmp_path / "run")
    assert kept(tmp_path / "run") == [solution("a")]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a run's folder: File name too long"):
        kept(tmp_path / ("x" * 300), solution("a"))
    check_run(tmp_path / ("x" * 300), CONFIGURATION)


@pytest.mark.parametrize("name", ["", "run.json", "solutions.jsonl", "trace.jsonl"])
def test_what_cannot_be_a_run_is_refused(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    if name:
        (run / name).mkdir(parents=True)
    else:
        run.write_text("a file")
    with pytest.raises(InputError, match=r"cannot be (a run's folder|written): "):
        kept(run)
