"""Inspect (UK AI Security Institute): strategies as a model and as a solver of its tasks, and runs as its logs.

inspect eval task.py --model metagen/small -M strategy='Vote(16)'
inspect eval task.py --model openai/gpt-4o --solver metagen/metagen -S strategy='Vote(16)'
"""

from typing import Any

from inspect_ai.model import ModelAPI, modelapi
from inspect_ai.solver import Generate, Solver, TaskState, solver

from metagen.adapters.caller import read_caller
from metagen.adapters.inspect_ai.active import ActiveModel
from metagen.adapters.inspect_ai.messages import output_of, problem_of
from metagen.adapters.inspect_ai.provider import StrategyAPI
from metagen.model import Model
from metagen.solve import solve


@modelapi(name="metagen")  # type: ignore[untyped-decorator]
def provider() -> type[ModelAPI]:
    """The models that are called `metagen/…`."""
    return StrategyAPI


@solver(name="metagen")  # type: ignore[untyped-decorator]
def metagen(strategy: str = "Vote(16)", answers: str = "", load: str = "", seed: int | None = None) -> Solver:
    """Answer with a strategy whose generator is the model of the task.

    `answers` says what counts as an answer where samples vote, and `load` names a file of Python for the spec. Raises
    `InputError` for a spec that cannot be read.
    """
    names: dict[str, Any] = {"load": load} if load else {}
    caller = read_caller({"model": "Scripted:unused", "strategy": strategy, "answers": answers, "seed": seed, **names})

    async def answer(state: TaskState, generate: Generate) -> TaskState:
        del generate  # the strategy asks the model itself, as often as it likes
        async with ActiveModel() as model:
            problem = problem_of(state.messages, f"{state.sample_id}", state.epoch, caller.answers)
            solution = await solve(problem, caller.strategy, model, seed=caller.seed, default=Model())
        if model.limit:  # a verifier that met it has lost its verdicts alone
            raise model.limit
        state.output = output_of(model.name, [solution], caller.answers)
        state.messages.append(state.output.choices[0].message)
        return state

    return answer
