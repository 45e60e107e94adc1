"""Compose strategies in Python: sixteen chains of thought vote, on a real mixture of experts."""

import asyncio

from metagen import CoT, VLLMEngine, Vote, solve
from metagen.models import SMALL

QUESTION = "Tom has 12 apples. He buys 7 more apples. He gives 4 apples to Ann. How many apples does Tom have?"


async def main() -> None:
    async with VLLMEngine(SMALL) as engine:  # or any model that vLLM serves
        solution = await solve(QUESTION, Vote(16, of=CoT()), engine)
    print(solution.text)
    print(f"{solution.answer}, after {solution.usage.completion_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main())
