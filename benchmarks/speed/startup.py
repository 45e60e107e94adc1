"""How long metagen takes to start: `import metagen`, the usual names, help, and a run over a server to its first byte.

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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "python": ["-c", "pass"],
    "import metagen": ["-c", "import metagen"],
    "from metagen import Model, Vote, solve": ["-c", "from metagen import Model, Vote, solve"],
    "metagen --help": ["-m", "metagen", "--help"],
    "metagen solve --help": ["-m", "metagen", "solve", "--help"],
}
"""Programs that end by themselves."""
FIRST = "metagen solve over a server, until its first request leaves"


def seconds(program: list[str], worktree: Path) -> float:
    """The processor time of one start."""

    def run() -> None:
        if code := start(program, worktree).wait():
            raise SystemExit(f"{program} ended with {code}")

    return spent(run)


def until_asked(worktree: Path) -> float:
    """The processor time of a run over a server until it sends a byte to it; then it is killed."""
    with TemporaryDirectory() as folder, create_server(("127.0.0.1", 0)) as server:
        problems = Path(folder, "problems.jsonl")
        problems.write_text('{"prompt": "What is 3 + 4?", "answer": "7"}\n')
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v1#model"
        options = ["--model", address, "--strategy", "Vote(16)", "--out", f"{folder}/run"]

        def run() -> None:
            process = start(["-m", "metagen", "solve", str(problems), *options], worktree)
            with server.accept()[0] as asked:
                asked.recv(1)
                process.kill()
                process.wait()

        return spent(run)


def start(program: list[str], worktree: Path) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(worktree)
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, *program], cwd=worktree, env=environment, stdout=quiet, stderr=quiet)


def spent(run: Callable[[], object]) -> float:
    """The processor time of the processes that a function starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
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
    starts = {name: partial(seconds, program) for name, program in PROGRAMS.items()} | {FIRST: until_asked}
    for name, measured in starts.items():
        rounds = [[measured(tree) for tree in trees] for _ in range(options.rounds + 1)][1:]
        now, *before = map(min, zip(*rounds, strict=True))
        print(f"| `{name}` | {now:.3f} |" + "".join(f" {old:.3f} | {now / old:.2f} |" for old in before), flush=True)


if __name__ == "__main__":
    main()
