"""Problem files: JSON Lines, JSON lists and Parquet, read as a stream."""

import json
import os
from array import array
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from metagen.answers.extract import extract
from metagen.answers.kinds import MATHS, Choice
from metagen.answers.protocol import Answers
from metagen.answers.rows import choices_of, with_choices
from metagen.answers.spec import parse_answers
from metagen.answers.structured import Json
from metagen.disk.lines import read_lines
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.settings import literal

PROMPT_FIELDS = ("prompt", "question", "problem", "Question")


ANSWER_FIELDS = ("answer", "Answer", "solution")


ID_FIELDS = ("id", "unique_id", "ID")


TAG_FIELDS = ("level", "subject", "type")


GSM8K_MARK = "####"


BATCH = 1024
"""Rows of a Parquet file that are in memory at once."""


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """A file of problems: JSON Lines or Parquet, read as a stream, or a JSON list in a file that ends in `.json`.

    Fields are found by their usual names (`prompt`, `question` or `problem`; `answer`; `id` or `unique_id`) unless
    they are named here. So GSM8K is read as it comes, where an answer that ends in `#### n` stands for n; MATH, where a
    `solution` stands for what is in its box if there is no `answer`; and SVAMP, whose `Body` goes before its
    `Question`. Without an id, a problem is called by the number of its line or row. A `level`, `subject` or `type`
    becomes a tag. Parquet needs pyarrow.

    What counts as an answer is said by `answers` for the whole file, else by the field `answers` of a row, as a spec.
    A row with `choices` (or `options`) has them for answers: its prompt lists them by letter if it does not yet, and
    its answer may be the letter, the text or the number from 0.
    """

    path: Path
    prompt_field: str | None = None
    answer_field: str | None = None
    id_field: str | None = None
    answers: str = ""
    """The kind of answers of all problems, as a spec such as `Choice("ABCD")`; empty leaves it to the rows."""
    names: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Functions and classes of the user's own, which specs may name."""

    @property
    def kind(self) -> str:
        """The spec of the kind of answers, written as its `repr`; empty where it is left to the rows."""
        return literal(parse_answers(self.answers, self.names)) if self.answers else ""

    def reading(self, names: Mapping[str, Any]) -> Self:
        """The same file, whose specs may name what is in `names`. Raises `InputError` where its own cannot be read."""
        file = replace(self)
        object.__setattr__(file, "names", names)
        if self.answers:
            parse_answers(self.answers, names)
        return file

    def __iter__(self) -> Iterator[Problem]:
        """Raises `InputError`, naming file, line and field."""
        for number, row in self._rows():
            yield self._problem(row, number)

    def lacking(self, solved: Container[str], limit: int | None = None) -> Iterator[Problem]:
        """Those of the first `limit` problems whose ids are not in `solved`; the others are hardly looked at."""
        for number, row in islice(self._rows(), limit):
            if self._name(row, number) not in solved:
                yield self._problem(row, number)

    def check(self) -> tuple[int, str]:
        """Read the whole file once, before anything is spent: how many problems it holds, and a digest of them.

        Memory is 8 bytes a problem. Raises `InputError` for what cannot be read, an empty file, or an id that occurs
        twice.
        """
        digest, ids = blake2b(digest_size=8), array("q")
        for place, row in self._rows():
            name, prompt, answer, _ = self._said(row, place)
            digest.update(repr((name, prompt, answer)).encode())
            ids.append(hash(name))
        if not ids:
            raise InputError(f"{self.path}: holds no problems")
        hashes = np.frombuffer(ids, dtype=np.int64)
        hashes.sort()
        if repeated := set(hashes[1:][hashes[1:] == hashes[:-1]].tolist()):
            self._refuse_twins(repeated)
        return len(ids), digest.hexdigest()

    def _rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if not os.path.exists(self.path):  # unlike `Path.exists`, it takes a name of any length
            raise InputError(f"{self.path}: there is no such file")
        if self.path.suffix == ".parquet":
            yield from self._parquet()
            return
        if self.path.suffix != ".json":
            yield from ((f"line {number}", row) for number, row in read_lines(self.path))
            return
        for number, row in enumerate(self._list(), 1):
            if not isinstance(row, dict):
                raise InputError(f"{self.path}, item {number}: must be an object, not {type(row).__name__}")
            yield f"item {number}", row

    def _parquet(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        try:
            from pyarrow import ArrowException, parquet  # noqa: PLC0415 (optional)
        except ImportError:
            raise InputError(f"{self.path}: reading Parquet needs pyarrow: {how_to_install('parquet')}") from None
        number = 0
        try:
            with parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"row {number}", row
        except (ArrowException, OSError) as error:
            raise InputError(f"{self.path}: cannot be read as Parquet after row {number}: {error}") from None

    def _list(self) -> list[Any]:
        try:
            rows = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.path}: is not a JSON file: {error}") from None
        if not isinstance(rows, list):
            raise InputError(f"{self.path}: must hold a list of problems; JSON Lines go in a file that ends in .jsonl")
        return rows

    def _problem(self, row: Mapping[str, Any], place: str) -> Problem:
        name, prompt, answer, kind = self._said(row, place)
        tags = {name: str(row[name]) for name in TAG_FIELDS if isinstance(row.get(name), (str, int))}
        return Problem(name, prompt, answer, tags=tags, answers=kind)

    def _said(self, row: Mapping[str, Any], place: str) -> tuple[str, str, str | None, Answers]:
        """The id, the prompt, the reference answer and the kind of answers."""
        where = f"{self.path}, {place}"
        field, asked = _field(row, self.prompt_field, PROMPT_FIELDS, where)
        prompt = _text((field, asked), where, needed=True) or ""
        if field == "Question" and not self.prompt_field and row.get("Body"):
            prompt = _after_body(str(row["Body"]), prompt)
        kind, prompt = self._kind(row, prompt, where)
        return self._name(row, place), prompt, self._answer(row, kind, where), kind

    def _name(self, row: Mapping[str, Any], place: str) -> str:
        if not self.id_field and isinstance(name := row.get(ID_FIELDS[0]), str) and name:
            return name
        where = f"{self.path}, {place}"
        return _text(_field(row, self.id_field, ID_FIELDS, where, needed=False), where) or place.rpartition(" ")[2]

    def _kind(self, row: Mapping[str, Any], prompt: str, where: str) -> tuple[Answers, str]:
        """The kind of answers to a row, and its prompt with the choices that it does not list."""
        kind = self._said_kind(row, where)
        if kind is not None and not isinstance(kind, Choice):
            return kind, prompt
        try:
            choices = choices_of(row)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return (kind or MATHS, prompt) if choices is None else (choices, with_choices(prompt, choices))

    def _said_kind(self, row: Mapping[str, Any], where: str) -> Answers | None:
        """The kind of answers that the file or else the row is said to have."""
        if self.answers:
            return parse_answers(self.answers, self.names)
        spec = _text(("answers", row.get("answers")), where)
        try:
            return parse_answers(spec, self.names) if spec else None
        except InputError as error:
            raise InputError(f"{where}: field 'answers': {error}") from None

    def _answer(self, row: Mapping[str, Any], kind: Answers, where: str) -> str | None:
        field, given = _field(row, self.answer_field, ANSWER_FIELDS, where, needed=False)
        if isinstance(kind, Json) and isinstance(given, dict):
            return json.dumps(given)
        if isinstance(kind, Choice) and kind.texts and isinstance(given, int) and not isinstance(given, bool):
            return _choice(kind, given, f"{where}: field {field!r}")
        answer = _text((field, given), where)
        if answer is not None and field == "solution":
            return extract(answer)
        if answer is not None and GSM8K_MARK in answer:
            answer = answer.rpartition(GSM8K_MARK)[2].strip()
        if answer is not None and isinstance(kind, Choice) and kind.texts and kind.key(answer) not in kind.letters:
            raise InputError(
                f"{where}: field {field!r}: {answer[:40]!r} is none of the choices {', '.join(kind.letters)}"
            )
        if answer is not None and not answer.strip():
            raise InputError(f"{where}: field {field!r} is empty; leave it out where there is none")
        return answer

    def _refuse_twins(self, hashes: set[int]) -> None:
        first: dict[str, str] = {}
        for place, row in self._rows():
            name = self._name(row, place)
            if hash(name) in hashes and first.setdefault(name, place) != place:
                raise InputError(f"{self.path}, {place}: the id {name!r} occurs twice, first on {first[name]}")


def _field(
    row: Mapping[str, Any], named: str | None, usual: tuple[str, ...], where: str, *, needed: bool = True
) -> tuple[str, Any]:
    """The first of the fields that is there, with its name."""
    for name in (named,) if named else usual:
        if name in row:
            return name, row[name]
    if needed or named:
        wanted = repr(named) if named else " or ".join(map(repr, usual))
        raise InputError(f"{where}: there is no field {wanted}; there is {', '.join(map(repr, row)) or 'nothing'}")
    return "", None


def _text(field: tuple[str, Any], where: str, *, needed: bool = False) -> str | None:
    """A field as text: numbers are written out, whole ones without a fraction."""
    name, value = field
    if isinstance(value, str) and (value.strip() or not needed):
        return value
    if value is None and not needed:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{where}: field {name!r} must be a text or a number, not {json.dumps(value)[:40]}")
    if needed and not str(value).strip():
        raise InputError(f"{where}: field {name!r} is empty")
    return str(value)


def _choice(kind: Choice, given: int, where: str) -> str:
    """The letter of a choice that is given by its number, from 0, unless the letters are figures."""
    if str(given) in kind.letters:
        return str(given)
    if not 0 <= given < len(kind.letters):
        raise InputError(f"{where}: there is no choice {given}: there are {len(kind.letters)}, counted from 0")
    return kind.letters[given]


def _after_body(body: str, question: str) -> str:
    """SVAMP's two parts as one text; the first often lacks its period."""
    body = body.strip()
    return f"{body}{'' if body.endswith(('.', '!', '?', ',')) else '.'} {question}"
