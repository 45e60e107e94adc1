"""Requests by libcurl in the caller's event loop: bytes out and in, with libcurl's errors translated."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import Any
from urllib.parse import quote

import pycurl

from metagen.errors import GenerationError, InputError, TransientError

LARGEST_ERROR = 1 << 20
"""Bytes of what a server may say in place of a reply."""
IDLE = 4
"""Seconds after which a connection that was not used is closed: vLLM's server closes it after 5."""
KEPT = 10_000
"""Connections that wait for their next request."""
ALLOWED = ":/?#[]@!$&'()*+,;=%~"
"""What an address may hold besides letters and figures; the rest is sent as percent signs and numbers."""

REMEDIES = {
    pycurl.E_COULDNT_RESOLVE_HOST: "is its name right?",
    pycurl.E_COULDNT_RESOLVE_PROXY: "is the name of the proxy right?",
    pycurl.E_SSL_CONNECT_ERROR: "if it speaks plain HTTP, write http://",
    pycurl.E_PEER_FAILED_VERIFICATION: "if you trust its certificate, name the file that holds it in SSL_CERT_FILE",
}
"""What to do where there is no connection, by libcurl's error."""
SPEAKS_TLS = "if it speaks TLS, write https://"
"""What to look at where a server hangs up on plain HTTP without a word."""
OTHER_NAME, NAMED_OTHERWISE = "subject name", "write the name that its certificate has"


class Transfer:
    """One request and its reply. The handle of libcurl serves other requests afterwards."""

    __slots__ = ("_end", "_head", "_loop", "_pieces", "_wake", "curl", "heard", "most", "sent", "size", "status")

    def __init__(self, curl: pycurl.Curl) -> None:
        self.curl = curl
        self._loop = asyncio.get_running_loop()
        self.curl.setopt(pycurl.WRITEFUNCTION, self._take)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._take_head)
        self.curl.setopt(pycurl.PREREQFUNCTION, self._connected)
        self._head: list[bytes] = []
        self._pieces: list[bytes] = []

    def begin(self, end: "asyncio.Future[Any]", most: float) -> None:
        """Take the next request, which is over with `end`, and of whose reply `most` bytes are read."""
        self._head.clear()
        self._end, self.most = end, most
        self._wake: asyncio.Future[None] | None = None
        self.heard = self._loop.time()
        """When bytes came last, or the request was sent, by the event loop's clock."""
        self.status = self.size = 0
        self.sent = False
        """Whether there was a connection, so that the server may have worked on the request."""
        if most == inf:
            end.add_done_callback(self._wakes)

    def break_off(self, error: Exception) -> None:
        """End the request, and raise this error where its reply is awaited. What has come of a stream is read first."""
        if not self._end.done():
            self._end.set_exception(error)

    def forget(self) -> None:
        """Drop the reply, which may be large, before the next request comes."""
        self._pieces.clear()

    async def body(self) -> bytes:
        """What came, once all of it has come."""
        await self._end
        return b"".join(self._pieces)

    async def began(self) -> None:
        """Wait until a part of a streamed reply is there, or all of it."""
        while not (self._pieces or self._end.done()):
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if not self._pieces:
            self._end.result()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The parts of a streamed reply, as they come."""
        while True:
            await self.began()
            if not self._pieces:
                return
            part = b"".join(self._pieces)
            self._pieces.clear()
            yield part

    def header(self, name: str) -> str:
        """The value of a header of the reply; empty if there is none."""
        for line in self._head:
            field, _, value = line.decode("latin-1").partition(":")
            if field.strip().lower() == name:
                return value.strip()
        return ""

    @property
    def reason(self) -> str:
        """What the first line of the reply says behind the status."""
        return self._head[0].decode("latin-1").partition(" ")[2].partition(" ")[2].strip()

    def _connected(self, *_: object) -> int:
        """Called before the request is sent.

        libcurl would send a request again by itself where a connection that was used before breaks off. But the server
        may have worked on it, so that must not happen without being counted.
        """
        again, self.sent = self.sent, True
        return pycurl.PREREQFUNC_ABORT if again else pycurl.PREREQFUNC_OK  # type: ignore[no-any-return]

    def _take_head(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):  # what came before was of an earlier part, such as 100 Continue
            self._head.clear()
            self.status = int(line.split(None, 2)[1])
            self.most = self.most if self.status < 300 else LARGEST_ERROR
            self.heard = self._loop.time()
        self._head.append(line)

    def _take(self, piece: bytes) -> int | None:
        self.heard = self._loop.time()
        self.size += len(piece)
        if self.size > self.most:
            return 0  # which ends it
        self._pieces.append(piece)
        self._wakes()
        return None

    def _wakes(self, *_: object) -> None:
        if self._wake and not self._wake.done():
            self._wake.set_result(None)


class Wire:
    """Connections to one server, as many as are needed, for one event loop; closed with `aclose`.

    `clean` makes a line that can be shown of what libcurl says. A server that `hangs_up` after each reply, and does not
    say so, is sent each request on a new connection. It is found out when the first request on a used one is lost.
    """

    __slots__ = (
        "_clean",
        "_connect",
        "_headers",
        "_host",
        "_idle",
        "_keeps",
        "_model",
        "_multi",
        "_way",
        "hangs_up",
        "under_way",
    )

    def __init__(
        self,
        host: str,
        headers: Mapping[str, str],
        proxy: str | None,
        connect: float,
        clean: Callable[[str], str],
        *,
        hangs_up: bool = False,
    ) -> None:
        self.hangs_up = hangs_up
        self._keeps = False
        """Whether a connection has served two requests."""
        self._host = host
        user, at, address = (proxy or "").rpartition("@")
        self._way = f"{host} through the proxy {address}" if address else host
        """Where connections lead, without the password of a proxy."""
        self._clean = (lambda said: clean(said.replace(user + at, ""))) if at else clean
        self._headers = [line(name, value) for name, value in headers.items()]
        self._connect = connect
        proactor = getattr(asyncio, "ProactorEventLoop", None)  # of Windows alone
        if proactor and isinstance(asyncio.get_running_loop(), proactor):
            raise InputError(
                "a model behind HTTP needs an event loop that selects: on Windows run your program in "
                "asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)"
            )
        self._multi = pycurl.AsyncCurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT)
        self._model = _handle(proxy or "", connect)
        """What all handles are copies of."""
        self._idle: list[Transfer] = []
        self.under_way: set[Transfer] = set()

    @contextmanager
    def sending(
        self,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        most: float,
    ) -> Iterator[Transfer]:
        """A request under way: a POST of `body`, or a GET without one. It ends with the context.

        The reply may have `most` bytes, unpacked; one that has no limit is read while it comes.

        Raises `TransientError` where there is no connection, or it breaks off, and `GenerationError` where too much
        comes.
        """
        lines = [*self._headers, *(line(name, value) for name, value in headers.items()), b"Expect:"]
        transfer = self._idle.pop() if self._idle else Transfer(self._model.duphandle())
        curl = transfer.curl
        curl.setopt(pycurl.URL, _quoted(url))
        if body is None:
            curl.setopt(pycurl.HTTPGET, 1)
        else:
            curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.HTTPHEADER, lines)
        if self.hangs_up:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)
        end = self._multi.add_handle(curl)
        transfer.begin(end, most)
        self.under_way.add(transfer)
        try:
            yield transfer
            self._keeps = self._keeps or not curl.getinfo(pycurl.NUM_CONNECTS)
        except pycurl.error as error:
            raise self._translated(error, transfer) from None
        finally:
            self.under_way.discard(transfer)
            if not end.done():
                self._multi.remove_handle(curl)
            elif not end.cancelled():
                end.exception()  # which may be of no interest any more
            transfer.forget()
            # Not before what waits for its end was called: pycurl would take it for the end of the next request.
            end.get_loop().call_soon(self._idle.append, transfer)

    async def aclose(self) -> None:
        """Close the connections. Requests that are under way break off."""
        for future in self._multi.futures():
            if not future.done():
                future.set_exception(pycurl.error(pycurl.E_ABORTED_BY_CALLBACK, ""))
        await asyncio.sleep(0)  # those who wait for them are told
        await self._multi.aclose()
        for transfer in self._idle:
            transfer.curl.close()
        self._idle.clear()
        await asyncio.sleep(0)  # a server in the same loop notices that its connections are closed

    def _translated(self, error: pycurl.error, transfer: Transfer) -> GenerationError:
        code, said = error.args
        if code == pycurl.E_WRITE_ERROR and transfer.size > transfer.most:
            return GenerationError(f"{self._host} sent more than {int(transfer.most) >> 20} MiB in one reply")
        if transfer.sent:
            was_lost = code == pycurl.E_ABORTED_BY_CALLBACK
            self.hangs_up = self.hangs_up or (was_lost and not self._keeps)
            why = "the connection was closed" if was_lost else self._clean(said)
            plain = not transfer.status and transfer.curl.getinfo(pycurl.EFFECTIVE_URL).startswith("http:")
            remedy = SPEAKS_TLS if plain and not was_lost else ""
            return TransientError(f"{self._host} broke off: {why}", sent=True, remedy=remedy)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            said = f"cannot connect to {self._way} within {self._connect:g} s"
            return TransientError(said, unreachable=True)
        if code == pycurl.E_COULDNT_CONNECT and (number := transfer.curl.getinfo(pycurl.OS_ERRNO)):
            said = os.strerror(number)
        usual = "" if self._way == self._host else "is the proxy running, and does it let you through?"
        remedy = NAMED_OTHERWISE if OTHER_NAME in said else REMEDIES.get(code, usual)
        return TransientError(f"cannot connect to {self._way}: {self._clean(said)}", unreachable=True, remedy=remedy)


def _handle(proxy: str, connect: float) -> pycurl.Curl:
    """A handle with the settings that are the same for all requests."""
    options = {
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,  # leaving a connection is how a request is cancelled
        pycurl.NOSIGNAL: 1,
        pycurl.ACCEPT_ENCODING: "",  # all that libcurl can unpack
        pycurl.USERAGENT: "metagen",
        pycurl.CONNECTTIMEOUT_MS: round(connect * 1000),
        pycurl.MAXAGE_CONN: IDLE,
        pycurl.PROXY: proxy,
        pycurl.NOPROXY: "",
    }
    certificates = ssl.get_default_verify_paths()  # those of the environment, or of the system
    if certificates.cafile:
        options[pycurl.CAINFO] = certificates.cafile
    # With a folder of them, libcurl would read all certificates again for each connection.
    if certificates.capath and (os.environ.get(certificates.openssl_capath_env) or not certificates.cafile):
        options[pycurl.CAPATH] = certificates.capath
    curl = pycurl.Curl()
    for option, value in options.items():
        curl.setopt(option, value)
    return curl


@lru_cache(64)
def _quoted(url: str) -> str:
    return quote(url, safe=ALLOWED, errors="replace")


def line(name: str, value: str) -> bytes:
    """A header as libcurl takes it. Raises `InputError` for what would be more than one."""
    if not (isinstance(name, str) and isinstance(value, str) and (read := _line(name, value))):
        raise InputError(f"the header {name!r} must have a name and a value, texts without control characters")
    return read


@lru_cache(256)
def _line(name: str, value: str) -> bytes:
    """A header as libcurl takes it; nothing for what would be more than one."""
    if not (name.isprintable() and value.isprintable() and name.strip()):
        return b""
    return f"{name}: {value}".encode() if value else f"{name};".encode()
