"""Tree search beside its-hub 1.2.0 (beams) and treequest 0.3.3 (MCTS), without a model.

    python -m venv /tmp/hub && /tmp/hub/bin/pip install "its_hub[lm]==1.2.0"
    python -m venv /tmp/quest && /tmp/quest/bin/pip install "treequest==0.3.3"
    python benchmarks/speed/tree_peers.py --hub /tmp/hub/bin/python --quest /tmp/quest/bin/python

Beams: one server that takes 100 ms for a call, whatever it asks for, and writes a step, six to a reply; a verifier that
takes 50 ms for a call; with `--slower 2` both take twice as long, for a machine that is half as fast. Both beams are 4
wide and draw as many steps a depth as the budget says. The ideal is 6 * 150 ms, and `bare` is what requests of the same
number and form take by aiohttp, with nothing done to the replies. its-hub asks for each step in a request
of its own, with its own settings; metagen for the children of a node in one, over the server's token ids.

MCTS: both draw two children a node, 16 at a time, from one function: the worth of a child is that of its parent and a
normal number more or less. Counted are the calls whose result came into the tree, and the best worth that was found,
over 20 seeds.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import typer
from aiohttp import web

from metagen import MCTS, Beam, Candidate, OpenAIServer, Problem, Request, Run, Score, Scripted, solve, solve_all

SLOWER = "TREE_PEERS_SLOWER"
"""The variable by which the processes of a comparison know how much slower all is."""
CALL, VERDICT = 0.1, 0.05
"""Seconds."""
STEPS, WIDTH = 6, 4
CALLS, SEEDS = 320, 20
HUB = """
import asyncio, json, random, sys, time, warnings
warnings.simplefilter("ignore")
from its_hub.api import AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.lms.step_generation import StepGeneration

url, width, budget, problems, verdict, steps = sys.argv[1], *map(float, sys.argv[2:])

class Verdicts(AbstractProcessRewardModel):
    def score(self, prompt, steps):
        raise NotImplementedError
    async def ascore(self, prompt, steps):
        await asyncio.sleep(verdict)
        return [random.random() for _ in steps]

async def main():
    lm = OpenAICompatibleLanguageModel(url, "none", "mock")
    search = BeamSearch(StepGeneration(int(steps), "\\n", include_stop_str_in_output=True), Verdicts(), int(width))
    begun = time.perf_counter()
    await asyncio.gather(*(search.ainfer(lm, f"Question {i}?", budget=int(budget)) for i in range(int(problems))))
    print(json.dumps(time.perf_counter() - begun))

asyncio.run(main())
"""
QUEST = """
import json, random, sys
from treequest.algos.standard_mcts import StandardMCTS

calls, seed = map(int, sys.argv[1:])
search, made, best = StandardMCTS(samples_per_action=2), 0, 0.0
state = search.init_tree()
rng = random.Random(seed)
for _ in range(calls // 16):
    state, trials = search.ask_batch(state, 16, ["a"])
    for trial in trials:
        worth = min(1, max(0, (trial.parent_state or 0.5) + rng.gauss(0, 0.1)))
        best = max(best, worth)
        state = search.tell(state, trial.trial_id, (worth, worth))
    made += len(trials)
kept = search.get_state_score_pairs(state)
print(json.dumps([made, len(kept), best, max(score for _, score in kept)]))
"""


def main(
    hub: Path = Path("-"),
    quest: Path = Path("-"),
    rounds: int = 3,
    slower: float = 0.0,
    serve: bool = False,
    way: str = "",
    url: str = "",
) -> None:
    if slower:
        os.environ[SLOWER] = str(slower)
    if serve:
        asyncio.run(served())
    elif way:
        budget, problems = map(int, way.split(","))
        print(json.dumps(asyncio.run(beams(url, budget, problems) if budget else bare(url, problems))))
    else:
        compare_beams(hub, rounds)
        compare_mcts(quest)


def lasting(seconds: float) -> float:
    """How long something takes in this comparison."""
    return seconds * float(os.environ.get(SLOWER, "1"))


def compare_beams(hub: Path, rounds: int) -> None:
    ideal = STEPS * lasting(CALL + VERDICT)
    print(
        f"{'beams':>7} {'problems':>8} {'ideal':>7}"
        + "".join(f" {each:>8} to ideal" for each in ("metagen", "bare", "its-hub"))
    )
    with serving() as address:
        for budget, problems in ((16, 1), (64, 1), (256, 1), (16, 64)):
            ours, plain = (
                [sys.executable, __file__, "--url", address, "--way", f"{n},{problems}"] for n in (budget, 0)
            )
            theirs = [str(hub), "-c", HUB, address, *map(str, (WIDTH, budget, problems, lasting(VERDICT), STEPS))]
            found = [
                [told(command) for _ in range(rounds)]
                for command in [ours, plain, *([theirs] if hub.is_file() else [])]
            ]
            medians = [statistics.median(each) for each in found]
            columns = " ".join(f"{median:8.2f} {median / ideal:8.2f}" for median in medians)
            print(f"{budget:7} {problems:8} {ideal:7.2f} {columns}", flush=True)


async def bare(url: str, problems: int) -> float:
    """Seconds for as many requests as beams of `WIDTH` with a budget of 16 send, at the same times."""
    body = {"model": "mock", "n": 4, "prompt": [0] * 40, "stop": ["\n"], "max_tokens": 100, "return_token_ids": True}

    async def beam(session: aiohttp.ClientSession) -> None:
        async def one() -> list[str]:
            async with session.post(f"{url}/completions", json=body) as reply:
                return [choice["text"] for choice in (await reply.json())["choices"]]

        for depth in range(STEPS):
            await asyncio.gather(*(one() for _ in range(WIDTH if depth else 1)))
            await asyncio.sleep(lasting(VERDICT))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(beam(session) for _ in range(problems)))
        return time.perf_counter() - begun


def told(command: list[str]) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


async def beams(url: str, budget: int, problems: int) -> float:
    every = [Problem(str(number), f"Question {number}?") for number in range(problems)]
    search = Beam(WIDTH, budget // WIDTH, by=slowly)
    async with OpenAIServer(url) as server:
        begun = time.perf_counter()
        async for solution in solve_all(every, search, server):
            depth = max(span.path[-1].count("/") for span in solution.trace.walk() if span.name == "expansion")  # type: ignore[union-attr]
            assert solution.answer == "7", solution
            assert depth == STEPS - 1 or STEPS == 1
        return time.perf_counter() - begun


async def slowly(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
    await asyncio.sleep(lasting(VERDICT))
    return [Score(random.random()) for _ in candidates]


@contextmanager
def serving(program: str = __file__) -> Iterator[str]:
    """The address of the server that this program is with `--serve`."""
    server = subprocess.Popen([sys.executable, program, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


async def served() -> None:
    app = web.Application(client_max_size=1 << 30)
    app.add_routes(
        [
            web.get("/v1/models", models),
            web.post("/tokenize", tokenize),
            web.post("/detokenize", detokenize),
            web.post("/v1/completions", completions),
            web.post("/v1/chat/completions", chat),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


async def models(_: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "mock", "max_model_len": 8192}]})


async def tokenize(request: web.Request) -> web.Response:
    body = await request.json()
    return web.json_response({"tokens": list(body["messages"][0]["content"].encode())})


async def detokenize(request: web.Request) -> web.Response:
    body = await request.json()
    return web.json_response({"prompt": bytes(body["tokens"]).decode()})


async def completions(request: web.Request) -> web.Response:
    body = await request.json()
    await asyncio.sleep(lasting(CALL))
    steps = steps_after(body["prompt"].count(10), body)
    return answered([{"text": text} | fields for text, fields in steps], stream=body.get("stream"))


async def chat(request: web.Request) -> web.Response:
    body = await request.json()
    first, last = body["messages"][0], body["messages"][-1]
    await asyncio.sleep(lasting(CALL))
    steps = steps_after(last["content"].count("\n") if last["role"] == "assistant" else 0, body)
    choices = [{"message": {"role": "assistant", "content": text}} | fields for text, fields in steps]
    return answered(choices, stream=body.get("stream"), **ids_told(body, prompt_token_ids=first["content"]))


def steps_after(written: int, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The text of each sample, and what else is said of it."""
    steps = [step(written) for _ in range(body.get("n") or 1)]
    return [
        (text, {"index": index, "finish_reason": "stop", "stop_reason": stop} | ids_told(body, token_ids=text))
        for index, (text, stop) in enumerate(steps)
    ]


def ids_told(body: dict[str, Any], **texts: str) -> dict[str, list[int]]:
    """Ids by the names of their fields, where they are asked for."""
    return {name: list(text.encode()) for name, text in texts.items()} if body.get("return_token_ids") else {}


def step(written: int) -> tuple[str, str | None]:
    """The next step after so many, and the stop string that ends it."""
    if written == STEPS - 1:
        return f"{random.getrandbits(64):016x} The answer is 7.", None
    return f"{random.getrandbits(64):016x}\n", "\n"


def answered(choices: list[dict[str, Any]], *, stream: bool = False, **told: Any) -> web.Response:
    """The reply, or the same as a stream of one piece."""
    usage = {"prompt_tokens": 9, "completion_tokens": 17 * len(choices), "total_tokens": 9 + 17 * len(choices)}
    body = {"id": "x", "model": "mock", "choices": choices, "usage": usage, **told}
    if not stream:
        return web.json_response(body)
    return web.Response(text=f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")


def compare_mcts(quest: Path) -> None:
    rows = {"metagen": [asyncio.run(walked(seed)) for seed in range(SEEDS)]}
    if quest.is_file():
        rows["treequest"] = [told([str(quest), "-c", QUEST, str(CALLS), str(seed)]) for seed in range(SEEDS)]
    print(f"\nmeans of {SEEDS} seeds")
    print(f"{'':10} {'calls':>6} {'in tree':>8} {'wasted':>7} {'best drawn':>11} {'best in tree':>13}")
    for name, found in rows.items():
        made, kept, best, best_kept = (statistics.mean(column) for column in zip(*found, strict=True))
        print(f"{name:10} {made:6.0f} {kept:8.1f} {1 - kept / made:7.1%} {best:11.3f} {best_kept:13.3f}")


async def walked(seed: int) -> tuple[int, int, float, float]:
    """Calls, nodes in the tree, the best worth drawn and the best in the tree."""
    made: list[float] = []

    def script(request: Request) -> str:
        lines = request.partial.splitlines()
        rng = random.Random(f"{request.seed}")
        made.append(min(1.0, max(0.0, (float(lines[-1]) if lines else 0.5) + rng.gauss(0, 0.1))))
        return f"{made[-1]:.17f}\n"

    async def last(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
        return [Score(float(candidate.steps[-1])) for candidate in candidates]

    search = MCTS(CALLS // 2, 2, by=last, window=8, depth=500)
    solution = await solve(Problem("p", "?"), search, Scripted(script, context=1 << 20), seed=seed)
    children = [child for span in solution.trace.walk() if span.expansion for child in span.expansion.children]
    return len(made), sum(child.count for child in children), max(made), max(child.value or 0.0 for child in children)


if __name__ == "__main__":
    typer.run(main)
