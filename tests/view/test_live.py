import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from metagen import InputError
from metagen.view.live import Handler, LiveServer
from tests.support.viewed import PROBLEMS, make_run


@contextmanager
def serving(*folders: Path) -> Iterator[LiveServer]:
    with LiveServer(folders) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(address: str, **headers: str) -> bytes:
    with urlopen(Request(address, headers=headers)) as reply:
        return bytes(reply.read())


def refusal(address: str, **headers: str) -> tuple[int, str, str]:
    """The status of an error, the kind of its body, and the body."""
    with pytest.raises(HTTPError) as refused:
        ask(address, **headers)
    with refused.value as reply:
        return reply.code, reply.headers.get_content_type(), reply.read().decode()


async def test_a_live_page_sees_what_is_solved_since(tmp_path: Path) -> None:
    folder = await make_run(tmp_path, problems=PROBLEMS[:1])
    with serving(folder) as server:
        assert b'id="live"' in ask(server.address)
        assert json.loads(ask(f"{server.address}runs"))[0]["columns"]["id"] == ["a"]
        await make_run(tmp_path, problems=PROBLEMS[1:])
        assert json.loads(ask(f"{server.address}runs"))[0]["columns"]["id"] == ["a", "b", "c"]
        assert len(json.loads(ask(f"{server.address}problem?run=0&id=b"))["candidates"]) == 4
        assert json.loads(ask(f"{server.address}problem?run=0&id=x")) is None


@pytest.mark.parametrize(
    ("path", "host", "code", "said"),
    [
        ("runs", "elsewhere.invalid:80", 403, "Only requests to this machine by its own name are answered"),
        ("../run.json", "", 404, "There is no such page"),
        ("problem?run=7&id=a", "", 404, "There is no such run: give its number and the id of a problem"),
        ("problem?run=x&id=a", "", 404, "There is no such run: give its number and the id of a problem"),
        ("problem", "", 404, "There is no such run: give its number and the id of a problem"),
    ],
)
async def test_nobody_else_is_answered_and_nothing_else_is_served(
    tmp_path: Path, path: str, host: str, code: int, said: str
) -> None:
    with serving(await make_run(tmp_path)) as server:
        assert refusal(server.address + path, **({"Host": host} if host else {})) == (code, "text/plain", said)


async def test_a_reader_may_call_this_machine_as_browsers_do(tmp_path: Path) -> None:
    """A browser leaves out the port where it is 80."""
    with serving(await make_run(tmp_path)) as server:
        for host in ("127.0.0.1", "localhost", "LOCALHOST:8080", "127.0.0.1:80"):
            assert b'id="live"' in ask(server.address, Host=host)
        for host in ("elsewhere.invalid", "localhost.elsewhere.invalid:80", "[::1", "user@elsewhere.invalid", ":80"):
            assert refusal(server.address, Host=host)[0] == 403


async def test_a_damaged_run_is_named_to_the_reader(tmp_path: Path) -> None:
    folder = await make_run(tmp_path)
    with serving(folder) as server:
        (folder / "trace.jsonl").write_text("7\n")
        code, kind, said = refusal(f"{server.address}problem?run=0&id=a")
        assert (code, kind) == (500, "text/plain")
        assert "trace.jsonl, line 1: must be a JSON object" in said


async def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no run\.json"):
        LiveServer([tmp_path])
    folder = await make_run(tmp_path)
    with pytest.raises(InputError, match="is given twice: name each run once"):
        LiveServer([folder, folder])
    with LiveServer([folder]) as server, pytest.raises(InputError, match="name another with --port"):
        LiveServer([folder], server.server_address[1])


class Left:
    """The connection of a reader who asked for something and left."""

    def __init__(self, asked: bytes) -> None:
        self._asked = asked

    def makefile(self, *_: object) -> BytesIO:
        return BytesIO(self._asked)

    def sendall(self, _: bytes) -> None:
        raise BrokenPipeError

    def settimeout(self, _: object) -> None:
        pass


@pytest.mark.parametrize("path", ["", "runs", "nothing"])
async def test_a_reader_who_leaves_is_no_error(tmp_path: Path, path: str) -> None:
    with LiveServer([await make_run(tmp_path)]) as server:
        asked = f"GET /{path} HTTP/1.1\r\nHost: {server.address[7:-1]}\r\n\r\n".encode()
        Handler(Left(asked), ("127.0.0.1", 1), server)  # type: ignore[arg-type]
