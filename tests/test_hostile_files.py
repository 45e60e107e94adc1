"""Whatever a pool, a run or a problem file says: a command ends with an exit code and in words, never with a bug."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metagen import cli

PROBLEMS = [{"id": f"p{n}", "prompt": f"What is {n} + {n}?", "answer": str(2 * n), "level": "1"} for n in (1, 2)]
MODELS = """
from metagen import Scripted

def model():
    return Scripted("The answer is 2.")
"""
NUMBERS = ("9" * 4301, "-" + "9" * 4301, "9" * 400, "-1", "1e308", "1e999", "-1e999", "1e-999", "NaN", "-Infinity")
LARGE = ("9007199254740993", "18446744073709551616", '"1e999999999"', '"' + "9" * 5000 + '"')
POWERS = r'"\\boxed{' + "9^{" * 300 + '}"'
TEXTS = (
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\\n"',
    '""',
    '"\\\\boxed{"',
    '"' + "(" * 5000 + '"',
    '"[red]x[/]"',
)
LISTS = ("[]", "[[]]", '[["a"]]', "[NaN, Infinity, -Infinity]", "[1e308, 1e308, 1e308]", "[-1e999]", "[" * 100_000)
NESTED = ("[" * 400 + "]" * 400, '{"a": ' * 400 + "1" + "}" * 400, "null", "true", "{}", '"lost"')
USAGES = ('{"calls": 1e308}', '{"flops": ' + "9" * 400 + "}", '{"completion_tokens": -1}', '{"seconds": NaN}')
HOSTILE = [*NUMBERS, *LARGE, *TEXTS, *LISTS, *NESTED, *USAGES, POWERS, '"[red]x[/]"']
"""Values as they stand in a line: numbers that nothing can hold, texts that cannot be written, nesting, wrong kinds."""
values = st.sampled_from(HOSTILE) | st.text().map(json.dumps) | (st.integers() | st.floats()).map(json.dumps)
lines = st.binary(max_size=40) | st.text().map(lambda text: text.encode(errors="surrogatepass"))


def mutated(row: dict[str, object], field: str, value: str | None) -> bytes:
    """A row with one value that is written as given, or without the field."""
    rest = {name: json.dumps(each) for name, each in row.items() if name != field}
    rest |= {} if value is None else {field: value}
    return ("{" + ", ".join(f"{json.dumps(name)}: {each}" for name, each in rest.items()) + "}\n").encode()


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool and a run, as metagen writes them."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    (folder / "models.py").write_text(MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            run("sample", "problems.jsonl", *LOADED, "--of", "Model(logprobs=True)", "--n", "2", "--out", "pool.jsonl")
            == 0
        )
        assert run("solve", "problems.jsonl", *LOADED, "-s", "Vote(2)", "--out", "run") == 0
    return folder


LOADED = ("--load", "models.py", "--model", "model")
DRAW = ("sample", "problems.jsonl", *LOADED, "--of", "Model(logprobs=True)")
TARGETS = ("pool.jsonl", "run/solutions.jsonl", "run/trace.jsonl", "run/run.json", "problems.jsonl")
COMMANDS: dict[str, tuple[str, ...]] = {
    "play": ("solve", "problems.jsonl", "--model", "pool.jsonl", "-s", "Vote(2)", "--out", "played"),
    "top up": (*DRAW, "--n", "3", "--out", "pool.jsonl"),
    "report on a pool": ("report", "pool.jsonl", "--problems", "problems.jsonl", "--out", "report"),
    "report on a run": ("report", "run", "--problems", "problems.jsonl"),
    "resume": ("solve", "problems.jsonl", *LOADED, "-s", "Vote(2)", "--out", "run"),
}
USED_BY = {
    "pool.jsonl": ("play", "top up", "report on a pool"),
    "problems.jsonl": ("play", "report on a pool", "resume"),
}


def run(*arguments: str) -> int:
    """The exit code of a command in this process; what is no exit is raised."""
    before = sys.argv
    sys.argv = ["metagen", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before


@pytest.fixture
def attempt(templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs all commands that read a file, of which one line is another. Pictures take most of their time."""

    def attempt(target: str, at: int, line: bytes, painted: bool = True) -> None:
        for name in USED_BY.get(target, ("report on a run", "resume")):
            folder = tmp_path / "work"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(templates, folder)
            monkeypatch.chdir(folder)
            if not painted:
                monkeypatch.setattr("metagen.analysis.plots.available", lambda: False)
            kept = (folder / target).read_bytes().splitlines(keepends=True)
            (folder / target).write_bytes(b"".join([*kept[:at], line, *kept[at + 1 :]]))
            assert run(*COMMANDS[name]) in {0, 1, 2}
            monkeypatch.undo()

    return attempt


def fields(templates: Path, target: str) -> list[tuple[int, dict[str, object]]]:
    return [(at, json.loads(line)) for at, line in enumerate((templates / target).read_text().splitlines())]


@pytest.mark.parametrize("target", [target for target in TARGETS if target.endswith("l")])
def test_every_field_with_every_hostile_value(templates: Path, attempt: Callable[..., None], target: str) -> None:
    at, row = max(fields(templates, target), key=lambda item: len(item[1]))
    for field in row:
        for value in [None, *HOSTILE][:: 1 if target == "pool.jsonl" and field in {"text", "tokens"} else 12]:
            attempt(target, at, mutated(row, field, value), painted=field == "tokens")  # they are an axis


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.sampled_from(TARGETS), at=st.integers(0, 3), line=lines)
@example(target="run/run.json", at=0, line=b"[" * 100_000)
@example(target="pool.jsonl", at=9, line=b'{"problem')
def test_any_line_at_all(attempt: Callable[..., None], target: str, at: int, line: bytes) -> None:
    attempt(target, at, line)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), target=st.sampled_from([target for target in TARGETS if target.endswith("l")]), value=values)
def test_any_value_in_any_field(
    templates: Path, attempt: Callable[..., None], data: st.DataObject, target: str, value: str
) -> None:
    at, row = data.draw(st.sampled_from(fields(templates, target)))
    attempt(target, at, mutated(row, data.draw(st.sampled_from([*row, "new"])), value))


def test_ids_and_tags_that_cannot_be_printed(templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a surrogate pair, which no output can hold, in whatever is printed or written."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"\ud800{n}", "prompt": "\udfff?", "answer": "\ud8002", "level": f"\ud800{n}"} for n in range(2)]
    Path("problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copy(templates / "models.py", "models.py")
    for name in ("resume", "report on a run", "top up", "report on a pool", "play", "resume"):
        assert run(*COMMANDS[name]) in {0, 1}, name
    assert Path("report", "table.md").exists()
