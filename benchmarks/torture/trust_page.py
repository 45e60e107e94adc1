"""What the scripts here share: a table that is printed and put into `docs/trust.md`, and what they run over."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "trust.md"
MODELS = """
import asyncio, random
from metagen import Scripted

def slow():
    async def script(request):
        await asyncio.sleep(random.expovariate(30))
        return f"The answer is {request.draw % 3}."
    return Scripted(script)

def fast():
    return Scripted("The answer is 2.")
"""


def publish(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table and put it between its marks on the page; exit with 1 if its last column, `bad`, is not all 0."""
    lines = [columns, ["---"] * len(columns), *([str(cell) for cell in row] for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    print(table, flush=True)
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    page = PAGE.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not marked.search(page):
        raise SystemExit(f"{PAGE}: has no marks for {name}")
    PAGE.write_text(marked.sub(lambda _: f"{begin}\n{table}\n{end}", page), encoding="utf-8")
    if bad := sum(int(str(row[-1])) for row in rows):
        raise SystemExit(f"{name}: {bad} bad")


def prepare(folder: Path, count: int) -> None:
    """Problems and models in a folder."""
    rows = ({"id": f"p{n}", "prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count))
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "models.py").write_text(MODELS)


def command(name: str, model: str, *more: str) -> list[str]:
    """`solve` into the folder `run`, or `sample` into `pool.jsonl`."""
    rest = ["-s", "Vote(2)", "--out", "run"] if name == "solve" else ["--n", "2", "--out", "pool.jsonl"]
    return [name, "problems.jsonl", "--load", "models.py", "--model", model, *rest, *more]


def run(folder: Path, arguments: Sequence[str], **how: object) -> "subprocess.CompletedProcess[str]":
    call = [sys.executable, "-m", "metagen", *arguments]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return]


def file_of(name: str) -> str:
    """The file with what a command has finished."""
    return "run/solutions.jsonl" if name == "solve" else "pool.jsonl"


def keys(file: Path) -> list[tuple[str, int]]:
    """Problem and number of each line; raises `ValueError` for one that is not whole."""
    text = file.read_text() if file.exists() else ""
    if text and not text.endswith("\n"):
        raise ValueError(f"{file}: the last line has no end")
    rows = map(json.loads, text.splitlines())
    return [(row["problem"], row.get("draw", 0)) for row in rows]


def wanted(name: str, count: int) -> list[tuple[str, int]]:
    """What `keys` are once a command is done."""
    return [(f"p{n}", draw) for n in range(count) for draw in range(1 if name == "solve" else 2)]
