"""Compose strategies in Python: sixteen chains of thought vote, on a real mixture of experts."""

import asyncio

from metagen import CoT, VLLMEngine, Vote, solve
from metagen.models import SMALL

QUESTION = (
    "Carl has 2 bags of 5 coins. Carl buys 6 bags of 4 coins. Carl sells 11 coins. How many coins does Carl have now?"
)


async def main() -> None:
    async with VLLMEngine(SMALL) as engine:  # or any model that vLLM serves
        solution = await solve(QUESTION, Vote(16, of=CoT()), engine)
    print(solution.text)
    print(f"{solution.answer}, after {solution.usage.completion_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main())
