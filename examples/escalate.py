"""A strategy that is a plain function, over two models."""

import asyncio

from metagen import Candidate, Model, Problem, Run, VLLMEngine, Vote, extract, solve


async def escalate(problem: Problem, run: Run) -> Candidate:
    """Ask the small model; where its samples disagree, ask the large one."""
    first, second = await run.sample(Model("small"), problem, 2)
    if extract(first.text) == extract(second.text):
        return first
    return await run.ask(Vote(8, of=Model("large")), problem)


async def main(problem: Problem) -> None:
    async with VLLMEngine("path/or/hub-name") as small, VLLMEngine("another") as large:
        solution = await solve(problem, escalate, {"small": small, "large": large})
    print(solution.answer)


if __name__ == "__main__":
    asyncio.run(main(Problem("1", "What is 3 + 4?")))
