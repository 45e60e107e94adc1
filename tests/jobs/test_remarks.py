"""What a run says as it starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from metagen import Generator, Limited, ProblemFile, Recorded, Scripted, ScriptedReward, Vote, parse
from metagen.cli.jobs import sample_file, solve_file
from metagen.jobs.job import Order, prepare
from metagen.jobs.opening import at_price, make_backend
from metagen.jobs.remarks import of_problems, remarks
from metagen.leaves import find_leaves
from metagen.request import AnyBackend
from tests.support.fake_server import FakeServer, reserved_port
from tests.support.scripts import NAMES

LINE = (
    "scripted: no max_tokens is set, so a reply may run to the end of the context, 8,192 tokens; "
    "to limit it, write Model(max_tokens=1024) in the strategy."
)


def read(spec: str) -> Generator:
    strategy: Generator = parse(spec, NAMES)
    return strategy


def model(context: int = 8192) -> AnyBackend:
    """A model that may write as long as it likes, as far as anyone can tell."""
    return Limited(Scripted("x", context=context), 1)


@pytest.mark.parametrize(
    "spec",
    [
        "Model()",
        "Vote(4)",
        "Vote(4, of=CoT())",
        "Vote(4, of=CoT(of=Model(temperature=0.5)))",
        'Chain(Ask("{question}", of=Model(max_tokens=5)), CoT())',
        "BestOf(4, of=Model(max_tokens=5), by=Judge())",
        "Fallback(Model(max_tokens=5), Model())",
        "Within(tokens=100)",
    ],
)
async def test_a_leaf_without_a_limit_is_said_once(spec: str) -> None:
    assert await remarks(read(spec), {"model": model()}) == [LINE]


@pytest.mark.parametrize(
    "spec", ["Model(max_tokens=5)", "Vote(4, of=CoT(of=Model(max_tokens=5)))", "asks_twice", "Vote(2, of=asks_twice)"]
)
async def test_where_all_leaves_have_a_limit_or_are_unknown_nothing_is_said(spec: str) -> None:
    assert await remarks(read(spec), {"model": model()}) == []


async def test_each_model_has_its_line_and_its_context() -> None:
    strategy = read('Chain(Ask("{question}", of=Model("b")), Model("a", max_tokens=9), Model())')
    lines = await remarks(strategy, {"prm": ScriptedReward(lambda _: [1.0]), "a": model(), "b": model(100)})
    assert [line.split(";")[0].rpartition("context, ")[2] for line in lines] == ["100 tokens", "8,192 tokens"]
    assert 'Model("b", max_tokens=1024)' in lines[0]


async def test_who_only_plays_is_not_spoken_of(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text("")
    assert await remarks(Vote(2), {"model": Scripted("x")}) == []
    pool = Recorded(tmp_path / "pool.jsonl")
    assert await remarks(Vote(2), {"model": pool}) == []
    assert await remarks(Vote(2), {"model": at_price(pool, "1/1")}) == []
    assert len(await remarks(Vote(2), {"model": Recorded(tmp_path / "new.jsonl", Limited(Scripted("x"), 1))})) == 1


def test_leaves_are_found_in_tuples_and_verifiers() -> None:
    strategy = read("BestOf(2, of=Fallback(Model(), Model(top_k=2)), by=Judge(of=Model(top_k=3)))")
    assert [leaf.top_k for leaf in find_leaves(strategy)] == [None, 2, 3]


@pytest.mark.parametrize(("strategy", "lines"), [("Vote(2)", 1), ("Vote(2, of=Model(max_tokens=50))", 0)])
async def test_solving_says_it_on_stderr(
    strategy: str, lines: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"prompt": "3 + 4?", "answer": 7}\n{"prompt": "4 + 3?", "answer": 7}\n')
    async with FakeServer().running() as server:
        order = Order(problems=ProblemFile(problems), strategy=strategy, models={"model": server.url})
        assert await solve_file(prepare(order), tmp_path / "run") == 0
    said = capsys.readouterr()
    assert said.err.count("mock: no max_tokens is set, so a reply may run to the end of the context, 2,000") == lines
    assert "max_tokens is set" not in said.out


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "3 + 4?", "answer": 7}, []),
        ({"prompt": "3 + 4?", "image": "cat.png"}, ["p.jsonl: these fields are not used: 'image'."]),
        (
            {"prompt": "3 + 4?"} | {f"f{number}": 1 for number in range(10)},
            ["p.jsonl: these fields are not used: 'f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7' and 2 more."],
        ),
        (
            {"prompt": "3 + 4?", "answer": float("nan")},
            ["p.jsonl: the answer of 2 of 2 problems is none, such as NaN or a solution without"],
        ),
    ],
)
async def test_what_is_not_read_of_a_file_is_said_once(
    row: dict[str, Any], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text(2 * (json.dumps(row) + "\n"))
    order = Order(problems=ProblemFile(tmp_path / "p.jsonl"), strategy="Vote(2)", models={"model": "Scripted:7"})
    job = prepare(order)
    assert [line.partition(" its result")[0] for line in of_problems(job)] == said
    assert await solve_file(job, tmp_path / "run") == 0
    printed = capsys.readouterr().err
    assert all(printed.count(line) == 1 for line in said)
    assert await sample_file(job, 2, tmp_path / "pool.jsonl") == 0
    assert all(capsys.readouterr().err.count(line) == 1 for line in said)


@pytest.mark.parametrize("around", ["alone", "in a pool", "at a price"])
async def test_a_server_that_is_away_as_the_run_starts_is_named(around: str, tmp_path: Path) -> None:
    async with FakeServer().running() as fake:
        with reserved_port() as port:
            several: Any = make_backend(f"{fake.url}, http://127.0.0.1:{port}/v1", {}, {}, None, {})
            if around == "in a pool":
                several = Recorded(tmp_path / "pool.jsonl", several)
            async with at_price(several, "1/2" if around == "at a price" else None) as model:
                said = await remarks(read("Model(max_tokens=5)"), {"model": model})
    assert said == [
        f"mock: a server is left out until it answers: cannot connect to 127.0.0.1:{port}: Connection refused."
    ]


async def test_blanks_after_the_commas_between_servers_are_no_part_of_an_address() -> None:
    async with (
        FakeServer().running() as one,
        FakeServer().running() as two,
        make_backend(f"{one.url}, {two.url} ", {}, {}, None, {}) as several,
    ):
        assert await remarks(read("Model(max_tokens=5)"), {"model": several}) == []
        assert one.seen["tokenize"] == two.seen["tokenize"] == 1
