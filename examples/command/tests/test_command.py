import asyncio
import os
import sys
from pathlib import Path

import pytest
from metagen_command import Command

from metagen import InputError, Vote, Within, solve

PROGRAM = """
import os, sys
prompt = sys.stdin.read()
if "fail" in prompt:
    sys.exit("no such luck")
print(f"{len(prompt)} characters, seed {os.environ.get('METAGEN_SEED')}. The answer is 7.")
"""


@pytest.fixture
def command(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    return f"{sys.executable} {tmp_path / 'program.py'}"


def test_the_program_reads_the_prompt_and_writes_the_reply(command: str) -> None:
    solution = asyncio.run(solve("What is 3 + 4?", Vote(2), Command(command), seed=5))
    assert solution.answer == "7"
    assert solution.text.startswith("14 characters, seed ")
    assert "None" not in solution.text


def test_a_program_that_fails_costs_the_sample_and_says_why(command: str) -> None:
    solution = asyncio.run(solve("Please fail.", Vote(2), Command(command)))
    assert solution.failed
    assert "ended with code 1: no such luck" in solution.error


def test_a_reply_is_cut_where_the_budget_ends(command: str) -> None:
    solution = asyncio.run(solve("What is 3 + 4?", Within(tokens=30), Command(command)))
    assert solution.usage.tokens == 30


def test_a_cancelled_program_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    backend = Command(f"sh -c 'echo $$ > {pipe}; exec sleep 600'")

    async def cancel() -> int:
        task = asyncio.create_task(solve("?", Vote(1), backend))
        process = int(await asyncio.to_thread(pipe.read_text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return process

    process = asyncio.run(cancel())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize("command", ["", "no-such-program --really"])
def test_what_is_no_program_is_refused(command: str) -> None:
    with pytest.raises(InputError, match="names no program on this machine"):
        Command(command)
