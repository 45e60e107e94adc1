"""`metagen doctor`, whose lines go into bug reports."""

import subprocess
import sys
from pathlib import Path

import pytest

from metagen import distribution
from metagen.cli import doctor
from metagen.disk.lines import Appender
from metagen.errors import InputError
from metagen.execution import sandbox
from metagen.models import SHIPPED
from tests.support.fake_server import FakeServer, reserved_port


def test_every_part_is_named_with_its_state() -> None:
    lines = dict(doctor.machine())
    assert lines["metagen"] == distribution.version()
    assert lines["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert {"platform", "vLLM", "GPU", "bubblewrap", "Coq", *SHIPPED} <= lines.keys()
    assert {"metagen[server]", "metagen[parquet]", "metagen[plot]", "metagen[search]", "metagen[train]"} <= lines.keys()
    assert "metagen[dev]" not in lines
    assert all(lines.values())
    assert all("\n" not in line for line in lines.values())


def test_what_is_missing_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise InputError("bubblewrap does not work here (no user namespaces)")

    monkeypatch.setattr(doctor, "installed", lambda _: None)
    monkeypatch.setattr(doctor, "which", lambda _: None)
    monkeypatch.setattr(sandbox, "check_bubblewrap", broken)
    lines = dict(doctor.machine())
    assert lines["vLLM"].startswith("missing (servers can be used without): in a clone of metagen, run `pip install")
    assert lines["metagen[plot]"].startswith('missing matplotlib: in a clone of metagen, run `pip install ".[plot]"`')
    assert lines["GPU"] == "none is seen"
    assert lines["Coq"].startswith("missing: apt-get install coq")
    assert lines["bubblewrap"] == "does not work: bubblewrap does not work here (no user namespaces)"


def test_from_its_sources_alone_it_says_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "DISTRIBUTION", "nobody-has-this-one")
    lines = dict(doctor.machine())
    assert lines["metagen"] == "(nobody-has-this-one is not installed)"
    assert "Coq" in lines
    assert not any(name.startswith("metagen[") for name in lines)


async def test_a_server_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer().running() as server:
        assert await doctor.examine(server.url) == 0
    said = capsys.readouterr().out
    assert "mock: can be used" in said
    assert "dialect          vllm" in said
    assert "context          2,000 tokens" in said
    assert "lacks            nothing" in said


async def test_a_pool_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = tmp_path / "pool.jsonl"
    with Appender(pool) as file:
        file.write([{"problem": "p", "text": "7", "tokens": 20}])
    assert await doctor.examine(str(pool)) == 0
    said = capsys.readouterr().out
    assert f"recorded:{pool}: can be used" in said
    assert "context          20 tokens" in said


async def test_what_a_server_lacks_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer(vllm=False, several=False).running() as server:
        assert await doctor.examine(server.url) == 0
    said = capsys.readouterr().out
    assert "dialect          openai" in said
    assert "lacks            it draws one sample per request" in said
    assert "lacks            its context is unknown: 8192 tokens are assumed" in said


async def test_each_of_several_servers_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer().running() as one, FakeServer(vllm=False).running() as two:
        with reserved_port() as port:
            assert await doctor.examine(f"{one.url},{two.url},http://127.0.0.1:{port}/v1") == 0
    said = capsys.readouterr().out
    assert [said.count(f"dialect          {each}") for each in ("vllm", "openai")] == [1, 1]
    assert f"cannot be used: cannot connect to 127.0.0.1:{port}: Connection refused: is the server running?" in said


async def test_what_to_look_at_is_said_of_a_server_that_cannot_be_opened(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer().running() as server:
        assert await doctor.examine(server.url.replace("http:", "https:")) == 1
    assert capsys.readouterr().out.endswith(": if it speaks plain HTTP, write http://\n")
    assert await doctor.examine("http://models.invalid/v1") == 1
    assert capsys.readouterr().out.endswith(": is its name right?\n")


@pytest.mark.parametrize("kind", ["nobody", "not served", "no backend"])
async def test_a_model_that_cannot_be_opened_is_exit_code_1(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer().running() as server:
        with reserved_port() as port:
            models = {
                "nobody": f"http://127.0.0.1:{port}/v1",
                "not served": f"{server.url}#other",
                "no backend": "Scriptd:7",
            }
            assert await doctor.examine(models[kind]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"model              {models[kind]}: cannot be used: ")


def test_the_command_prints_and_succeeds() -> None:
    call = [sys.executable, "-m", "metagen", "doctor", "--model", "Scripted:7"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8,192 tokens" in done.stdout
