"""A strategy that is a plain function, over two models."""

import asyncio

from metagen import Candidate, Model, Problem, Run, VLLMEngine, Vote, extract, solve


async def escalate(problem: Problem, run: Run) -> Candidate:
    """Ask the small model; unless its two samples agree, ask the large one."""
    samples = await run.sample(Model("small"), problem, 2)  # those that were not lost
    answers = {extract(sample.text) for sample in samples}
    if len(samples) == 2 and len(answers) == 1 and None not in answers:
        return samples[0]
    return await run.ask(Vote(8, of=Model("large")), problem)


async def main(problem: Problem) -> None:
    async with VLLMEngine("path/or/hub-name") as small, VLLMEngine("another") as large:
        solution = await solve(problem, escalate, {"small": small, "large": large})
    print(solution.answer)


if __name__ == "__main__":
    asyncio.run(main(Problem("1", "What is 3 + 4?")))
