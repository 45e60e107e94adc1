"""What nobody would write: random replies of servers and random files of problems, from grammars of what is usual.

The suite tries some hundreds of each, and `benchmarks/torture/fuzz.py` ten thousand.
"""

import asyncio
import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from hypothesis import strategies as st

from metagen import Budget, OpenAIServer, Problem, ProblemFile, solve
from metagen.errors import InputError, MetagenError
from metagen.run import Generator
from tests.support.fake_server import FakeServer

LIMIT = 5000
"""Tokens that one random reply may cost."""
SECONDS = 120
"""After that an example hangs."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**40, "", "7", "\ud800", "\x00", "NaN", "The answer is 7."])
    | st.floats()
    | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def keyed(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these names, and now and then another."""
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=6), values, max_size=6)


NAMES = [
    "id", "object", "model", "choices", "usage", "error", "index", "text", "message", "delta", "content", "role",
    "finish_reason", "stop_reason", "matched_stop", "token_ids", "prompt_token_ids", "logprobs", "token_logprobs",
    "top_logprobs", "token", "logprob", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens",
    "reasoning_content", "data", "max_model_len", "owned_by", "parent", "root", "tokens", "count", "version",
]  # fmt: skip
"""What replies of servers are made of."""

CHOICE: dict[str, Any] = {
    "index": 0,
    "text": "The answer is 7.",
    "message": {"role": "assistant", "content": "The answer is 7."},
    "delta": {"content": "The answer is 7."},
    "finish_reason": "stop",
    "stop_reason": None,
    "token_ids": [55, 56],
    "logprobs": {
        "token_logprobs": [-0.5],
        "top_logprobs": [{"Yes": -0.5}],
        "content": [{"token": "7", "logprob": -0.5, "top_logprobs": [{"token": "7", "logprob": -0.5}]}],
    },
}
REPLY: dict[str, Any] = {
    "id": "1",
    "choices": [CHOICE, CHOICE | {"index": 1}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}},
}
MODELS: dict[str, Any] = {"data": [{"id": "mock", "max_model_len": 2000, "owned_by": "vllm", "root": "mock"}]}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a reply: the names and numbers that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same with something else in one place; `...` takes it away."""
    if not path:
        return new
    key, *rest = path
    copy = value.copy()
    copy[key] = replaced(value[key], tuple(rest), new)
    if copy[key] is ...:
        del copy[key]
    return copy


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """A usual reply with something unusual in up to three places."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
        if path := draw(st.sampled_from(list(places(whole)))):
            whole = replaced(whole, path, draw(values | keyed(NAMES) | st.just(...)))
    return whole


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes, or some of them, or with others among them."""
    at = draw(st.integers(0, len(data)))
    how = draw(st.sampled_from(["whole", "whole", "cut", "inserted", "overwritten"]))
    other = b"" if how in {"whole", "cut"} else draw(st.binary(min_size=1, max_size=6))
    return {
        "whole": data,
        "cut": data[:at],
        "inserted": data[:at] + other + data[at:],
        "overwritten": data[:at] + other + data[at + len(other) :],
    }[how]


bodies = st.one_of(changed(REPLY), keyed(NAMES), values).map(as_json).flatmap(damaged) | st.binary(max_size=40)

PIECE: dict[str, Any] = {"choices": [CHOICE], "usage": None}
events = st.one_of(
    changed(PIECE).map(lambda piece: b"data: " + as_json(piece)),
    keyed(NAMES).map(lambda piece: b"data:" + as_json(piece)),
    bodies.map(lambda body: b"data: " + body),
    st.sampled_from([b"", b"data:", b"data: [DONE]", b": keepalive", b"event: ping", b"retry: 5", b"id: 1", b"[DONE]"]),
    st.binary(max_size=20),
)
streams = st.tuples(st.lists(events, max_size=8), st.sampled_from([b"\n\n", b"\n", b"\r\n\r\n", b""])).map(
    lambda parts: parts[1].join(parts[0]) + parts[1]
)
HEADERS = (("Retry-After", "0"), ("Retry-After", "soon"), ("Content-Encoding", "gzip"), ("Location", "/"))
usual = st.tuples(
    st.just(200), st.just("application/json"), changed(REPLY).map(as_json), st.just(cast("dict[str, str]", {}))
)
whole_streams = st.lists(changed(PIECE), min_size=1, max_size=5).map(
    lambda pieces: b"".join(b"data: " + as_json(piece) + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"
)
streamed = st.tuples(
    st.just(200), st.just("text/event-stream"), whole_streams | streams, st.just(cast("dict[str, str]", {}))
)
wild = st.tuples(
    st.sampled_from([200, 200, 200, 200, 201, 204, 301, 400, 401, 404, 408, 418, 429, 500, 503, 599]),
    st.sampled_from(["application/json", "text/event-stream", "text/html", "application/octet-stream"]),
    bodies | streams,
    st.sampled_from(
        [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}, {"Content-Encoding": "gzip"}, {"Location": "/"}]
    ),
)
listings = (
    st.tuples(
        st.just(200), st.just("application/json"), changed(MODELS).map(as_json), st.just(cast("dict[str, str]", {}))
    )
    | wild
)
"""What a server that is opened says to everything: mostly which models it has."""

REPLIES = {
    "Vote(2)": usual | wild,
    "Vote(2, of=Model(top_logprobs=2, max_tokens=40))": usual | wild,
    "Vote(1)": streamed | wild,
    "Until(MatchesReference(), limit=2)": streamed | wild,
}
"""What is asked, and what is replied (status, content type, body and headers): whole replies, and streams."""

Reply = tuple[int, str, bytes, dict[str, str]]


class Random(FakeServer):
    """Replies with what it is given: to requests for text, or with `everywhere` to all."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: Reply | None = None
        self.everywhere = False

    async def _said(self) -> web.Response:
        assert self.reply
        status, kind, body, headers = self.reply
        return web.Response(status=status, body=body, headers={"Content-Type": kind, **headers})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return await self._said() if self.reply else await super()._generate(request)

    async def _models(self, request: web.Request) -> web.Response:
        return await self._said() if self.everywhere else await super()._models(request)

    async def _tokenize(self, request: web.Request) -> web.Response:
        return await self._said() if self.everywhere else await super()._tokenize(request)


class Asked:
    """A random server and a client of it, on an event loop of its own."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._fake = Random()

    @contextmanager
    def open(self) -> Iterator["Asked"]:
        serving = self._fake.running()
        self._runner.run(serving.__aenter__())
        self._server = OpenAIServer(self._fake.url)
        self._runner.run(self._server.__aenter__())
        try:
            yield self
        finally:
            self._runner.run(self._server.__aexit__(None, None, None))
            self._runner.run(serving.__aexit__(None, None, None))

    def ask(self, reply: Reply, strategy: Generator) -> str:
        """What became of a question: `solved`, `lost`, or `refused` by an error of ours. All else is raised."""
        self._fake.reply = reply
        return self._runner.run(self._ask(strategy))

    async def _ask(self, strategy: Generator) -> str:
        async with asyncio.timeout(SECONDS):
            try:
                found = await solve(Problem("p", "3 + 4?", "7"), strategy, self._server, budget=Budget(tokens=LIMIT))
            except MetagenError:
                return "refused"
        assert found.usage.tokens <= LIMIT, found.usage
        assert min(found.usage.row().values(), default=0) >= 0, found.usage
        return "lost" if found.failed else "solved"

    def open_another(self, reply: Reply) -> str:
        """What became of opening a server that says this to everything: `opened`, or `refused` by an error of ours."""
        self._fake.reply, self._fake.everywhere = reply, True
        try:
            return self._runner.run(self._open_another())
        finally:
            self._fake.everywhere = False

    async def _open_another(self) -> str:
        async with asyncio.timeout(SECONDS):
            try:
                async with OpenAIServer(self._fake.url):
                    return "opened"
            except MetagenError:
                return "refused"


FIELDS = [
    "prompt", "question", "problem", "Question", "Body", "answer", "Answer", "solution", "id", "unique_id", "level",
    "subject", "type", "answers", "choices", "options", "messages", "image",
]  # fmt: skip
SPECS = ["Number()", 'Choice("AB")', 'Label("x", "y")', 'Json("a")', "Text()", "Numbr()", "Vote(4)", "("]
rows = st.fixed_dictionaries(
    {"prompt": st.just("3 + 4?") | scalars},
    optional={
        "answers": st.sampled_from(SPECS),
        "choices": st.just(["7", "8"]) | st.lists(scalars, max_size=4) | values,
        "messages": st.lists(keyed(["role", "content", "name"]), max_size=3) | values,
        "answer": scalars | values,
        "solution": st.text(max_size=20) | values,
        "image": values,
    },
)
tables = st.lists(rows, min_size=1, max_size=3) | st.lists(keyed(FIELDS) | rows, max_size=4)
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")
PACKS = (bytes, bytes, bytes, gzip.compress, bz2.compress, lzma.compress)


def as_table(table: list[dict[str, Any]], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    names = list(dict.fromkeys(name for row in table for name in row))
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in table)
    return text.getvalue()


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name and the content of a file of problems."""
    table = draw(tables)
    kind = draw(st.sampled_from(["jsonl", "jsonl", "json", "csv", "tsv", "txt", "parquet"]))
    lines = "\n".join(map(json.dumps, table))
    text = {"json": json.dumps(table), "csv": as_table(table, ","), "tsv": as_table(table, "\t")}.get(kind, lines)
    data = text.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
    pack = cast("Callable[[bytes], bytes]", draw(st.sampled_from(PACKS)))
    data = pack(draw(st.just(data) | damaged(data)))
    data = draw(st.just(data) | damaged(data))
    return f"p.{kind}{draw(st.sampled_from(['', '', '.gz', '.zst']))}", data


def read_problems(folder: Path, file: tuple[str, bytes]) -> str:
    """What became of reading it: `read`, or `refused` in one line. All else is raised."""
    path = folder / file[0]
    path.write_bytes(file[1])
    try:
        contents = ProblemFile(path).check()
        assert contents.total == len(list(ProblemFile(path)))
    except InputError as refused:
        if "\n" in str(refused):
            raise AssertionError("more than one line") from refused
        return "refused"
    return "read"
