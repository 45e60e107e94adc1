"""Problem files: what the rows of a file ask, and what they say is right."""

import json
import os
from array import array
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Self

from metagen.answers.extract import alone, extract
from metagen.answers.kinds import MATHS, Choice, Label, LastNumber, Maths, Number, Text
from metagen.answers.protocol import Answers
from metagen.answers.references import unequalled
from metagen.answers.rows import choices_of, has_numbers, with_choices, without_label
from metagen.answers.several import AnyOf, any_of, references_in
from metagen.answers.spec import parse_answers
from metagen.answers.structured import Json
from metagen.disk.fields import (
    ANSWER_FIELDS,
    ID_FIELDS,
    MESSAGES,
    PROMPT_FIELDS,
    TAG_FIELDS,
    UsedFields,
    find_field,
    first_of,
    shown,
    text_of,
)
from metagen.disk.folders import find_files
from metagen.disk.sources import Rows, read_source
from metagen.disk.templates import Template, read_template
from metagen.disk.tested import tests_of
from metagen.disk.values import plain
from metagen.errors import InputError
from metagen.messages import Turns, asking, question_of, read_messages, with_system
from metagen.problem import Problem
from metagen.settings import literal

GSM8K_MARK = "####"


FEW = 10_000
"""Problems whose ids are sorted sooner than numpy is loaded, which takes 8 bytes per id."""

KIND_FIELDS = ("answers", "choices", "options")
"""Fields of a row that say what counts as an answer."""
KINDS = 256
"""Specs of answers that are remembered once they are read."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of problems holds."""

    total: int
    """Problems."""
    digest: str
    """Of what is asked and of the references: two files with the same have the same problems."""
    unused: tuple[str, ...] = ()
    """The fields of rows that nothing reads."""
    blank: int = 0
    """Problems with an answer that is none, such as `NaN` or a solution without its result."""
    several: int = 0
    """Problems with several references."""
    filled: str = ""
    """The digest of the prompts that a template makes of its fields; empty without one."""


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """A file of problems: JSON Lines, CSV, TSV, Parquet or Arrow, read as a stream, or a JSON list in a `.json` file.

    It may also be a pattern such as `data/*.jsonl`, or the folder of a Hugging Face dataset, of which `split` names a
    part; a problem without an id is then called by its file and its number there. A file may be packed by gzip, bzip2,
    xz or zstd, and in UTF-8, UTF-16 or UTF-32. Parquet, Arrow and zstd need pyarrow.

    Fields are found by their usual names, of which the first that is not null counts (`prompt`, `question`, `problem`,
    `Question`, `text` or `messages`; `answer`, `Answer` or `solution`; `id`, `unique_id`, `ID` or `task_id`), unless
    they are named here. So GSM8K is read as it comes, where an answer that ends in `#### n` stands for n; MATH, where a
    `solution` stands for what is in its box, or for itself where it is nothing but an answer, if there is no
    `answer`; and SVAMP, whose `Body` goes before its `Question`. Where a row has `messages`, as OpenAI's API has them,
    the user's last turn is the question; a list in the place of the prompt is read so too. Without an id, a problem is
    called by the number of its line or row. A `level`, `subject` or `type` becomes a tag. A number that is none, such
    as `NaN`, is no answer.

    What counts as an answer is said by `answers` for the whole file, else by the field `answers` of a row, as a spec.
    A row with `choices` (or `options`) has them for answers: its prompt lists them by letter if it does not yet, and
    its answer may be the letter, the text or the number from 0. Of an answer that is a list of texts or numbers, or the
    object in which SQuAD or TriviaQA keeps several texts, any is right. A row with tests, as HumanEval and MBPP have
    them, asks for code, which is graded by running them; an answer that states a theorem of Coq asks for its proof.
    """

    path: Path
    """A text will do."""
    prompt_field: str | None = None
    answer_field: str | None = None
    id_field: str | None = None
    answers: str = ""
    """The kind of answers of all problems, as a spec such as `Choice("ABCD")`; empty leaves it to the rows."""
    system: str = ""
    """A system turn before every problem."""
    template: Template | None = None
    """What every question is written into."""
    split: str = ""
    """Which split of a folder of a dataset; empty for the only one."""
    names: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Functions and classes of the user's own, which specs may name."""
    _files: list[Path] = field(default_factory=list, init=False, repr=False, compare=False)
    """The files that `check` found: what is written beside them later is no problem."""
    _known: dict[str, Answers] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Kinds of answers by their specs, so that each is read once and not for each row."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def kind(self) -> str:
        """The spec of the kind of answers, written as its `repr`; empty where it is left to the rows."""
        return literal(self._parsed(self.answers)) if self.answers else ""

    def reading(self, names: Mapping[str, Any]) -> Self:
        """The same file, whose specs may name what is in `names`. Raises `InputError` where its own cannot be read."""
        file = replace(self)
        object.__setattr__(file, "names", names)
        if self.answers:
            file._parsed(self.answers)
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

    def ids(self, limit: int | None = None) -> Iterator[str]:
        """The ids of the first `limit` problems, of which nothing else is looked at."""
        return (self._name(row, number) for number, row in islice(self._rows(), limit))

    def check(self, look: Callable[[Problem], None] | None = None) -> Contents:
        """Read the whole file once, before anything is spent.

        Memory is 8 bytes per problem. Raises `InputError` for what cannot be read, an empty file, or an id that occurs
        twice, and where there are tests and no sandbox to run them in. `look` is called with each problem, and may
        raise `InputError` too.
        """
        digest, filled = blake2b(digest_size=8), blake2b(digest_size=8)
        ids, blank, several, any_tests = array("q"), 0, 0, False
        self._files[:] = find_files(self.path, self.split)
        fields = UsedFields(self.prompt_field, self.answer_field, self.id_field)
        for place, row in self._rows():
            name, prompt, answer, read_as, tests = said = self._said(row, place)
            turns = [turn.fields() for turn in self._turns(row, place)]
            kind = [row[name] for name in KIND_FIELDS if row.get(name) is not None]
            more = [each for each in (turns, tests, kind) if each]
            digest.update(repr((name, prompt, answer, *more)).encode())
            if look or self.system or self.template:
                problem = self._asked(row, place, *said)
                filled.update(repr(problem.prompt if self.template else "").encode())
                _look(look, problem, f"{self.path}, {place}")
            ids.append(hash(name))
            fields.add(row)
            any_tests = any_tests or tests is not None
            several += isinstance(read_as, AnyOf) and answer is not None and len(references_in(answer)) > 1
            blank += answer is None and tests is None and fields.answers(row)
        if not ids:
            raise InputError(f"{self.path}: holds no problems")
        if repeated := _repeated(ids):
            self.refuse_twins(repeated)
        if any_tests:
            from metagen.execution.sandbox import CONFINED  # noqa: PLC0415 (few problems need it)

            CONFINED.check()
        named = self.template.names if self.template else set()
        unused = tuple(name for name in fields.unused if name not in named)
        return Contents(
            len(ids), digest.hexdigest(), unused, blank, several, filled.hexdigest() if self.template else ""
        )

    def _rows(self) -> Rows:
        files = self._files or find_files(self.path, self.split)
        return read_source(files[0]) if len(files) == 1 else _joined(files)

    def _problem(self, row: Mapping[str, Any], place: str) -> Problem:
        return self._asked(row, place, *self._said(row, place))

    def _asked(
        self, row: Mapping[str, Any], place: str, name: str, prompt: str, answer: str | None, kind: Answers,
        tests: str | None,
    ) -> Problem:  # fmt: skip
        """The problem that a row asks, from what it says: with the template and the system turn."""
        tags = {name: str(row[name]) for name in TAG_FIELDS if isinstance(row.get(name), (str, int))}
        turns = self._turns(row, place)
        if self.template:
            prompt = self.template.fill(prompt, row, f"{self.path}, {place}")
        if self.system or turns:
            turns = asking(turns, prompt)
        if self.system:
            turns = with_system(turns, self.system, f"{self.path}, {place}")
        return Problem(name, prompt, answer, tags=tags, answers=kind, messages=turns, tests=tests)

    def _turns(self, row: Mapping[str, Any], place: str) -> Turns:
        """The conversation that a row holds; empty where it holds a question alone."""
        name = self.prompt_field or first_of(row, PROMPT_FIELDS)
        given = row.get(name)
        return read_messages(given, f"{self.path}, {place}: field {name!r}") if _is_talk(name, given) else ()

    def _said(self, row: Mapping[str, Any], place: str) -> tuple[str, str, str | None, Answers, str | None]:
        """The id, the prompt, the reference answer, the kind of answers and the tests."""
        where = f"{self.path}, {place}"
        field, asked = find_field(row, self.prompt_field, PROMPT_FIELDS, where)
        if _is_talk(field, asked):
            asked = question_of(read_messages(asked, f"{where}: field {field!r}"))
        prompt = text_of((field, asked), where, needed=True) or ""
        if field == "Question" and not self.prompt_field and row.get("Body"):
            prompt = _after_body(str(row["Body"]), prompt)
        kind, prompt = self._kind(row, prompt, where)
        name = self._name(row, place)
        if tests := _tests(row, name, where):
            return name, prompt, None, kind, tests
        answer = self._answer(row, kind, where)
        if isinstance(answer, list):
            kind, answer = any_of(kind, answer)
        return name, prompt, answer, kind, None

    def _name(self, row: Mapping[str, Any], place: str) -> str:
        if not self.id_field and isinstance(name := row.get(ID_FIELDS[0]), str) and name:
            return name
        where = f"{self.path}, {place}"
        return text_of(find_field(row, self.id_field, ID_FIELDS, where, needed=False), where) or _place_as_id(place)

    def _kind(self, row: Mapping[str, Any], prompt: str, where: str) -> tuple[Answers, str]:
        """The kind of answers to a row, and its prompt with the choices that it does not list."""
        kind = self._said_kind(row, where)
        if kind is not None and not isinstance(kind, Choice):
            return kind, prompt
        try:
            choices = choices_of(row, kind)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return (kind or MATHS, prompt) if choices is None else (choices, with_choices(prompt, choices))

    def _said_kind(self, row: Mapping[str, Any], where: str) -> Answers | None:
        """The kind of answers that the file or else the row is said to have."""
        if self.answers:
            return self._parsed(self.answers)
        given = None if self.answer_field == "answers" else plain(row.get("answers"))
        if isinstance(given, dict | list):
            raise InputError(
                f"{where}: field 'answers' must be a text that names a kind of answers, such as \"Text()\": for "
                "references give --answer-field answers, or a field 'answer'; of a list any is right"
            )
        spec = text_of(("answers", given), where)
        try:
            return self._parsed(spec) if spec else None
        except InputError as error:
            raise InputError(f"{where}: field 'answers': {error}") from None

    def _parsed(self, spec: str) -> Answers:
        if spec not in self._known:
            if len(self._known) >= KINDS:
                self._known.clear()
            self._known[spec] = parse_answers(spec, self.names)
        return self._known[spec]

    def _answer(self, row: Mapping[str, Any], kind: Answers, where: str) -> str | list[str] | None:
        """The reference, or several of which any is right."""
        field, given = find_field(row, self.answer_field, ANSWER_FIELDS, where, needed=False)
        kind = kind.of if isinstance(kind, AnyOf) else kind
        several = _several(plain(given), kind)
        if several is None:
            return self._reference(field, given, row, kind, where)
        if any(isinstance(each, bool) or not isinstance(plain(each), str | int | float) for each in several):
            raise InputError(
                f"{where}: field {field!r} must be a text or a number, or a list of them of which any is right, not "
                f"{shown(several)}"
            )
        found = [self._reference(field, each, row, kind, where) for each in several]
        if not found:
            raise InputError(f"{where}: field {field!r} is empty; leave it out where there is none")
        return [each for each in dict.fromkeys(found) if each is not None]

    def _reference(self, field: str, given: Any, row: Mapping[str, Any], kind: Answers, where: str) -> str | None:
        if isinstance(kind, Json) and isinstance(given, dict):
            given = json.dumps(given, default=plain)
        if isinstance(kind, Choice) and isinstance(given, int) and not isinstance(given, bool):
            return _choice(kind, given, f"{where}: field {field!r}", named=has_numbers(row))
        answer = text_of((field, given), where)
        if isinstance(kind, Choice) and answer is not None:
            answer = without_label(answer, kind)
        if answer is not None and field == "solution" and not self.answer_field:
            answer = _solved(answer, kind)
        if answer is not None and not isinstance(kind, Text | Json):
            answer = _after_mark(answer)
        if answer is not None and not answer.strip():
            raise InputError(f"{where}: field {field!r} is empty; leave it out where there is none")
        if answer is not None and (wrong := unequalled(answer, kind)):
            raise InputError(f"{where}: field {field!r}: {answer[:40]!r} is {wrong}")
        return answer

    def refuse_twins(self, hashes: set[int]) -> None:
        """Raise `InputError` if an id occurs twice, among those of which `hash` is one of these."""
        first: dict[str, str] = {}
        for place, row in self._rows():
            name = self._name(row, place)
            if hash(name) in hashes and first.setdefault(name, place) != place:
                raise InputError(f"{self.path}, {place}: the id {name!r} occurs twice, first on {first[name]}")


def problem_file(
    path: Path,
    *,
    prompt_field: str | None = None,
    answer_field: str | None = None,
    id_field: str | None = None,
    answers: str | None = None,
    split: str | None = None,
    system: str | None = None,
    template: Path | None = None,
    **_: object,
) -> ProblemFile:
    """The file, read as options say; those of other things are passed over. Raises `InputError` for the template."""
    names = (answer_field,) if answer_field else ANSWER_FIELDS
    return ProblemFile(
        path,
        prompt_field or None,
        answer_field or None,
        id_field or None,
        answers or "",
        system or "",
        read_template(template, names) if template else None,
        split or "",
    )


def _look(look: Callable[[Problem], None] | None, problem: Problem, where: str) -> None:
    try:
        if look:
            look(problem)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _after_mark(answer: str) -> str:
    """What follows the mark of GSM8K on the last line; the answer itself where no such line ends it."""
    _, mark, last = answer.rpartition(GSM8K_MARK)
    last = last.strip()
    return last if mark and "\n" not in last else answer


def _joined(files: Sequence[Path]) -> Rows:
    """The rows of several files, each with the name of its file in its place."""
    above = os.path.commonpath([file.parent for file in files])
    return ((f"{file.relative_to(above)}, {place}", row) for file in files for place, row in read_source(file))


def _place_as_id(place: str) -> str:
    """What a problem without an id is called: by its number, and among several files by its file too."""
    file, _, at = place.rpartition(", ")
    number = at.rpartition(" ")[2]
    return f"{file}:{number}" if file else number


def _is_talk(field: str, value: object) -> bool:
    """Whether a field holds a conversation."""
    return field == MESSAGES or (isinstance(value, list) and any(isinstance(each, dict) for each in value))


def _several(answer: Any, kind: Answers) -> list[Any] | None:
    """Several references: a list, or the object in which SQuAD or TriviaQA keeps them; `None` for a single one."""
    if isinstance(answer, dict) and not isinstance(kind, Json):
        texts, aliases = answer.get("text"), answer.get("aliases")
        if isinstance(texts, list) and "answer_start" in answer:
            return texts
        if isinstance(aliases, list) and "value" in answer:
            return [answer["value"], *aliases]
    return answer if isinstance(answer, list) else None


def _solved(solution: str, kind: Answers) -> str | None:
    """What a solution stands for: the answer that it gives, or itself where it is nothing but an answer."""
    if isinstance(kind, Maths | Number | LastNumber):
        return extract(solution) or alone(solution)
    return (kind.extract(solution) if isinstance(kind, Choice | Label) else None) or solution


def _choice(kind: Choice, given: int, where: str, *, named: bool) -> str:
    """The letter of a choice that is given by its number, from 0, unless the letters are figures.

    Where the choices are numbers themselves, as `named` says, it may be one of them.
    """
    text, letters = str(given), list(kind.letters)
    if text in letters:
        return text
    by_text = letters[kind.texts.index(text)] if named and text in kind.texts else ""
    figures = any(map(str.isdigit, letters))  # then a number is one of them, and no place
    by_place = letters[given] if 0 <= given < len(letters) and not figures else ""
    if not (by_text or by_place):
        offered = f"there is {', '.join(letters)}" if figures else f"there are {len(letters)}, counted from 0"
        raise InputError(f"{where}: there is no choice {given}: {offered}")
    if by_text and by_place and by_text != by_place:
        raise InputError(
            f"{where}: {given} is choice {by_text}, or {by_place} counted from 0: give the letter as a text"
        )
    return by_text or by_place


def _tests(row: Mapping[str, Any], name: str, where: str) -> str | None:
    """The tests of a row."""
    try:
        return tests_of(row, name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _after_body(body: str, question: str) -> str:
    """SVAMP's two parts as one text; the first often lacks its period."""
    body = body.strip()
    return f"{body}{'' if body.endswith(('.', '!', '?', ',')) else '.'} {question}"


def _repeated(hashes: "array[int]") -> set[int]:
    """Those that stand there twice; sorts them in place where they are many."""
    if len(hashes) <= FEW:
        return {one for one, other in pairwise(sorted(hashes)) if one == other}
    import numpy as np  # noqa: PLC0415 (slow to load)

    ordered = np.frombuffer(hashes, dtype=np.int64)
    ordered.sort()
    found: set[int] = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    return found
