"""A server that is killed in the middle of a run from the command line, and started again."""

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metagen import cli
from tests.support.fake_server import FakeServer, reserved_port

OWN = """
from metagen import Retrying, VLLMServer

def server():
    return Retrying(VLLMServer({url!r}), wait=0.01, longest=0.05, attempts=1000, patience=0.3)
"""


@contextmanager
def running(fake: FakeServer, port: int, requests: int | None = None) -> Iterator[None]:
    """The server in a thread, until the block ends or it has seen so many requests."""
    loop, end = asyncio.new_event_loop(), asyncio.Event()
    up = threading.Event()

    async def serve() -> None:
        async with fake.running(port):
            up.set()
            await end.wait()

    def script(prompt: str, seed: int) -> str:
        if len(fake.bodies) == requests:
            end.set()
        return "The answer is 7."

    fake.script = script
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    up.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as reserved:
        yield reserved


def test_a_run_ends_with_one_line_and_goes_on_when_the_server_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("problems.jsonl").write_text(
        "".join(json.dumps({"id": f"p{n}", "prompt": f"What is {n} + 0?", "answer": 7}) + "\n" for n in range(200))
    )

    def command() -> tuple[int, str]:
        arguments = "metagen solve problems.jsonl -s Vote(2) --load own.py -m server --out run --concurrency 8"
        monkeypatch.setattr(sys, "argv", arguments.split())
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    def kept() -> Counter[str]:
        return Counter(json.loads(line)["problem"] for line in Path("run/solutions.jsonl").read_text().splitlines())

    first = FakeServer()
    with running(first, port, requests=60):
        Path("own.py").write_text(OWN.format(url=first.url))
        code, said = command()
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("metagen: ")]
    assert "has not answered for 0.3 s" in line
    assert "What is solved is kept: run the same command to continue" in line
    assert "Traceback" not in said
    before = kept()
    assert 30 <= len(before) < 200

    again = FakeServer()
    with running(again, port):
        assert command()[0] == 0
    after = kept()
    assert len(after) == 200
    assert set(after.values()) == {1}, "a problem was kept twice"
    asked = {body["messages"][0]["content"] for body in again.bodies}
    assert len(asked) == 200 - len(before), "what was solved is not asked again"
