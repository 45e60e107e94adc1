"""What writing ahead saves where verdicts are slow, and what it costs: `ahead=0`, 1 and 4 side by side.

    python benchmarks/speed/ahead.py [--problems 4]
    python benchmarks/speed/ahead.py --real [--problems 32]

A server takes 100 ms for a call and writes a step, six to a reply; a verifier takes 50, 200 or 500 ms for a call. The
model and the verifier follow seeds, so every search gives the same replies with and without writing ahead, which is
checked. Reported are the seconds per problem, the tokens that the server wrote, those of cancelled calls up to then
among them, both also relative to `ahead=0`; and how many expansions were used, and begun ahead and given up.

With `--real` the shipped model writes and the shipped process reward model judges, on an engine each.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from statistics import fmean
from typing import Any

import aiohttp
import typer
from aiohttp import web
from tree_peers import CALL, STEPS, answered, detokenize, models, serving, tokenize

from metagen import Candidate, OpenAIServer, Problem, ProblemFile, Run, Score, Solution, parse, solve_all
from metagen.data import EVALUATION
from metagen.trace import Span

VERDICTS = (0.05, 0.2, 0.5)
SEARCHES = ("BestFirst(6, 4, by={}, window=1{})", "DVTS(2, 4, by={}{})", "Beam(2, 4, by={}{})")
AHEADS = (0, 1, 4)
TOKENS = 17
"""In a step."""


@dataclass
class Counted:
    """What the server has written since it was asked last."""

    tokens: float = 0.0


def main(problems: int = 4, real: bool = False, serve: bool = False) -> None:
    asyncio.run(served() if serve else compare_real(problems) if real else compare(problems))


async def compare(problems: int) -> None:
    every = [Problem(str(number), f"Question {number}?") for number in range(problems)]
    with serving(__file__) as address:
        async with OpenAIServer(address, api="completions") as server, aiohttp.ClientSession() as stats:
            for verdict in VERDICTS:
                print(f"\na verdict takes {1000 * verdict:.0f} ms")
                for search in SEARCHES:
                    rows = []
                    for ahead in AHEADS:
                        async with stats.get(f"{address}/stats"):
                            pass
                        row = await solved(
                            search.format("slowly", said(ahead)), every, server, {"slowly": slow(verdict)}
                        )
                        async with stats.get(f"{address}/stats") as told:
                            row["tokens"] = float(await told.text())
                        rows.append(row)
                    assert len({tuple(row["texts"]) for row in rows}) == 1, "writing ahead changed a result"
                    report(rows)


async def compare_real(problems: int) -> None:
    from metagen import VLLMEngine, VLLMReward  # noqa: PLC0415 (loads vLLM)
    from metagen.models import SMALL, SMALL_PRM  # noqa: PLC0415

    every = list(islice(ProblemFile(EVALUATION), problems))
    async with VLLMEngine(SMALL) as small, VLLMReward(SMALL_PRM) as prm:
        for search in ("", *SEARCHES):  # the first warms up
            rows = []
            for ahead in AHEADS if search else ():
                await small.forget()
                await prm.forget()
                spec = search.format('ProcessReward("prm", aggregate="last")', said(ahead))
                rows.append(await solved(spec, every, {"model": small, "prm": prm}, {}))
            report(rows)


def said(ahead: int) -> str:
    return f", ahead={ahead}" if ahead else ""


async def solved(spec: str, problems: Sequence[Problem], models: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    solutions = solve_all(problems, parse(spec, names), models, seed=0)
    found: list[Solution] = sorted([each async for each in solutions], key=lambda solution: solution.problem)
    cancelled = [span for each in found for span in each.trace.walk() if span.status == "cancelled" and span.expansion]
    return {
        "spec": spec,
        "seconds": fmean(each.seconds for each in found),
        "texts": [each.text for each in found],
        "tokens": sum(each.usage.completion_tokens for each in found),
        "expansions": sum(is_used(span) for each in found for span in each.trace.walk()),
        "unused": len(cancelled),
    }


def is_used(span: Span) -> bool:
    return span.expansion is not None and span.status != "cancelled"


def report(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        first = rows[0]
        print(
            f"{row['spec']:48} {row['seconds']:6.2f} s {row['seconds'] / first['seconds']:5.2f} "
            f"{row['tokens']:9,.0f} tokens {row['tokens'] / first['tokens']:5.2f}  "
            f"{row['expansions']} expansions, {row['unused']} given up",
            flush=True,
        )


def slow(seconds: float) -> Callable[..., Any]:
    async def slowly(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
        await asyncio.sleep(seconds)
        return [Score(worth(candidate.text)) for candidate in candidates]

    return slowly


def worth(text: str) -> float:
    """A number from 0 to 1 that follows from the text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48


async def served() -> None:
    counted = Counted()

    async def completions(request: web.Request) -> web.Response:
        body = await request.json()
        n, begun = body.get("n") or 1, time.perf_counter()
        try:
            await asyncio.sleep(CALL)
        finally:
            counted.tokens += n * TOKENS * min(1.0, (time.perf_counter() - begun) / CALL)
        written, rng = body["prompt"].count(10), random.Random(f"{body.get('seed')} {body['prompt']}")
        return answered([choice(index, written, rng) for index in range(n)], stream=body.get("stream"))

    async def stats(_: web.Request) -> web.Response:
        tokens, counted.tokens = counted.tokens, 0.0
        return web.Response(text=str(tokens))

    app = web.Application(client_max_size=1 << 30)
    app.add_routes(
        [
            web.get("/v1/models", models),
            web.get("/v1/stats", stats),
            web.post("/tokenize", tokenize),
            web.post("/detokenize", detokenize),
            web.post("/v1/completions", completions),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


def choice(index: int, written: int, rng: random.Random) -> dict[str, Any]:
    text = f"{rng.getrandbits(64):016x}"
    text, stop = (f"{text} The answer is 7.", None) if written == STEPS - 1 else (f"{text}\n", "\n")
    return {
        "index": index,
        "text": text,
        "finish_reason": "stop",
        "stop_reason": stop,
        "token_ids": list(text.encode()),
    }


if __name__ == "__main__":
    typer.run(main)
