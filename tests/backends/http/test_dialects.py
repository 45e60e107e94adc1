"""How each kind of server is asked, over a server that knows nothing but what that kind knows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from metagen import Budget, GenerationError, InputError, Model, OpenAIServer, Request, Sampling, Shortest, Vote, solve
from metagen.backends.chat import NO_SYSTEM
from metagen.backends.http.dialects import DIALECTS, of_owner, read_ids
from metagen.messages import read_messages
from tests.support.fake_server import FakeServer, rendered
from tests.support.outcomes import completed


class SGLangServer(FakeServer):
    """Lists its models as SGLang does, and continues the last turn of a chat."""

    def __init__(self) -> None:
        super().__init__(vllm=False)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "mock", "owned_by": "sglang", "max_model_len": 700}]})

    def _choice(self, body: dict[str, Any], prompt: str, index: int) -> dict[str, Any]:
        body = body | ({"include_stop_str_in_output": True} if body.get("no_stop_trim") else {})
        choice = super()._choice(body, prompt, index)
        stops = [stop for stop in body.get("stop", ()) if stop in str(choice["message"]["content"])]
        return choice | {"matched_stop": stops[0] if stops else 2}


class LlamaServer(FakeServer):
    """Lists its models as llama.cpp does, renders templates, and tokenises texts."""

    def __init__(self) -> None:
        super().__init__(vllm=False)

    def _app(self) -> web.Application:
        app = super()._app()
        app.router.add_post("/apply-template", self._render)
        app.router.add_post("/tokenize", self._tokenize)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "mock", "owned_by": "llamacpp", "max_model_len": 700}]})

    async def _render(self, request: web.Request) -> web.Response:
        return web.json_response({"prompt": rendered(await request.json())})

    async def _tokenize(self, request: web.Request) -> web.Response:
        return web.json_response({"tokens": list(map(ord, (await request.json())["content"]))})


@asynccontextmanager
async def opened(fake: FakeServer, **settings: Any) -> AsyncIterator[OpenAIServer]:
    async with fake.running(), OpenAIServer(fake.url, **settings) as server:
        yield server


@pytest.mark.parametrize(
    ("fake", "dialect"),
    [
        (FakeServer(), "vllm"),
        (SGLangServer(), "sglang"),
        (LlamaServer(), "llama.cpp"),
        (FakeServer(vllm=False), "openai"),
    ],
)
async def test_a_server_is_known_by_what_it_says_and_can(fake: FakeServer, dialect: str) -> None:
    async with opened(fake) as server:
        assert server.dialect == dialect
        (one,) = completed(await server.generate(Request("p", "3 + 4?", seed=5), lambda _: None))
    assert one.text == "5. The answer is 7."


@pytest.mark.parametrize("fake", [FakeServer(), LlamaServer(), SGLangServer(), FakeServer(vllm=False)])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(max_tokens=60),
        Sampling(max_tokens=1, top_logprobs=2),
        Sampling(max_tokens=60, stop=("!",)),
        Sampling(max_tokens=10**6),
    ],
)
async def test_a_limit_does_not_change_how_a_model_is_asked(fake: FakeServer, sampling: Sampling) -> None:
    fake.bodies.clear()
    async with opened(fake) as server:
        await server.generate(Request("p", "3 + 4?", n=2, seed=5, sampling=sampling), lambda _: None)
        room = server.context - await server.count(Request("p", "3 + 4?"))
    body = fake.bodies[-1]
    assert body["messages"] == [{"role": "user", "content": "3 + 4?"}]
    assert "prompt" not in body
    fits = sampling.max_tokens or 0
    if server.dialect != "openai":  # an assumed context lowers no limit
        fits = min(fits, room)
    assert body.get("max_tokens") == (fits or None)


async def test_the_prompt_of_limited_samples_is_counted_once() -> None:
    fake = FakeServer()
    limited = Sampling(max_tokens=60)
    async with opened(fake) as server:
        fake.seen.clear()
        for seed in range(3):
            await server.generate(Request("p", "3 + 4?", seed=seed, sampling=limited), lambda _: None)
    assert fake.seen["tokenize"] == 1


async def test_a_limited_chat_is_continued_from_its_ids() -> None:
    fake = FakeServer()
    limited = Sampling(max_tokens=6)
    async with opened(fake) as server:
        (begun,) = completed(await server.generate(Request("p", "?", seed=5, sampling=limited), lambda _: None))
        further = Request("p", "?", partial=begun.text, tokens=begun.tokens, seed=5, sampling=limited)
        (rest,) = completed(await server.generate(further, lambda _: None))
    assert begun.text + rest.text == "5. The answer is 7."[:12]
    assert fake.bodies[-1]["prompt"] == [*map(ord, "<user>?<reply>"), *begun.tokens]


async def test_sglang_continues_a_reply_and_steps_by_text() -> None:
    fake = SGLangServer()
    step = Sampling(stop=(".",), keep_stop=True)
    async with opened(fake) as server:
        (first,) = completed(await server.generate(Request("p", "?", seed=5, sampling=step), lambda _: None))
        request = Request("p", "?", partial=first.text, seed=5)
        (rest,) = completed(await server.generate(request, lambda _: None))
        assert server.context == 700
    assert (first.text, first.end, first.stop) == ("5.", "stop", ".")
    assert first.text + rest.text == "5. The answer is 7."
    assert fake.bodies[-1]["continue_final_message"]


async def test_sglang_refuses_steps_of_tokens_before_it_is_asked() -> None:
    fake = SGLangServer()
    async with opened(fake) as server:
        before = len(fake.bodies)
        step = Sampling(max_tokens=2, keep_stop=True)
        with pytest.raises(GenerationError, match="cannot step by tokens: it returns no token ids"):
            await server.generate(Request("p", "?", seed=5, sampling=step), lambda _: None)
    assert len(fake.bodies) == before


async def test_a_step_that_nobody_counted_is_no_whole_reply() -> None:
    async with opened(SGLangServer()) as server:
        solution = await solve("3 + 4?", Shortest(1, n=2, every=2, of=Model(stop=("END",))), server)
    assert "cannot step by tokens: it returns no token ids to count" in solution.error


async def test_llama_counts_prompts_exactly_and_continues_from_ids() -> None:
    fake = LlamaServer()
    async with opened(fake) as server:
        assert await server.count(Request("p", "3 + 4?")) == len("<user>3 + 4?<reply>")
        (rest,) = completed(await server.generate(Request("p", "3 + 4?", partial="5. The", seed=5), lambda _: None))
        with pytest.raises(GenerationError, match="cannot step"):
            await server.generate(Request("p", "?", sampling=Sampling(stop=(".",), keep_stop=True)), lambda _: None)
    assert rest.text == " answer is 7."


async def test_a_dialect_can_be_given_and_a_wrong_one_is_refused() -> None:
    async with opened(FakeServer(), dialect="openai") as server:
        assert server.dialect == "openai"
        assert any("tells no token ids" in what for what in server.missing)
    with pytest.raises(InputError, match=r"dialect must be auto or one of vllm, sglang, llama\.cpp, openai"):
        OpenAIServer("http://localhost/v1", dialect="ollama")  # type: ignore[arg-type]


def test_an_owner_that_is_not_known_is_none() -> None:
    assert of_owner({"owned_by": "vllm"}) is DIALECTS["vllm"]
    assert of_owner({"owned_by": "somebody"}) is of_owner({}) is None


@pytest.mark.parametrize(
    "reply", [None, [], {}, {"tokens": []}, {"tokens": ["x"]}, {"tokens": [-1]}, {"tokens": 3}, "x"]
)
def test_what_holds_no_ids_is_refused(reply: object) -> None:
    with pytest.raises(GenerationError, match="tells no token ids"):
        read_ids(reply, "mock")


EVERY = Sampling(
    repetition_penalty=1.1,
    presence_penalty=0.5,
    frequency_penalty=0.25,
    min_tokens=2,
    logit_bias={7: -1.5},
    bad_words=("no",),
    stop_token_ids=(3,),
    ignore_eos=True,
    adapter="mine",
    chat_template_kwargs={"enable_thinking": False},
    extra={"priority": 1},
)
SENT = {
    "model": "mine",
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "min_tokens": 2,
    "logit_bias": {"7": -1.5},
    "bad_words": ["no"],
    "stop_token_ids": [3],
    "ignore_eos": True,
    "chat_template_kwargs": {"enable_thinking": False},
    "priority": 1,
}


async def test_every_setting_reaches_a_server_under_its_name() -> None:
    fake = FakeServer()
    async with opened(fake) as server:
        assert not server.refuses(EVERY)
        await server.generate(Request("p", "3 + 4?", sampling=EVERY), lambda _: None)
    assert {name: fake.bodies[-1].get(name) for name in SENT} == SENT


async def test_a_setting_that_is_called_otherwise_is_sent_so() -> None:
    fake = LlamaServer()
    async with opened(fake) as server:
        await server.generate(Request("p", "?", sampling=Sampling(repetition_penalty=1.5)), lambda _: None)
    assert fake.bodies[-1]["repeat_penalty"] == 1.5
    assert "repetition_penalty" not in fake.bodies[-1]


@pytest.mark.parametrize(
    ("fake", "setting"),
    [
        (FakeServer(vllm=False), {"min_tokens": 2}),
        (FakeServer(vllm=False), {"bad_words": ("no",)}),
        (FakeServer(vllm=False), {"form": {"regex": "[0-9]"}}),
        (SGLangServer(), {"form": True}),
        (LlamaServer(), {"form": {"choice": ("a", "b")}}),
        (SGLangServer(), {"bad_words": ("no",)}),
        (LlamaServer(), {"stop_token_ids": (3,)}),
    ],
)
async def test_what_a_server_cannot_do_is_refused_before_anything_is_sent(
    fake: FakeServer, setting: dict[str, Any]
) -> None:
    (name,) = setting
    async with opened(fake) as server:
        before = len(fake.bodies)
        with pytest.raises(InputError, match=rf"has no {name}: if the server has it by some name, give it in extra="):
            await solve("?", Vote(2, of=Model(**setting)), server)
        assert len(fake.bodies) == before


TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "3 + 4?"},
]
BEFORE = read_messages(TALK, "x")[:-1]
MERGED = [{"role": "user", "content": "Be brief.\n\nHello."}, *TALK[2:]]


@pytest.mark.parametrize("fake", [FakeServer(), LlamaServer(), SGLangServer(), FakeServer(vllm=False)])
async def test_a_conversation_is_sent_turn_by_turn(fake: FakeServer) -> None:
    async with opened(fake) as server:
        request = Request("p", "3 + 4?", before=BEFORE, sampling=Sampling(max_tokens=60))
        assert await server.count(request) >= sum(len(turn["content"]) for turn in TALK)
        await server.generate(request, lambda _: None)
        assert server.missing == () or server.dialect != "vllm"
    assert fake.bodies[-1]["messages"] == TALK


class Refusing(FakeServer):
    """A server whose chat template takes no system turn: it says so, or leaves it out."""

    def __init__(self, *, says: bool, vllm: bool) -> None:
        super().__init__(vllm=vllm)
        self.says = says

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.says and body["messages"][0]["role"] == "system":
            return web.json_response({"error": {"message": "System role not supported"}}, status=400)
        shown = [turn for turn in body["messages"] if turn["role"] != "system"]
        return web.json_response({"tokens": list(map(ord, rendered({"messages": shown})))})

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["messages"][0]["role"] == "system":
            assert self.says, "a system turn that the template leaves out was sent"
            return web.json_response({"error": {"message": "System role not supported"}}, status=400)
        return await super()._answer(request, body)


@pytest.mark.parametrize(("says", "vllm"), [(True, True), (False, True), (True, False)])
async def test_a_template_without_system_turns_gets_it_in_the_first_question(says: bool, vllm: bool) -> None:
    fake = Refusing(says=says, vllm=vllm)
    async with opened(fake) as server:
        for _ in range(2):
            completed(await server.generate(Request("p", "3 + 4?", before=BEFORE), lambda _: None))
        assert NO_SYSTEM in server.missing
    assert fake.bodies[-1]["messages"] == MERGED


class Describing(FakeServer):
    """Lists its only model as a gateway does."""

    def __init__(self, told: dict[str, Any], *, bare: bool = False) -> None:
        super().__init__(vllm=False)
        self.told, self.bare = told, bare

    async def _models(self, request: web.Request) -> web.Response:
        cards = [{"id": "mock"} | self.told]
        return web.json_response(cards if self.bare else {"data": cards})


@pytest.mark.parametrize(
    ("told", "context"),
    [
        ({"max_model_len": 700}, 700),
        ({"context_length": 32_768}, 32_768),
        ({"context_window": 131_072, "max_completion_tokens": 8192}, 131_072),
        ({"max_context_length": 32_768}, 32_768),
        ({"max_context_length": 131_072, "loaded_context_length": 4096}, 4096),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 40_960}}, 4096),
        ({"context_length": None, "top_provider": None, "meta": None}, 8192),
        ({"context_length": "much", "context_window": 0, "max_context_length": True, "meta": ["n_ctx"]}, 8192),
        ({"meta": {"n_ctx_train": 40_960}}, 8192),
    ],
)
@pytest.mark.parametrize("bare", [False, True])
async def test_the_context_is_read_by_the_names_that_servers_give_it(
    told: dict[str, Any], context: int, bare: bool
) -> None:
    async with opened(Describing(told, bare=bare)) as server:
        assert (server.name, server.context) == ("mock", context)
        assert any("its context is unknown" in each for each in server.missing) == (context == 8192)
    async with opened(Describing(told, bare=bare), model="mock", context=600) as server:
        assert server.context == 600, "what the caller says comes first"


@pytest.mark.parametrize(
    "told",
    [
        {"context_window": 131_072, "max_completion_tokens": 8192},
        {"context_length": 131_072, "top_provider": {"max_completion_tokens": 8192}},
        {"context_length": 131_072, "max_completion_tokens": None, "top_provider": {"max_completion_tokens": 8192}},
    ],
)
async def test_a_budget_asks_for_no_longer_reply_than_the_server_writes(told: dict[str, Any]) -> None:
    fake = Describing(told)
    async with opened(fake) as server:
        solution = await solve("3 + 4?", Vote(1), server, budget=Budget(tokens=100_000))
    assert solution.answer == "7"
    assert fake.bodies[-1]["max_tokens"] == 8192
