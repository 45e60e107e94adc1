"""What the framework costs: microseconds of the driver's processor time per sample, where the model costs none.

    python benchmarks/speed/framework.py [--before WORKTREE] [--rounds 5] [--problems 500]

The model replies at once with a completion made beforehand. This code and that of another worktree (`git worktree add`)
take turns, each in a process of its own; the figures are medians of the rounds. The last row writes a run's records to
disk as well, and is in problems per second.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPECS = {"Model()": 1, "Vote(2)": 2, "Vote(16)": 16, "Vote(16, of=Refine(rounds=1))": 48}
"""Strategies, each with its samples."""
RECORDED = "problems per second, Vote(4) with records"


async def measure(problems: int) -> dict[str, float]:
    """Microseconds per sample of each strategy in this process, and problems per second with records."""
    from metagen import Backend, Completion, Problem, Request, Usage, parse, solve_all  # noqa: PLC0415 (one tree's)
    from metagen.disk.runs import RunDirectory  # noqa: PLC0415
    from metagen.request import Meter, Outcome  # noqa: PLC0415

    class Instant(Backend):
        name = "instant"
        context = 8192
        reply = Completion("Two and two make four. The answer is 4.", end="eos", length=12)

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            spend(Usage(calls=1, prompt_tokens=20, completion_tokens=12 * request.n))
            return [self.reply] * request.n

        async def count(self, request: Request) -> int:  # noqa: ARG002
            return 20

    def asked(count: int) -> list[Problem]:
        return [Problem(str(index), f"What is {index} + 2?", answer=str(index + 2)) for index in range(count)]

    found = {}
    for spec, samples in SPECS.items():
        strategy, count = parse(spec), max(20, problems * 2 // samples)
        for part in (20, count):  # the first warms up
            begun = time.process_time()
            async for _ in solve_all(asked(part), strategy, Instant()):
                pass
            found[f"{spec}: us per sample"] = (time.process_time() - begun) / part / samples * 1e6
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder), {}, lambda _: None) as run:
        begun = time.process_time()
        async for solution in solve_all(asked(problems), parse("Vote(4)"), Instant()):
            run.add(solution)
        found[RECORDED] = problems / (time.process_time() - begun)
    return found


def in_tree(tree: Path, problems: int) -> dict[str, float]:
    """One round over the code of a worktree."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", "--problems", str(problems)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    read: dict[str, float] = json.loads(done.stdout)
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a worktree of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure(options.problems))))
        return
    trees = [ROOT] if options.before is None else [ROOT, options.before]
    rounds = [[in_tree(tree, options.problems) for tree in trees] for _ in range(options.rounds)]
    print("| what | now |" + (" before | ratio |" if options.before else ""))
    print("|---|---|" + ("---|---|" if options.before else ""))
    for name in rounds[0][0]:
        now, *before = (statistics.median(each[name] for each in part) for part in zip(*rounds, strict=True))
        print(f"| {name} | {now:,.0f} |" + "".join(f" {old:,.0f} | {now / old:.2f} |" for old in before))


if __name__ == "__main__":
    main()
