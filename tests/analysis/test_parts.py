import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from metagen import ProblemFile
from metagen.analysis import parts
from metagen.analysis.parts import HEAD, PROGRAM, OddError, Part, Task, read_part, read_parts
from metagen.analysis.reading import read
from metagen.answers.kinds import LastNumber, Number
from metagen.answers.protocol import Answers
from metagen.errors import InputError

Row = dict[str, Any]
ROWS: list[Row] = [
    {"problem": name, "text": f"So.\n\nThe answer is {name}{draw}.", "tokens": draw, "end": "length" if draw else "eos"}
    for draw in range(3)
    for name in ("7", "8", "9")
]
NO_KINDS: dict[str, Answers] = {}


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path / "pool.jsonl", ROWS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two lines, and helpers for the smallest pool."""
    monkeypatch.setattr(parts, "SIZE", 100)
    monkeypatch.setattr(parts, "SHARE", 1)
    monkeypatch.setattr(parts, "processors", lambda: 3)


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def listed(found: Sequence[Part]) -> list[tuple[Any, ...]]:
    """The samples of parts, one by one."""
    return [
        (part.names[place], *values)
        for part in found
        for place, *values in zip(part.places, part.answers, part.tokens, part.cut, strict=True)
    ]


@pytest.fixture
def helped(small: None, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """What helpers have read. This process reads no part before one of them was asked for one."""
    done, ask, read_here = Event(), parts._asked, parts.read_part
    returned: list[Part] = []

    def asked(*arguments: Any) -> Part:
        try:
            returned.append(ask(*arguments))
        finally:
            done.set()
        return returned[-1]

    def read_after(*arguments: Any) -> Part:
        assert done.wait(60)
        return read_here(*arguments)

    monkeypatch.setattr(parts, "_asked", asked)
    monkeypatch.setattr(parts, "read_part", read_after)
    return returned


def test_helpers_and_this_process_together_read_each_sample_once_and_in_order(pool: Path, helped: list[Part]) -> None:
    kinds = {"8": LastNumber()}
    found = list(read_parts(pool, kinds, ()))
    assert len(found) > 3
    assert helped, "a helper has read a part"
    assert listed(found) == listed([read_part(pool, (0, 1000), kinds, ())])


def test_a_helper_reads_by_the_kinds_of_answers_and_returns_texts_that_are_wanted(pool: Path) -> None:
    span = (0, pool.stat().st_size)
    kinds: dict[str, Answers] = {"8": Number(), "9": LastNumber()}
    task = Task(str(pool), {name: repr(kind) for name, kind in kinds.items()}, ["7"])
    said = b"".join(msgspec.json.encode(each) + b"\n" for each in (task, span))
    data = subprocess.run(PROGRAM, input=said, capture_output=True, check=True).stdout
    assert int.from_bytes(data[:HEAD]) == len(data) - HEAD
    assert msgspec.msgpack.decode(data[HEAD:], type=Part) == read_part(pool, span, kinds, {"7"})


def test_a_helper_of_another_copy_of_metagen_reads_nothing(pool: Path) -> None:
    task = Task(str(pool), {}, [], code="/elsewhere/parts.py")
    said = b"".join(msgspec.json.encode(each) + b"\n" for each in (task, (0, 9)))
    assert subprocess.run(PROGRAM, input=said, capture_output=True, check=True).stdout == b""


def test_what_helpers_cannot_read_is_read_all_the_same(
    pool: Path, helped: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PROGRAM", (PROGRAM[0], "-c", ""))
    assert listed(list(read_parts(pool, NO_KINDS, ()))) == listed([read_part(pool, (0, 1000), NO_KINDS, ())])


def test_kinds_of_the_users_own_are_read_in_this_process_alone(
    pool: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(LastNumber):
        """Looks like one of metagen's own."""

    helpers: list[Any] = []
    monkeypatch.setattr(parts, "_help", lambda *task: helpers.append(task))
    for kind, helping in ((LastNumber(), 2), (Mine(), 2)):
        assert len(listed(list(read_parts(pool, {"7": kind}, ())))) == len(ROWS)
        assert len(helpers) == helping


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        (8, {"end": "never"}, "pool.jsonl, line 9: field 'end'"),
        (7, {"partial": "So"}, "pool.jsonl, line 8: continues a partial reply"),
        (5, {"prompt": "another"}, "pool.jsonl, line 6: problem '9' has samples of two prompts"),
        (6, {"problem": "10"}, "pool.jsonl: problem '10' is not in"),
        (4, {"draw": 0}, "pool.jsonl, line 5: sample 0 of problem '8' is here for the second time"),
    ],
)
def test_a_fault_is_named_with_its_line_in_whichever_part_it_stands(
    tmp_path: Path, small: None, number: int, change: Row, said: str
) -> None:
    problems = ProblemFile(write(tmp_path / "problems.jsonl", [{"id": n, "prompt": "?", "answer": n} for n in "789"]))
    rows = [row | change if place == number else row for place, row in enumerate(ROWS)]
    with pytest.raises(InputError, match=said):
        read(write(tmp_path / "pool.jsonl", rows), problems)


def test_samples_without_numbers_are_numbered_in_the_order_of_the_file(tmp_path: Path, small: None) -> None:
    problems = ProblemFile(
        write(tmp_path / "problems.jsonl", [{"id": n, "prompt": "?", "answer": f"{n}0"} for n in "789"])
    )
    source = read(write(tmp_path / "pool.jsonl", ROWS), problems, 1)
    assert source.curves["coverage"].values.tolist() == [[1.0]] * 3


def test_settings_whose_numbers_are_written_otherwise_are_the_same(tmp_path: Path, small: None) -> None:
    problems = ProblemFile(write(tmp_path / "problems.jsonl", [{"id": n, "prompt": "?", "answer": n} for n in "789"]))
    rows = [row | {"sampling": {"temperature": (1, 1.0)[place % 2]}} for place, row in enumerate(ROWS)]
    assert len(read(write(tmp_path / "pool.jsonl", rows), problems).curves["coverage"].values) == 3


def test_what_is_gone_is_odd(tmp_path: Path) -> None:
    with pytest.raises(OddError):
        list(read_parts(tmp_path / "none.jsonl", NO_KINDS, ()))
