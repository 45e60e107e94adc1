"""From one sample to a tree search, on the models that ship with metagen: the code of docs/learn.md."""

import asyncio
from collections.abc import Mapping
from itertools import islice

from metagen import (
    Generator,
    Model,
    Problem,
    ProblemFile,
    ProcessReward,
    Rebase,
    TorchReward,
    VLLMEngine,
    Vote,
    Within,
    solve,
    solve_all,
)
from metagen.data import EVALUATION
from metagen.models import SMALL, SMALL_PRM
from metagen.request import AnyBackend

MANY = 50
QUESTION = "Carl has 2 bags of 5 coins. Carl buys 6 bags of 4 coins. How many coins does Carl have?"
PROBLEM = Problem("coins", QUESTION, "34")

Models = Mapping[str, AnyBackend]


async def one_sample(models: Models) -> None:
    solution = await solve(PROBLEM, Model("small"), models, seed=1)
    print(solution.text)
    print(solution.answer, solution.correct, solution.usage.completion_tokens)


async def a_vote(models: Models) -> None:
    solution = await solve(PROBLEM, Vote(16, of=Model("small")), models, seed=1)
    print(f"{solution.answer}: {solution.samples_correct} of {solution.samples} samples were right")


STRATEGIES: Mapping[str, Generator] = {
    "one sample": Model("small"),
    "a vote": Vote(16, of=Model("small")),
    "a weighted vote": Vote(16, of=Model("small"), by=ProcessReward("prm")),
    "a tree search": Rebase(4, of=Model("small"), by=ProcessReward("prm"), answer="weighted"),
    "a vote within a budget": Within(tokens=500, of=Vote(16, of=Model("small"))),
}


async def compare(models: Models) -> None:
    for name, strategy in STRATEGIES.items():
        problems = islice(ProblemFile(EVALUATION), MANY)
        solutions = [each async for each in solve_all(problems, strategy, models, seed=1)]
        right = sum(each.correct is True for each in solutions) / len(solutions)
        tokens = sum(each.usage.tokens for each in solutions) / len(solutions)
        print(f"{name:24}{right:6.0%}{tokens:8,.0f} tokens per problem")


async def the_trace(models: Models) -> None:
    solution = await solve(PROBLEM, Vote(4, of=Model("small"), by=ProcessReward("prm")), models, seed=1)
    for span in solution.trace.walk():
        print("  " * len(span.path), span.name, span.status, span.usage.tokens, span.verdicts or "")


async def main() -> None:
    async with VLLMEngine(SMALL) as small, TorchReward(SMALL_PRM) as prm:
        models: Models = {"small": small, "prm": prm}
        for step in (one_sample, a_vote, compare, the_trace):
            print(f"\n# {step.__name__}")
            await step(models)


if __name__ == "__main__":
    asyncio.run(main())
