import json
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from metagen import AnyOf, Choice, InputError, Json, Label, Maths, Number, Problem, ProblemFile, Text
from metagen.answers.protocol import Answers
from metagen.answers.spec import parse_answers
from metagen.disk import problems
from metagen.disk.problems import Contents
from metagen.disk.templates import Template

DATA = Path(__file__).parents[3] / "shared" / "data" / "problems"


def saved(path: Path, rows: Iterable[Any]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "a", "prompt": "1 + 1?", "answer": "2"}, Problem("a", "1 + 1?", "2")),
        ({"prompt": "1 + 1?"}, Problem("1", "1 + 1?")),
        ({"prompt": "1 + 1?", "answer": None, "id": None}, Problem("1", "1 + 1?")),
        ({"question": "1 + 1?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2"}, Problem("1", "1 + 1?", "2")),
        ({"question": "?", "answer": "#### 3\n#### 1,234"}, Problem("1", "?", "1,234")),
        (
            {"question": "?", "answer": "# A\n#### B\nC", "answers": "Text()"},
            Problem("1", "?", "# A\n#### B\nC", answers=Text()),
        ),
        ({"question": "?", "answer": "# A\n#### B\nC"}, Problem("1", "?", "# A\n#### B\nC")),
        (
            {"question": "?", "answer": "So B.\n#### B", "answers": 'Choice("AB")'},
            Problem("1", "?", "B", answers=Choice("AB")),
        ),
        (
            {
                "problem": "x?",
                "solution": "...",
                "answer": r"\frac12",
                "subject": "Algebra",
                "unique_id": "test/1.json",
            },
            Problem("test/1.json", "x?", r"\frac12"),
        ),
        (
            {"problem": "x?", "level": "Level 3", "solution": r"Well, $\boxed{\frac12}$."},
            Problem("1", "x?", r"\frac12"),
        ),
        ({"problem": "x?", "solution": "Prove it."}, Problem("1", "x?")),
        ({"problem": "x?", "solution": "7"}, Problem("1", "x?", "7")),
        ({"problem": "x?", "solution": 7}, Problem("1", "x?", "7")),
        ({"problem": "x?", "solution": " 7 apples "}, Problem("1", "x?", "7")),
        ({"problem": "x?", "solution": "$x = 3$"}, Problem("1", "x?", "x = 3")),
        ({"problem": "x?", "solution": "12 is what they all said"}, Problem("1", "x?")),
        ({"problem": "x?", "solution": "7\n8"}, Problem("1", "x?")),
        (
            {"problem": "x?", "solution": "yes", "answers": 'Label("yes", "no")'},
            Problem("1", "x?", "yes", answers=Label("yes", "no")),
        ),
        ({"problem": "x?", "solution": "Hello.", "answers": "Text()"}, Problem("1", "x?", "Hello.", answers=Text())),
        (
            {"Body": "Tom has 3 apples ", "Question": "How many?", "Answer": 3.0, "ID": "chal-1"},
            Problem("chal-1", "Tom has 3 apples. How many?", "3"),
        ),
        ({"Body": "Is it?", "Question": "Why?"}, Problem("1", "Is it? Why?")),
        ({"prompt": "?", "answer": 145.0}, Problem("1", "?", "145")),
        ({"prompt": "?", "answer": 0.5}, Problem("1", "?", "0.5")),
        ({"prompt": "?", "answer": -3, "id": 7}, Problem("7", "?", "-3")),
        ({"prompt": 42, "id": 7.0}, Problem("7", "42")),
        ({"prompt": "?", "answer": 0, "id": ""}, Problem("1", "?", "0")),
        ({"prompt": None, "question": "?", "id": None, "unique_id": "a"}, Problem("a", "?")),
        ({"problem": "x?", "answer": None, "solution": r"Well, $\boxed{7}$."}, Problem("1", "x?", "7")),
        ({"problem": "x?", "answer": float("nan"), "solution": "7"}, Problem("1", "x?", "7")),
        ({"prompt": " Größe\u2028日本 ", "id": "ñ"}, Problem("ñ", " Größe\u2028日本 ")),
    ],
)
@pytest.mark.parametrize("name", ["problems.jsonl", "problems.json"])
def test_the_usual_fields_are_found(tmp_path: Path, name: str, row: dict[str, Any], problem: Problem) -> None:
    assert list(ProblemFile(saved(tmp_path / name, [row]))) == [problem]


def test_parquet_is_read_as_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "problems.parquet"
    rows = [{"question": f"{n} + 1?", "answer": f"so\n#### {n + 1}"} for n in range(3000)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    every = list(ProblemFile(path))
    assert every[2999] == Problem("3000", "2999 + 1?", "3000")
    assert ProblemFile(path).check().total == 3000


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"promt": "?"}], "problems.parquet, row 1: there is no field 'prompt'"),
        ([{"prompt": "?", "answer": [[1]]}], "problems.parquet, row 1: field 'answer' must be a text or a number"),
        ([{"prompt": "?"}, {"prompt": None}], "problems.parquet, row 2: field 'prompt' must be"),
        ([], "problems.parquet: holds no problems"),
    ],
)
def test_a_bad_row_of_parquet_is_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    path = tmp_path / "problems.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    with pytest.raises(InputError, match=said):
        ProblemFile(path).check()


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "problems.parquet").write_text('{"prompt": "?"}')
    with pytest.raises(InputError, match=r"problems\.parquet: cannot be read as Parquet"):
        ProblemFile(tmp_path / "problems.parquet").check()


def test_level_and_subject_are_tags_that_make_no_other_problem(tmp_path: Path) -> None:
    path = tmp_path / "tagged.jsonl"
    row = {"id": "a", "prompt": "?", "level": 3, "subject": "Algebra", "type": ["no", "text"]}
    path.write_text(json.dumps(row))
    (problem,) = ProblemFile(path)
    assert problem.tags == {"level": "3", "subject": "Algebra"}
    assert problem == Problem("a", "?")
    assert hash(problem) == hash(Problem("a", "?"))
    assert problem.asking("!").tags == problem.tags
    tagged = ProblemFile(path).check()
    path.write_text(json.dumps({"id": "a", "prompt": "?"}))
    assert ProblemFile(path).check() == tagged


@pytest.mark.parametrize(("name", "count"), [("gsm8k_test", 1319), ("math500", 500), ("svamp", 1000)])
def test_public_files_are_read_as_they_come(name: str, count: int) -> None:
    if not DATA.exists():
        pytest.skip("needs the public files")
    every = list(ProblemFile(DATA / f"{name}.jsonl"))
    assert len(every) == count
    assert all(problem.prompt and problem.answer for problem in every)


def test_fields_can_be_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "svamp.jsonl", [{"prompt": "no", "Q": "1 + 1?", "A": 2.0, "key": "k", "id": "no"}])
    file = ProblemFile(path, prompt_field="Q", answer_field="A", id_field="key")
    assert list(file) == [Problem("k", "1 + 1?", "2")]


def test_without_an_id_a_problem_is_called_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('\n{"prompt": "a"}\n\n{"prompt": "b", "id": "x"}\n{"prompt": "c"}\n')
    assert [problem.id for problem in ProblemFile(path)] == ["2", "x", "5"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("problems") / "problems.jsonl"


texts = st.text(st.characters(exclude_categories=())).filter(str.strip)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, st.none() | texts.filter(lambda text: "####" not in text))))
def test_any_text_comes_through_as_it_is(scratch: Path, rows: list[tuple[str, str | None]]) -> None:
    saved(scratch, ({"prompt": prompt, "answer": answer} for prompt, answer in rows))
    assert [(problem.prompt, problem.answer) for problem in ProblemFile(scratch)] == rows


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
def test_a_number_that_is_none_is_no_reference_and_no_id(tmp_path: Path, name: str, number: str) -> None:
    row = f'{{"prompt": "?", "answer": {number}, "id": {number}}}'
    (tmp_path / name).write_text(f"[{row}]" if name.endswith(".json") else row)
    assert list(ProblemFile(tmp_path / name)) == [Problem("1", "?")]
    assert ProblemFile(tmp_path / name).check().blank == 1


def test_a_solution_is_the_answer_itself_where_it_is_named_as_such(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.jsonl", [{"prompt": "?", "solution": "Prove it."}])
    assert next(iter(ProblemFile(path, answer_field="solution"))).answer == "Prove it."


@pytest.mark.parametrize(
    ("row", "named", "unused"),
    [
        ({"prompt": "?", "answer": 1, "id": 2, "level": 3, "answers": "Number()"}, {}, ()),
        ({"prompt": "?", "image": "cat.png", "test": "assert f(1)"}, {}, ("image", "test")),
        ({"problem": "?", "solution": "Well.", "answer": 1}, {}, ("solution",)),
        ({"problem": "?", "solution": "7", "answer": None}, {}, ()),
        ({"Body": "B.", "Question": "?"}, {}, ()),
        ({"Body": "B.", "question": "?"}, {}, ("Body",)),
        ({"prompt": "?", "Q": "?", "id": 1, "key": 2}, {"prompt_field": "Q", "id_field": "key"}, ("prompt", "id")),
        ({"prompt": "?", "choices": ["x", "y"]}, {}, ()),
    ],
)
def test_fields_that_nothing_reads_are_told(
    tmp_path: Path, row: dict[str, Any], named: dict[str, Any], unused: tuple[str, ...]
) -> None:
    path = saved(tmp_path / "p.jsonl", [row | {"id": 1}, row] if "id" not in row else [row])
    assert ProblemFile(path, **named).check().unused == unused


def test_answers_that_are_none_are_counted(tmp_path: Path) -> None:
    rows = [{"problem": "?", "solution": each} for each in ("7", "Prove it.", None, r"\boxed{2}")]
    assert ProblemFile(saved(tmp_path / "p.jsonl", rows)).check().blank == 1
    assert (
        ProblemFile(saved(tmp_path / "p.jsonl", [{"prompt": "?"}, {"prompt": "!", "answer": None}])).check().blank == 0
    )


@pytest.mark.parametrize("answers", ['Label("x", "y")', ""])
def test_a_spec_of_answers_is_read_once_for_all_rows(
    tmp_path: Path, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(spec: str, names: Mapping[str, Any]) -> Answers:
        read.append(spec)
        return parse_answers(spec, names)

    monkeypatch.setattr(problems, "parse_answers", noted)
    row = {"prompt": "?", "answer": "x"} | ({} if answers else {"answers": 'Label("x", "y")'})
    path = saved(tmp_path / "p.jsonl", [row] * 50)
    file = ProblemFile(path, answers=answers).reading({})
    assert len(list(file)) == file.check().total == 50
    assert read == ['Label("x", "y")']


GOOD = b'{"prompt": "?"}\n'
USUAL = "'prompt' or 'question' or 'problem' or 'Question' or 'text' or 'messages'"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "{}",
            f"there is no field {USUAL}; there is nothing",
        ),
        (
            '{"promt": "?"}',
            f"there is no field {USUAL}; there is 'promt': name the one that holds the prompt (--prompt-field)",
        ),
        ('{"prompt": ""}', "field 'prompt' is empty"),
        ('{"question": " \\n"}', "field 'question' is empty"),
        ('{"prompt": null}', "field 'prompt' must be a text or a number, not null"),
        ('{"prompt": ["?"]}', """field 'prompt' must be a text or a number, not ["?"]"""),
        ('{"prompt": true}', "field 'prompt' must be a text or a number, not true"),
        ('{"prompt": "?", "answer": {"n": 1}}', """field 'answer' must be a text or a number, not {"n": 1}"""),
        (
            '{"prompt": "?", "answer": [1, true]}',
            "field 'answer' must be a text or a number, or a list of them of which any is right, not [1, true]",
        ),
        (
            '{"prompt": "?", "answer": ["1", null]}',
            """field 'answer' must be a text or a number, or a list of them of which any is right, not ["1", null]""",
        ),
        ('{"prompt": "?", "answer": []}', "field 'answer' is empty; leave it out where there is none"),
        ('{"prompt": "?", "answer": ["1", " "]}', "field 'answer' is empty; leave it out where there is none"),
        (
            '{"prompt": "?", "answer": ["A", "E"], "choices": ["u", "v"]}',
            "field 'answer': 'E' is none of the choices A, B",
        ),
        ('{"prompt": "?", "answer": false}', "field 'answer' must be a text or a number, not false"),
        ('{"prompt": "?", "answer": ""}', "field 'answer' is empty; leave it out where there is none"),
        (
            '{"prompt": "?", "answer": "I do not know ####"}',
            "field 'answer' is empty; leave it out where there is none",
        ),
        ('{"prompt": "?", "id": []}', "field 'id' must be a text or a number, not []"),
        ('{"prompt": "?", "unique_id": {}}', "field 'unique_id' must be a text or a number, not {}"),
    ],
)
@pytest.mark.parametrize("name", ["bad.jsonl", "bad.json"])
def test_a_bad_field_is_named_with_its_place(tmp_path: Path, name: str, line: str, said: str) -> None:
    path = saved(tmp_path / name, [{"prompt": "?"}, json.loads(line)])
    place = "item 2" if name.endswith(".json") else "line 2"
    assert complaint(ProblemFile(path)) == f"{path}, {place}: {said}"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.jsonl", b"", ": holds no problems"),
        ("bad.jsonl", b"\n \n", ": holds no problems"),
        ("bad.json", b"[]", ": holds no problems"),
        ("bad.jsonl", GOOD + b"{prompt}\n", ", line 2: is not JSON"),
        ("bad.jsonl", GOOD + b'{"prompt": "a', ", line 2: is not JSON"),
        ("bad.jsonl", GOOD + b'{"prompt": "\xe9"}', ", line 2: is not UTF-8"),
        ("bad.jsonl", GOOD + b'["prompt"]\n', ", line 2: must be a JSON object"),
        ("bad.jsonl", GOOD + b"[" * 9**5, ", line 2: is nested too deeply"),
        ("bad.jsonl", b"[" * 9**5, ": is not a JSON file"),
        ("bad.jsonl", b'[\n{"prompt": ""}\n]', ", item 1: field 'prompt' is empty"),
        ("bad.csv", b"promt,answer\n1 + 1?,2\n", ", row 1: there is no field 'prompt'"),
        ("bad.json", b"", ": is not a JSON file"),
        ("bad.json", b"{", ": is not a JSON file"),
        ("bad.json", b'["\xe9"]', ": is not a JSON file"),
        ("bad.json", b"[" * 9**5, ": is not a JSON file"),
        ("bad.json", GOOD + b"{}", ", line 2: there is no field 'prompt'"),
        ("bad.json", b'[{"prompt": "?"}, "?"]', ", item 2: must be an object, not str"),
        ("bad.json", b"3", ": must hold a list of problems"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, name: str, text: bytes, said: str) -> None:
    (path := tmp_path / name).write_bytes(text)
    assert complaint(ProblemFile(path)).startswith(f"{path}{said}")


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.json", "no/folder.jsonl", "n" * 300])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    assert complaint(ProblemFile(tmp_path / name)) == f"{tmp_path / name}: there is no such file"


@pytest.mark.parametrize("name", ["folder", "folder.json"])
def test_a_folder_without_data_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert "is a folder without JSON Lines" in complaint(ProblemFile(tmp_path / name))


@pytest.mark.parametrize("field", ["prompt_field", "answer_field", "id_field"])
def test_a_named_field_must_be_there(tmp_path: Path, field: str) -> None:
    path = saved(tmp_path / "p.jsonl", [{"prompt": "?", "answer": 1, "id": 2}])
    fields: dict[str, Any] = {field: "X"}
    said = complaint(ProblemFile(path, **fields))
    assert said == f"{path}, line 1: there is no field 'X'; there is 'prompt', 'answer', 'id'"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "b"}], "line 3: the id 'a' occurs twice, first on line 1"),
        ([{"id": 7}, {"id": "7"}], "line 2: the id '7' occurs twice, first on line 1"),
        ([{"id": "2"}, {}], "line 2: the id '2' occurs twice, first on line 1"),
    ],
)
@pytest.mark.parametrize("few", [0, problems.FEW])
def test_an_id_that_occurs_twice_is_named_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], said: str, few: int
) -> None:
    monkeypatch.setattr(problems, "FEW", few)
    path = saved(tmp_path / "p.jsonl", ({"prompt": "?"} | row for row in rows))
    assert complaint(ProblemFile(path)) == f"{path}, {said}"


def complaint(file: ProblemFile) -> str:
    with pytest.raises(InputError) as error:
        file.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_digest_tells_files_apart_by_what_is_asked(tmp_path: Path) -> None:
    row = {"id": "a", "prompt": "?", "answer": "2"}
    same = {"note": "not asked", "question": "?", "answer": 2.0, "unique_id": "a"}
    others: list[dict[str, Any]] = [
        row | {"id": "b"},
        row | {"prompt": "!"},
        row | {"answer": "3"},
        row | {"answer": None},
    ]
    contents = ProblemFile(saved(tmp_path / "p.jsonl", [row])).check()
    digest = contents.digest
    assert contents == Contents(1, digest)
    assert ProblemFile(saved(tmp_path / "q.json", [same])).check() == Contents(1, digest, unused=("note",))
    digests = {ProblemFile(saved(tmp_path / "q.jsonl", [other])).check().digest for other in others}
    assert len(digests - {digest}) == len(others)


def test_reading_takes_no_memory_and_checking_8_bytes_a_problem(tmp_path: Path) -> None:
    count = 11_000
    path = saved(tmp_path / "long.jsonl", ({"prompt": f"What is {n} + {n}, and why is it so?"} for n in range(count)))
    assert peak_of(lambda: deque(ProblemFile(path), maxlen=1)) < 250_000
    assert peak_of(ProblemFile(path).check) < 250_000 + 9 * count


def peak_of(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "count"), [("gsm8k_test.jsonl", 1319), ("math500.jsonl", 500)])
def test_the_files_of_the_field_are_read(name: str, count: int) -> None:
    if not (DATA / name).exists():
        pytest.skip("needs the data of the field")
    assert ProblemFile(DATA / name).check().total == count
    assert all(problem.answer and "#" not in problem.answer for problem in ProblemFile(DATA / name))


COLOURS = Choice("ABC", texts=("red", "blue", "green"))
LISTED = "Which?\nA) red\nB) blue\nC) green"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "?"}, Problem("1", "?", answers=Maths())),
        ({"prompt": "?", "answers": "Number()"}, Problem("1", "?", answers=Number())),
        ({"prompt": "?", "answers": None}, Problem("1", "?")),
        (
            {"prompt": "Which?", "choices": ["red", "blue", "green"], "answer": "B"},
            Problem("1", LISTED, "B", answers=COLOURS),
        ),
        (
            {"prompt": "Which?", "choices": ["red", "blue", "green"], "answer": "blue"},
            Problem("1", LISTED, "blue", answers=COLOURS),
        ),
        (
            {"question": "Which?", "choices": ["red", "blue", "green"], "answer": 1},
            Problem("1", LISTED, "B", answers=COLOURS),
        ),
        (
            {"prompt": "Which?", "options": {"A": "red", "B": "blue", "C": "green"}},
            Problem("1", LISTED, answers=COLOURS),
        ),
        ({"prompt": LISTED, "choices": ["red", "blue", "green"]}, Problem("1", LISTED, answers=COLOURS)),
        (
            {"prompt": "Which? (A) red (B) blue (C) green", "choices": ["red", "blue", "green"]},
            Problem("1", "Which? (A) red (B) blue (C) green", answers=COLOURS),
        ),
        (
            {"prompt": "What is 12 + 34 - 43?", "choices": ["1", "2", "3", "4"], "answer": 2},
            Problem(
                "1",
                "What is 12 + 34 - 43?\nA) 1\nB) 2\nC) 3\nD) 4",
                "C",
                answers=Choice("ABCD", texts=("1", "2", "3", "4")),
            ),
        ),
        (
            {"prompt": "Is it red, blue or green?", "choices": ["red", "blue", "green"]},
            Problem("1", "Is it red, blue or green?\nA) red\nB) blue\nC) green", answers=COLOURS),
        ),
        (
            {"prompt": "Which?", "choices": ["A. Lincoln", "C. Elegans"], "answer": "A. Lincoln"},
            Problem(
                "1",
                "Which?\nA) A. Lincoln\nB) C. Elegans",
                "A. Lincoln",
                answers=Choice("AB", texts=("A. Lincoln", "C. Elegans")),
            ),
        ),
        (
            {"prompt": "?", "answers": 'Choice("ABCD")', "answer": 2},
            Problem("1", "?", "C", answers=Choice("ABCD")),
        ),
        (
            {"prompt": "Two?", "answers": 'Choice("12")', "choices": ["x", "y"], "answer": 2},
            Problem("1", "Two?\n1) x\n2) y", "2", answers=Choice("12", texts=("x", "y"))),
        ),
        (
            {"prompt": "Two?", "answers": 'Choice("1234")', "choices": ["x", "y"], "answer": 2},
            Problem("1", "Two?\n1) x\n2) y", "2", answers=Choice("12", texts=("x", "y"))),
        ),
        (
            {"prompt": "Two?", "answers": 'Choice("PQ")', "choices": ["x", "y", "z"], "answer": "C"},
            Problem("1", "Two?\nA) x\nB) y\nC) z", "C", answers=Choice("ABC", texts=("x", "y", "z"))),
        ),
        (
            {"prompt": "?", "answers": 'Choice("AB")', "choices": {"text": ["x", "y"], "label": ["1", "2"]}},
            Problem("1", "?\n1) x\n2) y", None, answers=Choice("12", texts=("x", "y"))),
        ),
        (
            {"prompt": "Two?", "answers": 'Choice("AB")', "options": {"a": "x", "b": "y"}, "answer": "b"},
            Problem("1", "Two?\nA) x\nB) y", "b", answers=Choice("AB", texts=("x", "y"))),
        ),
        (
            {"prompt": "Two?", "choices": [10, 20], "answer": 20},
            Problem("1", "Two?\nA) 10\nB) 20", "B", answers=Choice("AB", texts=("10", "20"))),
        ),
        (
            {"prompt": "Two?", "choices": [0, 1], "answer": 1},
            Problem("1", "Two?\nA) 0\nB) 1", "B", answers=Choice("AB", texts=("0", "1"))),
        ),
        (
            {"prompt": "Three?", "options": ["A)6", "B)7", "(C) 8"], "answer": "B"},
            Problem("1", "Three?\nA) 6\nB) 7\nC) 8", "B", answers=Choice("ABC", texts=("6", "7", "8"))),
        ),
        (
            {"prompt": "Two?", "choices": ["a.m.", "b.m."], "answer": "A"},
            Problem("1", "Two?\nA) a.m.\nB) b.m.", "A", answers=Choice("AB", texts=("a.m.", "b.m."))),
        ),
        (
            {"prompt": "Two?", "choices": {"1": "1.5", "2": "2.5"}, "answer": "1"},
            Problem("1", "Two?\n1) 1.5\n2) 2.5", "1", answers=Choice("12", texts=("1.5", "2.5"))),
        ),
        (
            {"prompt": "Three?", "options": {"A": "A. six", "B": "B. seven"}, "answer": "B. seven"},
            Problem("1", "Three?\nA) six\nB) seven", "seven", answers=Choice("AB", texts=("six", "seven"))),
        ),
        (
            {"prompt": "?", "answers": 'Label("yes", "no")', "answer": "Yes."},
            Problem("1", "?", "Yes.", answers=Label("yes", "no")),
        ),
        (
            {"prompt": "?", "answers": 'Json("a")', "answer": '{"b": 2, "a": 1} '},
            Problem("1", "?", '{"b": 2, "a": 1} ', answers=Json("a")),
        ),
        (
            {"prompt": "?", "answers": "Number()", "answer": r"0.\overline{3}"},
            Problem("1", "?", r"0.\overline{3}", answers=Number()),
        ),
        (
            {"prompt": "Two?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": "2"},
            Problem("1", "Two?\n1) x\n2) y", "2", answers=Choice("12", texts=("x", "y"))),
        ),
        (
            {"prompt": "Two?", "choices": ["x", "y"], "answers": 'Label("x", "y")', "answer": "y"},
            Problem("1", "Two?", "y", answers=Label("x", "y")),
        ),
        ({"prompt": "?", "answers": 'Json("a")', "answer": {"a": 1}}, Problem("1", "?", '{"a": 1}', answers=Json("a"))),
    ],
)
@pytest.mark.parametrize("name", ["problems.jsonl", "problems.json"])
def test_a_row_says_what_its_answers_are(tmp_path: Path, name: str, row: dict[str, Any], problem: Problem) -> None:
    assert list(ProblemFile(saved(tmp_path / name, [row]))) == [problem]


def test_the_answers_of_a_file_go_before_those_of_its_rows(tmp_path: Path) -> None:
    path = saved(tmp_path / "problems.jsonl", [{"prompt": "?", "answers": "Number()"}])
    assert [problem.answers for problem in ProblemFile(path, answers='Label("x", "y")')] == [Label("x", "y")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "?", "answers": "Numbr()"}, "line 1: field 'answers': 'Numbr' is not known: did you mean Number"),
        ({"prompt": "?", "answers": ["a"]}, "line 1: field 'answers' must be a text that names a kind of answers"),
        (
            {"prompt": "?", "answers": {"text": ["a"]}},
            "line 1: field 'answers' must be a text that names a kind of answers",
        ),
        ({"prompt": "?", "choices": ["x"]}, "line 1: field 'choices': there are 1 choices"),
        ({"prompt": "?", "choices": "xy"}, "line 1: field 'choices' must be a list of texts, not str"),
        ({"prompt": "?", "choices": ["x", None]}, "line 1: field 'choices' must hold texts"),
        ({"prompt": "?", "options": {"A": "x", "AB": "y"}}, "line 1: field 'options': a choice is named by one letter"),
        ({"prompt": "?", "choices": ["x", "y"], "answer": 2}, "line 1: field 'answer': there is no choice 2"),
        (
            {"prompt": "?", "choices": [1, 2, 3, 4], "answer": 3},
            "line 1: field 'answer': 3 is choice C, or D counted from 0",
        ),
        (
            {"prompt": "?", "choices": ["x", "y"], "answer": "z"},
            "line 1: field 'answer': 'z' is none of the choices A, B",
        ),
        (
            {"prompt": "?", "answers": 'Choice("ABCD")', "answer": "Paris"},
            "line 1: field 'answer': 'Paris' is none of the choices A, B, C, D",
        ),
        (
            {"prompt": "?", "answers": 'Choice("ABCD")', "answer": 4},
            "line 1: field 'answer': there is no choice 4",
        ),
        (
            {"prompt": "?", "answers": 'Choice("1234")', "answer": "12"},
            "line 1: field 'answer': '12' is none of the choices 1, 2, 3, 4",
        ),
        ({"prompt": "?", "answers": 'Choice("1234")', "answer": 12}, "line 1: field 'answer': there is no choice 12"),
        (
            {"prompt": "?", "answers": 'Choice("1234")', "choices": ["w", "x", "y", "z"], "answer": 0},
            "line 1: field 'answer': there is no choice 0: there is 1, 2, 3, 4",
        ),
        (
            {"prompt": "?", "answers": 'Label("positive", "negative")', "answer": "pos"},
            "line 1: field 'answer': 'pos' is none of the labels positive, negative",
        ),
        (
            {"prompt": "?", "answers": 'Label("positive", "negative")', "answer": 1},
            "line 1: field 'answer': '1' is none of the labels positive, negative",
        ),
        (
            {"prompt": "?", "answers": 'Label("positive", "negative")', "solution": "It is bad."},
            "line 1: field 'solution': 'It is bad.' is none of the labels positive, negative",
        ),
        (
            {"prompt": "?", "answers": 'Json("name")', "answer": "Bob"},
            "line 1: field 'answer': 'Bob' is no JSON object with one of the fields 'name'",
        ),
        (
            {"prompt": "?", "answers": 'Json("name", "age")', "answer": {"n": "Bob"}},
            "line 1: field 'answer': '{\"n\": \"Bob\"}' is no JSON object with one of the fields 'name', 'age'",
        ),
        ({"prompt": "?", "answers": "Json()", "answer": "[1]"}, "line 1: field 'answer': '[1]' is no JSON object"),
        ({"prompt": "?", "answers": "Number()", "answer": "x+1"}, "line 1: field 'answer': 'x+1' is no number"),
        ({"prompt": "?", "answers": "LastNumber()", "answer": "Paris"}, "line 1: field 'answer': 'Paris' is no number"),
        (
            {"prompt": "?", "choices": {"text": ["x", "y"], "label": None}},
            "line 1: field 'choices' must hold two lists, 'text' and 'label'",
        ),
        (
            {"prompt": "?", "choices": {"text": None, "label": ["A", "B"]}},
            "line 1: field 'choices' must hold two lists, 'text' and 'label'",
        ),
        (
            {"prompt": "?", "choices": {"text": "xy", "label": "AB"}},
            "line 1: field 'choices' must hold two lists, 'text' and 'label'",
        ),
    ],
)
def test_bad_answers_and_choices_are_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = saved(tmp_path / "problems.jsonl", [row])
    with pytest.raises(InputError) as refused:
        ProblemFile(path).check()
    assert f"problems.jsonl, {said}" in str(refused.value)


TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]


@pytest.mark.parametrize("field", ["messages", "prompt", "question"])
def test_a_row_may_hold_a_conversation(tmp_path: Path, field: str) -> None:
    path = saved(tmp_path / "p.jsonl", [{"id": "a", field: TALK, "answer": 2}])
    assert list(ProblemFile(path)) == [Problem("a", messages=TALK, answer="2")]


def test_a_conversation_counts_in_the_digest(tmp_path: Path) -> None:
    rows = [TALK, [TALK[0] | {"content": "Be long."}, TALK[1]], TALK[1:]]
    digests = {ProblemFile(saved(tmp_path / "p.jsonl", [{"messages": row}])).check().digest for row in rows}
    assert len(digests) == 3


def test_a_conversation_that_is_none_is_named_with_its_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.jsonl", [{"messages": TALK}, {"messages": TALK[:1]}])
    said = complaint(ProblemFile(path))
    assert said.startswith(f"{path}, line 2: field 'messages': there is no turn of the user's")


def test_a_system_turn_and_a_template_go_around_every_question(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.jsonl", [{"prompt": "1 + 1?", "level": "easy"}, {"messages": TALK[1:], "level": "hard"}])
    file = ProblemFile(path, system="Be brief.", template=Template("{prompt} ({level})", Path("t.txt")))
    first, second = file
    assert (first.prompt, second.prompt) == ("1 + 1? (easy)", "1 + 1? (hard)")
    assert [turn.content for turn in (*first.before, *second.before)] == ["Be brief.", "Be brief."]
    assert file.check().digest == ProblemFile(path).check().digest
    path = saved(tmp_path / "q.jsonl", [{"messages": TALK, "level": "hard"}])
    assert complaint(ProblemFile(path, system="x")).startswith(f"{path}, line 1: has a system turn already")


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    path = saved(tmp_path / "problems.jsonl", [{"prompt": "1 + 1?"}])
    assert ProblemFile(str(path)) == ProblemFile(path)  # type: ignore[arg-type]
    assert [each.prompt for each in ProblemFile(str(path))] == ["1 + 1?"]  # type: ignore[arg-type]


def test_of_several_references_any_is_right(tmp_path: Path) -> None:
    path = tmp_path / "several.jsonl"
    rows = [
        {"prompt": "Who?", "answer": ["Bell", "A. G. Bell", "Bell"], "answers": "Text()"},
        {"prompt": "1 + 1?", "answer": ["so #### 2"]},
        {"prompt": "Which?", "answer": ["(B)", "w"], "choices": ["u", "v", "w"]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    file = ProblemFile(path)
    assert [(each.answers, each.answer) for each in file] == [
        (AnyOf(of=Text()), '["Bell", "A. G. Bell"]'),
        (Maths(), "2"),
        (AnyOf(of=Choice("ABC", texts=("u", "v", "w"))), '["(B)", "w"]'),
    ]
    assert (file.check().several, file.check().total) == (2, 3)
    assert ProblemFile(path, answers="AnyOf()").check().several == 2
    path.write_text(json.dumps({"q": "Who?", "answers": ["Bell", "Gray"]}))
    with pytest.raises(InputError, match="for references give --answer-field answers, or a field 'answer'; of a list"):
        list(ProblemFile(path, "q"))
    file = ProblemFile(path, "q", "answers", answers="AnyOf(of=Text())")
    assert file.check().several == 1
    (problem,) = file
    assert (problem.answers, problem.answer) == (AnyOf(of=Text()), '["Bell", "Gray"]')


@pytest.mark.parametrize(
    ("answer", "kind", "reference"),
    [
        (
            {"text": ["Bell", "A. G. Bell", "Bell"], "answer_start": [3, 40, 3]},
            "AnyOf(of=Text())",
            '["Bell", "A. G. Bell"]',
        ),
        ({"text": ["Bell"], "answer_start": [3]}, "Text()", "Bell"),
        (
            {
                "value": "Bell",
                "aliases": ["A. G. Bell", "Bell"],
                "normalized_aliases": ["a g bell", "bell"],
                "type": "x",
            },
            "AnyOf(of=Text())",
            '["Bell", "A. G. Bell"]',
        ),
        ({"value": "Bell", "aliases": []}, "Text()", "Bell"),
        ([1876, "1877"], "AnyOf(of=Text())", '["1876", "1877"]'),
        ([1876.0], "Text()", "1876"),
    ],
)
def test_references_of_squad_and_triviaqa_and_numbers_are_several(
    tmp_path: Path, answer: object, kind: str, reference: str
) -> None:
    path = saved(tmp_path / "problems.jsonl", [{"question": "Who?", "answer": answer}])
    (problem,) = ProblemFile(path, answers="Text()")
    assert (repr(problem.answers), problem.answer) == (kind, reference)
    path = saved(tmp_path / "problems.jsonl", [{"question": "Who?", "answers": answer}])
    assert [each.answer for each in ProblemFile(path, answer_field="answers", answers="Text()")] == [reference]


def test_numbers_of_a_list_are_letters_of_choices_by_their_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "problems.jsonl", [{"question": "Which?", "choices": ["u", "v", "w"], "answer": [0, 2]}])
    assert [each.answer for each in ProblemFile(path)] == ['["A", "C"]']


def test_an_object_is_the_reference_of_json(tmp_path: Path) -> None:
    answer = {"text": ["x"], "answer_start": [3]}
    path = saved(tmp_path / "problems.jsonl", [{"question": "?", "answer": answer}])
    assert [each.answer for each in ProblemFile(path, answers='Json("text")')] == [json.dumps(answer)]


@pytest.mark.parametrize("answer", [{"text": "x"}, {"value": "x"}, {"text": ["x"]}, {"text": [], "answer_start": []}])
def test_other_objects_are_refused(tmp_path: Path, answer: object) -> None:
    path = saved(tmp_path / "problems.jsonl", [{"question": "?", "answer": answer}])
    with pytest.raises(InputError, match=r"line 1: field 'answer' (must be a text or a number|is empty)"):
        list(ProblemFile(path))
