"""What code does: its outcomes on calls, assertions or inputs, in a sandbox."""

import ast
import secrets
from collections.abc import Sequence
from importlib.resources import files
from typing import Literal

from metagen.execution.limits import Limits
from metagen.execution.programs import run_python, why, worked
from metagen.execution.sandbox import Sandbox
from metagen.execution.suites import compiles, parsed

Kind = Literal["call", "assert", "input"]
"""A probe is an expression, a statement that asserts, or a text on standard input."""
PASSED = "True"
"""The outcome of an assertion that holds."""

_PROBER = files("metagen.execution") / "prober.py"


def kind_of(probe: str) -> Kind:
    """Tell whether a probe is an assertion or a call. What cannot stand in a function is a text on standard input."""
    tree = parsed(probe.strip())
    kind: Kind = "input"
    if tree is not None and len(tree.body) == 1:
        (statement,) = tree.body
        if isinstance(statement, ast.Assert):
            kind = "assert"
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            kind = "call"
    return kind if kind == "input" or compiles(_function(0, probe, kind)) else "input"


async def outcomes(code: str, probes: Sequence[str], sandbox: Sandbox, limits: Limits) -> tuple[str, ...]:
    """Return what comes of each probe: what a call returns, whether an assertion holds, what is printed for an input.

    A probe that ends the program ends those behind it too.

    Raises:
        InputError: no sandbox can be had here.
        ToolError: the sandbox did not start.
    """
    inside = [probe for probe in probes if kind_of(probe) != "input"]
    found = dict(zip(inside, await _inside(code, inside, sandbox, limits), strict=True)) if inside else {}
    for probe in probes:
        if probe not in found:
            finished = await run_python("candidate.py", {"candidate.py": code}, probe, sandbox, limits)
            printed = finished.out.decode(errors="replace").rstrip()
            found[probe] = f"printed {printed}" if worked(finished) else f"failed {why(finished, limits.seconds)}"
    return tuple(found[probe] for probe in probes)


async def _inside(code: str, probes: Sequence[str], sandbox: Sandbox, limits: Limits) -> list[str]:
    """The outcomes of calls and assertions, in one process."""
    word = secrets.token_hex(16)
    functions = map(_function, range(len(probes)), probes, map(kind_of, probes))
    program = "\n".join(["from candidate import *", *functions, "PROBES = []"])
    program += "".join(f"\nPROBES.append(probe_{number})" for number in range(len(probes)))
    contents: dict[str, bytes | str] = {
        "candidate.py": code,
        "probes.py": program,
        "prober.py": _PROBER.read_bytes(),
    }
    finished = await run_python("prober.py", contents, word, sandbox, limits)
    lines = [line for line in finished.out.decode(errors="replace").splitlines() if line.startswith(word)]
    given = [line.removeprefix(f"{word} ") for line in lines[: len(probes)]]
    return given + [f"failed {why(finished, limits.seconds)}"] * (len(probes) - len(given))


def _function(number: int, probe: str, kind: Kind) -> str:
    """A probe as a function of its own."""
    probe = probe.strip()
    body = f"return ({_shown(probe)}\n    )" if kind == "call" else f"{probe}\n    return True"
    return f"def probe_{number}():\n    {body}"


def _shown(call: str) -> str:
    """The arguments of a call of `print`, which itself returns nothing, as a tuple. Any other call is left as it is."""
    match parsed(call):
        case ast.Module([ast.Expr(ast.Call(ast.Name("print"), [first, *others], []))]):
            return "".join(f"{ast.unparse(each)}, " for each in (first, *others))
    return call
