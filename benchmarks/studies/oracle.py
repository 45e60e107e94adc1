"""How right and how fast the oracle for mathematics is, `MatchesReference`.

    python benchmarks/studies/oracle.py CASES.jsonl POOL.jsonl [--shifts 5]

CASES has lines of `gold`, `pred` and `equal`: what another grader says of each pair. POOL has lines of `gold` and
`trajectories`, each with an `answer`.

Reported are the cases on which the oracle disagrees; what it accepts when every answer is compared with the reference
of another case, `shifts` times; and the time it takes for the pool, with its accuracy.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import typer

from metagen import canonical
from metagen.answers.grade import grade
from metagen.tasks import together

SECONDS = 20.0
"""Of work for one comparison, for a busy machine."""


def main(cases: Path, pool: Path, shifts: int = 5) -> None:
    """Grade all."""
    asyncio.run(report(read(cases), read(pool), shifts))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def report(cases: list[dict[str, Any]], pool: list[dict[str, Any]], shifts: int) -> None:
    verdicts = await together(grade(case["pred"], case["gold"], SECONDS) for case in cases)
    other = [number for number, verdict in enumerate(verdicts) if verdict is not cases[number]["equal"]]
    print(f"agrees on {len(cases) - len(other)} of {len(cases)}, not on lines {other} (from 0)")
    await permuted([case for case in cases if case["equal"]], shifts)
    await timed(pool)


async def permuted(cases: list[dict[str, Any]], shifts: int) -> None:
    """Compare the answers with the references of other cases."""
    pairs = [
        (case["pred"], cases[(number + shift) % len(cases)]["gold"], case["gold"])
        for shift in range(1, shifts + 1)
        for number, case in enumerate(cases)
    ]
    verdicts = await together(grade(pred, gold, SECONDS) for pred, gold, _ in pairs)
    accepted = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict]
    known = [pair for pair in accepted if canonical(pair[1]) == canonical(pair[2])]
    print(f"permuted: {len(accepted)} of {len(pairs)} accepted, {verdicts.count(None)} without verdict;", end=" ")
    print(f"{len(known)} of them where both references have one canonical key; the others:")
    for pred, gold, own in dict.fromkeys(pair for pair in accepted if pair not in known):
        print(f"  {pred!r} for {gold!r}, and its own reference is {own!r}")


async def timed(pool: list[dict[str, Any]]) -> None:
    """Grade the answers of the pool one by one, after the process that compares has started."""
    await grade("x+1", "1+x", SECONDS)
    begun, worked = time.monotonic(), time.process_time()
    verdicts = [await grade(sample["answer"], line["gold"]) for line in pool for sample in line["trajectories"]]
    spent = time.monotonic() - begun, time.process_time() - worked
    print(
        f"pool: {len(verdicts)} answers in {spent[0]:.2f} s ({spent[1]:.2f} s of work), {verdicts.count(None)} without"
    )
    print(f"  verdict; accuracy {verdicts.count(True) / len(verdicts):.1%}")


if __name__ == "__main__":
    typer.run(main)
