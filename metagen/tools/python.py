"""Python, in a sandbox."""

from dataclasses import KW_ONLY, dataclass

from metagen.errors import ToolRefusal
from metagen.execution.blocks import PYTHON, last_block
from metagen.execution.limits import MIB
from metagen.execution.programs import PYTHON_MEMORY, checked_settings, limits, run_python, why, worked
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.settings import spelled


@dataclass(frozen=True, slots=True, repr=False)
class Python:
    """What a program prints: the text's last fenced block of Python, or the whole text.

    It runs in a sandbox, for at most `seconds` of work and with `memory` in bytes, and sees this Python's packages.
    Refuses a program that fails, with the last line of its errors, one that passes a limit, and one that prints
    nothing.
    """

    _: KW_ONLY
    seconds: float = 10.0
    memory: int = 2048 * MIB
    sandbox: Sandbox = CONFINED

    __repr__ = spelled

    def __post_init__(self) -> None:
        checked_settings(self, self.seconds, self.memory, PYTHON_MEMORY, self.sandbox)

    async def __call__(self, text: str, /) -> str:
        files = {"program.py": last_block(text, PYTHON)}
        finished = await run_python("program.py", files, "", self.sandbox, limits(self.seconds, self.memory))
        if not worked(finished):
            raise ToolRefusal(why(finished, self.seconds))
        printed = finished.out.decode(errors="replace").rstrip()
        if not printed:
            raise ToolRefusal("the program prints nothing")
        return printed
