"""Verifiers that run a candidate's code, in a sandbox."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib.resources import files
from typing import TypeAlias, TypeGuard

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, ToolError
from metagen.execution.blocks import PYTHON, last_block
from metagen.execution.limits import MIB
from metagen.execution.processes import Finished
from metagen.execution.programs import PYTHON_MEMORY, checked_settings, limits, run_python, why, worked
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import spelled
from metagen.tasks import together

_HARNESS = files("metagen.execution") / "harness.py"


@dataclass(frozen=True, slots=True, repr=False)
class PassesTests:
    """The oracle for code (Chen et al. 2021): the candidate's Python passes the unit tests.

    The code is the candidate's last fenced block of Python, or its whole text. The tests are `problem.answer`, or
    `tests`: one text for all problems, or one for each by the problem's id. They are Python, which sees the code's
    names and passes if it raises nothing; or, as in APPS (Hendrycks et al. 2021), a JSON object of `inputs` and
    `outputs`: what the code must print for each standard input, up to space at the ends of lines.

    1 if all pass, else 0, and the reason is the last line of the errors. No verdict where the sandbox failed. `seconds`
    of work and `memory` in bytes are for each run of the code.
    """

    tests: str | Mapping[str, str] | tuple[tuple[str, str], ...] | None = None
    _: KW_ONLY
    seconds: float = 10.0
    memory: int = 2048 * MIB
    sandbox: Sandbox = CONFINED

    __repr__ = spelled

    def __post_init__(self) -> None:
        if isinstance(self.tests, Mapping):
            object.__setattr__(self, "tests", tuple(self.tests.items()))
        checked_settings(self, self.seconds, self.memory, PYTHON_MEMORY, self.sandbox)
        if not (self.tests is None or isinstance(self.tests, str) or _are_pairs(self.tests)):
            raise InputError(f"PassesTests: tests must be a text or texts by problem id, not {self.tests!r}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run, /) -> list[Score | None]:
        """Judge each candidate by its code; equal code is run once.

        Raises:
            InputError: there are no tests for the problem, or no sandbox can be had here.
        """
        tests = self._tests(problem)
        cases = read_cases(tests, problem.id)
        codes = [last_block(candidate.text, PYTHON) for candidate in candidates]
        distinct = list(dict.fromkeys(codes))
        judged = await together(self._judged(code, tests, cases, run) for code in distinct)
        verdicts = dict(zip(distinct, judged, strict=True))
        return [verdicts[code] for code in codes]

    def _tests(self, problem: Problem) -> str:
        given = self.tests if isinstance(self.tests, str) else dict(self.tests or ()).get(problem.id)
        tests = problem.answer if given is None else given
        if tests is None or not tests.strip():
            raise InputError(f"problem {problem.id!r} has no tests: they are its answer, or PassesTests(tests=...)")
        return tests

    async def _judged(self, code: str, tests: str, cases: "Cases | None", run: Run) -> Score | None:
        try:
            wrong = await (self._tested(code, tests) if cases is None else self._compared(code, cases))
        except ToolError as error:
            run.note(f"not verified: {error}")
            return None
        return Score(0.0, reason=wrong) if wrong else Score(1.0, reason="passed")

    async def _tested(self, code: str, tests: str) -> str:
        """What is wrong with the code, if anything is."""
        word = secrets.token_hex(16)
        files: dict[str, bytes | str] = {"candidate.py": code, "tests.py": tests, "run.py": _HARNESS.read_bytes()}
        finished = await self._python("run.py", files, word)
        passed = worked(finished) and word.encode() in finished.out
        return "" if passed else why(finished, self.seconds)

    async def _compared(self, code: str, cases: "Cases") -> str:
        for number, (given, expected) in enumerate(cases, 1):
            finished = await self._python("candidate.py", {"candidate.py": code}, given)
            if not worked(finished):
                return f"input {number}: {why(finished, self.seconds)}"
            if _lines(finished.out.decode(errors="replace")) != _lines(expected):
                return f"input {number}: wrong output"
        return ""

    async def _python(self, program: str, files: Mapping[str, bytes | str], stdin: str) -> Finished:
        return await run_python(program, files, stdin, self.sandbox, limits(self.seconds, self.memory))


Cases: TypeAlias = Sequence[tuple[str, str]]
"""Standard inputs, and what is to be printed for each."""


def read_cases(tests: str, problem: str) -> Cases | None:
    """Read `{"inputs": [...], "outputs": [...]}`; `None` for what is no JSON object, and so Python.

    Raises:
        InputError: an object that does not hold as many outputs as inputs, all texts.
    """
    try:
        cases = json.loads(tests)
    except (ValueError, RecursionError):
        return None
    if not isinstance(cases, dict):
        return None
    inputs, outputs = cases.get("inputs"), cases.get("outputs")
    if not (_are_texts(inputs) and _are_texts(outputs) and len(inputs) == len(outputs) > 0):
        raise InputError(f"problem {problem!r}: its tests need as many outputs as inputs, one or more, which are texts")
    return list(zip(inputs, outputs, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_pairs(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(pair, tuple) and _are_texts(list(pair[:2])) for pair in value)
