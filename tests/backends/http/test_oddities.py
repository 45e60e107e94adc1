"""What real servers do that nobody wrote down: it costs at most the sample it concerns, and is counted as it came."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from math import isnan
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    BackendGone,
    Budget,
    Completion,
    GenerationError,
    InputError,
    Model,
    OpenAIServer,
    Problem,
    Request,
    Retrying,
    Sampling,
    TransientError,
    UnfitRequest,
    Usage,
    Vote,
    solve,
)
from metagen.backends.http import connection
from metagen.backends.http.keys import Key
from metagen.budget import Account
from metagen.request import Hearing
from metagen.solve import solve_all
from tests.support.fake_server import FakeServer
from tests.support.outcomes import completed

ASKED = Request("p", "3 + 4?", n=4, seed=5)
PROBLEM = Problem("p", "3 + 4?", "7")


@asynccontextmanager
async def opened(fake: FakeServer, **settings: Any) -> AsyncIterator[OpenAIServer]:
    async with fake.running(), OpenAIServer(fake.url, **settings) as server:
        yield server


class Saying(FakeServer):
    """Answers requests with what a function makes of its own reply, once `odd` is set."""

    def __init__(self, change: Callable[[dict[str, Any]], Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.change, self.odd = change, False

    async def _whole(
        self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
    ) -> web.StreamResponse:
        response = await super()._whole(request, prompt, choices, fault)
        if not self.odd:
            return response
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        return web.json_response(self.change(json.loads(response.body)))


async def changed(
    change: Callable[[dict[str, Any]], Any], request: Request = ASKED, **settings: Any
) -> tuple[list[Any], Usage, OpenAIServer]:
    """The outcomes and the books of one request to a server with an oddity."""
    fake, books = Saying(change, **settings), list[Usage]()
    async with opened(fake) as server:
        fake.odd = True
        outcomes: list[Any] = list(await server.generate(request, books.append))
    return outcomes, sum(books, Usage()), server


def ending(reason: str | None, index: int = 1) -> Callable[[dict[str, Any]], Any]:
    def change(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][index] |= {"finish_reason": reason, "stop_reason": None}
        return reply

    return change


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal", "recitation"])
async def test_a_sample_that_is_withheld_costs_no_sibling(reason: str) -> None:
    (first, lost, third, fourth), usage, _ = await changed(ending(reason))
    assert [one.text[0] for one in completed([first, third, fourth])] == ["5", "7", "8"]
    assert type(lost) is GenerationError
    assert reason in str(lost)
    assert usage.estimated_tokens == 0


async def test_the_siblings_of_a_lost_sample_vote_and_its_reason_is_in_the_trace() -> None:
    fake = Saying(ending("content_filter"))
    async with opened(fake) as server:
        fake.odd = True
        solution = await solve(PROBLEM, Vote(4), server)
    assert (solution.answer, solution.samples, solution.lost) == ("7", 3, 1)
    assert any("withheld a sample: content_filter" in span.error for span in solution.trace.walk())


def unreadable(part: dict[str, Any], index: int = 1) -> Callable[[dict[str, Any]], Any]:
    def change(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][index] = part if "index" in part else reply["choices"][index] | part
        return reply

    return change


@pytest.mark.parametrize(
    "part",
    [
        {"message": {"content": 7}},
        {"message": "text"},
        {"finish_reason": 5},
        {"token_ids": ["a"]},
        {"logprobs": {"content": [{"token": "7", "logprob": "much"}]}},
        {"logprobs": {"content": [{"top_logprobs": [{"token": 7}]}]}},
        {"logprobs": {"token_logprobs": ["a"]}},
        {"logprobs": 3},
        {"index": 1, "message": []},
    ],
)
async def test_a_sample_that_cannot_be_read_costs_no_sibling(part: dict[str, Any]) -> None:
    (first, lost, third, fourth), usage, _ = await changed(unreadable(part))
    assert [one.text[0] for one in completed([first, third, fourth])] == ["5", "7", "8"]
    assert isinstance(lost, TransientError)
    assert "unreadable" in str(lost)
    assert usage.completion_tokens == 4 * len("5. The answer is 7.")


@pytest.mark.parametrize("usage", [{"prompt_tokens": "many"}, 7, {"completion_tokens": []}, {"prompt_tokens": 1e99}])
async def test_a_count_that_cannot_be_read_costs_no_sample(usage: Any) -> None:
    outcomes, books, _ = await changed(lambda reply: reply | {"usage": usage})
    assert len(completed(outcomes)) == 4
    assert books.estimated_tokens > 0


@pytest.mark.parametrize(
    "odd", [{"prompt_tokens_details": []}, {"completion_tokens_details": {"reasoning_tokens": "?"}}]
)
async def test_details_that_cannot_be_read_cost_no_count(odd: dict[str, Any]) -> None:
    _, spent, _ = await changed(lambda reply: reply | {"usage": {"prompt_tokens": 19, "completion_tokens": 9} | odd})
    assert spent == Usage(calls=1, prompt_tokens=19, completion_tokens=9)


@pytest.mark.parametrize("reply", [[{"choices": []}], 7, None])
async def test_of_a_reply_that_is_no_object_all_is_named(reply: Any) -> None:
    with pytest.raises(TransientError, match=r"cannot be read \(field 'all of it'\)"):
        await changed(lambda _: reply)


async def test_where_no_sample_can_be_read_the_field_is_named() -> None:
    with pytest.raises(TransientError, match=r"cannot be read \(field 'choices"):
        await changed(lambda reply: reply | {"choices": [{"index": "a"}, 7]})


@pytest.mark.parametrize("reason", ["eos_token", "end_turn", "STOP", "stop_sequence", "EOS"])
async def test_the_ends_that_servers_name_otherwise_are_ends(reason: str) -> None:
    outcomes, _, server = await changed(ending(reason))
    assert [one.end for one in completed(outcomes)] == ["eos"] * 4
    assert server.missing == ()


@pytest.mark.parametrize("reason", ["max_tokens", "MAX_TOKENS", "max_output_tokens", "length"])
async def test_the_limits_that_servers_name_otherwise_are_limits(reason: str) -> None:
    outcomes, _, _ = await changed(ending(reason))
    assert [one.end for one in completed(outcomes)] == ["eos", "length", "eos", "eos"]


async def test_an_end_that_nobody_knows_is_kept_and_said_once() -> None:
    outcomes, _, server = await changed(ending("because"))
    assert len(completed(outcomes)) == 4
    assert server.missing == ("it ends samples with the reason 'because', which is taken for an end",)


USAGES: dict[str, Any] = {
    "none": None,
    "negative": {"prompt_tokens": -5, "completion_tokens": 10},
    "negative samples": {"prompt_tokens": 19, "completion_tokens": -10},
    "absurd": {"prompt_tokens": 19, "completion_tokens": 10**12},
    "absurd prompt": {"prompt_tokens": 10**12, "completion_tokens": 10},
    "nothing for a text": {"prompt_tokens": 19, "completion_tokens": 0},
    "empty": {},
    "no prompt": {"completion_tokens": 10},
    "an empty prompt": {"prompt_tokens": 0, "completion_tokens": 10},
}


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
async def test_a_count_that_cannot_be_is_replaced_by_what_came(usage: Any) -> None:
    outcomes, spent, server = await changed(lambda reply: reply | {"usage": usage})
    written = sum(len(one.text) for one in completed(outcomes))
    assert spent == Usage(calls=1, prompt_tokens=22, completion_tokens=written, estimated_tokens=22 + written)
    assert len(server.missing) == 1


async def test_a_count_of_more_cached_tokens_than_there_are_is_bounded() -> None:
    counts = {"prompt_tokens": 19, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10**9}}
    _, spent, _ = await changed(lambda reply: reply | {"usage": counts})
    assert spent == Usage(calls=1, prompt_tokens=19, cached_tokens=19, completion_tokens=9)


async def test_a_text_beside_an_empty_content_is_found() -> None:
    def moved(reply: dict[str, Any]) -> dict[str, Any]:
        for choice in reply["choices"]:
            choice["text"], choice["message"] = choice["message"]["content"], {"content": None}
        return reply

    outcomes, _, _ = await changed(moved)
    assert [one.text[0] for one in completed(outcomes)] == ["5", "6", "7", "8"]


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: [],
        lambda reply: {"choices": "x"},
        lambda reply: {"choices": [{"index": "first"}]},
        lambda reply: {"choices": [{"logprobs": {"content": [3]}}]},
        lambda reply: {"choices": [{"token_ids": ["a"]}]},
        lambda reply: {"error": {"message": "out of memory"}},
        lambda reply: {"error": "overloaded"},
        lambda reply: None,
    ],
)
async def test_what_is_no_reply_is_asked_for_again(change: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(TransientError) as raised:
        await changed(change)
    assert raised.value.sent


async def test_of_single_requests_one_that_is_refused_costs_no_other() -> None:
    class Picky(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if body.get("seed") == 6:
                return web.json_response({"error": {"message": "no"}}, status=400)
            return await super()._answer(request, body)

    fake, books = Picky(vllm=False, several=False), list[Usage]()
    async with opened(fake) as server:
        first, lost, *rest = await server.generate(ASKED, books.append)
    assert [one.text[0] for one in completed([first, *rest])] == ["5", "7", "8"]
    assert isinstance(lost, GenerationError)
    usage = sum(books, Usage())
    assert (usage.calls, usage.estimated_tokens) == (4, 0)


class Streaming(FakeServer):
    """Streams these lines in place of a reply."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.lines = lines

    async def _stream(
        self, request: web.Request, body: dict[str, Any], prompt: str, choice: dict[str, Any], fault: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write("".join(f"{line}\n\n" for line in self.lines).encode())
        return response


def piece(text: str, *, count: int, end: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": end, "token_ids": list(map(ord, text))}
    return "data: " + json.dumps({"choices": [choice], "usage": {"prompt_tokens": 19, "completion_tokens": count}})


async def test_keepalives_and_comments_of_a_stream_are_passed_over() -> None:
    lines = [": ping", "data:", "data: ", "data: keepalive", "event: ping", piece("It is ", count=6), "data: 3"]
    async with opened(Streaming(*lines, piece("7.", count=8, end="stop"), "data: [DONE]")) as server:
        (one,) = completed(await server.generate(Request("p", "3 + 4?"), lambda _: None))
    assert one.text == "It is 7."


BROKEN = [
    b'data: {"choices": [{"index": 0, "delta": {"content": "1',
    b'data: {"choices": [{"index": 0, "delta": {"content": "1"}}',
    b"data: {}{}",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("listening", [False, True])
async def test_a_broken_piece_in_the_middle_of_a_stream_is_no_shorter_answer(broken: bytes, listening: bool) -> None:
    hearing = Hearing(lambda number, text, whole: None, lambda thought, text: None) if listening else None
    lines = [piece("It is ", count=6), broken.decode(), piece("7.", count=9, end="stop"), "data: [DONE]"]
    books: list[Usage] = []
    async with opened(Streaming(*lines)) as server:
        with pytest.raises(TransientError, match="not JSON"):
            await server.generate(Request("p", "3 + 4?", hearing=hearing), books.append)
    assert sum(books, Usage()).tokens > 0


class Raw(FakeServer):
    """Answers with these bytes, whatever is asked."""

    def __init__(self, kind: str, *said: bytes) -> None:
        super().__init__(vllm=False)
        self.kind, self.said = kind, said

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("max_tokens") == 1:  # a look at what it can do
            return await super()._answer(request, body)
        response = web.StreamResponse(headers={"Content-Type": self.kind})
        await response.prepare(request)
        for each in self.said:
            await response.write(each)
        return response


async def heard(fake: FakeServer, n: int = 1) -> tuple[list[Any], list[str], Usage]:
    """The outcomes of one request that is streamed, what was heard of the first on the way, and the books."""
    said, books = list[str](), list[Usage]()
    hearing = Hearing(lambda number, text, whole: None, lambda thought, text: said.append(text))
    async with opened(fake) as server:
        outcomes = list(await server.generate(Request("p", "3 + 4?", n=n, hearing=hearing), books.append))
    return outcomes, said, sum(books, Usage())


def whole_reply(*texts: str) -> dict[str, Any]:
    choices = [{"index": n, "message": {"content": text}, "finish_reason": "stop"} for n, text in enumerate(texts)]
    return {"choices": choices, "usage": {"prompt_tokens": 19, "completion_tokens": 8}}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_server_that_does_not_stream_is_heard_all_the_same(kind: str, indent: int | None) -> None:
    data = json.dumps(whole_reply("It is 7."), indent=indent).encode()
    outcomes, said, spent = await heard(Raw(kind, data[:9], data[9:]))
    assert [one.text for one in completed(outcomes)] == said == ["It is 7."]
    assert spent == Usage(calls=1, prompt_tokens=19, completion_tokens=8)


class AlwaysStreams(FakeServer):
    """Sends a stream of all samples, whatever is asked for; with `cut`, without the end of the last one."""

    def __init__(self, first: str = ": ping", *, cut: bool = False) -> None:
        super().__init__(vllm=False)
        self.first, self.cut = first, cut

    async def _whole(
        self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
    ) -> web.StreamResponse:
        samples = range(len(choices))
        pieces = [
            {"choices": [{"index": at, "delta": {"content": text}}]} for text in ("It is ", "7.") for at in samples
        ]
        ends = [{"choices": [{"index": at, "delta": {}, "finish_reason": "stop"}]} for at in samples]
        usage = {"choices": [], "usage": {"prompt_tokens": 19, "completion_tokens": 8 * len(choices)}}
        told = [*pieces, *(ends[:-1] if self.cut and len(ends) > 1 else ends), usage]
        lines = [self.first, *(f"data: {json.dumps(each)}" for each in told), "data: [DONE]"]
        return web.Response(text="\r\n\r\n".join(lines), content_type="text/event-stream")


@pytest.mark.parametrize("first", [": ping", "event: message", "data:", ""])
async def test_a_stream_that_nobody_asked_for_is_read_as_a_reply(first: str) -> None:
    async with opened(AlwaysStreams(first)) as server:
        books = list[Usage]()
        outcomes = completed(await server.generate(replace(ASKED, n=3), books.append))
    assert [one.text for one in outcomes] == ["It is 7."] * 3
    assert sum(books, Usage()) == Usage(calls=1, prompt_tokens=19, completion_tokens=24)


async def test_of_a_stream_that_nobody_asked_for_what_has_no_end_is_asked_for_again() -> None:
    async with opened(AlwaysStreams(cut=True)) as server:
        *whole, last = await server.generate(replace(ASKED, n=3), lambda _: None)
    assert [one.text for one in completed(whole)] == ["It is 7."] * 2
    assert isinstance(last, TransientError)


async def test_a_server_that_does_not_stream_may_give_several_samples() -> None:
    outcomes, _, _ = await heard(Raw("application/json", json.dumps(whole_reply("It is 7.", "8.")).encode()), n=2)
    assert [one.text for one in completed(outcomes)] == ["It is 7.", "8."]


@pytest.mark.parametrize(
    "body", [b"\x00\xd8", b"\x00\xd8\x00", b"\x00{\x00\xff\xdf", b"\xff\xfe\x00\xd8", b"\x00\x00\x00\xff"]
)
def test_bytes_that_are_text_of_no_kind_are_not_json(body: bytes) -> None:
    with pytest.raises(TransientError, match="not JSON"):
        connection.read_json(body, "host")


@pytest.mark.parametrize("said", [b"<html></html>", b'{"choices": [{"ind', b"[]", b""])
async def test_what_is_neither_a_stream_nor_a_reply_is_no_answer(said: bytes) -> None:
    with pytest.raises(TransientError, match=r"broke off|not JSON"):
        await heard(Raw("text/html", said))


@pytest.mark.parametrize("letter", [b"\xff", b"\xe4", b"\xc3"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_letter_that_is_broken_costs_itself_alone(letter: bytes, streamed: bool) -> None:
    data = json.dumps(whole_reply("It@ is 7.")).encode().replace(b"@", letter)
    fake = Raw("text/event-stream", b"data: " + data + b"\n\n", b"data: [DONE]\n\n") if streamed else Raw("", data)
    async with opened(fake) as server:
        hearing = Hearing(lambda number, text, whole: None, lambda thought, text: None) if streamed else None
        (one,) = completed(await server.generate(Request("p", "3 + 4?", hearing=hearing), lambda _: None))
    assert one.text.replace("\ufffd", "") == "It is 7."


async def test_a_line_end_inside_a_text_is_a_letter() -> None:
    fake = Raw("application/json", json.dumps(whole_reply("It is@7.")).encode().replace(b"@", b"\n"))
    async with opened(fake) as server:
        (one,) = completed(await server.generate(Request("p", "3 + 4?"), lambda _: None))
    assert one.text == "It is\n7."


def events(*bodies: dict[str, Any]) -> list[bytes]:
    return [*(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies), b"data: [DONE]\n\n"]


def delta(end: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": end}]}


@pytest.mark.parametrize("usage", [7, [], {"prompt_tokens": "many"}])
async def test_a_count_at_the_end_of_a_stream_that_cannot_be_read_costs_no_sample(usage: Any) -> None:
    outcomes, _, spent = await heard(
        Raw("text/event-stream", *events(delta("stop", content="7."), {"choices": [], "usage": usage}))
    )
    assert [one.text for one in completed(outcomes)] == ["7."]
    assert spent.estimated_tokens > 0


async def test_what_was_said_so_far_beside_a_piece_of_it_is_not_said_twice() -> None:
    first, second = delta(content="It is "), delta("stop", content="7.")
    first["choices"][0]["message"], second["choices"][0]["message"] = {"content": "It is "}, {"content": "It is 7."}
    outcomes, said, _ = await heard(Raw("text/event-stream", *events(first, second)))
    assert [one.text for one in completed(outcomes)] == ["It is 7."]
    assert said == ["It is ", "It is 7."]


def call(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"arguments": arguments} | ({"name": name} if name else {})} | more


CALLED = (
    '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>\n<tool_call>{"name": "g", "arguments": {}}</tool_call>'
)
CALLS = {
    "numbered": [[call("f", "", index=0)], [call(None, '{"a": 1}', index=0), call("g", "{}", index=1)]],
    "without numbers": [[call("f", '{"a": 1}')], [call("g", "{}")]],
    "in one piece": [[call("f", '{"a": 1}'), call("g", "{}")]],
    "in parts without numbers": [[call("f", '{"a"')], [call(None, ": 1}")], [call("g", "")], [call(None, "{}")]],
    "as objects": [[call("f", {"a": 1}, index=0)], [call("g", {}, index=1)]],
}


@pytest.mark.parametrize("pieces", CALLS.values(), ids=CALLS)
async def test_calls_of_tools_in_a_stream_are_told_apart(pieces: list[list[dict[str, Any]]]) -> None:
    told = [delta(tool_calls=calls) for calls in pieces]
    outcomes, _, _ = await heard(Raw("text/event-stream", *events(*told, delta("tool_calls"))))
    assert [one.text for one in completed(outcomes)] == [CALLED]


async def test_calls_whose_arguments_are_objects_are_read() -> None:
    reply = whole_reply("")
    reply["choices"][0]["message"]["tool_calls"] = [call("f", {"a": 1}), call("g", None)]
    async with opened(Raw("application/json", json.dumps(reply).encode())) as server:
        (one,) = completed(await server.generate(Request("p", "3 + 4?"), lambda _: None))
    assert one.text == CALLED


@pytest.mark.parametrize(
    "error",
    [
        {"object": "error", "message": "out of memory", "code": 500},
        {"message": "out of memory"},
        {"detail": "out of memory"},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_that_a_server_writes_in_its_own_way_is_told(error: dict[str, Any], streamed: bool) -> None:
    said = events(delta(content="It is "), error) if streamed else [json.dumps(error).encode()]
    async with opened(Raw("application/json", *said)) as server:
        hearing = Hearing(lambda number, text, whole: None, lambda thought, text: None) if streamed else None
        with pytest.raises(TransientError, match=r"broke off: .*out of memory"):
            await server.generate(Request("p", "3 + 4?", hearing=hearing), lambda _: None)


async def test_pieces_that_came_twice_are_noticed_and_asked_for_again() -> None:
    twice = piece("It is ", count=6)
    async with opened(Streaming(twice, twice, piece("7.", count=8, end="stop"), "data: [DONE]")) as server:
        (lost,) = await server.generate(Request("p", "3 + 4?"), lambda _: None)
    assert isinstance(lost, TransientError)
    assert "counted 8 tokens and sent 14" in str(lost)


async def test_a_stream_with_a_piece_that_cannot_be_read_counts_what_came() -> None:
    bad = piece("7.", count=8, end="stop").replace('"finish_reason": "stop"', '"finish_reason": 5')
    books: list[Usage] = []
    async with opened(Streaming(piece("It is ", count=6), bad, "data: [DONE]")) as server:
        with pytest.raises(TransientError, match="cannot be read"):
            await server.generate(Request("p", "3 + 4?"), books.append)
    assert sum(books, Usage()).completion_tokens == 6


def unnumbered(reply: dict[str, Any]) -> dict[str, Any]:
    for choice in reply["choices"]:
        del choice["index"]
    return reply


def nulled(reply: dict[str, Any]) -> dict[str, Any]:
    reply["choices"] = [choice | {"index": None} for choice in reply["choices"]]
    return reply


def all_first(reply: dict[str, Any]) -> dict[str, Any]:
    reply["choices"] = [choice | {"index": 0} for choice in reply["choices"]]
    return reply


@pytest.mark.parametrize("vllm", [True, False])
@pytest.mark.parametrize("change", [unnumbered, nulled, all_first])
async def test_samples_without_numbers_have_those_of_their_places(
    change: Callable[[dict[str, Any]], Any], vllm: bool
) -> None:
    outcomes, usage, _ = await changed(change, vllm=vllm)
    assert [one.text[0] for one in completed(outcomes)] == ["5", "6", "7", "8"]
    assert usage.completion_tokens == sum(len(one.text) for one in completed(outcomes))


@pytest.mark.parametrize("change", [unnumbered, nulled])
async def test_of_samples_without_numbers_one_that_cannot_be_read_costs_no_sibling(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    def odd(reply: dict[str, Any]) -> Any:
        reply = change(reply)
        reply["choices"][2]["finish_reason"] = 5
        return reply

    (first, second, lost, fourth), _, _ = await changed(odd)
    assert [one.text[0] for one in completed([first, second, fourth])] == ["5", "6", "8"]
    assert isinstance(lost, TransientError)


async def test_numbers_that_a_server_gives_are_kept() -> None:
    outcomes, _, _ = await changed(lambda reply: reply | {"choices": reply["choices"][::-1]})
    assert [one.text[0] for one in completed(outcomes)] == ["5", "6", "7", "8"]


async def test_fewer_samples_without_numbers_are_asked_for_once_more_alone() -> None:
    def fewer(reply: dict[str, Any]) -> dict[str, Any]:
        return unnumbered(reply) | {"choices": reply["choices"][:3]}

    outcomes, _, _ = await changed(fewer)
    assert [one.text[0] for one in completed(outcomes[:3])] == ["5", "6", "7"]
    assert isinstance(outcomes[3], TransientError)


COUNT = 'data: {"choices": null, "usage": {"prompt_tokens": 19, "completion_tokens": 8}}'


@pytest.mark.parametrize(
    ("lines", "estimated"),
    [
        ([piece("It is 7.", count=8, end="stop")], 0),
        ([piece("It is ", count=6), piece("7.", count=8, end="stop")], 0),
        ([piece("It is 7.", count=8, end="length"), COUNT], 0),
        ([piece("It is 7.", count=8, end="stop"), COUNT, "data: [DONE]"], 0),
        ([piece("It is 7.", count=8, end="stop").replace('"usage"', '"used"')], 1),
        ([piece("It is 7.", count=8, end="stop").replace('"index": 0', '"index": null'), "data: [DONE]"], 0),
        (['{"a line": "of a log"', piece("It is 7.", count=8, end="stop"), '{"another": 1}'], 0),
    ],
)
@pytest.mark.parametrize("listening", [False, True])
async def test_a_stream_whose_samples_have_ended_is_whole_without_its_last_word(
    lines: list[str], estimated: int, listening: bool
) -> None:
    books: list[Usage] = []
    hearing = Hearing(lambda number, text, whole: None, lambda thought, text: None) if listening else None
    async with opened(Streaming(*lines)) as server:
        (one,) = completed(await server.generate(Request("p", "3 + 4?", hearing=hearing), books.append))
    assert one.text == "It is 7."
    assert len(books) == 1
    assert bool(books[0].estimated_tokens) == bool(estimated)
    assert books[0].completion_tokens == 8


LENGTH = "This model's maximum context length is 8192 tokens"
FINAL = [
    {"code": 400},
    {"code": "400"},
    {"code": 422, "type": "x"},
    {"code": 413},
    {"status": 400},
    {"code": None, "type": "invalid_request_error"},
    {"code": "context_length_exceeded", "type": "invalid_request_error"},
    {"code": 451},
    {"code": "BAD_REQUEST", "status": 400},
]
PASSING = [
    *({"code": code} for code in (None, 408, 409, 429, 500, "502", 200, 0, -400, True, 4.5, [400], 401, 402, 403, 404)),
    {"type": "server_error"},
    {"code": 503, "type": "invalid_request_error"},
    {"code": "rate_limit_exceeded"},
]


class Failing(FakeServer):
    """Answers 200 and an error, whole or in a stream."""

    def __init__(self, error: Any, *lines: str) -> None:
        super().__init__()
        self.error, self.lines = {"error": error}, lines

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            return web.json_response(self.error)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        said = [*self.lines, f"data: {json.dumps(self.error)}", "data: [DONE]"]
        await response.write("".join(f"{line}\n\n" for line in said).encode())
        return response


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("error", FINAL, ids=str)
async def test_an_error_inside_of_a_reply_that_is_final_is_asked_once_and_costs_the_call(
    error: dict[str, Any], n: int
) -> None:
    fake, books = Failing({"message": LENGTH} | error), list[Usage]()
    async with fake.running(), Retrying(OpenAIServer(fake.url), attempts=4, wait=0, longest=0) as server:
        with pytest.raises(GenerationError, match="maximum context length") as raised:
            await server.generate(Request("p", "3 + 4?", n=n), books.append)
    assert not isinstance(raised.value, TransientError)
    assert isinstance(raised.value, UnfitRequest) == (error.get("code") != 451)
    assert len(fake.bodies) == 1
    assert sum(books, Usage()) == Usage(calls=1)


@pytest.mark.parametrize("error", PASSING, ids=str)
async def test_an_error_inside_of_a_reply_that_may_pass_is_asked_again(error: dict[str, Any]) -> None:
    fake = Failing({"message": "no"} | error)
    async with fake.running(), Retrying(OpenAIServer(fake.url), attempts=3, wait=0, longest=0) as server:
        with pytest.raises(TransientError, match="broke off: no"):
            await server.generate(Request("p", "3 + 4?", n=2), lambda _: None)
    assert len(fake.bodies) == 3


async def test_an_error_inside_of_a_reply_names_a_setting_that_is_left_out() -> None:
    class Picky(Failing):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            answer = super()._answer if "top_k" in body else super(Failing, self)._answer
            return await answer(request, body)

    fake = Picky({"message": "Unrecognized request argument supplied: top_k", "code": 400})
    async with opened(fake) as server:
        completed(await server.generate(Request("p", "?", sampling=Sampling(top_k=5)), lambda _: None))
        assert "it refuses top_k, which is left out" in server.missing


async def test_what_came_before_an_error_of_a_stream_is_counted() -> None:
    fake, books = Failing({"message": "no", "code": 400}, piece("It is ", count=6)), list[Usage]()
    async with opened(fake) as server:
        with pytest.raises(UnfitRequest, match="answered 400: no"):
            await server.generate(Request("p", "3 + 4?"), books.append)
    assert books == [Usage(calls=1, prompt_tokens=19, completion_tokens=6)]


async def test_an_error_after_the_end_of_a_sample_is_an_error() -> None:
    lines = [piece("7.", count=2, end="stop"), 'data: {"error": {"message": "overloaded"}}']
    async with opened(Streaming(*lines)) as server:
        with pytest.raises(TransientError, match="overloaded"):
            await server.generate(Request("p", "3 + 4?"), lambda _: None)


async def test_a_stream_that_breaks_off_counts_what_had_come() -> None:
    books: list[Usage] = []
    async with opened(Streaming(piece("It is ", count=6))) as server:
        with pytest.raises(TransientError, match="broke off in the middle"):
            await server.generate(Request("p", "3 + 4?"), books.append)
    assert books == [Usage(calls=1, prompt_tokens=19, completion_tokens=6)]


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def thinking(*said: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [text(each) for each in said]}


PARTS = [
    ([thinking("hm"), text("The answer is 7.")], "hm", "The answer is 7."),
    ([thinking("h", "m"), text("The answer"), text(" is 7.")], "hm", "The answer is 7."),
    ([text("The answer is 7.")], "", "The answer is 7."),
    (["The answer ", "is 7."], "", "The answer is 7."),
    ([{"type": "thinking", "thinking": "hm"}, text("7.")], "hm", "7."),
    ([text("7."), {"type": "reference", "reference_ids": [1]}], "", "7."),
    ([text("7."), {"type": "text", "text": None}], "", "7."),
    ([], "", ""),
]


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(("parts", "thought", "said"), PARTS)
async def test_contents_in_parts_are_joined(parts: list[Any], thought: str, said: str, n: int) -> None:
    def parted(reply: dict[str, Any]) -> dict[str, Any]:
        for choice in reply["choices"]:
            choice["message"] = {"role": "assistant", "content": parts}
        return reply

    fake, books = Saying(parted, vllm=False), list[Usage]()
    async with fake.running(), Retrying(OpenAIServer(fake.url), wait=0, longest=0) as server:
        fake.odd = True
        before = len(fake.bodies)
        outcomes = completed(await server.generate(Request("p", "3 + 4?", n=n, seed=5), books.append))
        assert len(fake.bodies) == before + 1
    assert {(one.thought, one.text, one.open) for one in outcomes} == {(thought, said, False)}
    assert len(books) == 1
    assert books[0].estimated_tokens == 0


async def test_a_thought_in_parts_after_which_nothing_is_said_is_open() -> None:
    def parted(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][0] |= {"message": {"content": [thinking("hm")]}, "finish_reason": "length"}
        return reply

    (one,), _, _ = await changed(parted, Request("p", "3 + 4?"), vllm=False)
    assert (one.thought, one.text, one.open, one.end) == ("hm", "", True, "length")


async def test_a_first_try_may_be_answered_in_parts() -> None:
    def parted(reply: dict[str, Any]) -> dict[str, Any]:
        return reply | {"choices": [each | {"message": {"content": [text("7.")]}} for each in reply["choices"]]}

    fake = Saying(parted, vllm=False)
    fake.odd = True
    async with opened(fake) as server:
        assert "it draws one sample per request" not in server.missing


async def test_a_probability_that_a_server_leaves_out_costs_no_sample() -> None:
    tokens = [
        {"token": "7", "logprob": None, "top_logprobs": [{"token": "7", "logprob": None}]},
        {"token": ".", "logprob": -1.0, "top_logprobs": [{"token": ".", "logprob": -1.0}, {"token": "?"}]},
    ]
    (_, odd, *_), _, _ = await changed(unreadable({"logprobs": {"content": tokens}}))
    assert isinstance(odd, Completion)
    assert isnan(odd.logprobs[0])
    assert odd.logprobs[1:] == (-1.0,)


async def test_contents_in_parts_are_joined_in_a_stream() -> None:
    contents: list[Any] = [[thinking("h")], [thinking("m")], [text("It is ")], "7", [text(".")]]
    lines = ["data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": each}}]}) for each in contents]
    async with opened(Streaming(*lines, piece("", count=8, end="stop"), "data: [DONE]")) as server:
        (one,) = completed(await server.generate(Request("p", "3 + 4?"), lambda _: None))
    assert (one.thought, one.text) == ("hm", "It is 7.")


@pytest.mark.parametrize("content", [7, [7], {"text": "7."}])
async def test_a_content_of_another_kind_cannot_be_read(content: Any) -> None:
    (first, lost, *_), _, _ = await changed(unreadable({"message": {"content": content}}))
    assert isinstance(first, Completion)
    assert isinstance(lost, TransientError)


async def test_samples_that_may_be_cancelled_are_streamed_together_and_counted_as_they_come() -> None:
    fake = FakeServer()
    async with opened(fake) as server:
        await server.generate(Request("p", "3 + 4?", n=1, passing=True), lambda _: None)
        await server.generate(ASKED, lambda _: None)
    assert [bool(body.get("stream")) for body in fake.bodies] == [True, False]
    assert fake.bodies[0]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


class Strict(FakeServer):
    """Refuses settings by name, as OpenAI's newest models do."""

    def __init__(self, *refused: str, says: str = "Unsupported parameter: '{}'", **settings: Any) -> None:
        super().__init__(**settings)
        self.refused, self.says, self.refusals = refused, says, 0

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        for name in self.refused:
            if name in body:
                self.refusals += 1
                return web.json_response({"error": {"message": self.says.format(name)}}, status=400)
        if "max_completion_tokens" in body:
            body = body | {"max_tokens": body["max_completion_tokens"]}
        return await super()._answer(request, body)


async def test_a_limit_that_a_server_calls_otherwise_is_learnt_once() -> None:
    says = "Unsupported parameter: '{}' is not supported with this model. Use 'max_completion_tokens' instead."
    fake = Strict("max_tokens", says=says, vllm=False)
    async with opened(fake) as server:
        for _ in range(3):
            outcomes = await server.generate(Request("p", "?", n=2, sampling=Sampling(max_tokens=4)), lambda _: None)
            assert [one.length or len(one.text) for one in completed(outcomes)] == [4, 4]
        assert "it draws one sample per request" not in server.missing
    assert fake.refusals == 1


async def test_a_refusal_of_the_length_itself_leaves_the_limit_in_every_request() -> None:
    class Short(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
            if limit > 40:
                said = f"'max_tokens' or 'max_completion_tokens' is too large: {limit}"
                return web.json_response({"error": {"message": said}}, status=400)
            return await super()._answer(request, body | {"max_tokens": limit})

    fake = Short(vllm=False)
    async with opened(fake) as server:
        for _ in range(2):
            with pytest.raises(GenerationError, match="too large: 60"):
                await server.generate(Request("p", "?", sampling=Sampling(max_tokens=60)), lambda _: None)
        (one,) = completed(await server.generate(Request("p", "?", sampling=Sampling(max_tokens=4)), lambda _: None))
        assert len(one.text) == 4
    assert {"max_tokens", "max_completion_tokens"} & fake.bodies[-1].keys()


@pytest.mark.parametrize("refused", ["temperature", "seed"])
async def test_what_a_server_refuses_costs_no_request_that_is_under_way(refused: str) -> None:
    fake = Strict(refused, vllm=False)
    asked = Request("p", "?", sampling=Sampling(temperature=0.5, max_tokens=4), seed=1)
    async with opened(fake) as server:
        every = await asyncio.gather(*(server.generate(asked, lambda _: None) for _ in range(8)))
    assert [len(completed(outcomes)) for outcomes in every] == [1] * 8
    assert fake.refusals > 1


async def test_a_setting_that_a_server_refuses_is_left_out_and_said() -> None:
    fake = Strict("temperature", vllm=False)
    async with opened(fake) as server:
        for _ in range(3):
            completed(await server.generate(Request("p", "?", sampling=Sampling(temperature=0.5)), lambda _: None))
        assert "it refuses temperature, which is left out" in server.missing
    assert fake.refusals == 1


@pytest.mark.parametrize("vllm", [True, False])
@pytest.mark.parametrize("says", ["Unrecognized request argument supplied: {}", "{}: Extra inputs are not permitted"])
async def test_a_stream_whose_options_a_server_refuses_is_asked_for_without_them(vllm: bool, says: str) -> None:
    fake = Strict("stream_options", says=says, vllm=vllm)
    async with opened(fake) as server:
        for _ in range(3):
            (one,) = completed(await server.generate(Request("p", "3 + 4?", passing=True), lambda _: None))
            assert one.text.endswith("The answer is 7.")
        assert "it refuses stream_options, which is left out" in server.missing
    assert fake.refusals == 1
    assert [body["stream"] for body in fake.bodies if "stream" in body] == [True] * 4


@pytest.mark.parametrize("status", [404, 401, 405])
async def test_a_server_that_lists_no_models_serves_the_one_that_is_named(status: int) -> None:
    class Silent(FakeServer):
        async def _models(self, request: web.Request) -> web.Response:
            return web.json_response({"error": "no"}, status=status)

    async with opened(Silent(), model="mine") as server:
        assert server.name == "mine"
        completed(await server.generate(ASKED, lambda _: None))
    with pytest.raises(InputError, match=f"answered {status}"):
        async with opened(Silent()):
            pass


@pytest.mark.parametrize("name", [None, 7, True, 0.5, ["mock"], {}])
async def test_a_model_whose_name_is_no_text_is_asked_for_by_name(name: Any) -> None:
    fake = FakeServer(models=(name,))
    async with fake.running():
        with pytest.raises(
            InputError, match="does not list its models as OpenAI's API does: name one, as in URL#MODEL"
        ):
            await OpenAIServer(fake.url).__aenter__()
        async with OpenAIServer(fake.url, "mock") as server:
            assert server.name == "mock"


async def test_an_adapter_has_the_context_of_its_parent() -> None:
    class Adapted(FakeServer):
        async def _models(self, request: web.Request) -> web.Response:
            cards = [{"id": "base", "max_model_len": 700}, {"id": "lora", "parent": "base", "max_model_len": None}]
            return web.json_response({"data": cards})

    async with opened(Adapted(), model="lora") as server:
        assert (server.name, server.context) == ("lora", 700)
    async with opened(Adapted()) as server:
        assert server.name == "base", "adapters of a model are not several models"


async def test_of_many_models_a_few_are_named() -> None:
    with pytest.raises(InputError, match="and 290 more") as refused:
        async with opened(FakeServer(models=tuple(f"model-{number}" for number in range(300)))):
            pass
    assert len(str(refused.value)) < 400


async def test_what_a_template_adds_is_learnt_and_reserved_for() -> None:
    class Wordy(FakeServer):
        async def _whole(
            self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
        ) -> web.StreamResponse:
            return await super()._whole(request, prompt + "x" * 70, choices, fault)

    account = Account(Budget(tokens=1000))
    problems = [Problem(str(number), "3 + 4?", "7") for number in range(40)]
    async with opened(Wordy(vllm=False)) as server:
        assert await server.count(Request("p", "3 + 4?")) >= 6 + 70
        async for _ in solve_all(problems, Vote(2, of=Model(max_tokens=20)), server, account=account, concurrency=8):
            pass
    assert 0 < account.spent.tokens <= 1000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_the_prompt_stays_here(status: int) -> None:
    class Moved(FakeServer):
        async def _generate(self, request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": "http://elsewhere.invalid/v1"})

    async with opened(Moved()) as server:
        with pytest.raises(GenerationError, match=r"redirects to http://elsewhere\.invalid/v1") as refused:
            await server.generate(ASKED, lambda _: None)
    assert not isinstance(refused.value, TransientError)


async def test_a_body_that_unpacks_to_more_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST", connection.MIB)
    bomb = gzip.compress(b'"' + b" " * (64 * connection.MIB) + b'"')

    class Bomb(FakeServer):
        async def _generate(self, request: web.Request) -> web.StreamResponse:
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            return web.Response(body=bomb, headers=headers)

    async with opened(Bomb()) as server:
        with pytest.raises(GenerationError, match="more than 1 MiB"):
            await server.generate(ASKED, lambda _: None)


async def test_a_server_that_hangs_is_found_beside_the_requests_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_PATIENCE", 0.05)
    stuck = asyncio.Event()

    class Hanging(FakeServer):
        async def _models(self, request: web.Request) -> web.Response:
            if self.bodies:
                await stuck.wait()
            return await super()._models(request)

        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            await stuck.wait()
            raise AssertionError

    async with opened(Hanging(), probe_every=0.01) as server:
        with pytest.raises(TransientError, match="hangs: it takes requests and answers nothing"):
            await server.generate(ASKED, lambda _: None)


async def test_a_server_that_hangs_as_it_is_opened_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_PATIENCE", 0.05)

    class Waking(FakeServer):
        looks = 0

        async def _models(self, request: web.Request) -> web.Response:
            self.looks += 1
            if self.looks == 2:  # the next is waited for, however busy the machine is
                monkeypatch.setattr(connection, "PROBE_PATIENCE", 60.0)
            if self.looks < 3:
                await asyncio.Event().wait()
            return await super()._models(request)

    fake = Waking()
    async with fake.running():
        with pytest.raises(TransientError, match=r"does not answer within 0\.05 s"):
            await OpenAIServer(fake.url).__aenter__()
        async with Retrying(OpenAIServer(fake.url), wait=0, longest=0) as server:
            assert (server.name, fake.looks) == ("mock", 3)


async def test_a_slow_reply_of_a_server_that_lives_is_waited_for() -> None:
    slow = asyncio.Event()

    class Slow(FakeServer):
        probes = 0

        async def _models(self, request: web.Request) -> web.Response:
            self.probes += 1
            if self.probes > 5:
                slow.set()
            return await super()._models(request)

        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            await slow.wait()
            return await super()._answer(request, body)

    async with opened(Slow(), probe_every=0.01) as server:
        assert len(completed(await server.generate(ASKED, lambda _: None))) == 4


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_a_server_that_is_too_busy_to_list_its_models_does_not_hang(status: int) -> None:
    slow = asyncio.Event()

    class Busy(FakeServer):
        looks = 0

        async def _models(self, request: web.Request) -> web.Response:
            self.looks += 1
            if self.looks > 5:
                slow.set()
            return await super()._models(request) if self.looks == 1 else web.json_response({}, status=status)

        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            await slow.wait()
            return await super()._answer(request, body)

    async with opened(Busy(), probe_every=0.01) as server:
        assert len(completed(await server.generate(ASKED, lambda _: None))) == 4


async def test_a_server_that_shows_a_page_in_place_of_its_models_does_not_hang() -> None:
    slow = asyncio.Event()

    class Page(FakeServer):
        looks = 0

        async def _models(self, request: web.Request) -> web.Response:
            self.looks += 1
            if self.looks > 5:
                slow.set()
            return web.Response(text="<html></html>", content_type="text/html")

        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            await slow.wait()
            return await super()._answer(request, body)

    fake = Page()
    async with fake.running(), OpenAIServer(fake.url, "mock", probe_every=0.01) as server:
        assert len(completed(await server.generate(ASKED, lambda _: None))) == 4


async def test_an_outage_uses_up_no_attempts_and_ends_with_patience() -> None:
    class Down(FakeServer):
        down, refused = False, 0

        async def _models(self, request: web.Request) -> web.Response:
            return web.json_response({}, status=503) if self.down else await super()._models(request)

        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if self.down:
                self.refused += 1
                self.down = self.refused < 60
                if request.transport:
                    request.transport.abort()
            return await super()._answer(request, body)

    fake = Down()
    async with fake.running(), Retrying(OpenAIServer(fake.url), attempts=3, wait=0.001, longest=0.002) as server:
        fake.down = True
        assert len(completed(await server.generate(ASKED, lambda _: None))) == 4
    assert fake.refused == 60


async def test_a_key_goes_over_plain_http_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    for url in ("http://models.example/v1", "http://10.0.0.7:8000/v1"):
        with pytest.raises(InputError, match="is not on this machine, and its address is plain HTTP") as refused:
            await OpenAIServer(url).__aenter__()
        assert "sk-0123456789" not in str(refused.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="could read the key in headers or extra") as refused:
        await OpenAIServer("http://models.example/v1", headers={"api-key": "sk-0123456789"}).__aenter__()
    assert "sk-0123456789" not in str(refused.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    async with opened(FakeServer(key="sk-0123456789")) as server:
        completed(await server.generate(ASKED, lambda _: None))


SECRET = "sk-0123456789abcdef"
LEAKS: dict[str, Callable[[], web.Response]] = {
    "an error with status 200": lambda: web.json_response({"error": {"message": f"key {SECRET}"}}),
    "an error body": lambda: web.json_response({"error": {"message": f"key {SECRET}"}}, status=400),
    "a plain body": lambda: web.Response(text=f"key {SECRET}", status=500),
    "a reason phrase": lambda: web.Response(status=400, reason=f"key {SECRET}"),
    "a redirect": lambda: web.Response(status=302, headers={"Location": f"http://x/?key={SECRET}"}),
    "a finish reason": lambda: answered(finish_reason=f"because {SECRET}"),
    "a text": lambda: answered(finish_reason="stop", text=f"The answer is {SECRET}."),
    "an error, one letter escaped": lambda: web.Response(text=f'{{"error": "key \\u0073{SECRET[1:]}"}}', status=400),
}


def answered(**choice: Any) -> web.Response:
    return web.json_response({"choices": [{"index": 0, "text": "7"} | choice], "usage": {"completion_tokens": 1}})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"headers": {"X-Api-Key": SECRET}},
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"extra": {"api_key": SECRET}},
    ],
    ids=["environment", "header", "bearer", "field"],
)
@pytest.mark.parametrize("scrubbed", [True, False])
@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
async def test_a_key_that_a_server_repeats_reaches_no_solution_and_no_trace(
    leak: Callable[[], web.Response], scrubbed: bool, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without scrubbing each of these would be told: a case that would not shows nothing."""
    if not given:
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    if not scrubbed:
        monkeypatch.setattr(Key, "scrub", lambda _, text: text)
        monkeypatch.setattr(Key, "scrub_body", lambda _, body: body)

    class Leaking(FakeServer):
        async def _generate(self, request: web.Request) -> web.StreamResponse:
            return leak()

    told = ""
    async with opened(Leaking(), api="completions", **given) as server:
        try:
            solution = await solve(PROBLEM, Vote(2), server)
            told = repr(solution) + repr(list(solution.trace.walk()))
        except BackendGone as gone:
            told = str(gone)
        told += repr(server.missing)
    assert (SECRET in told) is not scrubbed


async def test_what_is_streamed_piece_by_piece_is_scrubbed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    lines = [piece(text, count=count) for count, text in ((11, "It is sk-01"), (19, "23456789"), (26, "abcdef."))]
    async with opened(Streaming(*lines, piece("", count=26, end="stop"), "data: [DONE]")) as server:
        (one,) = await server.generate(Request("p", "?", passing=True), lambda _: None)
    assert isinstance(one, Completion)
    assert one.text == "It is ***."
    assert SECRET not in repr(one)


async def test_an_error_in_the_middle_of_a_stream_asks_for_nothing_in_its_room() -> None:
    """What had come is paid for, so there is no room for another try."""
    error = {"message": "maximum context length exceeded, as for top_k", "code": 400}
    fake, books = Failing(error, piece("It ", count=3), piece("is ", count=6)), list[Usage]()
    async with opened(fake) as server:
        asked = Request("p", "3 + 4?", sampling=Sampling(max_tokens=4000, top_k=5))
        with pytest.raises(UnfitRequest, match="context length"):
            await server.generate(asked, books.append)
        assert not [what for what in server.missing if "top_k" in what]
    assert len(books) == 1


@pytest.mark.parametrize("end", ["null", "none", "?"])
async def test_a_stream_that_ends_with_a_reason_that_nobody_knows_is_not_whole(end: str) -> None:
    async with opened(Streaming(piece("The answer ", count=2, end=end))) as server:
        with pytest.raises(TransientError, match="broke off"):
            await server.generate(Request("p", "3 + 4?"), lambda _: None)
