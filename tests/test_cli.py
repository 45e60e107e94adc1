import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metagen import BackendGone, ModelCard, Price, cli
from metagen.cli import jobs
from metagen.distribution import how_to_install
from metagen.models import SMALL

PROBLEMS = [{"id": f"p{n}", "prompt": f"What is {n} + {n}?", "answer": 2 * n} for n in (1, 2, 3, 4)]
ANSWERS = {"p1": (2, 2, 2, 2), "p2": (4, 4, 5, 6), "p3": (1, 1, 6, 2), "p4": (1, 2, 1, 2)}
"""What the pool says: all are right, a majority, one of four, none."""

OWN = """
from pathlib import Path

from metagen import Candidate, Score, Scripted
from metagen.candidate import Score as Imported

_private = 3


async def twice(problem, run):
    return (await run.sample(None, problem, 2))[-1]


async def silent(problem, candidates, run):
    return [None] * len(candidates)


async def length(problem, candidates, run):
    return [Score(float(len(candidate.text))) for candidate in candidates]


def model():
    def script(request):
        with Path("asked.txt").open("a") as asked:
            asked.write(request.problem + "\\n")
        return "The answer is 2."

    return Scripted(script, name="own")


def broken():
    raise RuntimeError("no model today")


def nothing():
    return None


def renamed(function):
    async def wrapper(problem, run):
        return await function(problem, run)

    return wrapper


decorated = renamed(twice)


class Strict:
    async def __call__(self, problem, candidates, run):
        return [1.0 for _ in candidates]


strict = Strict()


def short(prompt, text):
    return -len(text)
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with problems, a pool of their samples, and files that are no such things."""
    monkeypatch.chdir(tmp_path)
    pool = [
        {"problem": row["id"], "prompt": row["prompt"], "draw": draw, "text": f"The answer is {answer}."}
        for row in PROBLEMS
        for draw, answer in enumerate(ANSWERS[str(row["id"])])
    ]
    files = {
        "problems.jsonl": lines(*PROBLEMS),
        "pool.jsonl": lines(*(row | {"tokens": 10, "prompt_tokens": 5} for row in pool)),
        "own.py": OWN,
        "raises.py": "import metagen\n\nraise ValueError('on\\npurpose')",
        "syntax.py": "def (:",
        "empty.jsonl": "",
        "bad.jsonl": lines(PROBLEMS[0]) + "{bad}\n",
        "list.json": '{"data": [{}]}',
        "no_prompt.jsonl": lines({"promt": "?"}),
        "twins.jsonl": lines({"id": 1, "prompt": "?"}, {"id": 1, "prompt": "!"}),
        "no_model/README.md": "",
        "strange.jsonl": lines({"prompt": "?", "answers": "Numbr()"}),
        "outside.jsonl": lines({"prompt": "?", "choices": ["x", "y"], "answer": "D"}),
    }
    (tmp_path / "no_model").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def metagen(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else it depends on what else the machine does

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["metagen", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Result(int(end.value.code or 0), *capsys.readouterr())

    return run


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


POOL = ("--model", "pool.jsonl")
REFUSALS: list[tuple[tuple[str, ...], str]] = [
    (("solve", "missing.jsonl", *POOL), "missing.jsonl: there is no such file"),
    (("solve", "n" * 300, *POOL), "there is no such file"),
    (("solve", "no_model", *POOL), "no_model: is a folder without JSON Lines, CSV, TSV, Parquet or Arrow"),
    (("solve", "empty.jsonl", *POOL), "empty.jsonl: holds no problems"),
    (("solve", "bad.jsonl", *POOL), "bad.jsonl, line 2: is not JSON"),
    (("solve", "list.json", *POOL), "list.json: must hold a list of problems"),
    (("solve", "no_prompt.jsonl", *POOL), "no_prompt.jsonl, line 1: there is no field 'prompt'"),
    (("solve", "twins.jsonl", *POOL), "twins.jsonl, line 2: the id '1' occurs twice, first on line 1"),
    (("solve", "problems.jsonl", *POOL, "--prompt-field", "x"), "line 1: there is no field 'x'"),
    (("solve", "problems.jsonl", *POOL, "--answer-field", "x"), "line 1: there is no field 'x'"),
    (("solve", "problems.jsonl", *POOL, "--id-field", "x"), "line 1: there is no field 'x'"),
    (("solve", "problems.jsonl", *POOL, "-s", ""), "-s is empty: leave it out or say what it is"),
    (("solve", "problems.jsonl", *POOL, "--out", ""), "--out is empty"),
    (("solve", "problems.jsonl", *POOL, "--out="), "--out is empty"),
    (("solve", "problems.jsonl", "-m", "big="), "--model big=: name a model after the '='"),
    (("solve", "problems.jsonl", *POOL, "--grade", ""), "--grade is empty"),
    (("solve", "", *POOL), "an argument is empty"),
    (("view", ""), "an argument is empty"),
    (("solve", "problems.jsonl", *POOL, "-s", "Vote("), "the strategy 'Vote(' cannot be read"),
    (("solve", "problems.jsonl", *POOL, "-s", "Voet(3)"), "'Voet' is not known: did you mean Vote?"),
    (("solve", "problems.jsonl", *POOL, "-s", "Vote(0)"), "n must be a whole number of 1 or more, not 0"),
    (("solve", "problems.jsonl", *POOL, "-s", "Vote"), "'Vote' is not a strategy"),
    (
        ("solve", "problems.jsonl", *POOL, "-s", "__import__('os').system('touch x')"),
        "is neither a strategy nor a literal",
    ),
    (("solve", "problems.jsonl", *POOL, "-s", "twice"), "'twice' is not known"),
    (
        ("solve", "problems.jsonl", *POOL, "-s", "Vote(2, of=Model('big'))"),
        "names a model 'big': give it with --model big=",
    ),
    (("solve",), "Missing argument"),
    (("solve", "problems.jsonl", "more.jsonl"), "unexpected extra argument"),
    (("solve", "problems.jsonl", "--modle", "x"), "No such option"),
    (("solve", "problems.jsonl", "--model"), "requires an argument"),
    (("solve", "problems.jsonl", *POOL, "--limit", "0"), "Invalid value for '--limit': "),
    (("solve", "problems.jsonl", *POOL, "--limit", "many"), "Invalid value for '--limit': "),
    (("solve", "problems.jsonl", *POOL, "--seed", "1.5"), "Invalid value for '--seed': "),
    (("solve", "problems.jsonl", *POOL, "--tokens", "-5"), "Invalid value for '--tokens': "),
    (("solve", "problems.jsonl", *POOL, "--concurrency", "0"), "Invalid value for '--concurrency': "),
    (("solve", "problems.jsonl", *POOL, "--seconds", "-1"), "a budget of seconds=-1.0 allows nothing"),
    (("solve", "problems.jsonl", *POOL, "--seconds", "nan"), "a budget of seconds=nan allows nothing"),
    (("solve", "problems.jsonl", *POOL, "--flops", "0"), "a budget of flops=0.0 allows nothing"),
    (("solve", "problems.jsonl", *POOL, "--money", "1"), "a budget in money needs the price of"),
    (("solve", "problems.jsonl", *POOL, "--price", "cheap"), "--price: 'cheap' is no price: write READ/WRITE"),
    (("solve", "problems.jsonl", *POOL, "--price", "other=1/2"), "--price other=...: no model has this name"),
    (("solve", "problems.jsonl", *POOL, "--flops", "1e9"), "give it card=ModelCard.read(...), or --card"),
    (("solve", "problems.jsonl", *POOL, "--card", "own.py"), "own.py: is not JSON"),
    (("solve", "problems.jsonl", *POOL, "--card", "big=own.py"), "own.py: is not JSON"),
    (
        ("solve", "problems.jsonl", "-m", "model", "--load", "own.py", "--card", str(SMALL)),
        "--card is for servers and pools",
    ),
    (("solve", "problems.jsonl", *POOL, "--card", f"big={SMALL}"), "--card big=...: no model has this name"),
    (("solve", "problems.jsonl", *POOL, "--engine", "seed=3"), "--engine sets nothing here"),
    (("solve", "problems.jsonl", *POOL, "--seconds", "soon"), "Invalid value for '--seconds': "),
    (("solve", "problems.jsonl", "-m", "missing.jsonl"), "missing.jsonl: there is no such pool of samples"),
    (("solve", "problems.jsonl", "-m", "problems.jsonl"), "problems.jsonl, line 1: field 'problem': Field required"),
    (("solve", "problems.jsonl", "-m", "bad.jsonl"), "bad.jsonl, line 1: field 'problem': Field required"),
    (("solve", "problems.jsonl", *POOL, *POOL), "--model is given several times with the same name"),
    (("solve", "problems.jsonl", "-m", "a=pool.jsonl", "-m", "a=pool.jsonl"), "several times with the same name"),
    (("solve", "problems.jsonl", *POOL, "--engine", "x"), "--engine 'x': write KEY=VALUE"),
    (("solve", "problems.jsonl", *POOL, "--engine", "x=True"), "--engine x=True: write x=true, as JSON does"),
    (("solve", "problems.jsonl", *POOL, "--engine", "=3"), "--engine '=3': write KEY=VALUE"),
    (("solve", "problems.jsonl", *POOL, "--load", "missing.py"), "--load missing.py: there is no such file of Python"),
    (("solve", "problems.jsonl", *POOL, "--load", "problems.jsonl"), "problems.jsonl: there is no such file of Python"),
    (("solve", "problems.jsonl", *POOL, "--load", "no_model"), "no_model: there is no such file of Python"),
    (("solve", "problems.jsonl", *POOL, "--load", "raises.py"), "--load raises.py: ValueError: on purpose"),
    (("solve", "problems.jsonl", *POOL, "--load", "syntax.py"), "--load syntax.py: SyntaxError"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "-s", "twice()"), "write twice without parentheses"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "-s", "Imported(1)"), "'Imported' is not known"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "-s", "_private"), "'_private' is not known"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "-s", "decorated"), "prints as 'wrapper', which cannot be"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "--grade", "strict"), "the grade prints as '<"),
    (("solve", "problems.jsonl", *POOL, "--load", "own.py", "--grade", "short"), "write one such as OnText(short)"),
    (("solve", "problems.jsonl", "--load", "own.py", "-m", "nothing"), "nothing: it returns NoneType, not a backend"),
    (
        ("solve", "problems.jsonl", "-m", "Scriptd:7"),
        "no backend 'Scriptd' that a text can open: did you mean Scripted?",
    ),
    (("solve", "problems.jsonl", "-m", "Scripted:"), "--model Scripted:: TypeError"),
    (("solve", "problems.jsonl", "-m", "http://127.0.0.1:9/v1"), "cannot connect to 127.0.0.1:9"),
    (("solve", "problems.jsonl", "-m", "http://"), "is not the address of a server"),
    (("solve", "problems.jsonl", "-m", "http://me:secret@localhost/v1"), "may hold no user or password"),
    (("solve", "problems.jsonl", *POOL, "--out", "own.py"), "own.py: cannot be a run's folder"),
    (("sample", "problems.jsonl", *POOL, "--out", "new.jsonl"), "Missing option '--n'"),
    (("sample", "problems.jsonl", *POOL, "--n", "4"), "Missing option '--out'"),
    (("sample", "problems.jsonl", *POOL, "--n", "0", "--out", "new.jsonl"), "Invalid value for '--n' / '-n': "),
    (
        ("sample", "problems.jsonl", *POOL, "--n", "4", "--out", "no_model"),
        "no_model: name a file that ends in .jsonl",
    ),
    (("sample", "problems.jsonl", *POOL, "--n", "4", "--out", "no/new.jsonl"), "no/new.jsonl: cannot be written"),
    (("sample", "problems.jsonl", *POOL, "--n", "4", "--out", "bad.jsonl"), "bad.jsonl, line 1: field 'problem'"),
    (("sample", "problems.jsonl", *POOL, "--n", "4", "--out", "new.jsonl", "--of", "Vote"), "'Vote' is not a strategy"),
    (("sample", "twins.jsonl", *POOL, "--n", "4", "--out", "new.jsonl"), "the id '1' occurs twice"),
    (("report", "pool.jsonl"), "Missing option '--problems'"),
    (("report", "--problems", "problems.jsonl"), "Missing argument"),
    (("report", "pool.jsonl", "--problems", "missing.jsonl"), "missing.jsonl: there is no such file"),
    (("report", "missing.jsonl", "--problems", "problems.jsonl"), "missing.jsonl: cannot be read: No such file"),
    (("report", "no_model", "--problems", "problems.jsonl"), "no_model: is neither a pool of samples nor a run's"),
    (("report", "bad.jsonl", "--problems", "problems.jsonl"), "bad.jsonl, line 1: field 'problem': Field required"),
    (("report", "empty.jsonl", "--problems", "problems.jsonl"), "empty.jsonl: holds no samples"),
    (("report", "pool.jsonl", "pool.jsonl", "--problems", "problems.jsonl"), "pool.jsonl is given twice"),
    (("report", "pool.jsonl", "--problems", "problems.jsonl", "--n", "5"), "problem 'p1' has 4 samples, and 5 are"),
    (("report", "pool.jsonl", "--problems", "problems.jsonl", "--answer-field", "x"), "line 1: there is no field 'x'"),
    (("report", "pool.jsonl", "--problems", "twins.jsonl"), "twins.jsonl, line 2: the id '1' occurs twice"),
    (("choose", "pool.jsonl", "--problems", "twins.jsonl"), "twins.jsonl, line 2: the id '1' occurs twice"),
    (("solve", "problems.jsonl", "--engine", "a=1", "--engine", "a=2"), "--engine a=... is given several times"),
    (
        ("solve", "problems.jsonl", "-m", "http://h/v1", "--server", "key_env=A", "--server", "key-env=B"),
        "--server key-env=... is given several times",
    ),
    (("slove", "problems.jsonl"), "No such command 'slove'"),
    (("--verson",), "No such option"),
]
REFUSALS += [
    (("solve", "problems.jsonl", *POOL, "--answers", "Numbr()"), "'Numbr' is not known: did you mean Number?"),
    (("solve", "problems.jsonl", *POOL, "--answers", "Vote(3)"), "'Vote' is not known"),
    (("solve", "problems.jsonl", *POOL, "--answers", "Choice("), "the kind of answers 'Choice(' cannot be read"),
    (("solve", "problems.jsonl", *POOL, "--answers", "reads"), "'reads' is not known"),
    (("solve", "problems.jsonl", *POOL, "-s", "Number()"), "'Number()' is a kind of answers: give it with --answers"),
    (("solve", "strange.jsonl", *POOL), "strange.jsonl, line 1: field 'answers': 'Numbr' is not known"),
    (("solve", "outside.jsonl", *POOL), "outside.jsonl, line 1: field 'answer': 'D' is none of the choices A, B"),
    (
        ("report", "pool.jsonl", "--problems", "problems.jsonl", "--answers", "Number"),
        "'Number' is not a kind of answers",
    ),
]
DRAW = ("sample", "problems.jsonl", "--load", "own.py", "-m", "model", "--n", "1", "--out")
REFUSALS += [
    ((*DRAW, "pool.txt"), "pool.txt: name a file that ends in .jsonl, so that --model takes it for a pool of samples"),
    (
        ("sample", "prob*.jsonl", *DRAW[2:], "problems2.jsonl"),
        "problems2.jsonl: lies among the problems of prob*.jsonl",
    ),
]
REFUSALS += [
    (("solve", "problems.jsonl", *POOL, option, "9" * 20), f"{option[2:]} must be from 1 to 2,147,483,648, not 999999")
    for option in ("--limit", "--concurrency")
]
OF_THE_ENGINE: list[tuple[tuple[str, ...], str]] = [
    (("-m", "./nothing"), "there is no model at ./nothing"),
    (("-m", "no_model"), "no_model holds no model"),
    (("-m", "no_model", "--engine", "tensor_paralel_size=2"), "vLLM has no engine argument 'tensor_paralel_size'"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSALS)
def test_what_the_user_got_wrong_is_one_line_and_exit_code_2(
    metagen: Command, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = contents(folder)
    code, out, err = metagen(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("metagen: ")
    assert said in err
    assert contents(folder) == before


@pytest.mark.parametrize(("arguments", "said"), OF_THE_ENGINE)
def test_what_the_engine_would_refuse_is_found_before_it_is_loaded(
    metagen: Command, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    if find_spec("vllm") is None:
        pytest.skip("needs vLLM, which knows its arguments")
    before = contents(folder)
    code, out, err = metagen("solve", "problems.jsonl", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert contents(folder) == before


def test_the_table_says_what_came_out(metagen: Command, folder: Path) -> None:
    code, out, err = metagen("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "run")
    assert (code, err) == (0, "")
    table = {cells[0]: cells[1] for line in out.splitlines() if len(cells := cells_of(line)) > 1}
    assert out.startswith("Vote(4) on problems.jsonl ")
    assert table["problems"] == "4"
    assert table["accuracy"].startswith("50.0% [15.0%, 85.0%] (2 of 4)")
    assert table["one sample"].startswith("43.8% mean of the 4 samples")
    assert table["gained"].startswith("+6.2 points")
    assert table["coverage"].startswith("75.0% [30.1%, 95.4%] (3 of 4)")
    assert (table["tokens"], table["prompt"], table["completion"], table["samples lost"]) == (
        "180",
        "20, of them 0 cached",
        "160",
        "0",
    )
    assert "Kept in run/" in out
    solutions = [json.loads(line) for line in (folder / "run" / "solutions.jsonl").read_text().splitlines()]
    assert {row["problem"]: row["correct"] for row in solutions} == {"p1": True, "p2": True, "p3": False, "p4": False}


def cells_of(line: str) -> list[str]:
    return [" ".join(cell.split()) for cell in line.strip("│┃ \n").split("│")]


def test_with_a_card_flops_are_counted_and_limited(metagen: Command, folder: Path) -> None:
    each = ModelCard.read(SMALL).flops(5, 40, samples=4)
    call = ("solve", "problems.jsonl", *POOL, "--card", str(SMALL), "-s", "Vote(4)")
    assert f"{4 * each:.4g}" in metagen(*call).out
    assert metagen(*call, "--flops", str(2.5 * each), "--out", "half").code == 1
    rows = (folder / "half/solutions.jsonl").read_text().splitlines()
    spent = [json.loads(row)["usage"].get("flops", 0) for row in rows]
    assert 0 < sum(spent) <= 2.5 * each


def test_a_run_is_not_resumed_at_another_price(metagen: Command) -> None:
    call = ("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "priced")
    assert metagen(*call, "--limit", "1").code == 0
    code, _, err = metagen(*call, "--price", "1000/1000")
    assert code == 2
    assert "priced: the costs of its problems were counted with no price, and this run" in err
    assert "with the price model=1000/1000: leave the price out, or remove this folder" in err


def test_with_a_price_money_is_counted_and_limited(metagen: Command, folder: Path) -> None:
    each = Price(0.15, 0.6).of(5, 40) / 10**12
    call = ("solve", "problems.jsonl", *POOL, "--price", "0.15/0.6", "-s", "Vote(4)")
    assert f"{4 * each:.4g}" in metagen(*call).out
    assert metagen(*call, "--money", f"{2.5 * each:.12f}", "--out", "half").code == 1
    rows = (folder / "half/solutions.jsonl").read_text().splitlines()
    spent = [json.loads(row)["usage"].get("cost", 0) for row in rows]
    assert 0 < sum(spent) / 10**12 <= 2.5 * each


def test_the_same_call_again_asks_nothing(metagen: Command, folder: Path) -> None:
    call = ("solve", "problems.jsonl", "--load", "own.py", "-m", "model", "-s", "Vote(2)", "--seed", "3")
    first = metagen(*call)
    asked = (folder / "asked.txt").read_text()
    again = metagen(*call)
    assert (first.code, again.code) == (0, 0)
    assert sorted(asked.split()) == sorted(["p1", "p2", "p3", "p4"] * 2)
    assert (folder / "asked.txt").read_text() == asked
    assert again.err.endswith("4 problems solved already.\n")
    assert [row for row in first.out.splitlines() if "accuracy" in row] == [
        row for row in again.out.splitlines() if "accuracy" in row
    ]
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("problems-Vote-2-")


def test_a_run_goes_on_where_it_stopped(metagen: Command, folder: Path) -> None:
    call = ("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "run")
    assert metagen(*call, "--limit", "1").code == 0
    stopped = metagen(*call, "--tokens", "100", "--concurrency", "1")
    assert stopped.code == 1
    assert "Run the same command" in stopped.err
    assert metagen(*call).code == 0
    again = metagen(*call)
    assert again.code == 0
    assert "Continuing run: 4 problems solved already." in again.err
    first = metagen(*call, "--limit", "2")
    assert first.code == 0
    assert "Continuing run: 2 problems solved already." in first.err
    assert "(2 of 2)" in first.out
    rows = [json.loads(line) for line in (folder / "run" / "solutions.jsonl").read_text().splitlines()]
    assert sorted((row["problem"], row["samples"], row["lost"]) for row in rows) == [
        (f"p{n}", 4, 0) for n in (1, 2, 3, 4)
    ]


def test_what_a_budget_cut_short_is_solved_again_and_is_no_answer_before(metagen: Command, folder: Path) -> None:
    """The run ends as one that no budget interrupted."""
    call = ("solve", "problems.jsonl", "--load", "own.py", "-m", "model", "-s", "Model()")
    stopped = metagen(*call, "--out", "run", "--tokens", "50", "--concurrency", "1")
    assert stopped.code == 1
    assert (
        "Unfinished because the budget is spent: 2 of 4 problems. Run the same command to solve them again."
        in stopped.err
    )
    assert "failed" not in stopped.out
    assert "unfinished" in stopped.out
    assert "raise max_tokens" not in stopped.out
    assert "unfinished: the budget of the whole run" in metagen("show", "run", "p2").out
    assert metagen(*call, "--out", "run").code == 0
    assert metagen(*call, "--out", "whole").code == 0
    run, whole = (
        sorted(
            (row["problem"], row["text"], row["correct"], row["lost"])
            for row in map(json.loads, (folder / name / "solutions.jsonl").read_text().splitlines())
        )
        for name in ("run", "whole")
    )
    assert run == whole


def test_a_lower_concurrency_finishes_more_within_a_budget_and_the_message_says_so(metagen: Command) -> None:
    call = ("solve", "problems.jsonl", "--load", "own.py", "-m", "model", "-s", "Vote(4)", "--tokens", "200")
    advice = "to solve them again; with a lower --concurrency, fewer are left unfinished."
    together = metagen(*call, "--out", "together").err
    assert advice in together
    singly = metagen(*call, "--out", "singly", "--concurrency", "1").err
    assert "Unfinished because the budget is spent: 1 of 4 problems. Run the same command" in singly
    assert advice not in singly


def test_calls_whose_budget_is_less_than_a_problem_takes_come_to_an_end(metagen: Command, folder: Path) -> None:
    """Each problem is solved twice, and what the second call says of it is what the folder holds."""
    call = ("solve", "problems.jsonl", "--load", "own.py", "-m", "model", "-s", "Vote(4)", "--out", "run")
    codes = [metagen(*call, "--tokens", "60", "--concurrency", "1").code for _ in range(8)]
    assert codes == [*[1] * 7, 0]
    rows = list(map(json.loads, (folder / "run" / "solutions.jsonl").read_text().splitlines()))
    assert [row["problem"] for row in rows] == ["p1", "p2", "p3", "p4"]
    assert all(row["lost"] and not row.get("unfinished") for row in rows)
    assert "Note: the budget of the whole run cut it short again" in metagen("show", "run", "p1").out


def test_what_is_solved_of_other_problems_is_not_counted(metagen: Command, folder: Path) -> None:
    call = ("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "run")
    before = metagen(*call)
    solutions = folder / "run" / "solutions.jsonl"
    with solutions.open("a") as file:
        file.write(json.dumps(json.loads(solutions.read_text().splitlines()[0]) | {"problem": "zzz"}) + "\n")
    assert before.out.count("(2 of 4)") == metagen(*call).out.count("(2 of 4)") > 0


def test_what_failed_is_tried_again_however_much_else_is_solved(metagen: Command, folder: Path) -> None:
    whole = (folder / "pool.jsonl").read_text()
    (folder / "pool.jsonl").write_text("".join(whole.splitlines(keepends=True)[4:]))
    call = ("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "run")
    failed = metagen(*call)
    reason = "GenerationError: pool.jsonl has 0 samples for problem 'p1'"
    assert failed.code == 1
    assert failed.err.startswith(f"Failed: 1 of 4 problems, 1 of them for this reason: {reason}")
    assert failed.err.endswith(". Run the same command to try them again.\n")
    assert "Failed: 1 of 1 problem, 1 of them" in metagen(*call[:-1], "one", "--limit", "1").err
    (folder / "pool.jsonl").write_text(whole)
    assert metagen(*call, "--limit", "1").code == 0
    assert len((folder / "run" / "solutions.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("-s", "Vote(3)"), "differs in strategy: Vote(4) there, Vote(3) here"),
        (("--seed", "2"), "differs in seed: none there, 2 here"),
        (("--load", "own.py"), "differs in loaded: none there, ['own.py ("),
        (("-m", "other/pool.jsonl"), "differs in models: {'model': '"),
    ],
)
def test_a_run_of_another_configuration_is_refused(
    metagen: Command, folder: Path, change: tuple[str, ...], said: str
) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "pool.jsonl").write_bytes((folder / "pool.jsonl").read_bytes())
    call = ("solve", "problems.jsonl", *POOL, "-s", "Vote(4)", "--out", "run")
    metagen(*call)
    before = contents(folder)
    model = () if "-m" in change else POOL
    code, out, err = metagen("solve", "problems.jsonl", *model, "-s", "Vote(4)", "--out", "run", *change)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert contents(folder) == before


def test_functions_of_one_name_in_two_files_are_refused(metagen: Command, folder: Path) -> None:
    (folder / "more.py").write_text("def twice():\n    pass\n")
    code, _, err = metagen("solve", "problems.jsonl", *POOL, "--load", "own.py", "--load", "more.py")
    assert (code, err) == (2, "metagen: --load more.py: twice is defined in another loaded file too: rename one\n")


def test_a_strategy_that_cannot_be_spelled_is_refused(metagen: Command, folder: Path) -> None:
    (folder / "own_class.py").write_text("class Mine:\n    async def __call__(self, problem, run):\n        pass\n")
    code, _, err = metagen("solve", "problems.jsonl", *POOL, "--load", "own_class.py", "-s", "Vote(2, of=Mine())")
    assert code == 2
    assert "give its class a `__repr__`" in err


def test_functions_that_make_models_are_told_apart(metagen: Command, folder: Path) -> None:
    (folder / "two.py").write_text(
        "from metagen import Scripted\n\n"
        "def a():\n    return Scripted('The answer is 1.')\n\ndef b():\n    return Scripted('The answer is 2.')\n"
    )
    for model in ("a", "b"):
        assert metagen("solve", "problems.jsonl", "--load", "two.py", "-m", model).code == 0
    assert len(list((folder / "runs").iterdir())) == 2


def test_a_pool_that_stays_short_of_samples_is_said(metagen: Command, folder: Path) -> None:
    (folder / "flaky.py").write_text(
        "from metagen import GenerationError, Scripted\n\n"
        "async def singly(problem, run):\n    return await run.ask(None, problem)\n\n"
        "def flaky():\n    def script(request):\n"
        "        if request.draw == 1 and request.problem == 'p2':\n            raise GenerationError('no')\n"
        "        return 'The answer is 7.'\n    return Scripted(script)\n"
    )
    call = ("sample", "problems.jsonl", "--load", "flaky.py", "-m", "flaky", "--of", "singly", "--n", "3")
    code, _, err = metagen(*call, "--out", "short.jsonl")
    assert (code, err) == (1, "Short of samples: 1 of 4 problems. Run the same command to draw the rest.\n")


def test_functions_of_a_loaded_file_serve_as_strategies_and_verifiers(metagen: Command, folder: Path) -> None:
    spec = "BestOf(2, of=twice, by=length)"
    code, out, err = metagen("solve", "problems.jsonl", *POOL, "--load", "own.py", "-s", spec, "--out", "run")
    assert (code, err) == (0, "")
    assert out.startswith(f"{spec} on problems.jsonl ")
    assert json.loads((folder / "run" / "run.json").read_text())["strategy"] == spec


def test_a_loaded_function_that_makes_no_model_is_one_line(metagen: Command, folder: Path) -> None:
    for name in ("broken", "twice"):
        code, out, err = metagen("solve", "problems.jsonl", "--load", "own.py", "-m", name)
        assert (code, out, err.count("\n")) == (2, "", 1), err


def test_a_strategy_may_look_like_markup(metagen: Command, folder: Path) -> None:
    code, out, _ = metagen("solve", "problems.jsonl", *POOL, "-s", 'Model(stop=("[/b]", ":cat:"))', "--out", "[run]")
    assert code == 0
    assert 'Model(stop=("[/b]", ":cat:")) on problems.jsonl' in out
    assert "Kept in [run]/" in out


def test_samples_are_drawn_kept_and_played(metagen: Command, folder: Path) -> None:
    draw = ("sample", "problems.jsonl", "--load", "own.py", "-m", "model", "--out", "new.jsonl", "--seed", "1")
    code, out, err = metagen(*draw, "--n", "2")
    assert (code, err) == (0, "")
    assert "Kept in new.jsonl; play it with --model new.jsonl" in out
    assert metagen(*draw, "--n", "3").err == ""
    assert metagen(*draw, "--n", "3").err == "Nothing was drawn: the pool held these samples already.\n"
    assert sorted((folder / "asked.txt").read_text().split()) == sorted(["p1", "p2", "p3", "p4"] * 3)
    rows = [json.loads(line) for line in (folder / "new.jsonl").read_text().splitlines()]
    assert sorted((row["problem"], row["draw"]) for row in rows) == [
        (f"p{n}", draw) for n in (1, 2, 3, 4) for draw in (0, 1, 2)
    ]
    played = metagen("solve", "problems.jsonl", "-m", "new.jsonl", "-s", "Vote(3)")
    assert played.code == 0
    assert "(1 of 4)" in played.out


def test_the_pool_is_named_as_a_shell_reads_it(metagen: Command, folder: Path) -> None:
    out = metagen("sample", "problems.jsonl", "-m", "Scripted:7", "--n", "1", "--out", "a pool.jsonl").out
    assert "play it with --model 'a pool.jsonl'" in out


@pytest.mark.parametrize(
    ("option", "said"), [(("--seed", "2"), "differ in seed: 1 there, 2 here"), ((), "differ in loaded")]
)
def test_samples_of_another_seed_or_code_are_not_taken_for_those_that_are_wanted(
    metagen: Command, folder: Path, option: tuple[str, ...], said: str
) -> None:
    draw = ("sample", "problems.jsonl", "--load", "own.py", "-m", "model", "--out", "new.jsonl", "--n", "1")
    assert metagen(*draw, "--seed", "1").code == 0
    if not option:
        (folder / "own.py").write_text(OWN.replace("The answer is 2.", "The answer is 3."))
    code, _, err = metagen(*draw, *(option or ("--seed", "1")))
    assert code == 2
    assert said in err


def test_code_that_makes_no_model_may_change_while_a_pool_grows(metagen: Command, folder: Path) -> None:
    draw = ("sample", "problems.jsonl", "--load", "own.py", "-m", "Scripted:The answer is 7.", "--out", "new.jsonl")
    assert metagen(*draw, "--n", "1").code == 0
    (folder / "own.py").write_text(f"{OWN}\n# another line\n")
    assert metagen(*draw, "--n", "2").code == 0
    assert len((folder / "new.jsonl").read_text().splitlines()) == 8


REPORT = ("report", "pool.jsonl", "--problems", "problems.jsonl")


def test_a_pool_is_reported_on(metagen: Command) -> None:
    code, out, err = metagen(*REPORT)
    assert (code, err) == (0, "")
    assert out.startswith("pool.jsonl: 4 problems, 4 samples each\n")
    # Of all four samples: p1, p2 and p3 are covered, and in p1 and p2 the right answer has most votes.
    assert ["4", "40", "75.0", "50.0"] in [line.split() for line in out.splitlines()]


def test_a_report_is_written_down(metagen: Command, folder: Path) -> None:
    rows = [row | {"level": number % 2} for number, row in enumerate(PROBLEMS)]
    (folder / "levels.jsonl").write_text(lines(*rows))
    code, out, err = metagen("report", "pool.jsonl", "--problems", "levels.jsonl", "--out", "made/report")
    assert (code, err) == (0, "")
    assert "pool.jsonl, by level, with 4 samples" in out
    assert "Kept in made/report/ (table.md, table.csv, table.json, curves.png, curves.svg)." in out
    made = folder / "made/report"
    assert "| 4 | 40 | 75.0 (16.3–97.9) | 50.0 (7.7–92.3) |" in (made / "table.md").read_text()
    assert (made / "table.csv").read_text().count("pool.jsonl,level,1,majority,") == 3
    assert len(json.loads((made / "table.json").read_text())["rows"]) == 2 * 3 * 3
    assert (made / "curves.png").stat().st_size > 1000
    assert metagen(*REPORT, "--out", "own.py/x/y") == (
        2, "", "metagen: own.py/x/y: a report cannot be written there: own.py is no folder\n"
    )  # fmt: skip


def test_a_report_counts_flops_by_a_card_and_says_what_an_accuracy_costs(metagen: Command, folder: Path) -> None:
    (folder / "other.jsonl").write_text((folder / "pool.jsonl").read_text())
    call = ("report", "pool.jsonl", "other.jsonl", *REPORT[2:], "--card", str(SMALL), "--reach", "60")
    code, out, err = metagen(*call, "--out", "report")
    assert (code, err) == (0, "")
    assert "What 60 per cent cost per problem" in out
    assert "Differences in points at equal cost, in pairs" in out
    assert (folder / "report/flops.png").stat().st_size > 1000
    found = json.loads((folder / "report/table.json").read_text())
    assert {each["unit"] for each in found["at_equal_cost"]} == {"FLOPs"}
    assert all(row["flops"] > 0 for row in found["rows"])
    assert {(each["accuracy"], each["unit"]) for each in found["reach"]} == {(0.6, "FLOPs")}
    refused = metagen(*call, "--card", str(SMALL), "--card", str(SMALL))
    assert refused.err == "metagen: --card is given 3 times for 2 sources: give one, or one for each\n"


def test_a_report_on_samples_without_tokens_says_that_costs_are_open(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"tokens": 0} for row in rows)))
    code, out, _ = metagen(*REPORT, "--reach", "60", "--price", "1/1", "--out", "report")
    assert (code, "What 60 per cent cost" in out) == (0, False)
    assert "pool.jsonl: the samples count no tokens, so their costs are not known" in out
    assert "pool.jsonl: its samples lack token counts, so what an accuracy costs is open" in out
    assert not (folder / "report/money.png").exists()


def test_without_matplotlib_a_report_has_no_pictures(
    metagen: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metagen.analysis.plots.available", lambda: False)
    code, _, err = metagen(*REPORT, "--out", "report")
    assert (code, err) == (0, f"No pictures: they need matplotlib: {how_to_install('plot')}\n")
    assert sorted(path.name for path in (folder / "report").iterdir()) == ["table.csv", "table.json", "table.md"]


def test_runs_and_pools_are_reported_on_side_by_side(metagen: Command) -> None:
    for spec, run in (("Vote(4)", "vote"), ("BestOf(4, by=MatchesReference())", "oracle")):
        assert metagen("solve", "problems.jsonl", *POOL, "-s", spec, "--out", run).code == 0
    code, out, err = metagen("report", "vote", "oracle", "pool.jsonl", "--problems", "problems.jsonl")
    assert (code, err) == (0, "")
    assert "oracle: 4 problems, 4 samples each, scored by the run's verifier" in out
    assert "Answers of oracle - vote: +25.0 [" in out
    assert "right in one run only 1 and 0, p = 0.5 (McNemar's mid-p)" in out
    with_as_many_samples, at_equal_cost = out.partition("Differences in points, in pairs")[2].split("at equal cost")
    assert with_as_many_samples.count("pool.jsonl - vote") == 2
    assert at_equal_cost.count("pool.jsonl - vote") == 6, "two rules at three costs"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("BestOf(4, by=silent)", "silent: it does not say why"),
        ("Vote(4, by=silent)", "silent: it does not say why"),
        ("BestOf(4, by=Threshold(silent, 1.0))", "Threshold: it does not say why"),
        ('BestOf(4, by=Judge(of=Model("judge")))', "Judge: it replied 'Good.'"),
        ('Vote(4, by=Judge(of=Model("judge")))', "Judge: it replied 'Good.'"),
    ],
)
def test_where_no_verifier_gave_a_verdict_it_is_said_with_the_reason(metagen: Command, spec: str, why: str) -> None:
    judge = ("--model", "judge=Scripted:Good.") if "judge" in spec else ()
    solved = metagen("solve", "problems.jsonl", *POOL, *judge, "--load", "own.py", "-s", spec, "--out", "run")
    assert solved.code == 0, solved.err
    assert "│ no verdict   │ 16 of 16" in solved.out
    assert why in " ".join(solved.out.replace("│", " ").split())
    reported = metagen("report", "run", "--problems", "problems.jsonl")
    assert f"run: no verdict: 16 of 16 ({why})" in reported.out


@pytest.mark.parametrize("spec", ["Refine(mute)", "Correct(Model(), feedback=mute)", "Vote(2, of=Refine(mute))"])
def test_drafts_that_could_not_be_revised_are_counted_with_the_reason(metagen: Command, spec: str) -> None:
    Path("mute.py").write_text("async def mute(problem, candidate, run):\n    raise OSError('no line')\n")
    solved = metagen("solve", "problems.jsonl", *POOL, "--load", "mute.py", "-s", spec, "--out", "run")
    assert solved.code == 0, solved.err
    said = "not revised in 4 of 4 problems (VerifierError: mute raised OSError: no line (mute.py, line 2))"
    assert said in " ".join(solved.out.replace("│", " ").split())


FOREIGN = {
    "list.jsonl": '[{"name": "mine"}]',
    "notes.jsonl": "notes without an end",
    "one.jsonl": '{"name": "mine"}',
    "more.jsonl": '{"name": "mine"}\n',
    "ours/run.json": '{"name": "my-package", "version": "1.0.0"}',
    "rows/solutions.jsonl": '{"problem": "p1", "answer": "2"}\n',
    "spans/trace.jsonl": "mine",
    "table/table.md": "# mine",
    "csv/table.csv": "a,b\n1,2\n",
    "json/table.json": "{}",
    "picture/curves.png": "\x89PNG mine",
    "drawing/curves.svg": "<svg/>",
    "swept/sweep.json": "[]",
    "pools/pools": "mine",
    "kept/run.json": "{}",
}
PLAN = 'problems = ["problems.jsonl"]\nstrategies = { one = "Vote(2)" }\nmodels = { pool = "pool.jsonl" }\n'
OVER_FOREIGN = [
    *(("sample", name) for name in ("list.jsonl", "notes.jsonl", "one.jsonl", "more.jsonl", "table/table.md", "ours")),
    *(("solve", name) for name in ("ours", "rows", "spans", "list.jsonl", ".")),
    *(("report", name) for name in ("table", "csv", "json", "picture", "drawing", "one.jsonl")),
    *(("sweep", name) for name in ("swept", "pools", "more.jsonl", "kept")),
    *(("choose", name) for name in ("more.jsonl", "kept")),
]


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "a link"])
@pytest.mark.parametrize(("command", "name"), OVER_FOREIGN)
def test_a_file_of_someone_else_is_refused_and_left_as_it_was(
    metagen: Command, folder: Path, command: str, name: str, linked: bool
) -> None:
    for path, text in (FOREIGN | {"plan.toml": PLAN}).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    target = name
    if linked:
        target = f"link-{name.replace('/', '-')}"
        (folder / target).symlink_to(folder / name)
    before = contents(folder)
    arguments = {
        "sample": ("problems.jsonl", "--load", "own.py", "--model", "model", "--n", "2"),
        "solve": ("problems.jsonl", *POOL, "-s", "Vote(2)"),
        "report": ("pool.jsonl", "--problems", "problems.jsonl"),
        "sweep": ("plan.toml",),
        "choose": ("problems.jsonl", "--load", "own.py", "--model", "model"),
    }[command]
    code, out, err = metagen(command, *arguments, "--out", target)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert target in err
    assert contents(folder) == before


def test_what_a_kill_cut_off_is_kept_beside_the_pool(metagen: Command, folder: Path) -> None:
    draw = ("sample", "problems.jsonl", "--load", "own.py", "--model", "model", "--n", "2", "--out", "new.jsonl")
    assert metagen(*draw).code == 0
    whole = (folder / "new.jsonl").read_bytes()
    for cut in (1, 9, 60):
        (folder / "new.jsonl").write_bytes(whole[:-cut])
        torn = whole[:-cut].splitlines()[-1]
        assert metagen(*draw).code == 0
        assert sorted((folder / "new.jsonl").read_bytes().splitlines()) == sorted(whole.splitlines())
        kept = folder / "new.jsonl.torn"
        assert (kept.read_bytes() if kept.exists() else b"").endswith(torn + b"\n" if cut > 1 else b"")


def test_without_a_command_it_says_what_it_can_do(metagen: Command) -> None:
    for arguments in ((), ("--help",)):
        code, out, err = metagen(*arguments)
        assert (code, err) == (0, "")
        assert "solve" in out
        assert "sample" in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted. What is solved is kept"),
        (BackendGone("the engine\nhas ended"), 1, "the engine has ended. What is solved is kept"),
    ],
)
def test_what_ends_a_run_early_is_one_line(
    metagen: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    async def ends(*_: object) -> int:
        raise error

    monkeypatch.setattr(jobs, "solve_file", ends)
    result = metagen("solve", "problems.jsonl", *POOL)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert said in result.err


def test_the_end_of_an_input_inside_a_command_is_no_interruption(
    metagen: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(*_: object) -> int:
        raise EOFError("a socket of the user's ended")

    monkeypatch.setattr(jobs, "solve_file", ends)
    with pytest.raises(EOFError, match="a socket of the user's ended"):
        metagen("solve", "problems.jsonl", *POOL)


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (("problems.jsonl", "-s", "Vote(4)"), 0, "50.0%", ""),
        (("problems.jsonl", "-s", "CoT()"), 1, "4, 4 failed", "Failed: 4 of 4 problems, 1 of them for this reason: "),
        (("missing.jsonl",), 2, "", "metagen: missing.jsonl: there is no such file"),
    ],
)
def test_the_command_in_a_process_of_its_own(
    folder: Path, arguments: tuple[str, ...], code: int, out: str, err: str
) -> None:
    command = [sys.executable, "-m", "metagen", "solve", *arguments, *POOL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert out in done.stdout
    assert done.stderr.startswith(err)
    assert done.stderr.count("\n") == bool(err)


@pytest.fixture
def labels(folder: Path) -> None:
    """Problems whose answers are words, and a pool of replies to them, one of which gives none."""
    rows = [{"id": name, "prompt": f"How is {name}?", "answer": "positive"} for name in "ab"]
    texts = {"a": ["It is positive.", "Positive!", "negative"], "b": ["negative", "I say negative", "I do not"]}
    pool = [
        {
            "problem": row["id"],
            "prompt": row["prompt"],
            "draw": draw,
            "text": text,
            "end": "length" if "not" in text else "eos",
        }
        for row in rows
        for draw, text in enumerate(texts[row["id"]])
    ]
    (folder / "labels.jsonl").write_text(lines(*rows))
    (folder / "words.jsonl").write_text(lines(*pool))
    (folder / "reads.py").write_text("def reads(text):\n    return text.split()[-1].strip('.!').lower()\n")


LABELS = ("--answers", 'Label("positive", "negative")')
WORDS = ("labels.jsonl", "-m", "words.jsonl", "-s", "Vote(3)")


@pytest.mark.usefixtures("labels")
def test_what_is_an_answer_can_be_said(metagen: Command) -> None:
    out = metagen("solve", *WORDS, *LABELS, "--out", "run").out
    table = {cells[0]: cells[1] for line in out.splitlines() if len(cells := cells_of(line)) > 1}
    assert table["accuracy"].startswith("50.0%")
    assert table["no answer"] == "1 of 6, of them 1 cut: raise max_tokens"
    own = metagen("solve", *WORDS, "--answers", "reads", "--load", "reads.py", "--out", "own").out
    assert "50.0%" in own
    silent = metagen("solve", *WORDS, "--out", "maths").out
    assert "6 of 6, of them 1 cut" in silent
    assert "choose another kind of answers with" in " ".join(silent.split())


@pytest.mark.usefixtures("labels")
def test_a_run_is_taken_up_again_with_the_same_answers_alone(metagen: Command) -> None:
    assert metagen("solve", *WORDS, *LABELS, "--out", "run").code == 0
    again = metagen("solve", *WORDS, "--answers", "Text()", "--out", "run")
    assert (again.code, "differs in answers: Label(" in again.err) == (2, True)
    without = metagen("report", "run", "--problems", "labels.jsonl")
    assert (without.code, "give --answers" in without.err) == (2, True)
    assert "no answer: 1 of 6, of them 1 cut" in metagen("report", "run", "--problems", "labels.jsonl", *LABELS).out


@pytest.mark.usefixtures("labels")
def test_a_pool_is_reported_by_the_answers_that_are_given(metagen: Command) -> None:
    out = metagen("report", "words.jsonl", "--problems", "labels.jsonl", *LABELS).out
    assert "no answer: 1 of 6, of them 1 cut" in out
    own = metagen("report", "words.jsonl", "--problems", "labels.jsonl", "--answers", "reads", "--load", "reads.py")
    assert own.code == 0


@pytest.mark.parametrize("command", [[], ["solve"], ["train", "orm"]])
def test_help_has_a_short_name(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for option in ("-h", "--help"):
        monkeypatch.setattr("sys.argv", ["metagen", *command, option])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != ""
