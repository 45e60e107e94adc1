"""`metagen train`, from a pool to a model: with a tiny base, in seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metagen import InputError, ProblemFile, Request, Scripted
from metagen.disk.lines import Appender
from metagen.train.command import Kind, graded_pool, train
from metagen.train.finetune import Schedule
from tests.support.bases import write_base

SCHEDULE = Schedule(epochs=2, tokens=1024)
RIGHT, WRONG = "1 + {n} = {a}\nThe answer is {a}.", "1 + {n} = {b}\nThe answer is {b}."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def problems(tmp_path: Path) -> ProblemFile:
    with Appender(tmp_path / "problems.jsonl") as file:
        file.write({"id": f"p{n}", "prompt": f"1 + {n}?", "answer": str(n + 1)} for n in range(20))
    return ProblemFile(tmp_path / "problems.jsonl")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    with Appender(tmp_path / "pool.jsonl") as file:
        for n in range(20):
            texts = [form.format(n=n, a=n + 1, b=n + 2) for form in (RIGHT, WRONG)]
            file.write(
                {"problem": f"p{n}", "prompt": f"1 + {n}?", "draw": draw, "text": text}
                for draw, text in enumerate(texts)
            )
    return tmp_path / "pool.jsonl"


def silent(*_: object) -> None:
    """Watches nothing."""


def hopeless(request: Request) -> str:
    return "The answer is 0."


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("orm", "Qwen2ForSequenceClassification"),
        ("prm", "Qwen2ForProcessRewardModel"),
        ("corrector", "Qwen2ForCausalLM"),
    ],
)
def test_from_a_pool_to_a_model_and_its_report(
    kind: Kind, architecture: str, base: Path, pool: Path, problems: ProblemFile, tmp_path: Path
) -> None:
    out = tmp_path / kind
    report = train(kind, pool, problems, str(base), out, SCHEDULE, silent, generator=Scripted(hopeless))
    assert json.loads((out / "config.json").read_text())["architectures"] == [architecture]
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["held out"]
    assert not (out / "checkpoint.safetensors").exists()


async def test_a_pool_is_graded_by_its_problems(pool: Path, problems: ProblemFile) -> None:
    graded = await graded_pool(pool, problems)
    assert [right for _, right in graded["1 + 3?"]] == [True, False]


def test_labels_are_needed_or_someone_to_make_them(
    base: Path, pool: Path, problems: ProblemFile, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="name the model that wrote the pool with --generator"):
        train("prm", pool, problems, str(base), tmp_path / "out", SCHEDULE, silent)


def test_a_pool_of_other_problems_is_refused(base: Path, pool: Path, problems: ProblemFile, tmp_path: Path) -> None:
    with Appender(pool) as file:
        file.write([{"problem": "q", "prompt": "?", "draw": 0, "text": "a"}])
    with pytest.raises(InputError, match=r"pool.jsonl: problem 'q' has no reference answer in .*problems.jsonl"):
        train("orm", pool, problems, str(base), tmp_path / "out", SCHEDULE, silent)


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path, pool: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "metagen", "train", "orm", str(pool), "--problems", str(tmp_path / "problems.jsonl"),
            "--model", str(tmp_path / "nothing"), "--out", str(tmp_path / "out"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "holds no model" in done.stderr
    assert done.stderr.count("\n") == 1
