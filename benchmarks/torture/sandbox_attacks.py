"""Attempts to get out of the sandbox, as root and as a user: each must fail, and harmless programs must work.

    python benchmarks/torture/sandbox_attacks.py

The attempts are in `tests/execution/attacks.py`. Each asks whether a thing can be opened or made, and does nothing with
it. Without bubblewrap nothing is tried.
"""

import json
import os
import subprocess
import sys
from collections import Counter

import typer
from trust_page import ROOT, publish

INSIDE = """
import asyncio, json, os, resource, sys
from metagen import InputError, Limits, Sandbox
if sys.argv[1] == "a user":
    os.chdir("/")
    os.setgroups([])
    os.setresgid(61000, 61000, 61000)
    os.setresuid(61000, 61000, 61000)
    sys.prefix = sys.base_prefix = "/usr"
    sys.executable = "/usr/bin/python3"
try:
    done = asyncio.run(Sandbox().run([sys.executable, "-I", "a.py"], files={"a.py": sys.stdin.read()},
                                     limits=Limits(seconds=120, clock=300)))
except InputError as error:
    sys.exit(str(error))
print(json.dumps([done.code, done.ended, done.out.decode(), done.err.decode()]))
"""
KINDS = {
    "socket": "sockets",
    "clone": "namespaces",
    "unshare": "namespaces",
    "read": "files to read",
    "write": "files to write",
}


def main() -> None:
    code = (ROOT / "tests" / "execution" / "attacks.py").read_text()
    rows = [row for who in started_by() for row in attacked(who, code)]
    publish("sandbox", ("started by", "kind", "attempts", "refused", "bad"), rows)


def started_by() -> list[str]:
    return ["root", "a user"] if os.geteuid() == 0 and os.path.exists("/usr/bin/python3") else ["oneself"]


def attacked(who: str, code: str) -> list[tuple[object, ...]]:
    call = [sys.executable, "-c", INSIDE, who]
    done = subprocess.run(call, input=code, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"nothing was tried: {done.stderr.strip()}")
    _, ended, out, _ = json.loads(done.stdout)
    found = [line.split("\t") for line in out.splitlines()]
    tried = Counter(kind(name) for name, _ in found)
    refused = Counter(kind(name) for name, said in found if said.startswith("refused"))
    rows: list[tuple[object, ...]] = [
        (who, each, tried[each], refused[each], tried[each] - refused[each]) for each in tried
    ]
    return [*rows, (who, "the attempts end by themselves", 1, int(ended == "exit"), int(ended != "exit"))]


def kind(name: str) -> str:
    return KINDS.get(name.replace(",", "").split()[0].removesuffix("pair"), "calls, rights and limits")


if __name__ == "__main__":
    typer.run(main)
