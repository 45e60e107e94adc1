"""Workers as actors of a real Ray."""

import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from metagen import Account, Budget, InputError, Problem, ProblemFile, Vote, solve_all
from metagen.cli.clusters import Cluster, models_of
from metagen.cli.jobs import sample_file, solve_file
from metagen.cli.sweeps import sweep
from metagen.cluster import Workers
from metagen.cluster.rays import SETTINGS, check_reach
from metagen.disk.runs import read_solutions
from metagen.jobs.job import Order, make_models, prepare
from metagen.jobs.loading import load_all
from metagen.jobs.plans import cells, read_plan
from metagen.serve import app
from metagen.train.labels import label
from tests.support.clusters import order, plain

pytest.importorskip("ray")
pytestmark = pytest.mark.ray
PROBLEMS = [f"What is {number}?" for number in range(60)]


@pytest.fixture(scope="module")
async def ray() -> AsyncIterator[Any]:
    """One Ray for all tests, small; the workers use it as they find it."""
    os.environ.update(SETTINGS)
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    try:
        yield ray
    finally:
        ray.shutdown()


async def test_two_actors_solve_as_one_process_does(ray: Any, tmp_path: Path) -> None:
    asked = order(tmp_path)
    _, models = make_models(asked, load_all(asked.load))
    alone = {each.problem: plain(each) async for each in solve_all(PROBLEMS, Vote(4), models, seed=3)}
    async with Workers(2, asked) as workers:
        solved = {each.problem: plain(each) async for each in workers.solve_all(PROBLEMS, Vote(4), seed=3)}
        account = Account(Budget(tokens=2000))
        spent = [each.usage.tokens async for each in workers.solve_all(PROBLEMS, Vote(4), account=account)]
    assert solved == alone
    assert account.refused
    assert sum(spent) == account.spent.tokens <= 2000
    assert ray.is_initialized()  # it is not theirs to end


async def test_a_killed_actor_is_replaced_and_what_kills_actors_is_a_failed_problem(ray: Any, tmp_path: Path) -> None:
    problems = [*PROBLEMS, "poison"]
    async with Workers(2, order(tmp_path)) as workers:
        solving = workers.solve_all(problems, Vote(2), seed=3)
        solved = [await anext(solving)]
        place = next(slot.place for slot in workers.slots if slot.place)  # on a busy machine, only one may have begun
        os.kill(await place.call("process"), signal.SIGKILL)
        solved += [each async for each in solving]
    failed = [each for each in solved if each.error]
    assert sorted(each.problem for each in solved) == sorted(str(number) for number in range(1, len(problems) + 1))
    assert [each.prompt for each in failed] == ["poison"]
    assert failed[0].error.startswith("WorkerDied: ")
    assert sum(slot.restarts for slot in workers.slots) >= 3


async def test_a_run_on_workers_has_the_folder_of_one_machine(
    ray: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"p{n}", "prompt": p, "answer": "1"}) + "\n" for n, p in enumerate(PROBLEMS))
    )
    asked = order(tmp_path)
    job = prepare(
        Order(problems=ProblemFile(file), strategy="Vote(4)", models=asked.models, load=asked.load, seed=3, limit=30)
    )
    assert await solve_file(job, tmp_path / "here") == 0
    assert await solve_file(job, tmp_path / "there", cluster=Cluster(workers=2)) == 0
    assert "2 workers" in capsys.readouterr().out
    assert await solve_file(job, tmp_path / "there", cluster=Cluster(workers=1)) == 0  # nothing is left to do
    here, there = (sorted(map(str, map(plain, read_solutions(tmp_path / name)))) for name in ("here", "there"))
    assert there == here
    assert len((tmp_path / "there/trace.jsonl").read_text().splitlines()) == len(
        (tmp_path / "here/trace.jsonl").read_text().splitlines()
    )


async def test_samples_and_sweeps_on_workers_are_those_of_one_machine(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(
        "".join(json.dumps({"id": f"p{n}", "prompt": p, "answer": "1"}) + "\n" for n, p in enumerate(PROBLEMS[:8]))
    )
    asked = order(tmp_path)
    job = prepare(
        Order(
            problems=ProblemFile(tmp_path / "problems.jsonl"), strategy="Model()", models=asked.models, load=asked.load
        )
    )
    job = replace(job, seed=3)
    for name, cluster in (("here", None), ("there", Cluster(workers=2))):
        assert await sample_file(job, 3, tmp_path / f"{name}.jsonl", cluster) == 0
    here, there = (sorted((tmp_path / f"{name}.jsonl").read_text().splitlines()) for name in ("here", "there"))
    assert there == here
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'problems = ["problems.jsonl"]\nmodels = {echo = "echo"}\nload = ["code.py"]\nseeds = [3]\n'
        'strategies = {vote = "Vote(2)", shared = "Allocate(2, among=4)"}\n'
    )
    every = cells(plan, read_plan(plan))
    for name, cluster in (("here", None), ("there", Cluster(workers=2))):
        assert await sweep("plan", every, tmp_path / name, cluster) == 0
    for cell in every:
        here, there = (
            sorted(map(str, map(plain, read_solutions(tmp_path / n / cell.folder)))) for n in ("here", "there")
        )
        assert there == here


async def test_a_model_on_workers_serves_and_labels_as_one_here(ray: Any, tmp_path: Path) -> None:
    models = models_of(Cluster(workers=2), order(tmp_path))
    service = app(models)
    body = {"model": "echo", "messages": [{"role": "user", "content": "Why?"}], "seed": 1}
    async with service.router.lifespan_context(service):
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            reply = await client.post("/v1/chat/completions", json=body)
    assert reply.json()["choices"][0]["message"]["content"].startswith("The answer is ")
    problem = Problem("a", "What is 1?", answer="9")
    samples = {"a": ["First.\nThe answer is 8."]}
    labelled = label([problem], samples, models["model"], tmp_path / "labels.jsonl", rollouts=2)  # type: ignore[arg-type]
    async with models["model"]:
        assert [each.calls > 0 async for each in labelled] == [True]


async def test_an_address_where_nobody_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--ray 127\.0\.0\.1:1: no Ray cluster answers there"):
        check_reach("127.0.0.1:1")
