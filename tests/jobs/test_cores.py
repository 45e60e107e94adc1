"""The threads of a run's engine: chosen only where nothing else computes."""

import os
from pathlib import Path
from typing import Any

import pytest

from metagen import ProblemFile
from metagen.jobs import cores
from metagen.jobs.job import Order, prepare
from tests.support.confined import needs_sandbox

pytest.importorskip("vllm")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "processors", lambda: 2)
    monkeypatch.setattr(cores, "speedup", lambda: 1.9)


def chosen(folder: Path, strategy: str, **more: Any) -> str | None:
    """The number of threads while the run is at work; `None` where it is left alone."""
    path = folder / "problems.jsonl"
    path.write_text('{"prompt": "3 + 4?", "answer": "7"}\n')
    job = prepare(Order(problems=ProblemFile(path), strategy=strategy, **more))
    with cores.threads_for(job) as said:
        number = os.environ.get("OMP_NUM_THREADS")
        assert bool(said) == (number == "2")
    return number


@pytest.mark.parametrize("strategy", ["Model()", "Vote(16)", "Vote(4, of=CoT())", "Vote(2, of=Refine(rounds=1))"])
def test_an_engine_that_is_alone_has_both_cores_until_the_run_ends(tmp_path: Path, strategy: str) -> None:
    assert chosen(tmp_path, strategy) == "2"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ('BestOf(4, by=ProcessReward("prm"))', {"models": {"model": "small-moe", "prm": "small-prm"}}),
        ("BestOf(4, by=Judge())", {}),
        pytest.param("CodeVote(4)", {}, marks=needs_sandbox),
        ("Vote(4)", {"models": {"model": "Scripted:The answer is 7."}}),
        ("Vote(4)", {"engine": {"tensor_parallel_size": 2}}),
        ("Vote(4)", {"engine": {"distributed_executor_backend": "mp"}}),
        pytest.param("Vote(4)", {"grade": 'PassesTests("assert f() == 1")'}, marks=needs_sandbox),
    ],
)
def test_where_more_computes_or_the_user_says_how_it_is_left_alone(
    tmp_path: Path, strategy: str, more: dict[str, Any]
) -> None:
    assert chosen(tmp_path, strategy, **more) is None


def test_the_number_in_the_environment_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert chosen(tmp_path, "Vote(4)") == "1"


def test_a_machine_that_does_other_work_keeps_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "speedup", lambda: 1.2)
    assert chosen(tmp_path, "Vote(4)") is None


def test_with_more_cores_vllm_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "processors", lambda: 4)
    assert chosen(tmp_path, "Vote(4)") is None
