"""`metagen serve`, as a process of its own."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.fake_server import FakeServer, reserved_port

SERVE = (sys.executable, "-m", "metagen", "serve", "--model", "Scripted:The answer is 7.")
WIDE = {"COLUMNS": "200"}


def test_it_serves_until_it_is_stopped() -> None:
    command = [*SERVE, "--alias", "math=Vote(4)", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | WIDE) as process:
        assert process.stdout
        url = process.stdout.readline().removeprefix("Serving at ").strip()
        body = json.dumps({"model": "math", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}).encode()
        asked = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as reply:
            assert json.load(reply)["choices"][0]["message"]["content"] == "The answer is 7."
        elsewhere = urllib.request.Request(f"{url}/models", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(elsewhere)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().startswith("Stopped: ")
        assert process.wait() == 0


def test_what_is_under_way_when_it_is_stopped_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import asyncio\n\n"
        "async def slow(problem, run):\n"
        "    print('begun', flush=True)\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('cancelled', flush=True)\n"
    )
    command = [*SERVE, "--load", "slow.py", "--alias", "slow=slow", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | WIDE
    ) as process:
        assert process.stdout
        assert process.stderr
        address = process.stdout.readline().removeprefix("Serving at http://").strip().removesuffix("/v1")
        connection = http.client.HTTPConnection(address)
        body = json.dumps({"model": "slow", "messages": [{"role": "user", "content": "What is 3 + 4?"}]})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        cancelled, stopped = process.stdout.read().splitlines()
        assert (cancelled, stopped[:9]) == ("cancelled", "Stopped: ")
        assert process.wait() == 0
        assert "Traceback" not in process.stderr.read()
        connection.close()


async def test_it_says_what_its_models_lack_and_which_server_is_away() -> None:
    async with FakeServer(vllm=False).running() as fake:
        with reserved_port() as away:
            command = [*SERVE[:4], "--model", f"{fake.url}, http://127.0.0.1:{away}/v1", "--port", "0"]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | WIDE
            )
            assert process.stdout
            assert (await process.stdout.readline()).startswith(b"Serving at ")
            process.send_signal(signal.SIGTERM)
            _, said = await process.communicate()
    assert b"mock: its context is unknown: 8192 tokens are assumed.\n" in said
    why = f"cannot connect to 127.0.0.1:{away}: Connection refused"
    assert f"mock: a server is left out until it answers: {why}.\n".encode() in said


def test_a_port_in_use_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*SERVE[:-1], "no such model", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert f"--port {port}: cannot be served at: Address already in use; name another port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alias", "math"], "--alias 'math': write NAME=SPEC"),
        (["--alias", "math=Vote(0)"], "n must be a whole number of 1 or more"),
        (["--alias", "math=Number()"], "is not a strategy"),
        (["--alias", 'math=Vote(2, of=Model("other"))'], "names a model 'other'"),
        (["--alias", "a=Vote(2)", "--alias", "a=Vote(3)"], "is given twice"),
        (["--host", "0.0.0.0"], "without keys, only this machine may call"),
        (["--keys", "nothing.toml"], "nothing.toml: cannot be read"),
        (["--money", "5"], "a budget in money needs the price of scripted: give --price"),
        (["--alias", "math=Within(money=5, of=Vote(2))"], "a budget in money needs the price of scripted"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(options: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([*SERVE, *options], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
