"""JSON over HTTP to one server: bodies and streams, and what can go wrong on the way, translated."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from metagen.backends.http.openai import error_text
from metagen.errors import BackendGone, GenerationError, InputError, TransientError

if TYPE_CHECKING:
    import aiohttp

TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
DONE = b"[DONE]"


class Refused(GenerationError):
    """The server refused a request, and will refuse it again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Http:
    """Connections to one server, as many as are needed; opened with `async with`.

    `url` is the base of its API, such as `http://localhost:8000/v1`. A reply may take for ever as a whole, but no
    longer than `silence` seconds without a byte. The key comes from the environment variable `key_env`, and is in no
    message.
    """

    def __init__(self, url: str, *, key_env: str, connect: float, silence: float) -> None:
        parts = _address(url)
        self.base = url.rstrip("/")
        self.root = self.base.removesuffix("/v1")
        self.host = parts.netloc
        self._key_env = key_env
        self._connect = connect
        self._silence = silence
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        try:
            import aiohttp  # noqa: PLC0415 (optional)
        except ImportError:
            raise InputError("a model behind HTTP needs aiohttp: install metagen[server]") from None
        key = self._key()
        if not key.isprintable():
            raise InputError(f"the environment variable {self._key_env} holds no key: it has control characters")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=self._connect, sock_read=self._silence
            ),
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()
            await asyncio.sleep(0)  # lets the transports close

    async def get(self, url: str) -> Any:
        async with self._answer("GET", url, None) as response:
            return _read_json(await response.read(), self.host)

    async def post(self, url: str, body: dict[str, Any]) -> Any:
        async with self._answer("POST", url, body) as response:
            return _read_json(await response.read(), self.host)

    async def stream(self, url: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """The data of the server-sent events, one JSON text each, as they come."""
        async with self._answer("POST", url, body) as response:
            async for line in _lines(response.content):
                if line.startswith(b"data:"):
                    data = line[5:].strip()
                    if data == DONE:
                        return
                    yield data
            raise TransientError(f"{self.host} broke off in the middle of a reply", sent=True)

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, body: dict[str, Any] | None
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        import aiohttp  # noqa: PLC0415 (optional)

        if self._session is None:
            raise RuntimeError(f"the server {self.base} is not open: use `async with VLLMServer(...)`")
        try:
            async with self._session.request(method, url, json=body) as response:
                if response.status >= 400:
                    raise self._refusal(response, await response.read())
                yield response
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or error.os_error
            raise TransientError(f"cannot connect to {self.host}: {why}", unreachable=True) from None
        except aiohttp.ConnectionTimeoutError:
            said = f"cannot connect to {self.host} within {self._connect:g} seconds"
            raise TransientError(said, unreachable=True) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise TransientError(f"{self.host} broke off: {said}", sent=True) from None

    def _refusal(self, response: "aiohttp.ClientResponse", body: bytes) -> GenerationError:
        said = f"{self.host} answered {response.status}: {self._message(body) or response.reason}"
        if response.status in TRANSIENT or response.status >= 500:
            return TransientError(said, retry_after=_seconds(response.headers.get("Retry-After", "")))
        return Refused(response.status, said)

    def _message(self, body: bytes) -> str:
        """What the server says of an error, in one line, without our key."""
        try:
            told = json.loads(body)
            text = error_text(told.get("error", told))
        except (ValueError, AttributeError):
            text = body.decode(errors="replace")
        key = self._key()
        return " ".join((text.replace(key, "***") if key else text).split())[:300]

    def _key(self) -> str:
        return os.environ.get(self._key_env, "").strip()


def final(refused: Refused) -> GenerationError | BackendGone:
    """What a refusal means: a wrong key or model will be wrong for every request."""
    return BackendGone(str(refused)) if refused.status in {401, 403, 404} else GenerationError(str(refused))


async def served(http: Http, model: str) -> tuple[str, dict[str, Any]]:
    """The model of this name, or the only one, and what the server says of it. Raises `InputError` if there is none."""
    listed = await http.get(f"{http.base}/models")
    try:
        cards = {card["id"]: card for card in listed["data"]}
    except (TypeError, KeyError):
        raise InputError(f"{http.base} does not list its models as OpenAI's API does") from None
    if not model and len(cards) == 1:
        (model,) = cards
    if model not in cards:
        wanted = f"does not serve {model!r}" if model else "serves several models"
        raise InputError(f"{http.base} {wanted}: name one of {', '.join(cards) or 'none'}, as in URL#MODEL")
    return model, cards[model]


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


async def _lines(content: "aiohttp.StreamReader") -> AsyncIterator[bytes]:
    """Lines of any length: the first event of a stream may hold all ids of a long prompt."""
    pieces: list[bytes] = []
    async for chunk in content.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*pieces, line])
            pieces.clear()
        pieces.append(rest)
    yield b"".join(pieces)  # what came last may lack its newline


def _read_json(body: bytes, host: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise TransientError(f"{host} sent a reply that is not JSON", sent=True) from None


def _seconds(retry_after: str) -> float | None:
    """Seconds to wait, from the header's number or date; `None` if it says neither."""
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except ValueError:
        return None
