"""Workers, their machines and their driver are killed, and 16 workers share a budget: all is solved once, none passed.

    python benchmarks/torture/workers.py [here] [actors] [models] [nodes] [driver] [budget]

Each kill comes after so many solutions: of a random worker in this process (`here`) or of Ray (`actors`), also where
the strategy runs in the driver and asks the models of workers (`models`), of a whole node of Ray, or of the driver. The
solutions must be those of one process without workers, but for times.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import psutil
import ray
from ray.cluster_utils import Cluster
from trust_page import publish

from metagen import Account, Budget, Problem, Vote, parse, solve_all
from metagen.cluster.places import Launch
from metagen.cluster.workers import Workers
from metagen.disk.records import Record
from metagen.disk.runs import RunDirectory, read_solutions
from metagen.jobs.job import ModelOrder, make_models
from metagen.jobs.loading import load_all
from tests.support.clusters import Places, plain

COUNT = 2000
MODEL = """
import asyncio
from random import Random
from metagen import Scripted

def slow():
    async def script(request):
        chance = Random(request.seed)
        await asyncio.sleep(chance.expovariate(4))
        return f"The answer is {chance.randrange(3)}." + "!" * chance.randrange(60)
    return Scripted(script, name="slow")
"""
PROBLEMS = [Problem(f"p{number}", f"What is {number} + 1?", str(number % 3)) for number in range(COUNT)]
STRATEGIES = (
    "Vote(4, of=Model(max_tokens=100))",
    "Vote(8, of=Refine(of=Model(max_tokens=100), rounds=1))",
    "BestOf(3, of=Model(max_tokens=200), by=MatchesReference())",
    "Vote(2, of=CoT(of=Model(max_tokens=80)))",
)
SETTINGS: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
Kill = Callable[[Workers], bool]
Solve = Callable[[Workers], AsyncGenerator[Record, None]]


def model(folder: Path) -> ModelOrder:
    (folder / "slow.py").write_text(MODEL)
    return ModelOrder(models={"model": "slow"}, load=[folder / "slow.py"])


async def alone(order: ModelOrder) -> dict[str, Any]:
    """What one process finds."""
    _, models = make_models(order, load_all(order.load))
    solved = solve_all(PROBLEMS, Vote(4), models, seed=5, concurrency=COUNT)
    return {each.problem: plain(each) async for each in solved}


def on_workers(workers: Workers) -> AsyncGenerator[Record, None]:
    """Workers run the strategy."""
    return workers.records(PROBLEMS, Vote(4), seed=5, concurrency=16)


async def from_here(workers: Workers) -> AsyncGenerator[Record, None]:
    """This process runs the strategy. What a dead worker was asked is a call that cost no tokens."""
    models = workers.models
    async with models["model"], aclosing(solve_all(PROBLEMS, Vote(4), models, seed=5, concurrency=64)) as solved:
        async for each in solved:
            yield Record.of(replace(each, usage=replace(each.usage, calls=1)))


async def killed(
    name: str, folder: Path, kills: int, count: int, kill: Kill, launch: Launch | None = None, by: Solve = on_workers
) -> tuple[object, ...]:
    """The solutions of a run with so many kills, against those of one process."""
    order = model(folder)
    expected = await alone(order)
    done, found = 0, []
    async with Workers(count, order, launch=launch) as workers:
        with RunDirectory(folder / "run", {}) as run:
            async with aclosing(by(workers)) as records:
                async for record in records:
                    run.add(record)
                    found.append(plain(record.row.solution()))
                    if done < kills and len(found) > (done + 1) * COUNT // (kills + 2):
                        done += kill(workers)
        restarts = sum(slot.restarts for slot in workers.slots)
    return name, *checked(found, expected, folder / "run", done, restarts)


def checked(
    found: list[dict[str, Any]], expected: dict[str, Any], run: Path, kills: int, restarts: int
) -> tuple[object, ...]:
    times = Counter(each["problem"] for each in found)
    lost = len(expected.keys() - times.keys())
    doubled = sum(count > 1 for count in times.values())
    differing = [each for each in found if each != expected[each["problem"]]]
    for each in differing[:5]:
        print("different:", each, "expected:", expected[each["problem"]], flush=True)
    spans = tokens_of(run / "trace.jsonl")
    uneven = spans != sum(tokens(each["usage"]) for each in expected.values())
    return kills, restarts, len(found), lost, doubled, len(differing), lost + doubled + len(differing) + uneven


def tokens(usage: dict[str, int]) -> int:
    return usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)


def tokens_of(trace: Path) -> int:
    return sum(tokens(json.loads(line).get("usage", {})) for line in trace.open())


def shoot(asked: "asyncio.Future[int]") -> None:
    """Kill the process whose id was asked for, if it still lives."""
    if not asked.exception():
        os.kill(asked.result(), signal.SIGKILL)


async def here(folder: Path) -> tuple[object, ...]:
    places, chance = Places(), random.Random(0)

    def kill(workers: Workers) -> bool:
        alive = [slot for slot in workers.slots if slot.place and slot.problems and not slot._fruitless]
        if not alive:
            return False
        slot = chance.choice(alive)
        next(place for place in places if place is slot.place).kill()
        slot._fruitless = 1
        return True

    return await killed("workers in one process", folder, 30, 8, kill, places.launch)


async def actors(folder: Path) -> tuple[object, ...]:
    return await shot("random workers", folder, on_workers)


async def models(folder: Path) -> tuple[object, ...]:
    return await shot("random workers, asked by the driver", folder, from_here)


async def shot(name: str, folder: Path, by: Solve) -> tuple[object, ...]:
    """With 30 kills of random workers of Ray."""
    ray.init(num_cpus=4, object_store_memory=200 * 2**20, **SETTINGS)
    chance = random.Random(0)

    def kill(workers: Workers) -> bool:
        ready = [slot for slot in workers.slots if slot.ready.done() and slot.problems + slot.questions]
        alive = [slot for slot in ready if not slot._fruitless]
        if len(alive) < 2:
            return False
        slot = chance.choice(alive)
        asking = asyncio.ensure_future(slot.ready.result().call("process"))
        asking.add_done_callback(shoot)
        slot._fruitless = 1
        return True

    try:
        return await killed(name, folder, 30, 4, kill, by=by)
    finally:
        ray.shutdown()


async def nodes(folder: Path) -> tuple[object, ...]:
    small = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    there = [cluster.add_node(num_cpus=1, **small) for _ in range(3)]
    ray.init(address=cluster.address, **SETTINGS)

    def kill(workers: Workers) -> bool:
        if sum(slot.place is not None for slot in workers.slots) < 2:
            return False
        cluster.remove_node(there.pop(0), allow_graceful=False)
        there.append(cluster.add_node(num_cpus=1, **small))
        return True

    try:
        return await killed("nodes", folder, 5, 3, kill)
    finally:
        ray.shutdown()
        cluster.shutdown()


def driver(folder: Path) -> tuple[object, ...]:
    order = model(folder)
    expected = asyncio.run(alone(order))
    lines = (json.dumps({"id": each.id, "prompt": each.prompt, "answer": each.answer}) + "\n" for each in PROBLEMS)
    (folder / "problems.jsonl").write_text("".join(lines))
    call = [sys.executable, "-m", "metagen", "solve", "problems.jsonl", "--load", "slow.py", "-m", "slow"]
    call += ["-s", "Vote(4)", "--seed", "5", "--out", "run", "--workers", "2", "--concurrency", "16"]
    silent: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    solutions = folder / "run/solutions.jsonl"
    for part in (1, 2, 3):
        with subprocess.Popen(call, **silent) as process:
            while not (solutions.exists() and solutions.read_bytes().count(b"\n") > part * COUNT // 4):
                assert process.poll() is None
                time.sleep(0.05)
            process.kill()
    code = subprocess.run(call, **silent, check=False).returncode
    found = [plain(each) for each in read_solutions(folder / "run")]
    *rest, bad = checked(found, expected, folder / "run", 3, 0)
    return "the driver", *rest, int(str(bad)) + bool(code)


async def budget(folder: Path) -> tuple[object, ...]:
    """16 workers in this process, with random strategies and kills. What a dead worker was lent counts as spent."""
    chance, order = random.Random(1), model(folder)
    passed, worst, runs = 0, 0.0, 4
    for _ in range(runs):
        places, most = Places(), chance.randrange(20_000, 120_000)
        strategy = chance.choice(STRATEGIES)
        account = Account(Budget(tokens=most))
        workers = Workers(16, order, launch=places.launch)
        solved = 0
        records = workers.records(PROBLEMS, parse(strategy), account=account, concurrency=8)
        async with workers, aclosing(records):
            async for _ in records:
                solved += 1
                if chance.random() < 0.02:
                    chance.choice([place for place in places if not place.is_dead]).kill()
        passed += account.spent.tokens > most
        worst = max(worst, 1 - account.spent.tokens / most if account.refused else 0.0)
        dead = account.spent.estimated_tokens
        print(
            f"{strategy}: {account.spent.tokens:,} of {most:,} spent, {dead:,} with dead workers; {solved} solved",
            flush=True,
        )
    return runs, passed, f"{worst:.1%}", passed + (worst > 0.03)


def leftovers() -> list[str]:
    """Processes of Ray that nobody owns any more."""
    marks = ("raylet", "gcs_server", "ray::")
    orphans = (each for each in psutil.process_iter(["cmdline", "ppid"]) if each.info["ppid"] == 1)
    commands = (" ".join(each.info["cmdline"] or [])[:200] for each in orphans)
    return [each for each in commands if any(mark in each for mark in marks)]


PARTS = {"here": here, "actors": actors, "models": models, "nodes": nodes, "driver": driver, "budget": budget}


def main(*names: str) -> None:
    rows = []
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as place:
            row: Any = PARTS[name](Path(place))
            row = asyncio.run(row) if asyncio.iscoroutine(row) else row
            print(name, row, flush=True)
        if name == "budget":
            publish("workers-budget", ("runs", "budgets passed", "left unused at most", "bad"), [row])
            continue
        for _ in range(600):  # agents of a killed Ray end within a minute
            if not (left := leftovers()):
                break
            time.sleep(0.2)
        if left:
            print(f"{name}: left are", *left, sep="\n    ", flush=True)
        *rest, bad = row
        rows.append((*rest, len(left), bad + len(left)))
    if rows:
        columns = ("killed", "kills", "restarts", "solutions", "lost", "doubled", "different", "processes left", "bad")
        publish("workers-kills", columns, rows)


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    main(*sys.argv[1:])
