"""How long metagen takes to start: `import metagen`, the usual names, help, and a run over a server.

    python benchmarks/speed/startup.py [--before WORKTREE] [--rounds 9]

Each program starts a Python of its own. Those of this code and of another worktree's (`git worktree add`) take turns.
The figure is the processor time of the process (user and system), the least of all rounds, so that other work on the
machine counts little; Python's own start is a row of its own. The first round of each writes the byte code and is left
out.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "python": ["-c", "pass"],
    "import metagen": ["-c", "import metagen"],
    "from metagen import Model, Vote, solve": ["-c", "from metagen import Model, Vote, solve"],
    "metagen --help": ["-m", "metagen", "--help"],
    "metagen solve --help": ["-m", "metagen", "solve", "--help"],
    "what a run over a server loads": [
        "-c",
        """
import aiohttp, metagen.cli.commands, metagen.cli.jobs
from metagen import Vote, parse
from metagen.jobs.opening import make_backend
parse("Vote(16)"), make_backend("http://localhost:1/v1#m", {}, {}, None, {})
""",
    ],
}


def seconds(program: list[str], worktree: Path) -> float:
    """The processor time of one start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *program],
        cwd=worktree,
        env={**environment, "PYTHONPATH": str(worktree)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a worktree of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    trees = [ROOT] if options.before is None else [ROOT, options.before]
    print("| program | seconds |" + (" before | ratio |" if options.before else ""))
    print("|---|---|" + ("---|---|" if options.before else ""))
    for name, program in PROGRAMS.items():
        rounds = [[seconds(program, tree) for tree in trees] for _ in range(options.rounds + 1)][1:]
        now, *before = map(min, zip(*rounds, strict=True))
        print(f"| `{name}` | {now:.3f} |" + "".join(f" {old:.3f} | {now / old:.2f} |" for old in before), flush=True)


if __name__ == "__main__":
    main()
