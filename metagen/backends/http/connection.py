"""JSON over HTTP to one server: bodies and streams, and what can go wrong on the way, translated.

All that a server says enters here, and nowhere else: its size is limited, and our key is removed from it.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing, suppress
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from math import inf, isfinite
from time import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from metagen.backends.http.keys import Key
from metagen.distribution import how_to_install
from metagen.errors import BackendGone, GenerationError, InputError, ServerBusy, TransientError, UnfitRequest
from metagen.settings import as_str, is_number

if TYPE_CHECKING:
    from metagen.backends.http.transfers import Transfer, Wire

Reply = TypeVar("Reply")

TRANSIENT = frozenset({408, 409, 424, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
UNFIT = frozenset({400, 413, 422})
"""Statuses that refuse what a request holds."""
BUSY = frozenset({429, 503, 529})
"""Statuses of a server that takes no more requests at the moment."""
TOO_LARGE = re.compile("request too large", re.IGNORECASE)
"""What OpenAI's API says with the first of them of a request that no rate will ever allow."""
PAYMENT = 402
"""The status where an account has no money left."""
FORBIDDEN = 403
"""The status of a key without a right, and of a request that a gateway's moderation or firewall turns away."""
CLOSED = frozenset({401, PAYMENT, FORBIDDEN, 404})
"""Statuses of a wrong key, a spent account or a wrong model, which every request will get."""
SPENT = "insufficient_quota"
"""How OpenAI's API says that with status 429."""
DONE = b"[DONE]"
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
LARGEST = 128 * MIB
"""Bytes of a reply, unpacked, or of a line of a stream. A larger one is refused before it fills the memory."""
PROBE_EVERY = 30.0
"""Seconds between looks at a server with requests under way."""
PROBE_PATIENCE = 15.0
"""Seconds that a server may take to list its models."""


class Refused(GenerationError):
    """The server refused a request, and will refuse it again."""

    body: Mapping[str, Any] | None = None
    """What was asked, where that is known."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WebPage(TransientError):
    """A page came in place of JSON: while a run is under way it may pass, and before it the address is wrong."""


class Http:
    """Connections to one server, as many as are needed; opened with `async with`.

    `url` is the base of its API, such as `http://localhost:8000/v1`. A reply may take for ever as a whole, but no
    longer than `silence` seconds without a byte; and while requests wait, the server is probed beside them, so that one
    that hangs is found early. The key comes from the environment variable `key_env`; it goes to no other address, and
    over plain HTTP to this machine alone unless `insecure_key` is set. Proxies are those of the environment
    (`http_proxy`, `https_proxy`, `no_proxy`), and `SSL_CERT_FILE` names further certificates.
    """

    def __init__(
        self,
        url: str,
        *,
        key_env: str,
        connect: float,
        silence: float,
        headers: dict[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        insecure_key: bool = False,
        probe_every: float = PROBE_EVERY,
    ) -> None:
        for name, seconds in (("connect", connect), ("silence", silence), ("probe_every", probe_every)):
            if not is_number(seconds) or seconds <= 0:
                raise InputError(f"a server's {name} must be a number of seconds above 0, not {seconds!r}")
        parts = _address(url)
        self.base = url.rstrip("/")
        self.root = self.base.removesuffix("/v1")
        self.host = parts.netloc
        self.key = Key(key_env, headers, extra)
        self._secure = parts.scheme == "https"
        self._private = self._secure or _is_here(parts.hostname or "") or insecure_key
        self._headers = {name: value for name, value in (headers or {}).items() if str(name).lower() != "content-type"}
        self._connect = connect
        self._silence = silence
        self._probe_every = probe_every
        self._wire: Wire | None = None
        self._hangs_up = False
        self._watcher: asyncio.Task[None] | None = None
        self.lists = True
        """Whether it lists its models: where that shows a web page, a page is no sign of trouble."""

    async def open(self) -> None:
        try:
            from metagen.backends.http.transfers import Wire  # noqa: PLC0415 (optional)
        except ImportError:
            raise InputError(f"a model behind HTTP needs pycurl: {how_to_install('server')}") from None
        if self._secure:
            _check_certificates()
        key = self.key.headers()
        if self.key.secrets and not self._private:
            which, without = (
                (f"the key in {self.key.variable}", "unset the variable")
                if key
                else ("the key in headers or extra", "leave it out")
            )
            raise InputError(
                f"{self.base} is not on this machine, and its address is plain HTTP, where anybody on the way could "
                f"read {which}: use https://, {without}, or allow it with insecure_key"
            )
        self._wire = Wire(
            self.host,
            self._headers | key,
            _proxy_for(self.base),
            self._connect,
            self._one_line,
            hangs_up=self._hangs_up,
        )

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        watcher, self._watcher = self._watcher, None
        try:
            if watcher:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
        finally:
            if wire:
                self._hangs_up = wire.hangs_up
                await wire.aclose()

    async def get(self, url: str) -> Any:
        return self._read_json(await self._whole(url, None))

    async def get_text(self, url: str) -> str:
        return (await self._whole(url, None)).decode(errors="replace")

    async def post(self, url: str, body: dict[str, Any], came: Callable[[int], None] | None = None) -> Any:
        """What came back; `came` is told how many bytes came, so that a broken reply can be reckoned up."""
        return await self.ask(url, body, self._read_json, came)

    async def ask(
        self,
        url: str,
        body: dict[str, Any],
        read: Callable[[bytes], Reply],
        came: Callable[[int], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The same, read by `read`; `headers` go with this request alone."""
        return read(await self._whole(url, body, came, headers))

    async def stream(
        self, url: str, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The data of the server-sent events, one JSON text each, as they come. Blank ones keep a line alive.

        A server that does not stream sends one whole reply, which is given as one piece.
        """
        whole: list[bytes] = []
        streams = False
        with self._sent(url, body, headers, inf) as transfer:
            await transfer.began()
            if transfer.status >= 300:
                raise self._refusal(transfer, await transfer.body())
            async with aclosing(_lines(transfer.pieces())) as lines:
                async for line in lines:
                    if line.startswith(b"data:") and (data := line[5:].strip()):
                        if data == DONE:
                            return
                        streams = True
                        yield self.key.scrub_body(data)
                    elif not streams and (whole or line.lstrip().startswith(b"{")):
                        whole.append(line)
                        transfer.most = LARGEST
        if whole and not streams:
            yield self.key.scrub_body(b"\n".join(whole))
            return
        raise TransientError(f"{self.host} broke off in the middle of a reply", sent=True)

    async def models(self) -> Any:
        """What the server says of its models. Raises `TransientError` if it says nothing soon."""
        try:
            async with asyncio.timeout(PROBE_PATIENCE):
                return await self.get(f"{self.base}/models")
        except TimeoutError:
            raise TransientError(f"{self.host} does not answer within {PROBE_PATIENCE:g} s") from None

    async def probe(self) -> None:
        """Return if the server lists its models, or refuses to; raise `TransientError` if it does neither soon."""
        try:
            await self.models()
        except Refused:
            return  # it answers, if only to refuse
        except WebPage:
            if self.lists:
                raise

    async def _whole(
        self,
        url: str,
        body: dict[str, Any] | None,
        came: Callable[[int], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of a reply that is no refusal."""
        with self._sent(url, body, headers, LARGEST) as transfer:
            try:
                reply = await transfer.body()
            finally:
                if came and transfer.status:
                    came(1 + transfer.size)  # the head of a reply counts: there would have been one
            if transfer.status >= 300:
                raise self._refusal(transfer, reply)
        return self.key.scrub_body(reply)

    def _sent(
        self, url: str, body: dict[str, Any] | None, headers: Mapping[str, str] | None, most: float
    ) -> "AbstractContextManager[Transfer]":
        """A request under way. It is broken off after so long a silence, or when probes find that the server hangs."""
        if self._wire is None:
            raise RuntimeError(f"the server {self.base} is not open: use `async with OpenAIServer(...)`")
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(self._wire))
        if body is None:
            return self._wire.sending(url, None, {}, most)
        return self._wire.sending(url, _encoded(body), {**JSON, **headers} if headers else JSON, most)

    async def _watch(self, wire: "Wire") -> None:
        """Break off requests while they are under way, for either reason."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._watch_bytes(wire))
            both.create_task(self._watch_server(wire))

    async def _watch_bytes(self, wire: "Wire") -> None:
        """Break off the requests of which no byte came for too long."""
        while True:
            await asyncio.sleep(self._silence / 10)
            earliest = asyncio.get_running_loop().time() - self._silence
            silent = [each for each in wire.under_way if each.heard <= earliest]
            self._break_off(silent, f"broke off: no byte came for {self._silence:g} s")

    async def _watch_server(self, wire: "Wire") -> None:
        """Look at the server now and then while it works; when it fails twice in a row, break off all requests."""
        failed = 0
        while True:
            await asyncio.sleep(self._probe_every)
            failed = failed + 1 if wire.under_way and not await self._is_alive() else 0
            if failed > 1:
                failed = 0
                self._break_off(tuple(wire.under_way), "hangs: it takes requests and answers nothing")

    def _break_off(self, transfers: Iterable["Transfer"], why: str) -> None:
        for transfer in transfers:
            transfer.break_off(TransientError(f"{self.host} {why}", sent=True))

    async def _is_alive(self) -> bool:
        """Whether the server answers, if only that it is busy: so it may be with the requests that are under way."""
        try:
            await self.probe()
        except ServerBusy:
            return True
        except GenerationError as error:
            return not isinstance(error, TransientError)
        return True

    def _refusal(self, transfer: "Transfer", body: bytes) -> GenerationError:
        if transfer.status < 400:
            where = self._one_line(transfer.header("location") or "another address")
            return Refused(transfer.status, f"{self.host} redirects to {where}: give that address, if you trust it")
        error = _error_of(self.key.scrub_body(body))
        said = self._one_line(error_text(error)) or self._one_line(transfer.reason)
        said = f"{self.host} answered {transfer.status}: {said}"
        if transfer.status == 401 and not (self.key.secrets or self.key.is_given):
            said += f" (no key was sent: {self.key.variable} is not set)"
        if is_spent(error):
            return Refused(PAYMENT, said)
        if transfer.status in BUSY and TOO_LARGE.search(said):
            return Refused(413, said)
        passes = transfer.status in TRANSIENT or transfer.status >= 500
        if {"true": True, "false": False}.get(transfer.header("x-should-retry"), passes):
            kind = ServerBusy if transfer.status in BUSY else TransientError
            return kind(said, retry_after=_wait_of(transfer.header))
        return Refused(transfer.status, said)

    def _one_line(self, text: str) -> str:
        return " ".join(self.key.scrub(text).split())[:300]

    def _read_json(self, body: bytes) -> Any:
        return read_json(body, self.host)


def _error_of(body: bytes) -> Any:
    """What a server says of an error: an object, a text, or the whole body where it is neither."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    told = told[0] if isinstance(told, list) and told else told  # as Google's API has it
    return ((told.get("error") or told) if isinstance(told, dict) else told) or ""


def _encoded(body: dict[str, Any]) -> bytes:
    """The body of a request in JSON. Half a character of UTF-16, which a text may hold, is written as its code."""
    try:
        return msgspec.json.encode(body, enc_hook=as_str)
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def read_json(body: bytes, host: str) -> Any:
    """Raises `TransientError` if that is not JSON. A letter that is broken costs no more than itself."""
    try:
        try:
            return json.loads(body, strict=False)
        except UnicodeDecodeError:
            return json.loads(body.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        if body.lstrip().startswith(b"<"):
            raise WebPage(f"{host} sent a web page, which is not JSON", sent=True) from None
        raise TransientError(f"{host} sent a reply that is not JSON", sent=True) from None


def is_spent(error: Any) -> bool:
    """Whether an error says that a quota is spent, as of money or of a day: asking again soon does not help."""
    return isinstance(error, dict) and SPENT in (error.get("code"), error.get("type"))


def error_text(error: Any) -> str:
    """What an error says, in a server's words."""
    return str((error.get("message") or error) if isinstance(error, dict) else error)


def final(refused: Refused) -> GenerationError | BackendGone:
    """What a refusal means: of a key, an account or a model, it would meet every request."""
    if refused.status in CLOSED:
        return BackendGone(str(refused))
    return (UnfitRequest if refused.status in UNFIT else GenerationError)(str(refused))


async def find_model(
    http: Http, model: str, serves: Callable[[str], Awaitable[bool]] | None = None
) -> tuple[str, dict[str, Any]]:
    """The model of this name, or the only one that is no adapter of another, and what the server says of it.

    A server that lists no models serves the one that is named. Of one that is named and not listed, `serves` finds
    out: Azure lists no deployments, and gateways not all that they pass on. Raises `InputError` if there is none.
    """
    try:
        listed = await http.models()
        cards = _by_name(listed)
    except (Refused, WebPage) as error:
        if not model or (isinstance(error, Refused) and error.status < 400):
            raise
        http.lists = not isinstance(error, WebPage)
        return model, {}
    except (TypeError, KeyError):
        if model:
            return model, {}
        raise InputError(
            f"{http.base} does not list its models as OpenAI's API does: name one, as in URL#MODEL"
        ) from None
    whole = [name for name, card in cards.items() if str(card.get("parent")) not in cards]
    if not model and len(whole) == 1:
        (model,) = whole
    if model and model not in cards and serves and await serves(model):
        return model, {}
    if model not in cards:
        wanted = f"does not serve {model!r}" if model else "serves several models" if cards else "serves no model yet"
        named = f"one of {_few(cards)}" if cards else "one that it can load"
        raise InputError(f"{http.base} {wanted}: name {named}, as in URL#MODEL")
    return model, _with_parent(cards, cards[model])


def _by_name(listed: Any) -> dict[str, Any]:
    """The models that a server lists. Raises `TypeError` or `KeyError` for what is no such list.

    Together's list is not inside an object, as OpenAI's is.
    """
    given = listed if listed and isinstance(listed, list) else listed["data"]
    cards = {card["id"]: card for card in given if isinstance(card["id"], str)}
    if given and not cards:
        raise TypeError("no model has a name that is a text")
    return cards


def _with_parent(cards: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    """A LoRA adapter tells no context: it has that of the model it adapts."""
    parent = cards.get(str(card.get("parent") or card.get("root") or ""), {})
    return {**parent, **{name: value for name, value in card.items() if value is not None}}


def _few(names: "dict[str, Any]", most: int = 10) -> str:
    shown = ", ".join(list(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _address(url: str) -> SplitResult:
    """Raises `InputError` if that is no address of a server."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no port
        sound = False
    if not sound:
        raise InputError(f"{url!r} is not the address of a server: write one such as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise InputError("a server's address may hold no user or password: give a key by the environment")
    if parts.query or parts.fragment:
        raise InputError("a server's address ends with its path: leave out what follows '?' or '#'")
    return parts


def _is_here(host: str) -> bool:
    """Whether an address is of this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_certificates() -> None:
    """Raise `InputError` for a file of certificates that is not there, in place of which others would be trusted."""
    if (certificates := os.environ.get("SSL_CERT_FILE")) and not os.path.isfile(certificates):
        raise InputError(f"SSL_CERT_FILE={certificates}: there is no such file")


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address: looked for once, and not in a thread for each request."""
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    if proxy_bypass(host) or _is_in(host, proxies.get("no", "")):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def _is_in(host: str, ranges: str) -> bool:
    """Whether an address is in one of several ranges, such as `10.0.0.0/8`, which Python's own look passes over."""
    for each in ranges.split(","):
        with suppress(ValueError):
            if "/" in each and ip_address(host) in ip_network(each.strip(), strict=False):
                return True
    return False


async def _lines(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Lines of any length up to `LARGEST`: the first event of a stream may hold all ids of a long prompt."""
    begun: list[bytes] = []
    size = 0
    async with aclosing(pieces):
        async for piece in pieces:
            *lines, rest = piece.split(b"\n")
            for line in lines:
                yield b"".join([*begun, line])
                begun.clear()
                size = 0
            begun.append(rest)
            size += len(rest)
            if size > LARGEST:
                raise GenerationError(f"the server sent a line of more than {LARGEST // MIB} MiB")
    yield b"".join(begun)  # what came last may lack its newline


def _wait_of(header: Callable[[str], str]) -> float | None:
    """Seconds that a server asks to wait, by its headers; `retry-after-ms` is the finer one, of OpenAI and Azure."""
    milliseconds = read_seconds(header("retry-after-ms"))
    return read_seconds(header("retry-after")) if milliseconds is None else milliseconds / 1000


def read_seconds(retry_after: str) -> float | None:
    """Seconds to wait, from the header's number or date; `None` if it says neither."""
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except (ValueError, OverflowError):
        return None
