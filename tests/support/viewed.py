"""Small runs on disk, to be looked at."""

from collections.abc import Sequence
from pathlib import Path

from metagen import BestOf, Candidate, Generator, Problem, Refine, Request, Run, Score, Scripted, Vote, solve_all
from metagen.disk.runs import RunDirectory
from metagen.strategies import Beam

PROBLEMS = [
    Problem("a", "What is 3 + 4?", answer="7", tags={"level": "1"}),
    Problem("b", "What is 4 + 4?", answer="8", tags={"level": "2"}),
    Problem("c", "What is 5 + 4?", answer="9", tags={"level": "2"}),
]
LINES = ("We add.\n", "The sum is clear.\n")


def votes(request: Request) -> str:
    """Samples that agree on 7; one of them says 8."""
    return ("<think>Hm.</think>It is odd.\nThe answer is 7.", "The answer is 8.", "The answer is 7.0.", "No idea.")[
        request.draw % 4
    ]


def steps(request: Request) -> str:
    """The next line of a reply of three lines, whose last gives the answer."""
    done = request.partial.count("\n")
    return LINES[done] if done < len(LINES) else f"The answer is {7 + request.draw % 3}."


async def lengths(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier of steps: half for each but the last, which has a quarter."""
    rows = [(0.5,) * (len(each.text.splitlines()) - 1) + (0.25,) for each in candidates]
    return [Score(min(row) + index / 100, row) for index, row in enumerate(rows)]


STRATEGIES: dict[str, tuple[Generator, Scripted]] = {
    "vote": (Vote(4), Scripted(votes)),
    "best": (BestOf(4, by=lengths), Scripted(votes)),
    "beam": (Beam(2, 2, by=lengths), Scripted(steps)),
    "refine": (Vote(2, of=Refine(rounds=1)), Scripted(votes)),
}


async def make_run(folder: Path, name: str = "vote", problems: Sequence[Problem] = PROBLEMS) -> Path:
    """The folder of a run of one of `STRATEGIES` on problems."""
    strategy, model = STRATEGIES[name]
    record = {"strategy": name, "models": {"model": "scripted"}, "problems": "problems.jsonl (0)", "seed": 1}
    with RunDirectory(folder / name, record) as run:
        async for solution in solve_all(problems, strategy, model, seed=1, concurrency=1):
            run.add(solution)
    return folder / name
