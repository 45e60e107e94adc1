"""Text that others wrote neither steers the terminal nor is read as markup, whatever command prints it."""

import json
import re
import sys
import warnings
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table

from metagen.analysis.sheet import Sheet
from metagen.analysis.tally import Tally
from metagen.budget import Account, Usage
from metagen.cli import console
from metagen.cli.console import Terminal, tables_of
from metagen.cli.jobs import summary
from metagen.cli.visible import guard_interpreter, visible
from metagen.solution import Solution
from tests import test_cli
from tests.test_cli import Command, Result, lines

folder, metagen = test_cli.folder, test_cli.metagen

HOSTILE = [
    "\x1b[2J\x1b[H",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;file:evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0=\x07",
    "\x1bP0;1|17\x1b\\",
    "\x1bc",
    "\x9b31mC1",
    "\x9d0;title\x9c",
    "\x90q\x9c",
    "\x85next",
    "a\rb",
    "a\x08\x08b",
    "a\x07b",
    "a\x0b\x0cb",
    "a\x00b",
    "a\x7fb",
    "\u202egnp.exe",
    "\u202a\u202b\u202c\u202dab",
    "\u2066a\u2067b\u2068c\u2069",
    "a\u200db\u200cc",
    "a\u200bb\ufeffc\u2060d",
    "a\u200eb\u200fc\u061cd",
    "a\u2028b\u2029c",
    "a\udc80b",
    "a\U000e0041b",
    "[bold red]a[/bold red]",
    "[/]",
    "[link=file:evil]a[/link]",
    ":skull:",
]
STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
NO_NAME = re.compile("[\x00/]")
"""What no file's name and no argument can hold."""


@pytest.fixture(params=HOSTILE, ids=ascii)
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["".join(HOSTILE[:-4]), "".join(HOSTILE[-4:])], ids=["that steer", "of markup"])
def all_hostile(request: pytest.FixtureRequest) -> str:
    """The texts of a kind in one, for tests of commands: each text alone is tried on what they print with."""
    return str(request.param)


def shown(text: str) -> str:
    """How a terminal must show it: control characters as escapes, markup as it is written."""
    return STEERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, StringIO]:
    """A console over a terminal, and what is written to it."""
    monkeypatch.setenv("TERM", "xterm")  # a dumb one shows no status
    file = StringIO()
    return Terminal(file=file, width=200, color_system=None, force_terminal=True), file


def test_a_hostile_text_is_made_visible(hostile: str) -> None:
    assert visible(hostile) == shown(hostile)
    assert not STEERS.search(visible(hostile))
    assert visible(visible(hostile)) == visible(hostile)


def test_letters_that_show_nothing_are_made_visible() -> None:
    assert visible("a\u3164b\u115f\u2800\U000e0100") == r"a\u3164b\u115f\u2800\U000e0100"
    assert visible("\u2065\ufff0\ufff8\U000e0080\U000e00ff\U000e0fff") == (
        r"\u2065\ufff0\ufff8\U000e0080\U000e00ff\U000e0fff"
    )


def test_a_selector_is_kept_where_it_makes_an_emoji() -> None:
    assert visible("\ufe0fa\ufe0f \ufe0e\u0301\ufe0f") == "\\ufe0fa\\ufe0f \\ufe0e\u0301\\ufe0f"
    emoji = "\u2139\ufe0f \u00a9\ufe0e \u203c\ufe0f 1\ufe0f\u20e3 \U0001f3f3\ufe0f"
    assert visible(emoji) == emoji


def test_joiners_are_kept_where_they_join() -> None:
    emoji = "\U0001f468\u200d\U0001f4bb \U0001f469\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525"
    joined = f"{emoji} می\u200cخواهم क्\u200dष"
    assert visible(joined) == joined
    assert visible("a\u200c 1\u200d2 \u200d\u2764 \u2764\u200da") == "a\\u200c 1\\u200d2 \\u200d\u2764 \u2764\\u200da"


@pytest.mark.parametrize("text", ["\u2764\ufe0f", "plain", "a\n\tb", "Grüße 日本 🙂 עברית", "± – ½ \\x1b", ""])
def test_an_honest_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_lines_and_tables_show_it(hostile: str, pages: tuple[Terminal, StringIO]) -> None:
    terminal, file = pages
    table = Table("column " + hostile, title="title " + hostile)
    table.add_row("cell " + hostile)
    for each in (hostile, table):
        terminal.print(each, soft_wrap=True)
    assert file.getvalue().count(shown(hostile)) == 4
    assert not STEERS.search(file.getvalue())


def test_tables_stay_aligned(pages: tuple[Terminal, StringIO]) -> None:
    terminal, file = pages
    table = Table("a")
    for each in ("\x1b[2J", "\u202ex", "plain"):
        table.add_row(each)
    terminal.print(table)
    assert len({len(line) for line in file.getvalue().splitlines()}) == 1


def test_tables_stay_aligned_where_the_terminal_has_no_such_letters() -> None:
    file = TextIOWrapper(BytesIO(), encoding="latin-1", errors="strict")
    table = Table("a")
    for each in ("日本", "±", "plain"):
        table.add_row(each)
    Terminal(file=file, width=200).print(table)
    file.seek(0)
    written = file.read()
    assert r"\u65e5\u672c" in written
    assert "±" in written
    assert len({len(line) for line in written.splitlines()}) == 1


def test_bars_and_waits_show_it(
    hostile: str, pages: tuple[Terminal, StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, file = pages
    monkeypatch.setattr(console, "err", terminal)
    bar: Progress = console.progress()
    bar.add_task(hostile, total=2, state=f"state {hostile}")
    terminal.print(bar.get_renderable())
    with terminal.status(hostile):
        pass
    written = re.sub(r"\x1b\[\??[0-9]*[A-Za-z]|\r", "", file.getvalue())  # the bar's own
    assert not STEERS.search(written)
    assert written.count(shown(hostile)) == 3


def printed(*results: Result) -> str:
    text = "".join(f"{one.out}{one.err}" for one in results)
    assert text
    assert not STEERS.search(text), ascii(text)
    return text


def test_solve_shows_it(all_hostile: str, metagen: Command, folder: Path) -> None:
    """In a file's name, a strategy, ids, a folder, and a model's own errors."""
    name = NO_NAME.sub("", all_hostile)
    (folder / f"p{name}.jsonl").write_text(lines({"id": all_hostile, "prompt": all_hostile, "answer": all_hostile}))
    (folder / "model.py").write_text(
        "from metagen import GenerationError, Scripted\n\ndef bad():\n"
        f"    return Scripted(lambda request: 'The answer is 2.', name={all_hostile!r})\n\n"
        f"def raising():\n    raise RuntimeError({all_hostile!r})\n"
    )
    call = ("solve", f"p{name}.jsonl", "--load", "model.py", "-s", f"Model(stop=({NO_NAME.sub('', all_hostile)!r},))")
    done = metagen(*call, "-m", "bad", "--out", f"run{name}")
    assert done.code == 0, done.err
    assert shown(name) in printed(done)
    assert printed(metagen(*call, "-m", "raising", "--out", "other"))
    solution = json.loads((folder / f"run{name}/solutions.jsonl").read_text())
    assert solution["problem"] == all_hostile, "what is written stays as it is"


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pictures, which take seconds."""
    monkeypatch.setattr("metagen.analysis.plots.available", lambda: False)


@pytest.mark.usefixtures("unpainted")
def test_sample_and_report_show_it(all_hostile: str, metagen: Command, folder: Path) -> None:
    """In labels, in sources, and in what is said of them."""
    name = NO_NAME.sub("", all_hostile)
    rows = [{"id": f"p{n}", "prompt": f"What is {n} + {n}?", "answer": 2 * n, "level": all_hostile} for n in (1, 2)]
    (folder / "leveled.jsonl").write_text(lines(*rows))
    drawn = metagen("sample", "leveled.jsonl", "--load", "own.py", "-m", "model", "--n", "2", "--out", f"{name}.jsonl")
    assert shown(name) in printed(drawn)
    done = metagen("report", f"{name}.jsonl", "--problems", "leveled.jsonl", "--out", f"report{name}")
    assert done.code == 0, done.err
    assert printed(done).count(shown(name)) > 1


def test_names_in_pictures_raise_no_warning(metagen: Command, folder: Path) -> None:
    name = NO_NAME.sub("", "".join(HOSTILE[:-4]))
    (folder / f"{name}.jsonl").write_text((folder / "pool.jsonl").read_text())
    done = metagen("report", f"{name}.jsonl", "--problems", "problems.jsonl", "--out", "report")
    assert done.code == 0, "warnings are errors here"
    assert "curves.png" in printed(done)


@pytest.mark.usefixtures("unpainted")
def test_sweep_and_train_show_it(all_hostile: str, metagen: Command, folder: Path) -> None:
    name = NO_NAME.sub("", all_hostile)
    (folder / f"plan{name}.toml").write_text(
        'problems = ["problems.jsonl"]\nload = ["own.py"]\n[models]\nown = "model"\n[strategies]\none = "Model()"\n'
    )
    assert shown(name) in printed(metagen("sweep", f"plan{name}.toml", "--out", f"sweep{name}"))
    refused = metagen("train", "orm", f"{name}.jsonl", "--problems", "problems.jsonl", "-m", f"./{name}", "--out", "o")
    assert refused.code == 2
    assert printed(refused)


def test_refusals_show_it(all_hostile: str, metagen: Command, folder: Path) -> None:
    """A foreign run, twin ids, options that there are not, files that are not there."""
    name = NO_NAME.sub("", all_hostile)
    (folder / "twins.jsonl").write_text(lines(*[{"id": all_hostile, "prompt": "?"}] * 2))
    assert metagen("solve", "problems.jsonl", "-m", "pool.jsonl", "--out", "run").code == 0
    record = json.loads((folder / "run/run.json").read_text())
    (folder / "run/run.json").write_text(json.dumps(record | {"strategy": all_hostile, all_hostile: all_hostile}))
    for call in (
        ("solve", "problems.jsonl", "-m", "pool.jsonl", "--out", "run"),
        ("solve", "twins.jsonl", "-m", "pool.jsonl"),
        ("solve", f"absent{name}", "-m", "pool.jsonl"),
        ("solve", "problems.jsonl", "-m", f"absent{name}.jsonl"),
        ("solve", "problems.jsonl", "-s", f"Vote({name}"),
        ("report", f"absent{name}", "--problems", "problems.jsonl"),
        ("sweep", f"absent{name}"),
        ("solve", "problems.jsonl", f"--absent{name}"),
        (f"absent{name}",),
    ):
        refused = metagen(*call)
        assert refused.code == 2, call
        assert printed(refused).count("\n") == 1


def test_the_traceback_of_a_bug_and_a_warning_show_it(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    guard_interpreter()
    error = ValueError(hostile)
    sys.excepthook(ValueError, error, None)
    sys.stderr.write(warnings.formatwarning(hostile, UserWarning, "file.py", 1, ""))
    written = capsys.readouterr().err
    assert written.count(shown(hostile)) == 2
    assert not STEERS.search(written)


NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+(?:e[+-]\d+)?")
CELL = "57.5 ±0.05 (48.2–100.0)"
SHEETS = [
    Sheet(
        "a pool of all rules",
        ("k", "tokens", "FLOPs", "coverage", "majority", "weighted vote", "best-of"),
        tuple((str(2**k), f"{12_345 * 2**k:,}", "1.23e+15", *[CELL] * 4) for k in range(8)),
    ),
    Sheet(
        "by level",
        ("level", "problems", "one sample", "coverage", "majority", "weighted vote", "best-of"),
        tuple((f"Intermediate Algebra {n}", f"{n}", *[CELL] * 5) for n in (1, 2000)),
    ),
    Sheet(
        "differences",
        ("what", "rule", "k", "problems", "difference"),
        (("runs/a-" + "very-" * 20 + "long - runs/another", "weighted vote", "16", "1,319", "+10.2 [-100.0, +12.3]"),),
        keys=2,
    ),
    Sheet("no keys", ("accuracy", "tokens", "calls"), ((CELL, "1,234,567", "16"),), keys=0),
    Sheet("one column", ("k",), (("1",),)),
]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.title)
def test_no_number_of_a_table_is_broken(sheet: Sheet, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    monkeypatch.setattr(console, "out", Terminal(file=file, width=width, color_system=None))
    console.show(sheet)
    shown = file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    wanted = {number for row in sheet.rows for cell in row[sheet.keys :] for number in NUMBER.findall(cell)}
    assert wanted <= set(NUMBER.findall(shown))
    words = {word for name in sheet.columns[sheet.keys :] for word in name.split()}
    assert words <= set(shown.split())


@pytest.mark.parametrize(("width", "tables"), [(60, 2), (75, 2), (80, 1), (120, 1)])
def test_columns_that_do_not_fit_have_a_table_of_their_own_with_the_keys(width: int, tables: int) -> None:
    parts = list(tables_of(SHEETS[0], width))
    assert len(parts) == tables
    assert {part.columns[0].header for part in parts} == {"k"}
    assert sum(len(part.columns) - 1 for part in parts) == len(SHEETS[0].columns) - 1


def test_a_head_takes_no_more_lines_than_its_longest_word_asks_for() -> None:
    (table,) = tables_of(Sheet("narrow", ("k", "tokens in a row"), (("1", "17"),)), 80)
    assert table.columns[1].header == "tokens\nin a\nrow"


def test_a_column_wider_than_all_is_broken_between_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    monkeypatch.setattr(console, "out", Terminal(file=file, width=20, color_system=None))
    console.show(Sheet("wide", ("k", "difference"), (("1", "+10.2 [-100.0, +12.3]"),)))
    assert NUMBER.findall(file.getvalue()) == ["1", "+10.2", "-100.0", "+12.3"]


USED = Usage(calls=1, prompt_tokens=123_456_789, completion_tokens=9_876_543)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_summary_of_a_run_breaks_no_number(width: int) -> None:
    tally = Tally(problems=1319, correct=700, judged=1319, compared=1_048_576, unanswered=104_857, cut=74_000)
    for _ in range(3):
        tally.add(Solution("p", "7", "7", True, samples=16, samples_correct=7, usage=USED))
    file = StringIO()
    Terminal(file=file, width=width, color_system=None).print(summary(tally, "Vote(16) on problems", Account()))
    assert max(map(len, file.getvalue().splitlines())) <= width
    assert {"1,048,576", "104,857", "74,000", "370,370,367", "29,629,629"} <= set(NUMBER.findall(file.getvalue()))


def test_a_width_of_nothing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    terminal = Terminal(file=StringIO())
    assert terminal.width == 80
    monkeypatch.setenv("COLUMNS", "30")
    assert Terminal(file=StringIO()).width == 30
