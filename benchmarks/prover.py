"""How many statements the automated prover proves alone.

    python benchmarks/prover.py STATEMENTS.jsonl [--limit N] [--seconds 5]

The file has a line for each statement: `id`, `statement` (a Coq file that ends with a theorem and `Admitted.`) and
perhaps `hammer`, whether another run of such tactics proved it. Every statement is checked first, and every proof that
the prover gives is judged by `Proves`.
"""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import typer

from metagen import Candidate, Coq, Problem, Proves, Run, VerifierError
from metagen.tasks import together

AT_ONCE = 4
NO_RUN = cast("Run", None)


def main(statements: Path, limit: int | None = None, seconds: float = 5.0) -> None:
    """Try all of them, a few at once."""
    rows = [json.loads(line) for line in statements.read_text(encoding="utf-8").splitlines()][:limit]
    begun = time.monotonic()
    outcomes = asyncio.run(attempts(rows, seconds))
    before = {row["id"] for row in rows if row.get("hammer")}
    proved = {name for name, outcome in outcomes.items() if outcome == "proved"}
    print(dict(Counter(outcomes.values())), f"of {len(rows)}, in {time.monotonic() - begun:.0f} s")
    print(f"proved before: {len(before)}, of them now {len(before & proved)}, and {len(proved - before)} others")
    print("not any more:", *sorted(before - proved))
    print(f"in the test half: {sum(name.startswith('test/') for name in proved)}")


async def attempts(rows: list[dict[str, Any]], seconds: float) -> dict[str, str]:
    """What became of each statement."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(row: dict[str, Any]) -> str:
        async with turns:
            outcome = await attempt(Problem(row["id"], row["statement"]), seconds)
        print(f"{row['id']}: {outcome}", flush=True)
        return outcome

    outcomes = await together(one(row) for row in rows)
    return dict(zip((row["id"] for row in rows), outcomes, strict=True))


async def attempt(problem: Problem, seconds: float) -> str:
    """Check the statement, let the prover try, and judge what it says."""
    try:
        await Proves()(problem, [], NO_RUN)
    except VerifierError:
        return "not a statement"
    file = await Coq(seconds=seconds)(problem.prompt)
    if not file.endswith("Qed.\n"):
        return "left open"
    (score,) = await Proves()(problem, [Candidate((file,))], NO_RUN)
    return "proved" if score is not None and score.value else "not accepted"


if __name__ == "__main__":
    typer.run(main)
