"""Bytes on the wire, against servers that speak byte by byte."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from metagen import OpenAIServer, Retrying, solve
from metagen.backends.http.connection import Http
from metagen.backends.http.transfers import line
from metagen.errors import GenerationError, InputError, TransientError
from tests.support.fake_server import FakeServer, reserved_port
from tests.support.timing import advance, outlast, turns

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base address of a server that does `talk` with each connection."""
    talks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await talk(reader, writer)
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        talks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", ssl=tls)
    async with server:
        yield f"http{'s' if tls else ''}://localhost:{server.sockets[0].getsockname()[1]}/v1"
        for task in tuple(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@asynccontextmanager
async def opened(
    url: str, silence: float = 60.0, headers: dict[str, str] | None = None, probe_every: float = 1e9
) -> AsyncIterator[Http]:
    http = Http(url, key_env="NO_KEY", connect=10, silence=silence, headers=headers, probe_every=probe_every)
    await http.open()
    try:
        yield http
    finally:
        await http.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """The next request of a connection: its head, and after it its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(each[15:]) for each in head.split(b"\r\n") if each.startswith(b"Content-Length:")), 0)
    return head + await reader.readexactly(length)


def saying(*replies: bytes) -> tuple[Talk, list[bytes]]:
    """A server that answers each connection with these replies in turn and hangs up, and what it was asked."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            asked.append(await request(reader))
            writer.write(reply)
            await writer.drain()

    return talk, asked


async def test_a_connection_is_used_again() -> None:
    talk, asked = saying(*[OK] * 9)
    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await talk(reader, writer)

    async with listening(counted) as url, opened(url) as http:
        for _ in range(9):
            assert await http.post(url, {"n": 1}) == {}
    assert (connections, len(asked)) == (1, 9)


async def test_a_request_that_a_used_connection_loses_is_not_sent_again_unasked() -> None:
    asked = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await request(reader))
        writer.write(OK)
        asked.append(await request(reader))  # and it hangs up

    async with listening(talk) as url, opened(url) as http:
        await http.post(url, {"n": 1})
        with pytest.raises(TransientError, match="broke off: the connection was closed") as raised:
            await http.post(url, {"n": 2})
    assert raised.value.sent
    assert len(asked) == 2


async def test_a_request_that_was_cancelled_leaves_its_connection_and_the_next_is_answered() -> None:
    left = asyncio.Event()
    came = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"slow" not in await request(reader):
            writer.write(OK)
        came.set()
        assert await reader.read() == b""
        left.set()

    async with listening(talk) as url, opened(url) as http:
        for _ in range(3):
            came.clear()
            left.clear()
            slow = asyncio.create_task(http.post(url, {"slow": True}))
            await came.wait()
            slow.cancel()
            await asyncio.wait([slow])
            assert slow.cancelled()
            assert await http.post(url, {}) == {}
            await left.wait()


async def test_a_stream_that_is_left_closes_its_connection_and_the_next_one_is_whole() -> None:
    events = b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(events), events))
        assert await reader.read() == b""
        left.set()

    async with listening(talk) as url, opened(url) as http:
        for _ in range(3):
            left.clear()
            assert [piece async for piece in http.stream(url, {})] == [b"1", b"2"]
            await left.wait()


async def test_a_reply_is_not_kept_when_it_is_read() -> None:
    talk, _ = saying(OK)
    async with listening(talk) as url, opened(url) as http:
        await http.post(url, {})
        await turns()
        assert http._wire
        (transfer,) = http._wire._idle
        assert transfer._pieces == []


@pytest.mark.parametrize(
    "settings", [{"silence": None}, {"silence": 0}, {"connect": -1}, {"connect": None}, {"probe_every": "x"}]
)
def test_limits_that_are_none_are_refused(settings: dict[str, Any]) -> None:
    given = {"connect": 10.0, "silence": 60.0} | settings
    with pytest.raises(InputError, match=f"a server's {next(iter(settings))} must be a number of seconds above 0"):
        Http("http://localhost/v1", key_env="NO_KEY", **given)


async def test_requests_break_off_where_the_connections_are_closed() -> None:
    came = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        came.set()
        await reader.read()

    async with listening(talk) as url, opened(url) as http:
        waiting = asyncio.create_task(http.post(url, {}))
        await came.wait()
        await http.close()
        with pytest.raises(TransientError, match="broke off: the connection was closed"):
            await waiting


async def test_silence_breaks_a_request_off_and_bytes_do_not() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"mute" not in await request(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            for _ in range(9):
                advance(40)
                writer.write(b"1")
                await turns()
        await outlast()

    async with listening(talk) as url, opened(url, silence=60) as http:
        assert await http.post(url, {}) == 111111111
        with pytest.raises(TransientError, match="broke off: no byte came for 60 s") as raised:
            await http.post(url, {"mute": True})
    assert raised.value.sent


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 404 Oh\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000])
async def test_silence_breaks_a_request_off_whatever_a_probe_meets(answer: bytes) -> None:
    probed, asked = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await request(reader)).startswith(b"GET"):
            writer.write(answer)
            probed.set()
        else:
            asked.set()
        await reader.read()

    async with listening(talk) as url, opened(url, silence=10, probe_every=0.01) as http:
        waiting = asyncio.create_task(http.post(url, {}))
        await asked.wait()
        await probed.wait()
        await turns(100)
        advance(11)  # less than a probe may take
        with pytest.raises(TransientError, match="no byte came for 10 s"):
            await waiting
        assert not http._watcher.done() if http._watcher else False


async def test_what_comes_before_a_reply_is_passed_over() -> None:
    talk, asked = saying(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    async with listening(talk) as url, opened(url) as http:
        assert await http.post(url, {"long": "x" * 2_000_000}) == {}
    assert b"Expect" not in asked[0]


async def test_a_redirect_is_not_followed_and_tells_where_to() -> None:
    talk, asked = saying(b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/v1\r\nContent-Length: 0\r\n\r\n")
    async with listening(talk) as url, opened(url) as http:
        with pytest.raises(GenerationError, match="redirects to http://elsewhere/v1: give that address"):
            await http.get(url)
    assert len(asked) == 1


async def test_a_refusal_without_a_word_is_called_by_its_reason() -> None:
    talk, _ = saying(b"HTTP/1.1 418 I am a teapot\r\nContent-Length: 0\r\n\r\n")
    async with listening(talk) as url, opened(url) as http:
        with pytest.raises(GenerationError, match="answered 418: I am a teapot"):
            await http.get(url)


async def test_a_refusal_of_any_length_is_cut_off() -> None:
    talk, _ = saying(b"HTTP/1.1 500 Oh\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
    async with listening(talk) as url, opened(url) as http:
        with pytest.raises(GenerationError, match="more than 1 MiB"):
            await http.get(url)
        with pytest.raises(GenerationError, match="more than 1 MiB"):
            async for _ in http.stream(url, {}):
                pass


@pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
async def test_a_reply_that_is_none_breaks_off(reply: bytes) -> None:
    talk, _ = saying(reply)
    async with listening(talk) as url, opened(url) as http:
        with pytest.raises(TransientError, match="broke off") as raised:
            await http.post(url, {})
    assert raised.value.sent


async def test_an_address_may_have_spaces_and_letters_of_any_language() -> None:
    talk, asked = saying(OK)
    async with listening(talk) as url, opened(f"{url}/mes modèles") as http:
        assert await http.get(f"{http.base}/models") == {}
    assert asked[0].startswith(b"GET /v1/mes%20mod%C3%A8les/models HTTP/1.1\r\n")


async def test_headers_go_with_each_request() -> None:
    talk, asked = saying(OK)
    async with listening(talk) as url, opened(url, headers={"X-Team": "Zoë", "X-Empty": ""}) as http:
        await http.ask(url, {}, bytes, headers={"X-Session": "7"})
    lines = asked[0].split(b"\r\n")
    assert {"X-Team: Zoë".encode(), b"X-Empty:", b"X-Session: 7", b"Content-Type: application/json"} <= set(lines)


@pytest.mark.parametrize(
    ("name", "value"), [("X-Team", "a\r\nX-Other: b"), ("X\nY", "1"), ("", "1"), ("a", "\0"), ("X", 5), ("X", ["a"])]
)
def test_a_header_that_would_be_two_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match="without control characters"):
        line(name, value)


async def test_on_windows_the_loop_must_be_one_that_selects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "ProactorEventLoop", type(asyncio.get_running_loop()), raising=False)
    with pytest.raises(InputError, match=r"asyncio\.Runner\(loop_factory=asyncio\.SelectorEventLoop\)"):
        async with opened("http://localhost/v1"):
            pass


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path]:
    """The key and the certificate of a server on this machine that nobody knows."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*made.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
async def test_certificates_are_those_of_the_environment(
    certified: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = certified
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    talk, _ = saying(OK)
    async with listening(talk, tls) as url:
        async with opened(url) as http:
            with pytest.raises(TransientError, match=r"cannot connect to localhost.*self-signed certificate") as raised:
                await http.get(url)
        assert raised.value.unreachable
        assert raised.value.remedy == "if you trust its certificate, name the file that holds it in SSL_CERT_FILE"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with opened(url) as http:
            assert await http.get(url) == {}
            with pytest.raises(TransientError, match="cannot connect to") as raised:
                await http.get(url.replace("localhost", "127.0.0.1"))
            assert raised.value.remedy == "write the name that its certificate has"
    monkeypatch.setenv("SSL_CERT_FILE", "missing.pem")
    with pytest.raises(InputError, match=r"^SSL_CERT_FILE=missing\.pem: there is no such file$"):
        async with opened("https://localhost/v1"):
            pass


@pytest.mark.parametrize(
    ("proxy", "remedy"),
    [
        ("", r"Could not resolve host: models\.invalid: is its name right\?"),
        ("http://proxy.invalid:1", r"Could not resolve proxy: proxy\.invalid: is the name of the proxy right\?"),
        ("http://127.0.0.1:{}", "Connection refused: is the proxy running, and does it let you through"),
    ],
)
async def test_what_cannot_be_reached_is_told_with_what_to_look_at(
    proxy: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with reserved_port() as port:
        monkeypatch.setenv("https_proxy", proxy.format(port))
        with pytest.raises(InputError, match=rf"cannot connect to models\.invalid.*: {remedy}"):
            await Retrying(OpenAIServer("https://models.invalid/v1")).__aenter__()


async def test_a_server_that_speaks_plain_http_is_told_apart_from_one_that_does_not_run() -> None:
    async with FakeServer().running() as plain:
        with pytest.raises(InputError, match=r"TLS connect error.*: if it speaks plain HTTP, write http://"):
            await Retrying(OpenAIServer(plain.url.replace("http:", "https:"))).__aenter__()


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def alerting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x15\x03\x01\x00\x02\x02\x46")


@pytest.mark.parametrize("talk", [hanging_up, resetting, alerting])
async def test_a_server_that_hangs_up_on_plain_http_may_speak_tls(talk: Talk) -> None:
    async with listening(talk) as url:
        with pytest.raises(InputError, match=r"broke off: .*: if it speaks TLS, write https://$"):
            await Retrying(OpenAIServer(url), attempts=1).__aenter__()


async def test_a_server_that_hangs_up_after_each_reply_is_sent_each_request_on_a_new_connection() -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await request(reader))
        models = b'{"data": [{"id": "mock", "owned_by": "sglang", "max_model_len": 700}]}'
        choice = b'{"message": {"content": "The answer is 7."}, "finish_reason": "stop"}'
        reply = b'{"choices": [%b], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}' % choice
        body = models if asked[-1].startswith(b"GET") else reply
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        await reader.read(1)  # the next request comes on this connection, and is not read

    async with listening(talk) as url, Retrying(OpenAIServer(url), wait=0, longest=0) as server:
        opening = len(asked)
        for _ in range(5):
            solution = await solve("3 + 4?", None, server)
            assert (solution.answer, solution.usage.calls, solution.usage.estimated_tokens) == ("7", 1, 0)
        assert len(asked) == opening + 5


async def test_a_connection_that_is_lost_once_does_not_end_keeping_them() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3):
            await request(reader)
            writer.write(OK)
        await request(reader)  # and it hangs up

    async with listening(talk) as url, opened(url) as http:
        for _ in range(3):
            assert await http.post(url, {}) == {}
        with pytest.raises(TransientError, match="the connection was closed"):
            await http.post(url, {})
        for _ in range(3):
            assert await http.post(url, {}) == {}
    assert connections == 3, "one was for sending the lost request again, which is not done"
