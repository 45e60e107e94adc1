"""A model that is a program: it reads a prompt on its standard input and writes its reply to its standard output."""

import asyncio
import os
import shlex
from asyncio.subprocess import PIPE
from shutil import which

from metagen import GenerationError, InputError, Request, Scripted


class Command(Scripted):
    """Serves the program `command`, which is started once a sample; as many samples run at once as are asked for.

    `Scripted` does the rest: it opens, counts, cuts at stop strings and limits, and draws n samples as n calls. So a
    token is a character. The program is killed when its request is cancelled. Where a request has a seed, the program
    finds it in the environment as `METAGEN_SEED`.

    Raises `InputError` if there is no such program, and `GenerationError` for a sample whose program fails.
    """

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        if not self._command or which(self._command[0]) is None:
            raise InputError(f"Command: {command!r} names no program on this machine")
        super().__init__(self._write_reply, name=f"command:{command}")

    async def _write_reply(self, request: Request) -> str:
        seed = {} if request.seed is None else {"METAGEN_SEED": str(request.seed)}
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | seed
        )
        try:
            out, err = await process.communicate((request.prompt + request.partial).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = " ".join(err.decode(errors="replace").split())[-200:]
            raise GenerationError(f"{self.name} ended with code {process.returncode}: {said}")
        return out.decode(errors="replace").strip()
