"""Random replies of servers and random files of problems: each is read, or refused by an error of ours; none hangs.

    python benchmarks/torture/fuzz.py [--tries 10000]

It uses the grammars of the tests.
"""

import asyncio
import logging
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from trust_page import publish

sys.path.insert(0, str(Path(__file__).parents[2]))
from metagen import parse
from tests.support.fuzz import REPLIES, Asked, files, listings, read_problems


def tried(what: str, tries: int, made: SearchStrategy[Any], work: Callable[[Any], str]) -> tuple[object, ...]:
    """A row: how many random things there were, and what became of them. What is a bug is printed and counted."""
    ends: Counter[str] = Counter()

    @settings(max_examples=tries, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(made)
    def one(thing: Any) -> None:
        try:
            ends[work(thing)] += 1
        except Exception:  # noqa: BLE001  # whatever it is, it is what is looked for
            ends["bug"] += 1
            print(what, repr(thing), traceback.format_exc(), file=sys.stderr)

    one()
    taken = ends["solved"] + ends["opened"] + ends["read"]
    return what, ends.total(), taken, ends["lost"] + ends["refused"], ends["bug"]


def main(tries: int = 10_000) -> None:
    logging.getLogger("aiohttp.server").disabled = True  # the random server says what it may not
    rows = []
    with asyncio.Runner() as runner, Asked(runner).open() as asked:
        for spec, replies in REPLIES.items():
            strategy = parse(spec)
            ask = lambda reply, strategy=strategy: asked.ask(reply, strategy)  # noqa: E731
            rows.append(tried(f"a reply to `{spec}`", tries // len(REPLIES), replies, ask))
        rows.append(tried("a server that is opened", tries // len(REPLIES), listings, asked.open_another))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(tried("a file of problems", tries, files(), lambda file: read_problems(Path(folder), file)))
    publish("fuzz", ("random", "tries", "taken", "lost or refused in words", "bad"), rows)


if __name__ == "__main__":
    typer.run(main)
