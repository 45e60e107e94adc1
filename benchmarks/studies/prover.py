"""How many statements the automated prover proves alone, and with sketches by hand.

    python benchmarks/studies/prover.py STATEMENTS.jsonl [--seconds 5] [--limit N] [--patience 40]

The file has a line for each statement: `id`, `statement` (a Coq file that ends with a theorem and `Admitted.`) and
perhaps `hammer`, whether another run of such tactics proved it; those are tried first. Every statement is checked, and
every proof that the prover gives is judged by `Proves`. Then the sketches of `tests/support/sketches.py` are tried.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import typer

sys.path.insert(0, str(Path(__file__).parents[2]))

from metagen import Candidate, Coq, Problem, Proves, Run, ToolError, VerifierError
from metagen.execution import programs
from metagen.strategies.chains.proof import sketched
from metagen.tasks import together
from tests.support.sketches import SKETCHES

AT_ONCE = 4
NO_RUN = cast("Run", None)


def main(statements: Path, seconds: float = 5.0, limit: int | None = None, patience: int = programs.PATIENCE) -> None:
    """Try all of them, a few at once, each tactic for so many seconds of work."""
    programs.PATIENCE = patience  # by the clock, for a machine that is busy with other things
    rows = [json.loads(line) for line in statements.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: not row.get("hammer"))
    begun = time.monotonic()
    alone = asyncio.run(attempts({row["id"]: (row["statement"], "admit.") for row in rows[:limit]}, seconds))
    report(rows[:limit], alone)
    stated = {row["id"]: row["statement"] for row in rows}
    known = {name: (stated[name], sketch) for name, sketch in SKETCHES.items() if name in stated}
    print("with sketches:", asyncio.run(attempts(known, seconds)))
    print(f"{time.monotonic() - begun:.0f} s")


def report(rows: list[dict[str, Any]], outcomes: dict[str, str]) -> None:
    """Compare with the other run."""
    before = {row["id"] for row in rows if row.get("hammer")}
    proved = {name for name, outcome in outcomes.items() if outcome == "proved"}
    print(dict(Counter(outcomes.values())), f"of {len(rows)}; in the test half:", end=" ")
    print(sum(name.startswith("test/") for name in proved), "proved")
    print(f"proved before: {len(before)}; now {len(before & proved)} of them, and {len(proved - before)} others")
    print("not any more:", *sorted(before - proved))
    print("new:", *sorted(proved - before))


async def attempts(given: dict[str, tuple[str, str]], seconds: float) -> dict[str, str]:
    """What became of each statement with its sketch."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, statement: str, sketch: str) -> str:
        async with turns:
            outcome = await attempt(Problem(name, statement), sketch, seconds)
        print(f"{name}: {outcome}", flush=True)
        return outcome

    outcomes = await together(one(name, *parts) for name, parts in given.items())
    return dict(zip(given, outcomes, strict=True))


async def attempt(problem: Problem, sketch: str, seconds: float) -> str:
    """Check the statement, let the prover try, and judge what it says."""
    try:
        await Proves()(problem, [], NO_RUN)
    except VerifierError:
        return "not a statement"
    try:
        file = await Coq(seconds=seconds)(sketched(problem.prompt, sketch))
    except ToolError as error:
        return f"refused: {error}"
    if not file.endswith("Qed.\n"):
        return "left open"
    (score,) = await Proves()(problem, [Candidate((file,))], NO_RUN)
    return "proved" if score is not None and score.value else "not accepted"


if __name__ == "__main__":
    typer.run(main)
