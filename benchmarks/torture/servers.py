"""Servers that fail, clients that leave, budgets, keys and specs: what is lost, leaked, passed or run.

    python benchmarks/torture/servers.py [--problems 200] [--cancelled 600] [--limits 300] [--mixed 500]

It uses the fake server and the strategies of the tests.
"""

import asyncio
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import typer
from trust_page import publish

sys.path.insert(0, str(Path(__file__).parents[2]))
from metagen import Account, Budget, OpenAIServer, Problem, Retrying, Scripted, parse, solve_all
from metagen.errors import InputError, MetagenError
from tests.support.fake_server import FakeServer
from tests.support.scripts import dice, late
from tests.support.specs import NAMES, SPECS
from tests.support.timing import until

FAULTS = {
    **{status: f"status {status}" for status in ("408", "409", "425", "429", "500", "502", "503", "504")},
    "reset": "a connection that is reset before the reply",
    "truncated": "a reply that breaks off in the middle",
    "malformed": "half a reply, as if it were whole",
    "fewer": "a reply with a sample too few",
    "because": "an end with a reason that no server has",
    "abort": "a sample that the server gave up",
    "unreadable": "log-probabilities that cannot be read",
    "uncounted": "a reply without a count of tokens",
    "keepalive": "empty lines and pings in a stream",
}
"""By the names that the fake server knows them by, what they are."""
MEGABYTES = 8
"""How much more memory the second half of the problems may take than the first."""
SHARE = 0.3
"""Of the requests that meet something."""
SEARCH = "Beam(2, 2, by=length)"
THINK = "Think(16)"
STRATEGIES = ("Vote(4)", "Until(MatchesReference(), limit=8, window=4)", "Refine(rounds=1)")
HOSTILE = (
    "__import__('os').system('touch {file}')",
    "Vote(open('{file}', 'w'))",
    "Vote((lambda: open('{file}', 'w'))())",
    "Vote([open('{file}', 'w') for _ in (1,)][0])",
    "Vote.__init__.__globals__['__builtins__']['open']('{file}', 'w')",
    "Vote(4, of=getattr(Model(), '__class__'))",
    "eval(\"open('{file}', 'w')\")",
    "exec('import os')",
    "Python()('print(1)')",
    "Vote(4)(open('{file}', 'w'))",
    "{{open('{file}', 'w'): 1}}",
    "f\"{{open('{file}', 'w')}}\"",
    "Vote(**{{'n': open('{file}', 'w')}})",
    "(x := open('{file}', 'w'))",
    "Vote(4) if open('{file}', 'w') else Vote(2)",
    "Vote" + "(" * 5000 + "4" + ")" * 5000,
    "Vote(" + "9" * 5000 + ")",
)


def open_things() -> tuple[int, int]:
    return psutil.Process().num_fds(), len(asyncio.all_tasks())


async def faults(problems: int) -> list[tuple[object, ...]]:
    """Each fault in three of ten requests, under each strategy."""
    rows: list[tuple[object, ...]] = []
    for fault, what in FAULTS.items():
        lost, left, offs = 0, [0, 0], []
        for spec in STRATEGIES:
            before, fake, account = open_things(), FakeServer(), Account()
            async with fake.running(), retrying(fake) as server:
                fake.faults = [fault if number % 10 < 3 else "" for number in range(20 * problems)]
                tasks = [Problem(str(number), f"{number} + 1?", "7") for number in range(problems)]
                async for each in solve_all(tasks, parse(spec), server, seed=1, account=account):
                    lost += each.lost
            await asyncio.sleep(0.05)
            more = [max(0, now - then) for now, then in zip(open_things(), before, strict=True)]
            left = [was + came for was, came in zip(left, more, strict=True)]
            offs.append(f"{account.spent.completion_tokens / max(1, fake.written) - 1:+.1%}")
        rows.append((what, len(STRATEGIES) * problems, lost, *left, *offs, lost + sum(left)))
    return rows


async def mixture(problems: int) -> list[tuple[object, ...]]:
    """All of them at random, and what is lost, open, miscounted and kept in memory afterwards."""
    rows = []
    for spec in (*STRATEGIES, SEARCH, THINK):
        rng, before, fake, account = random.Random(spec), open_things(), FakeServer(pondered), Account()
        fake.bodies = NoList()
        tasks = (Problem(str(number), f"{number} + 1?", "7") for number in range(problems))
        async with fake.running(), retrying(fake) as server:
            every = tuple(FAULTS)
            fake.faults = [rng.choice(every) if rng.random() < SHARE else "" for _ in range(40 * problems)]
            lost, megabytes = 0, [0.0]
            async for each in solve_all(tasks, parse(spec, NAMES), server, seed=1, account=account, concurrency=50):
                lost += each.lost
                megabytes.append(psutil.Process().memory_info().rss / 2**20)
        await asyncio.sleep(0.05)
        left = [max(0, now - then) for now, then in zip(open_things(), before, strict=True)]
        grown = max(megabytes[problems // 2 :]) - max(megabytes[: problems // 2])
        spent = account.spent
        off = spent.completion_tokens / max(1, fake.written) - 1
        bad = lost + sum(left) + (abs(off) > 0.1) + (grown > MEGABYTES)
        figures = lost, *left, f"{off:+.1%}", f"{spent.estimated_tokens / spent.tokens:.1%}", f"{grown:.1f}", bad
        rows.append((f"`{spec}`", problems, *figures))
    return rows


class NoList(list[dict[str, Any]]):
    """Keeps nothing."""

    def append(self, _: dict[str, Any]) -> None:
        return None


def pondered(_: str, seed: int) -> str:
    """A reply with a thought; about half of the thoughts are longer than `THINK` allows."""
    return f"<think>{'Is it 5? ' * (seed % 4)}</think>\n\n{seed}. So the answer is 7. The answer is 7."


def retrying(fake: FakeServer) -> Retrying:
    return Retrying(OpenAIServer(fake.url, thinking="think"), wait=0.001, longest=0.01, attempts=99)


async def cancellations(count: int) -> list[tuple[object, ...]]:
    """Strategies over a server, each cancelled at a random moment."""
    rng, rows = random.Random(0), []
    every = (*STRATEGIES, "Vote(2, of=BestOf(2, by=length))", "Vote(8, until=WindowStop(2), window=4)", "CoT()")
    for spec in every:
        fake, before, held = FakeServer(), open_things(), 0
        async with fake.running(), OpenAIServer(fake.url) as server:
            for _ in range(count // len(every)):
                account = Account(Budget(tokens=10**6))
                solving = solve_all([Problem("p", "3 + 4?", "7")], parse(spec, NAMES), server, account=account)
                task = asyncio.ensure_future(anext(solving))
                for _ in range(rng.randrange(60)):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                await solving.aclose()
                held += account.in_flight
            await until(lambda fake=fake: not fake.in_flight)  # type: ignore[misc]
        await asyncio.sleep(0.05)
        left = [max(0, now - then) for now, then in zip(open_things(), before, strict=True)]
        rows.append((f"`{spec}`", count // len(every), *left, held, sum(left) + held))
    return rows


async def budgets(count: int) -> list[tuple[object, ...]]:
    """Random strategies under random limits over a model of random latency."""
    rng, passed, held = random.Random(0), 0, 0
    for number in range(count):
        tokens = rng.randrange(1, 3000)
        account = Account(Budget(tokens=tokens))
        strategy = parse(rng.choice(SPECS), NAMES)
        backend = Scripted(late(dice, number), context=400)
        tasks = [Problem(str(each), f"What is {each} + 4?", str(each + 4)) for each in range(3)]
        async for _ in solve_all(tasks, strategy, backend, seed=number, account=account):
            pass
        passed += account.spent.tokens > tokens
        held += not account.fits(max(0, tokens - account.spent.tokens))
    return [(count, passed, held, passed + held)]


async def leaks() -> list[tuple[object, ...]]:
    """A server that repeats our key in every way that the tests know."""
    from tests.backends.http import test_oddities as known  # noqa: PLC0415 (it needs the tests' environment)

    rows: list[tuple[object, ...]] = []
    for name, leak in known.LEAKS.items():
        told = await _told(leak)
        rows.append((name, known.SECRET in told, int(known.SECRET in told)))
    return rows


async def _told(leak: Callable[[], Any]) -> str:
    from tests.backends.http import test_oddities as known  # noqa: PLC0415

    class Leaking(FakeServer):
        async def _generate(self, _request: Any) -> Any:
            return leak()

    os.environ["OPENAI_API_KEY"] = known.SECRET
    fake = Leaking()
    try:
        async with fake.running(), OpenAIServer(fake.url, api="completions") as server:
            problem = Problem("p", "3 + 4?", "7")
            done = [each async for each in solve_all([problem], parse("Vote(2)"), server)]
            return repr(done) + repr([list(each.trace.walk()) for each in done]) + repr(server.missing)
    except MetagenError as error:
        return str(error)
    finally:
        del os.environ["OPENAI_API_KEY"]


def specs() -> list[tuple[object, ...]]:
    """Specs that try to run code or to name files."""
    ran = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(HOSTILE):
            file = Path(folder) / str(number)
            try:
                parse(text.format(file=file) if "{file}" in text else text)
            except InputError:
                refused += 1
            ran += file.exists()
    return [(len(HOSTILE), refused, ran, ran + len(HOSTILE) - refused)]


def main(problems: int = 200, cancelled: int = 600, limits: int = 300, mixed: int = 500) -> None:
    logging.getLogger("aiohttp.server").disabled = True  # the fake server breaks off on purpose
    offs = [f"tokens off, `{spec.partition('(')[0]}`" for spec in STRATEGIES]
    columns = ("fault", "problems", "samples lost", "sockets left", "tasks left", *offs, "bad")
    publish("faults", columns, asyncio.run(faults(problems)))
    kept = ("sockets left", "tasks left", "tokens off", "estimated", "MB more in the second half", "bad")
    publish("mixture", ("strategy", "problems", "samples lost", *kept), asyncio.run(mixture(mixed)))
    leaving = ("strategy", "cancelled", "sockets left", "tasks left", "requests held", "bad")
    publish("cancellations", leaving, asyncio.run(cancellations(cancelled)))
    publish("budgets", ("limits", "passed", "left reserved", "bad"), asyncio.run(budgets(limits)))
    publish("keys", ("the key comes back in", "it reached us", "bad"), asyncio.run(leaks()))
    publish("specs", ("hostile specs", "refused", "ran something", "bad"), specs())


if __name__ == "__main__":
    typer.run(main)
