"""What the page of a server is told: the latest requests of a key, and the events of a request on its way."""

import json
from typing import Any

import httpx

from metagen import Beam, Expanded, Model, Request, Scripted, Vote
from metagen.serve import Key, app
from metagen.serve.keys import hashed
from metagen.serve.progress import Progress
from metagen.trace import Child, Expansion
from tests.support.serving import serving
from tests.support.trees import Lines, spelled

QUESTION = [{"role": "user", "content": "What is 3 + 4?"}]


def numbered(request: Request) -> str:
    return f"The answer is {(7, 7, 8, 7)[request.draw % 4]}."


def chunks(body: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]


async def test_a_key_sees_its_own_requests_and_no_others() -> None:
    keys = [Key("me", hashed("mine")), Key("you", hashed("yours"))]
    async with serving(app(Scripted(numbered, name="small"), {"math": Vote(4)}, keys=keys)) as url:
        site = url.removesuffix("v1")
        me, you = ({"Authorization": f"Bearer {secret}"} for secret in ("mine", "yours"))
        async with httpx.AsyncClient(timeout=None) as client:
            body = {"model": "math", "messages": QUESTION, "n": 2}
            made = (await client.post(f"{url}/chat/completions", json=body, headers=me)).json()["id"]
            (table,) = (await client.get(f"{site}runs", headers=me)).json()
            assert table["columns"]["id"] == [f"{made}-1", f"{made}-2"]
            assert (table["columns"]["votes"], table["columns"]["answer"]) == ([3, 3], ["7", "7"])
            whole = (await client.get(f"{site}problem", params={"id": f"{made}-1"}, headers=me)).json()
            assert [each["answer"] for each in whole["candidates"]] == ["7", "7", "8", "7"]
            assert whole["spans"][0]["name"] == "solve"
            for path in ("runs", f"problem?id={made}-1"):
                assert (await client.get(f"{site}{path}")).status_code == 401
            assert (await client.get(f"{site}problem", params={"id": f"{made}-1"}, headers=you)).json() is None
            page = await client.get(site)
            assert page.headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in page.text


async def test_a_stream_tells_its_events_where_they_are_asked_for() -> None:
    lines = Lines({"": ["0.2\n", "0.9\n"], "0.9\n": ["0.5 The answer is 7."], "0.2\n": ["0.5 The answer is 8."]})
    models = {"small": Scripted(numbered, name="small"), "lines": Scripted(lines, name="lines")}
    tree = Beam(1, 2, by=spelled, of=Model("lines"))
    async with serving(app(models, {"tree": tree})) as url, httpx.AsyncClient(timeout=None) as client:

        async def streamed(**more: Any) -> list[dict[str, Any]]:
            body = {"messages": QUESTION, "stream": True} | more
            return chunks((await client.post(f"{url}/chat/completions", json=body)).text)

        told = [
            each["metagen"] for each in await streamed(model="Vote(4)", metagen={"events": True}) if "metagen" in each
        ]
        samples = [each for each in told if each["event"] == "SampleDone" and each["wanted"] == 4]
        assert samples[-1]["votes"] == {"7": 3, "8": 1}
        assert [each["done"] for each in samples] == [1, 2, 3, 4]
        grown = [
            each["metagen"] for each in await streamed(model="tree", metagen={"events": True}) if "metagen" in each
        ]
        texts = [each["texts"] for each in grown if each["event"] == "Expanded" and each["texts"]]
        assert texts == [["0.2\n", "0.9\n"], ["0.5 The answer is 7."]]
        assert not any("metagen" in each for each in await streamed(model="Vote(4)"))
        refused = await client.post(
            f"{url}/chat/completions", json={"model": "small", "messages": QUESTION, "metagen": {"events": True}}
        )
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metagen")


def test_a_search_says_its_best_step() -> None:
    children = (Child(1, 0.25, "open"), Child(2, 0.75, "open"))
    progress = Progress()
    assert progress.line(Expanded(("/",), Expansion(2))) == ""
    said = progress.line(Expanded(("/",), Expansion(2, children), ("So 3.\n", "So\n 4.\n")))
    assert said == "best step (0.75): So 4.\n"
    assert progress.line(Expanded(("/",), Expansion(2, children))) == "", "what became of them says nothing new"
    without = (Child(1, None, "open"),)
    assert progress.line(Expanded(("/",), Expansion(1, without), ("So 5.",))) == "best step: So 5.\n"
