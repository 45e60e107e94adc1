import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, Feedback, InputError, Usage
from metagen.disk.traces import VERSION, SpanRow, parent_of, read_configuration, read_traces, row_of
from metagen.trace import Asked, Call, Child, Expansion, Span, Written

floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
times = st.floats(0, 1e9)
spans = st.builds(
    Span,
    name=st.text(),
    path=st.lists(st.integers(0, 99) | st.sampled_from(["/0/1", "b"])).map(tuple),
    started=times,
    seconds=times,
    status=st.sampled_from(["open", "ok", "lost", "cancelled", "failed"]),
    error=st.text(),
    usage=st.builds(Usage, calls=st.integers(0, 9), prompt_tokens=st.integers(0, 9)),
    verifying=st.booleans(),
    request=st.none() | st.builds(Asked, st.text(), st.text(), st.integers(1, 9)),
    completions=st.lists(st.builds(Written, st.text(), st.integers(0, 9), st.booleans())).map(tuple),
    verdicts=st.none() | st.lists(st.none() | floats).map(tuple),
    steps=st.just(()) | st.just(((0.5, 1.0), ())),
    feedback=st.none() | st.builds(Feedback, st.text(), st.booleans()),
    call=st.none() | st.builds(Call, st.text(), st.none() | st.text(), st.none() | st.text()),
    expansion=st.none()
    | st.builds(
        Expansion,
        st.integers(1, 9),
        st.lists(st.builds(Child, st.integers(1, 9), st.none() | floats, st.text())).map(tuple),
    ),
    notes=st.lists(st.text()),
    seed=st.none() | st.integers(0, 2**48),
    overshoot=floats,
    waited=floats,
)
KEPT = (
    "name",
    "status",
    "error",
    "verifying",
    "request",
    "completions",
    "verdicts",
    "steps",
    "feedback",
    "call",
    "expansion",
    "seed",
)


@given(spans)
def test_what_is_written_is_read_back(span: Span) -> None:
    row = SpanRow.model_validate(json.loads(json.dumps(row_of(span, "p"))))
    assert {name: getattr(row, name) for name in KEPT} == {name: getattr(span, name) for name in KEPT}
    assert list(row.notes) == span.notes
    assert Usage(**row.usage) == span.usage  # type: ignore[arg-type]


def test_a_row_is_plain_and_leaves_out_what_is_empty() -> None:
    full = Span("Model", (0, "b"), 1.23456789, 0.5, "lost", "no", Usage(calls=1), verdicts=[None, 0.0])
    assert row_of(full, "p") == {
        "problem": "p",
        "path": "0.b",
        "name": "Model",
        "status": "lost",
        "started": 1.234568,
        "seconds": 0.5,
        "error": "no",
        "usage": {"calls": 1},
        "verdicts": [None, 0.0],
    }
    root = {"problem": "p", "path": "", "name": "solve", "status": "open", "started": 0.0, "seconds": 0.0}
    assert row_of(Span("solve"), "p") == root


def test_the_texts_that_were_compared_are_written_where_no_completion_below_is_the_text() -> None:
    drawn = Span(
        "Model", (0,), status="ok", request=Asked("?", "It", 2), completions=[Written(" is 7"), Written(" is 8")]
    )
    vote = Span("Vote", status="ok", children=[drawn], samples=[Candidate(("It is 7",)), Candidate(("It is 8",))])
    assert (row_of(vote, "p")["compared"], row_of(vote, "p").get("replies")) == (2, None)
    vote.samples = vote.samples[::-1]
    assert row_of(vote, "p")["replies"] == ["It is 8", "It is 7"]


def test_the_span_above_is_the_nearest_that_there_is() -> None:
    paths = {"", "0", "0.0.1"}
    assert [parent_of(path, paths) for path in ("0.0.1.2", "0.0.1", "0", "")] == ["0.0.1", "0", "", None]


def test_a_line_of_another_form_is_named(tmp_path: Path) -> None:
    good = row_of(Span("solve"), "p")
    lines = [good, good | {"completions": ["The answer is 7."]}]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=r"trace.jsonl, line 2: field 'completions.0'"):
        list(read_traces(tmp_path, {"p"}))
    assert list(read_traces(tmp_path, {"q"})) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("completions", [{"text": "7", "tokens": 10**29}]),
        ("completions", [{"text": "7", "tokens": -1}]),
        ("usage", {"foo": 1}),
        ("usage", {"calls": -1}),
        ("usage", {"calls": float("inf")}),
        ("started", float("nan")),
        ("seconds", 1e300),
    ],
)
def test_a_count_or_a_time_that_cannot_be_is_named(tmp_path: Path, field: str, value: Any) -> None:
    (tmp_path / "trace.jsonl").write_text(json.dumps(row_of(Span("solve"), "p") | {field: value}) + "\n")
    with pytest.raises(InputError, match=f"trace.jsonl, line 1: field '{field}"):
        list(read_traces(tmp_path, {"p"}))


def test_a_run_of_an_earlier_form_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"strategy": "Vote(4)"}))
    with pytest.raises(InputError, match=rf"form 1 of a run; this one has form {VERSION}"):
        read_configuration(tmp_path)


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").touch()
    for path, said in (
        (
            tmp_path / "pool.jsonl",
            r"pool\.jsonl: is a file, and a run is a folder; to make a run of a pool, play it: `metagen",
        ),
        (tmp_path / "none", "none: there is no such run"),
        (tmp_path, r"is neither a pool of samples nor a run's folder: it has no run\.json"),
    ):
        with pytest.raises(InputError, match=said):
            read_configuration(path)


def test_a_folder_of_runs_says_which_it_holds(tmp_path: Path) -> None:
    for name in ("second", "first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    with pytest.raises(InputError, match=rf"but holds 2 runs: name one, such as {tmp_path}/first"):
        read_configuration(tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"", b'"\xff"', b"[" * 100_000])
def test_a_damaged_record_is_not_called_missing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json: is not the record of a run"):
        read_configuration(tmp_path)


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(InputError, match=r"run\.json: cannot be read: Is a directory"):
        read_configuration(tmp_path)
