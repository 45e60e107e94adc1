"""The schema of `trace.jsonl`: one line for each span, written and read here alone.

A line leaves out what is empty. `VERSION` stands in `run.json`, and a run with another one is refused by name.
"""

import json
import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metagen.budget import COUNTS, Usage
from metagen.candidate import Candidate, Feedback
from metagen.disk.lines import Reader
from metagen.disk.rows import MOST, MOST_SECONDS
from metagen.errors import InputError, first_fault
from metagen.settings import counted
from metagen.trace import Asked, Call, Expansion, Span, Status, Written

VERSION = 2
"""Of the form of a run's folder. Version 1 kept spans as free-form details."""

MOST_TOKENS = 2**53
"""Of one completion, as tables and floats hold them."""

KNOWN = frozenset(COUNTS)
Amount = Annotated[float, Field(ge=0, le=MOST)]
Seconds = Annotated[float, Field(ge=-MOST_SECONDS, le=MOST_SECONDS)]

_LINES: Reader[dict[str, Any]] = Reader(dict[str, Any])


class SpanRow(BaseModel):
    """One line of `trace.jsonl`. What each field holds is said by `metagen.trace.Span`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # a new run reads none

    problem: str
    """The id of the problem."""
    path: str
    """The structural path, its keys joined by dots; the root's is empty."""
    name: str
    status: Status
    started: Seconds = 0.0
    seconds: Seconds = 0.0
    error: str = ""
    usage: dict[str, Amount] = {}
    """The fields of `metagen.Usage` that are not zero, without seconds."""
    verifying: bool = False
    request: Asked | None = None
    completions: tuple[Written, ...] = ()
    verdicts: tuple[float | None, ...] | None = None
    steps: tuple[tuple[float, ...], ...] = ()
    compared: int = 0
    """How many candidates the strategy compared here."""
    replies: tuple[str, ...] = ()
    """Their texts, where they are not simply the completions at and below this span, in their order."""
    feedback: Feedback | None = None
    call: Call | None = None
    expansion: Expansion | None = None
    notes: tuple[str, ...] = ()
    seed: int | None = None
    overshoot: float = 0.0
    waited: float = 0.0

    @field_validator("completions")
    @classmethod
    def _check_tokens(cls, completions: tuple[Written, ...]) -> tuple[Written, ...]:
        if not all(0 <= each.tokens <= MOST_TOKENS for each in completions):
            raise ValueError(f"tokens must be from 0 to {MOST_TOKENS}")
        return completions

    @field_validator("usage")
    @classmethod
    def _check_usage(cls, usage: dict[str, float]) -> dict[str, float]:
        if strange := usage.keys() - KNOWN:
            raise ValueError(f"there is no count {min(strange)!r}")
        return usage


def above(path: str) -> Iterator[str]:
    """All paths that a span above this path may have, the nearest first: the key of a span may have several parts."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def parent_of(path: str, paths: Container[str]) -> str | None:
    """The path of the span right above, of those that there are; `None` for the root."""
    return next((each for each in above(path) if each in paths), None)


def row_of(span: Span, problem: str) -> dict[str, Any]:
    """The span as plain data, for one line; what is empty is left out."""
    row: dict[str, Any] = {
        "problem": problem,
        "path": span.place,
        "name": span.name,
        "status": span.status,
        "started": round(span.started, 6),
        "seconds": round(span.seconds, 6),
    }
    if span.error:
        row["error"] = span.error
    if usage := {name: count for name, count in span.usage.row().items() if not name.endswith("seconds")}:
        row["usage"] = usage
    if span.verifying:
        row["verifying"] = True
    if asked := span.request:
        row["request"] = {"prompt": asked.prompt, "partial": asked.partial, "n": asked.n}
        if asked.model:
            row["request"]["model"] = asked.model
        if asked.messages:
            row["request"]["messages"] = list(asked.messages)
    if span.completions:
        row["completions"] = [
            {"text": each.text, "tokens": each.tokens}
            | {name: value for name in ("cut", "thought", "open") if (value := getattr(each, name))}
            for each in span.completions
        ]
    if span.verdicts is not None:
        row["verdicts"] = list(span.verdicts)
    if any(span.steps):
        row["steps"] = [[round(value, 4) for value in each] for each in span.steps]
    row |= _compared(span)
    row |= {name: asdict(part) for name in ("feedback", "call", "expansion") if (part := getattr(span, name))}
    if span.notes:
        row["notes"] = span.notes
    if span.seed is not None:
        row["seed"] = span.seed
    return row | {name: seconds for name in ("overshoot", "waited") if (seconds := round(getattr(span, name), 3))}


def rows_of(root: Span, problem: str) -> list[SpanRow]:
    """A tree of spans as it would be read from its lines."""
    return [SpanRow.model_validate(row_of(span, problem)) for span in root.walk()]


def _compared(span: Span) -> dict[str, Any]:
    """How many candidates a strategy compared, with their texts where the completions below do not tell them."""
    if not span.samples:
        return {}
    texts = [each.text for each in span.samples]
    return {"compared": len(texts)} | ({} if texts == list(span.written()) else {"replies": texts})


def span_of(lines: bytes) -> Span:
    """The tree of spans whose lines these are, parents first. Of the candidates it knows the texts alone."""
    where = Path("trace.jsonl")
    rows = [_read_row(_LINES.row(line, where, 1), str(where)) for line in lines.splitlines()]
    spans = {row.path: _restored(row) for row in rows}
    for path, span in spans.items():
        if (parent := parent_of(path, spans)) is not None:
            spans[parent].children.append(span)
    for row in filter(lambda row: row.compared, rows):
        span = spans[row.path]
        span.samples = [Candidate((text,)) for text in row.replies or span.written()]
    return spans[""]


def _restored(row: SpanRow) -> Span:
    """The span of one row, without its children."""
    plain = {name: getattr(row, name) for name in SpanRow.model_fields if name not in _MADE}
    path = tuple(int(key) if key.isdecimal() else key for key in filter(None, row.path.split(".")))
    return Span(**plain, path=path, usage=Usage(**cast("dict[str, Any]", row.usage)), notes=list(row.notes))


_MADE = {"problem", "path", "usage", "notes", "compared", "replies"}


def read_traces(folder: Path, wanted: Container[object]) -> Iterator[tuple[str, list[SpanRow]]]:
    """The spans of each wanted problem of a run, in the order in which they were issued: they are written together.

    A last line that a kill cut short, or that is being written, is passed over.
    Raises `InputError`, naming the line and the field, for a line of another form.
    """
    path = folder / "trace.jsonl"
    rows: list[SpanRow] = []
    for number, _, line in _LINES.read(path, torn=True):
        if rows and line.get("problem") != rows[0].problem:
            yield rows[0].problem, rows
            rows = []
        if isinstance(line.get("problem"), str) and line["problem"] in wanted:
            rows.append(_read_row(line, f"{path}, line {number}"))
    if rows:
        yield rows[0].problem, rows


def read_configuration(folder: Path) -> dict[str, Any]:
    """What `run.json` says. Raises `InputError` if the folder holds no run, or one of another version."""
    record = folder / "run.json"
    try:
        configuration = json.loads(record.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: {_why_no_run(folder)}") from None
    except OSError as error:
        raise InputError(f"{record}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        configuration = None
    if not isinstance(configuration, dict):
        raise InputError(f"{record}: is not the record of a run")
    check_version(folder, configuration)
    return configuration


def _why_no_run(path: Path) -> str:
    if os.path.isfile(path):
        return (
            "is a file, and a run is a folder; to make a run of a pool, play it: `metagen solve PROBLEMS --model POOL`"
        )
    if not os.path.exists(path):
        return "there is no such run"
    if inside := sorted(path.glob("*/run.json")):
        return f"has no run.json, but holds {counted(len(inside), 'run')}: name one, such as {inside[0].parent}"
    return "is neither a pool of samples nor a run's folder: it has no run.json"


def check_version(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Raises `InputError` for a run whose files have another form."""
    if (version := configuration.get("version", 1)) != VERSION:
        raise InputError(
            f"{folder}: was written by another release of metagen (form {version} of a run; this one has form "
            f"{VERSION}): read it with that release, or run it again with another --out"
        )


def _read_row(line: Mapping[str, Any], where: str) -> SpanRow:
    try:
        return SpanRow.model_validate(line)
    except ValidationError as error:
        raise InputError(f"{where}: {first_fault(error)}") from None
