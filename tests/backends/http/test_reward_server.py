"""A reward model behind HTTP: what is sent, where scores are read, what it costs, and what can go wrong."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    BackendGone,
    BestOf,
    Budget,
    GenerationError,
    InputError,
    Problem,
    ProcessReward,
    Reading,
    Scripted,
    TransientError,
    Usage,
    VLLMRewardServer,
    solve,
)
from metagen.backends.rewards.readings import places, share
from metagen.solve import Models
from tests.support.fake_server import FakeServer
from tests.support.timing import forever, until

MARK, PLUS, MINUS = 1, 2, 3
SPECIAL = {"<extra_0>": MARK, "+": PLUS, "-": MINUS}
STEPS = ("1 + 2 = 3\n", "3 + 3 = 7\n", "The answer is 7.")
READING = Reading("p", "1 plus 2 plus 3?", ("one two three\n", "three three 7\n", "The answer is 7."))


def ids_of(text: str) -> list[int]:
    """A token a character, but for those that stand for themselves."""
    return [SPECIAL.get(piece) or ord(piece) for piece in re.findall(r"<extra_0>|.", text, re.DOTALL)]


class FakeRewards(FakeServer):
    """Scores 0.25 where there is a 7, else 0.75, with a row a mark, or with `all_tokens` a row a token."""

    def __init__(self, *, all_tokens: bool = False, classifies: bool = True, mark: int = MARK, **settings: Any) -> None:
        super().__init__(**settings)
        self.all_tokens, self.classifies, self.mark = all_tokens, classifies, mark

    def _app(self) -> web.Application:
        app = super()._app()
        app.router.add_post("/pooling", self._score)
        if self.classifies:
            app.router.add_post("/classify", self._score)
        return app

    async def _tokenize(self, request: web.Request) -> web.Response:
        self.seen["tokenize"] += 1
        body = await request.json()
        text = body.get("prompt") or "".join(f"[{turn['role'][0]}]{turn['content']}" for turn in body["messages"])
        return web.json_response({"tokens": ids_of(text)})

    async def _score(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["input"] == "1":  # a question whether it can
            return web.json_response({"data": []})
        self.bodies.append(body | {"path": request.path})
        return await self._answer(request, body)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdigit():
            return web.json_response({"error": {"message": f"fault {fault}"}}, status=int(fault))
        if fault == "hang":
            await forever()
        ids = body.get("input") or body["prompt"]
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1 if "prompt" in body else 0}
        return web.json_response({} if fault == "empty" else self._scored(request.path, ids) | {"usage": usage})

    def _scored(self, path: str, ids: list[int]) -> dict[str, Any]:
        good = 0.25 if ord("7") in ids else 0.75
        if path == "/classify":
            return {"data": [{"probs": [good - 0.5]}]}
        if path == "/v1/completions":
            tops = {f"token_id:{PLUS}": log(good / 2), f"token_id:{MINUS}": log((1 - good) / 2)}
            return {"choices": [{"logprobs": {"top_logprobs": [tops]}}]}
        rows, seen = [], False
        for token in ids:
            seen = seen or token == ord("7")
            good = 0.25 if seen else 0.75
            if self.all_tokens or token == self.mark:
                rows.append([1 - good, good])
            seen = seen and token != MARK
        return {"data": [{"data": rows}]}


@asynccontextmanager
async def serving(fake: FakeRewards, like: str = "marked", **settings: Any) -> AsyncIterator[VLLMRewardServer]:
    async with fake.running(), VLLMRewardServer(fake.url, like=like, **settings) as server:
        yield server


async def rated(server: VLLMRewardServer, reading: Reading = READING) -> tuple[tuple[float, ...], Usage]:
    spent: list[Usage] = []
    scores = await server.rate(reading, spent.append)
    return scores, sum(spent, Usage())


async def test_steps_are_scored_at_their_marks_and_counted_by_the_server() -> None:
    fake = FakeRewards()
    async with serving(fake) as server:
        scores, usage = await rated(server)
        assert (server.name, server.context, server.process) == ("mock", 2000, True)
        assert usage == Usage(calls=1, prompt_tokens=await server.count(READING))
    assert scores == (0.75, 0.25, 0.25)
    (body,) = fake.bodies
    text = "[u]1 plus 2 plus 3?[a]one two three<extra_0>three three 7<extra_0>The answer is 7.<extra_0>"
    assert (body["path"], body["task"], body["use_activation"]) == ("/pooling", "token_classify", True)
    assert body["input"] == ids_of(text)
    assert fake.seen["tokenize"] == 2, "the mark, and the reading: once for counting and sending"


async def test_marks_in_the_question_are_no_steps() -> None:
    async with serving(FakeRewards()) as server:
        scores, _ = await rated(server, Reading("p", "7 <extra_0>?", ("one\n", "7")))
    assert scores == (0.75, 0.25)


async def test_a_server_that_scores_all_tokens_is_read_at_the_marks() -> None:
    async with serving(FakeRewards(all_tokens=True)) as server:
        scores, _ = await rated(server, Reading("p", "?", ("1", "2", "3")))
    assert scores == (0.75, 0.75, 0.75)


async def test_a_row_without_a_score_is_asked_for_again() -> None:
    class Bare(FakeRewards):
        def _scored(self, path: str, ids: list[int]) -> dict[str, Any]:
            return {"data": [{"data": [row[:0] for row in super()._scored(path, ids)["data"][0]["data"]]}]}

    async with serving(Bare()) as server:
        with pytest.raises(TransientError, match="sent a reply without a score"):
            await rated(server)


@pytest.mark.parametrize("context", ["2000", -5, [], None])
async def test_a_context_that_is_no_number_is_unknown(context: Any) -> None:
    with pytest.raises(InputError, match="does not tell its context"):
        async with serving(FakeRewards(context=context)):
            pass


async def test_a_server_with_another_mark_is_told_how_to_be_started() -> None:
    async with serving(FakeRewards(mark=99)) as server:
        with pytest.raises(InputError, match=r"0 scores for 3 marks: start its server with --pooler-config .*: 1}"):
            await rated(server)


@pytest.mark.parametrize(("classifies", "score"), [(True, (-0.25,)), (False, (0.25,))])
async def test_the_whole_is_classified_or_read_at_its_last_token(classifies: bool, score: tuple[float]) -> None:
    fake = FakeRewards(classifies=classifies, all_tokens=True)
    async with serving(fake, "outcome") as server:
        scores, usage = await rated(server)
        assert not server.process
    assert scores == score
    assert usage.prompt_tokens == len(fake.bodies[0]["input"])
    assert not fake.bodies[0]["use_activation"], "a logit"


async def test_a_causal_model_is_asked_for_a_token_after_each_step() -> None:
    fake = FakeRewards()
    async with serving(fake, "rlhflow") as server:
        scores, usage = await rated(server)
        assert usage.tokens == await server.count(READING)
    assert scores == pytest.approx((0.75, 0.25, 0.25))
    assert usage.calls == usage.completion_tokens == 3
    assert len({len(body["prompt"]) for body in fake.bodies}) == 3, "a prompt a step, in whatever order they arrive"
    assert {body["max_tokens"] for body in fake.bodies} == {1}
    assert fake.bodies[0]["logprob_token_ids"] == [PLUS, MINUS]


def test_a_share_is_of_two_and_places_are_the_last() -> None:
    assert share(log(0.3), log(0.1)) == pytest.approx(0.75)
    assert share(0.0, -1000.0) == 1.0
    assert places([5, 1, 5, 1, 1], 1, 2) == [3, 4]


async def test_a_server_that_tells_no_ids_for_once_is_asked_again_and_one_that_never_does_is_refused() -> None:
    class Odd(FakeRewards):
        odd = broken = False

        async def _tokenize(self, request: web.Request) -> web.Response:
            if self.broken:
                assert request.transport
                request.transport.close()
            return web.json_response({"tokens": None}) if self.odd else await super()._tokenize(request)

    fake = Odd()
    async with serving(fake) as server:
        fake.odd = True
        with pytest.raises(TransientError, match="without token ids"):
            await server.rate(READING, lambda _: None)
    with pytest.raises(InputError, match="tells no token ids: it must be vLLM's server"):
        async with serving(fake):
            pass
    fake.broken = True
    with pytest.raises(TransientError, match="broke off"):
        async with serving(fake):
            pass


async def test_what_is_too_long_is_not_sent() -> None:
    fake = FakeRewards(context=50)
    async with serving(fake) as server:
        with pytest.raises(GenerationError, match="question and answer have"):
            await rated(server)
    assert not fake.bodies


@pytest.mark.parametrize(
    ("fault", "error", "estimated"),
    [
        ("400", GenerationError, False),
        ("404", BackendGone, False),
        ("503", TransientError, False),
        ("empty", TransientError, True),
    ],
)
async def test_what_goes_wrong_is_told_and_counted_once(fault: str, error: type[Exception], estimated: bool) -> None:
    fake = FakeRewards()
    async with serving(fake) as server:
        fake.faults.append(fault)
        spent: list[Usage] = []
        with pytest.raises(error):
            await server.rate(READING, spent.append)
        tokens = await server.count(READING) if estimated else 0
    assert spent == [Usage(calls=1, prompt_tokens=tokens, estimated_tokens=tokens)]


async def test_a_cancelled_reading_is_counted_as_an_estimate() -> None:
    fake = FakeRewards()
    async with serving(fake) as server:
        fake.faults.append("hang")
        spent: list[Usage] = []
        task = asyncio.create_task(server.rate(READING, spent.append))
        await until(lambda: fake.bodies)
        task.cancel()
        await asyncio.wait([task])
        tokens = await server.count(READING)
    assert spent == [Usage(calls=1, prompt_tokens=tokens, estimated_tokens=tokens)]


async def test_it_serves_a_run_within_its_budget() -> None:
    fake = FakeRewards()
    async with serving(fake) as server:
        models: Models = {"model": Scripted("1 + 2 = 3\nThe answer is 3."), "prm": server}
        whole = await solve(Problem("p", "?"), BestOf(2, by=ProcessReward("prm")), models)
        tight = Budget(tokens=whole.usage.tokens - 1)
        cut = await solve(Problem("p", "?"), BestOf(2, by=ProcessReward("prm")), models, budget=tight)
    assert whole.usage.verifier_tokens
    assert cut.usage.verifier_tokens == 0
    assert any("no score for" in note for note in cut.notes)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_headers_go_with_each_request_and_hold_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    async with serving(FakeRewards(key="sesame"), headers={name: "Bearer sesame"}) as server:
        assert (await rated(server))[0] == (0.75, 0.25, 0.25)
    with pytest.raises(InputError, match=r"answered 401: wrong key \*\*\*"):
        async with serving(FakeRewards(key="open"), headers={name: "Bearer sesame"}):
            pass


async def test_a_key_goes_over_plain_http_to_another_machine_only_if_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    monkeypatch.delenv("no_proxy", raising=False)
    settings: dict[str, Any] = {"like": "marked", "key_env": "MY_KEY"}
    with pytest.raises(InputError, match="or allow it with insecure_key"):
        async with VLLMRewardServer("http://models.invalid/v1", **settings):
            pass
    fake = FakeRewards(key="sesame")
    async with fake.running():
        monkeypatch.setenv("http_proxy", fake.url.removesuffix("/v1"))
        async with VLLMRewardServer("http://models.invalid/v1", **settings, insecure_key=True) as server:
            assert (await rated(server))[0] == (0.75, 0.25, 0.25)


async def test_what_vllm_does_not_serve_or_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="use TorchReward"):
        VLLMRewardServer("http://localhost:1/v1", "Skywork-o1-Open-PRM-Qwen-2.5-7B")
    with pytest.raises(InputError, match="say which it is like"):
        VLLMRewardServer("http://localhost:1/v1")
    fake = FakeRewards(models=("a", "b"))
    with pytest.raises(InputError, match="serves several models"):
        async with serving(fake):
            pass


async def test_a_server_that_is_opened_again_is_explored_anew() -> None:
    fake = FakeRewards()
    async with fake.running():
        server = VLLMRewardServer(fake.url, like="marked")
        for name, context in (("another", 500), ("mock", 2000)):
            fake.models, fake.context = (name,), context
            async with server:
                assert (server.name, server.context) == (name, context)
