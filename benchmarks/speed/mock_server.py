"""An OpenAI-compatible server without a model, in a process of its own, to measure clients with.

    python benchmarks/speed/mock_server.py --seconds-per-token 0.01

It prints its address and serves until it is ended. The clock is that of continuous batching: a step writes one token of
every running sample and takes `seconds_per_token * (1 + running / width)`. A prompt costs no time; its tokens are
counted, once a request however many samples it asks for. A token is a character. What was served is told at `/stats`.
"""

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import typer
from aiohttp import web

WIDTH = 600.0
"""So many samples in the batch double the time of a step."""


@dataclass
class Stats:
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    """Requests."""
    peak_running: int = 0
    """Samples in one step of the batch."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Steps:
    """The clock of a batch. What comes while a step runs joins at the next."""

    def __init__(self, seconds_per_token: float, width: float, stats: Stats) -> None:
        self._seconds = seconds_per_token
        self._width = width
        self._stats = stats
        self._running = 0
        self._busy = False
        self._due = 0.0
        self._ends: defaultdict[int, list[asyncio.Future[None]]] = defaultdict(list)
        self.done = 0

    def join(self, samples: int) -> int:
        """Add samples to the batch; return how many steps are done when their first begins."""
        self._running += samples
        self._stats.peak_running = max(self._stats.peak_running, self._running)
        if self._busy:
            return self.done + 1
        self._due = asyncio.get_running_loop().time()
        self._begin()
        return self.done

    def leave(self, samples: int) -> None:
        self._running -= samples

    async def until(self, step: int) -> None:
        if self.done < step and self._seconds:
            self._ends[step].append(future := asyncio.get_running_loop().create_future())
            await future

    def _begin(self) -> None:
        self._busy = self._running > 0 and self._seconds > 0
        if self._busy:
            self._due += step_seconds(self._running, self._seconds, self._width)
            asyncio.get_running_loop().call_at(self._due, self._end)

    def _end(self) -> None:
        self.done += 1
        for future in self._ends.pop(self.done, ()):
            if not future.done():
                future.set_result(None)
        asyncio.get_running_loop().call_soon(self._begin)  # after those that end here have left


def step_seconds(running: int, seconds_per_token: float, width: float) -> float:
    """How long one step takes: the more samples, the longer."""
    return seconds_per_token * (1 + running / width)


def ideal_seconds(lengths: list[int], seconds_per_token: float, width: float) -> float:
    """How long samples of these lengths take if all begin at once: no schedule of this server ends sooner."""
    left, total = sorted(lengths), 0.0
    for number, length in enumerate(left):
        steps = length - (left[number - 1] if number else 0)
        total += steps * step_seconds(len(left) - number, seconds_per_token, width)
    return total


class Mock:
    def __init__(self, seconds_per_token: float, tokens: int) -> None:
        self.tokens = tokens
        self.seconds = seconds_per_token
        self.reset()

    def reset(self) -> None:
        self.stats = Stats()
        self.steps = Steps(self.seconds, WIDTH, self.stats)
        self.lengths: list[int] = []
        self.rng = random.Random(0)

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "mock", "max_model_len": 8192}]})

    async def told(self, request: web.Request) -> web.Response:
        ideal = ideal_seconds(self.lengths, self.seconds, WIDTH)
        answer = web.json_response(asdict(self.stats) | {"ideal_seconds": ideal})
        if request.query.get("reset"):
            self.reset()
        return answer

    async def generate(self, request: web.Request) -> web.Response:
        stats = self.stats
        body: dict[str, Any] = json.loads(await request.read())
        prompt = len(json.dumps(body["messages"]))
        lengths = [round(self.tokens * self.rng.uniform(0.6, 1.4)) for _ in range(body.get("n") or 1)]
        self.lengths += lengths
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        stats.prompt_tokens += prompt
        stats.completion_tokens += sum(lengths)
        start = self.steps.join(len(lengths))
        for length in sorted(lengths):
            await self.steps.until(start + length)
            self.steps.leave(1)
        stats.in_flight -= 1
        choices = [
            {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": reply(length)}}
            for index, length in enumerate(lengths)
        ]
        usage = {"prompt_tokens": prompt, "completion_tokens": sum(lengths), "total_tokens": prompt + sum(lengths)}
        return web.json_response({"id": "x", "model": "mock", "choices": choices, "usage": usage})


def reply(length: int) -> str:
    """A solution of so many characters."""
    end = " The answer is 7."
    return "x" * (length - len(end)) + end


def main(seconds_per_token: float = 0.01, tokens: int = 120, port: int = 0) -> None:
    asyncio.run(serve(Mock(seconds_per_token, tokens), port))


async def serve(mock: Mock, port: int) -> None:
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/models", mock.models),
            web.get("/stats", mock.told),
            web.post("/v1/chat/completions", mock.generate),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    typer.run(main)
