"""Two workers with real engines of the model that ships."""

import os
import signal

import psutil
import pytest

from metagen import Beam, MeanLogprob, Model, ProblemFile, Vote, solve_all
from metagen.cluster import Workers
from metagen.cluster.rays import SETTINGS
from metagen.jobs.job import ModelOrder
from metagen.models import SMALL

pytest.importorskip("ray")
pytestmark = [pytest.mark.engine, pytest.mark.ray]


async def test_two_engines_solve_a_file_and_one_that_is_killed_is_started_again() -> None:
    os.environ.update(SETTINGS)
    problems = list(ProblemFile(SMALL.parents[1] / "data/evaluation.jsonl").lacking((), 12))
    async with Workers(2, ModelOrder(engine={"max_num_seqs": 16})) as workers:
        solving = workers.solve_all(problems, Vote(4), seed=1)
        solved = [await anext(solving)]
        process = await next(slot.place for slot in workers.slots if slot.place).call("process")
        os.kill(process, signal.SIGKILL)
        solved += [each async for each in solving]
        async with workers.models["model"] as model:  # the same engines, asked from here
            asked = [
                each
                async for each in solve_all(
                    problems[:4], Beam(2, 2, of=Model(logprobs=True), by=MeanLogprob()), model, seed=1
                )
            ]
    assert not any(each.error for each in asked)
    assert sum(each.usage.cached_tokens for each in asked) > 0, "the steps of a search find their prefix"
    assert sorted(each.problem for each in solved) == sorted(each.id for each in problems)
    assert not any(each.error for each in solved)
    assert sum(bool(each.correct) for each in solved) > len(problems) // 4
    assert sum(slot.restarts for slot in workers.slots) == 1
    assert sum(slot.usage.completion_tokens for slot in workers.slots) > 0
    assert not psutil.pid_exists(process)
