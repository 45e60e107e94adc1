from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError
from metagen.disk.templates import Template, read_template, read_toml


def filled(text: str, prompt: str = "3 + 4?", **row: object) -> str:
    return Template(text, Path("t.txt")).fill(prompt, row, "p.jsonl, line 1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Q: {prompt}\nA:", "Q: 3 + 4?\nA:"),
        (r"{prompt} Write \boxed{}.", r"3 + 4? Write \boxed{}."),
        ("{{prompt}} is {prompt}", "{prompt} is 3 + 4?"),
        ("{prompt} {level} {size}", "3 + 4? hard 3"),
        ("{prompt} {1} { x }", "3 + 4? {1} { x }"),
    ],
)
def test_names_in_braces_are_filled_in(text: str, expected: str) -> None:
    assert filled(text, level="hard", size=3) == expected


def test_an_empty_field_is_an_empty_text() -> None:
    assert filled("{prompt} [{hint}]", hint=None) == "3 + 4? []"


def test_what_is_filled_in_is_not_read_again() -> None:
    assert filled("{prompt}{level}", "{level}", level="{prompt}") == "{level}{prompt}"


@given(st.text(), st.text(st.characters(exclude_characters="{}")))
def test_any_text_goes_in_as_it_is(prompt: str, around: str) -> None:
    assert filled(around + "{prompt}" + around, prompt) == around + prompt + around


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"^p.jsonl, line 1: there is no field 'level', which t.txt names"):
        filled("{prompt} {level}")


@pytest.mark.parametrize(
    ("text", "said"),
    [("Solve it.", "does not say where the question goes"), (r"{prompt} \boxed{answer}", "would show the model")],
)
def test_a_template_shows_the_question_and_not_the_reference(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_template(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)


def test_a_template_is_a_file_of_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf{prompt}\n")
    assert read_template(tmp_path / "t.txt").text == "{prompt}"
    (tmp_path / "x.txt").write_bytes(b"\xff{prompt}")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_template(tmp_path / "x.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_template(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a = 1\nb = x\n", r"is not TOML: .*line 2"),
        (b"seed = " + b"1" * 5000, "is not TOML: "),
        (b"seed = " + b"[" * 5000, "is not TOML: "),
        (b"name = '\xff'", "is not UTF-8 text$"),
        (None, "cannot be read: No such file or directory$"),
    ],
)
def test_what_is_no_toml_is_refused_by_the_name_of_its_file(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "plan.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=rf"plan\.toml: {said}"):
        read_toml(path)


def test_toml_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xef\xbb\xbfname = 'a'\n")
    assert read_toml(tmp_path / "plan.toml") == {"name": "a"}
