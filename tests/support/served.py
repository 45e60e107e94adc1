"""A real `vllm serve`, in a process of its own."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.fake_server import reserved_port
from tests.support.timing import block_until

SERVE = "vllm.entrypoints.openai.api_server"
OPTIONS = ("--enforce-eager", "--dtype", "float32", "--block-size", "32", "--no-enable-chunked-prefill")


@contextmanager
def serving(model: Path, folder: Path, *options: str) -> Iterator[str]:
    """Serve a model under the name of its folder, without `-moe`; the address of the server, once it is up."""
    log = folder / "log"
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with reserved_port() as port, log.open("w") as file:
        name = model.name.removesuffix("-moe")
        where = ("--model", str(model), "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port))
        command = [sys.executable, "-m", SERVE, *where, *OPTIONS, *options]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, process_group=0)
        try:
            block_until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/health"))
            assert process.poll() is None, log.read_text()[-2000:]
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """With what belongs to it, even while it is starting: then it does not hear that it is to end."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except OSError:
        return False
    return True
