"""Limits that hold: budgets, queues, keys, time, bodies."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Budget, InputError, Request, Scripted, ScriptedReward
from metagen.errors import GenerationError
from metagen.serve import Key, Limits, app, read_keys
from metagen.serve.keys import authorise, find_keys, hashed
from metagen.serve.limits import Books, Gate
from metagen.serve.refusals import Refusal
from tests.support.serving import serving
from tests.support.timing import outlast

BODY: Mapping[str, Any] = {"model": "math", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
ALIASES = {"math": "Vote(4)"}


@asynccontextmanager
async def calling(application: Any, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with serving(application) as url:
        most = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=most) as client:
            yield client


async def code_of(client: httpx.AsyncClient, **changes: Any) -> tuple[int, str]:
    reply = await client.post("/chat/completions", json={**BODY, **changes})
    return reply.status_code, str((reply.json().get("error") or {}).get("code"))


async def test_the_tightest_budget_holds() -> None:
    key = Key("a", hashed("k"), request=Budget(tokens=70))
    limits = Limits(request=Budget(tokens=90))
    async with calling(app(Scripted("The answer is 7."), ALIASES, keys=[key], limits=limits), "k") as client:
        free = (await client.post("/chat/completions", json=BODY)).json()
        assert free["usage"]["total_tokens"] <= 70
        own = (await client.post("/chat/completions", json={**BODY, "metagen": {"budget": 40}})).json()
        assert own["usage"]["total_tokens"] <= 40


async def test_a_key_that_has_spent_its_day_waits_for_the_next() -> None:
    keys = [Key("a", hashed("k"), tokens_per_day=100), Key("b", hashed("l"))]
    async with calling(app(Scripted("The answer is 7."), ALIASES, keys=keys), "k") as client:
        assert await code_of(client) == (200, "None")
        codes = [await code_of(client) for _ in range(3)]
        assert codes[-1] == (429, "insufficient_quota")
        other = await client.post("/chat/completions", json=BODY, headers={"Authorization": "Bearer l"})
        assert other.status_code == 200
        metrics = (await client.get(str(client.base_url).replace("/v1/", "/metrics"))).text
        assert re.search(r"^metagen_budget_refusals_total [1-9]", metrics, re.MULTILINE)


def test_a_day_begins_at_midnight() -> None:
    days = iter([date(2026, 1, 1), date(2026, 1, 1), date(2026, 1, 2)])
    books = Books(Limits(), lambda: next(days))
    key = Key("a", tokens_per_day=10)
    first = books.day(key)
    assert books.day(key) is first
    assert books.day(key) is not first


async def test_the_budget_of_the_server_ends_all() -> None:
    limits = Limits(server=Budget(tokens=80))
    async with calling(app(Scripted("The answer is 7."), ALIASES, limits=limits)) as client:
        codes = [await code_of(client) for _ in range(3)]
    assert codes[0][0] == 200
    assert codes[-1] == (429, "insufficient_quota")


async def test_a_model_that_fails_after_a_budget_has_refused_is_not_told_as_a_budget() -> None:
    def failing(request: Request) -> str:
        raise GenerationError("no power")

    limits = Limits(server=Budget(tokens=1000))
    async with calling(app(Scripted(failing), ALIASES, limits=limits)) as client:
        long = [{"role": "user", "content": "?" * 2000}]
        assert await code_of(client, messages=long) == (429, "insufficient_quota")
        assert await code_of(client) == (502, "model_failed")


async def test_the_budget_inside_a_strategy_is_not_told_as_that_of_the_key() -> None:
    keys = [Key("a", hashed("k"), tokens_per_day=1000)]
    aliases = {**ALIASES, "tight": "Within(tokens=2, of=Vote(2))"}
    async with calling(app(Scripted("The answer is 7."), aliases, keys=keys), "k") as client:
        for _ in range(2):
            assert await code_of(client, model="tight") == (400, "budget_exceeded")
            assert await code_of(client, metagen={"budget": 2}) == (400, "budget_exceeded")
            long = [{"role": "user", "content": "?" * 2000}]
            assert await code_of(client, messages=long) == (429, "insufficient_quota")
        assert await code_of(client) == (200, "None")


async def test_a_model_that_fails_beside_a_budget_inside_of_the_strategy_is_told() -> None:
    def failing(request: Request) -> str:
        raise GenerationError("no power")

    aliases = {"tight": "Fallback(Within(tokens=2), Model())"}
    async with calling(app(Scripted(failing), aliases)) as client:
        assert await code_of(client, model="tight") == (502, "model_failed")


async def test_more_than_the_queue_takes_are_told_to_try_later() -> None:
    at_work, gate = asyncio.Event(), asyncio.Event()

    async def waiting(request: Request) -> str:
        at_work.set()
        await gate.wait()
        return "The answer is 7."

    async with calling(app(Scripted(waiting), ALIASES, limits=Limits(in_flight=1, queue=1))) as client:
        first, second = (asyncio.create_task(client.post("/chat/completions", json=BODY)) for _ in range(2))
        await at_work.wait()
        while "metagen_requests_waiting 1.0" not in (await client.get(f"{client.base_url}../metrics")).text:
            pass
        third = await client.post("/chat/completions", json=BODY)
        assert (third.status_code, third.headers["retry-after"]) == (429, "1")
        gate.set()
        assert [(await each).status_code for each in (first, second)] == [200, 200]


async def test_a_waiter_that_gives_up_gives_back_its_place() -> None:
    gate = Gate(1, 1)
    async with gate.turn():
        waiter = asyncio.create_task(gate.turn().__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Refusal):
            gate.check()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        gate.check()
    assert (gate.admitted, gate.at_work) == (0, 0)


async def test_a_request_ends_after_its_time() -> None:
    async def slow(request: Request) -> str:
        await outlast()
        return ""

    async with calling(app(Scripted(slow), ALIASES)) as client:
        assert await code_of(client) == (504, "timeout")


async def test_a_body_has_an_end() -> None:
    async with calling(app(Scripted("7"), ALIASES, limits=Limits(body=1000))) as client:
        assert await code_of(client, user="u" * 1000) == (413, "body_too_large")


async def test_keys_open_what_they_may() -> None:
    keys = [Key("a", hashed("k"), models=("math",), specs=False), Key("b", hashed("l"))]
    async with calling(app(Scripted("The answer is 7.", name="m"), ALIASES, keys=keys), "k") as client:
        assert await code_of(client) == (200, "None")
        assert await code_of(client, model="m") == (404, "model_not_found")
        assert await code_of(client, model="Vote(2)") == (403, "specs_not_allowed")
        assert await code_of(client, metagen={"strategy": "Vote(2)"}) == (403, "specs_not_allowed")
        assert [each["id"] for each in (await client.get("/models")).json()["data"]] == ["math"]
        for header in ("", "Bearer", "Bearer x", "Basic k", "Bearer k\t l"):
            reply = await client.post("/chat/completions", json=BODY, headers={"Authorization": header})
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_key_binds_the_models_of_its_strategies() -> None:
    keys = [Key("a", hashed("k"), models=("small", "math")), Key("b", hashed("l"), models=("Big-7B", "prm"))]
    reward = ScriptedReward(lambda reading: [0.5])
    models: dict[str, Any] = {"small": Scripted("7", name="small"), "big": Scripted("8", name="Big-7B"), "prm": reward}
    async with calling(app(models, ALIASES, keys=keys), "k") as client:
        judged = 'BestOf(2, by=Judge(of=Model("big")))'
        for spec in ('Vote(2, of=Model("big"))', judged, "BestOf(2, by=ProcessReward())"):
            assert await code_of(client, model=spec) == (404, "model_not_found")
            assert await code_of(client, metagen={"strategy": spec}) == (404, "model_not_found")
            header = {"X-Metagen-Strategy": spec}
            assert (await client.post("/chat/completions", json=BODY, headers=header)).status_code == 404
        assert await code_of(client, model="Vote(2)") == (200, "None")
        assert await code_of(client, model='Vote(2, of=Model("small"))') == (200, "None")
        client.headers["Authorization"] = "Bearer l"
        assert await code_of(client, model="Vote(2)") == (404, "model_not_found"), "it draws from the first"
        assert await code_of(client, model='Vote(2, of=Model("small"))') == (404, "model_not_found")
        assert await code_of(client, model='Vote(2, of=Model("big"))') == (200, "None")
        rewarded, unknown = {"strategy": "BestOf(2, by=ProcessReward())"}, {"strategy": 'CoT(of=Model("none"))'}
        assert await code_of(client, model="Big-7B", metagen=rewarded) == (200, "None")
        assert await code_of(client, model="Big-7B", metagen=unknown) == (404, "model_not_found")


def test_a_file_of_keys_holds_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nname = "a"\nsha256 = "{hashed("k").hex()}"\nmodels = ["math"]\ntokens_per_day = 9\n')
    (key,) = read_keys(path)
    assert (key.name, key.models, key.specs, key.tokens_per_day) == ("a", ("math",), False, 9)
    assert authorise([key], "bearer k") is key
    assert "k" not in repr(key).replace("key", "").replace("Key", "").replace("tokens", "").split("hash")[0]
    monkeypatch.setenv("METAGEN_API_KEY", "secret")
    assert [each.name for each in find_keys(path)] == ["environment", "a"]
    assert "secret" not in repr(find_keys(path))
    with pytest.raises(InputError, match="two keys have one name, 'environment'"):
        find_keys(_renamed(path, "environment"))
    monkeypatch.delenv("METAGEN_API_KEY")
    assert [each.name for each in find_keys(path)] == ["environment"]
    with pytest.raises(InputError, match="two keys have one name, 'a'"):
        app(Scripted("7"), keys=[Key("a", hashed("1")), Key("a", hashed("2"))])
    path.write_text("key = []\n")  # which would let everybody in
    with pytest.raises(InputError, match=r"keys\.toml: field 'key'"):
        read_keys(path)
    path.write_text('[[key]]\nname = "a"\nsha256 = "abc"\n')
    with pytest.raises(InputError, match=r"keys\.toml: field 'key\.0\.sha256'"):
        read_keys(path)


def test_the_hash_of_an_empty_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"  # as `printf %s "$KEY" | sha256sum` prints it where the variable is not set
    path.write_text(f'[[key]]\nname = "a"\nsha256 = "{hashed("").hex()}"\n')
    for open_them in (lambda: read_keys(path), lambda: app(Scripted("7"), keys=[Key("a", hashed(""))])):
        with pytest.raises(InputError, match="the key 'a' is empty, so that anybody may call"):
            open_them()


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r"])
def test_the_space_around_a_key_of_the_environment_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setenv("METAGEN_API_KEY", around.format("secret"))
    keys = find_keys(None)
    assert authorise(keys, "Bearer secret") is keys[0]
    monkeypatch.setenv("METAGEN_API_KEY", around.format(""))
    assert find_keys(None) == ()


def test_a_file_of_keys_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_bytes(f'\ufeff[[key]]\r\nname = "a"\r\nsha256 = "{hashed("k").hex()}"\r\n'.encode())
    assert [key.name for key in read_keys(path)] == ["a"]


def _renamed(path: Path, name: str) -> Path:
    path.write_text(path.read_text().replace('"a"', f'"{name}"'))
    return path


BUDGETS = st.one_of(st.none(), st.integers(1, 400))
ASKED = [
    "Vote(3)",
    "Vote(2, of=Refine(rounds=1))",
    "Refine(rounds=2)",
    "Fuse(2)",
    "CoT()",
    "Fallback(CoT(), Vote(2))",
]
LEAVING = ["", "leave", "stream"]


@given(
    st.lists(st.tuples(st.sampled_from(ASKED), BUDGETS, st.sampled_from(LEAVING)), min_size=5, max_size=25),
    st.integers(1, 3000),
    st.integers(1, 1500),
)
def test_no_budget_is_passed_whatever_is_asked_at_once(
    asked: list[tuple[str, int | None, str]], server: int, day: int
) -> None:
    asyncio.run(storm(asked, server, day))


def test_no_budget_is_passed_by_200_at_once() -> None:
    rng = random.Random(0)
    budgets = (None, 1, 40, 200, 400)
    asked = [(rng.choice(ASKED), rng.choice(budgets), rng.choice(LEAVING)) for _ in range(200)]
    asyncio.run(storm(asked, rng.randrange(1, 30_000), rng.randrange(1, 30_000)))


async def storm(asked: list[tuple[str, int | None, str]], server: int, day: int) -> None:
    """Many requests at once over the served application, some of which leave, over a model that fails now and then."""

    async def model(request: Request) -> str:
        await asyncio.sleep(0)
        if (request.draw + len(request.prompt)) % 5 == 0:
            raise GenerationError("no power")
        return "The answer is 7."

    application = app(
        Scripted(model, name="m"),
        keys=[Key("a", hashed("k"), tokens_per_day=day)],
        limits=Limits(server=Budget(tokens=server), in_flight=8),
    )
    transport = httpx.ASGITransport(application)
    client = httpx.AsyncClient(transport=transport, base_url="http://a", headers={"Authorization": "Bearer k"})
    async with application.router.lifespan_context(application), client:

        async def call(spec: str, budget: int | None, how: str) -> None:
            body = {**BODY, "model": spec, "stream": how == "stream", "metagen": {"budget": budget}}
            reply = await client.post("/v1/chat/completions", json=body)
            usage = {} if how == "stream" else reply.json().get("usage")
            assert budget is None or (usage or {}).get("total_tokens", 0) <= budget

        tasks = [asyncio.create_task(call(*each)) for each in asked]
        for _ in tasks:
            await asyncio.sleep(0)
        for task, (_, _, how) in zip(tasks, asked, strict=True):
            if how == "leave":
                task.cancel()
        await asyncio.gather(*(task for task in tasks if not task.cancelling()))
        await asyncio.gather(*tasks, return_exceptions=True)
        text = (await client.get("/metrics")).text
    counts = dict(re.findall(r'^metagen_tokens_total\{kind="(\w+)"\} (\S+)', text, re.MULTILINE))
    assert sum(map(float, counts.values())) <= min(server, day)
    assert "metagen_held_tokens 0.0" in text
    assert "metagen_samples_in_flight 0.0" in text
    assert "metagen_requests_at_work 0.0" in text


async def test_a_slow_body_is_given_up() -> None:
    async with serving(app(Scripted("7"), ALIASES, limits=Limits(body_seconds=0.01))) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: 99\r\n\r\n{")
        assert b" 408 " in await reader.readline()
        writer.close()


def test_a_file_of_keys_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keys.toml: cannot be read: No such file or directory$"):
        read_keys(tmp_path / "keys.toml")
