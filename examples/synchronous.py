"""Solve without asyncio: in a script, or inside a notebook's running loop."""

from metagen import Scripted, Vote, sync

solution = sync.solve("What is 3 + 4?", Vote(8), Scripted("The answer is 7."))

if __name__ == "__main__":
    print(solution.answer)
