from typing import Any

import pytest

from metagen import InputError, Python, Sandbox, ToolError, ToolRefusal
from metagen.execution.processes import Finished
from tests.support.confined import needs_sandbox


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"memory": 1}, {"sandbox": None}])
def test_settings_that_are_none_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Python: {next(iter(settings))}"):
        Python(**settings)


async def test_a_sandbox_that_fails_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> Finished:
        raise ToolError("no room")

    monkeypatch.setattr(Sandbox, "run", fails)
    with pytest.raises(ToolError, match="no room") as raised:
        await Python()("print(1)")
    assert not isinstance(raised.value, ToolRefusal)


@needs_sandbox
@pytest.mark.parametrize(
    "text", ["print(6 * 7)", "So:\n```python\nprint(1)\n```\nor\n```python\nprint(6 * 7)\n\n```\n"]
)
async def test_it_says_what_the_program_prints(text: str) -> None:
    assert await Python(seconds=30.0)(text) == "42"


@needs_sandbox
async def test_what_does_not_end_is_refused() -> None:
    with pytest.raises(ToolRefusal, match="no end within 1 s"):
        await Python(seconds=1.0)("while True: pass")


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print(1 / 0)", "ZeroDivisionError: division by zero"),
        ("The answer is 8.", "SyntaxError: invalid syntax"),
        ("x = 1", "the program prints nothing"),
        ("while True: print('x' * 1000)", "too much output"),
        ("print(open('/etc/passwd').read())", "FileNotFoundError: [Errno 2] No such file or directory: '/etc/passwd'"),
    ],
)
async def test_what_fails_is_refused_with_the_reason(program: str, reason: str) -> None:
    with pytest.raises(ToolRefusal) as refused:
        await Python(seconds=30.0)(program)
    assert str(refused.value) == reason
