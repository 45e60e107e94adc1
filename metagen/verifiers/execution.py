"""Verifiers that run a candidate's code, in a sandbox."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib.resources import files

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, ToolError
from metagen.execution.imports import is_importable
from metagen.execution.limits import MIB
from metagen.execution.processes import Finished
from metagen.execution.programs import PYTHON_MEMORY, checked_settings, limits, run_python, why, worked
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.execution.suites import Cases, Suite, are_texts, completes, last_program, read_tests
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import spelled
from metagen.tasks import together

_HARNESS = files("metagen.execution") / "harness.py"


@dataclass(frozen=True, slots=True, repr=False)
class PassesTests:
    """The oracle for code (Chen et al. 2021): the candidate's Python passes the unit tests.

    The code is the candidate's last fenced block of Python that is not just an example of its use, or its whole text;
    behind a prompt that begins a program, as HumanEval's do. The tests are `tests` (one text for all problems, or one
    for each by the problem's id), else `problem.tests`, else `problem.answer`. They are Python, which sees the code's
    names and passes if it raises nothing: statements, classes of unittest, functions as pytest runs them. Or, as in
    APPS (Hendrycks et al. 2021), they are a JSON object of `inputs` and `outputs`: what the code must print for each
    standard input, up to space at the ends of lines. A test that the code itself skips or leaves has failed. Tests that
    run nothing are refused.

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
        tests = self.check_problem(problem)
        codes = [completes(problem.prompt, last_program(candidate.text)) for candidate in candidates]
        distinct = list(dict.fromkeys(codes))
        judged = await together(self._judged(code, tests, run) for code in distinct)
        verdicts = dict(zip(distinct, judged, strict=True))
        return [verdicts[code] for code in codes]

    def check_problem(self, problem: Problem) -> Suite | Cases:
        """The tests of a problem.

        Raises:
            InputError: there are none, they would run nothing, or they import what the sandbox does not see.
        """
        return self._read(problem, lambda name: is_importable(name, self.sandbox))

    def check_elsewhere(self, problem: Problem) -> None:
        """The same of tests that other machines run: what these can import is not known here."""
        self._read(problem, lambda _: True)

    def _read(self, problem: Problem, importable: Callable[[str], bool]) -> Suite | Cases:
        tests = self._tests(problem)
        try:
            return read_tests(tests, problem.id, importable)
        except InputError as error:
            if tests is not problem.answer:
                raise
            raise InputError(f"{error} (it has no tests but its answer, which is {tests[:40]!r})") from None

    def _tests(self, problem: Problem) -> str:
        given = self.tests if isinstance(self.tests, str) else dict(self.tests or ()).get(problem.id)
        tests = next((each for each in (given, problem.tests, problem.answer) if each is not None), None)
        if tests is None or not tests.strip():
            raise InputError(
                f"problem {problem.id!r} has no tests: they are its `tests`, its answer, or PassesTests(tests=...)"
            )
        return tests

    async def _judged(self, code: str, tests: Suite | Cases, run: Run) -> Score | None:
        try:
            wrong = await (self._tested(code, tests) if isinstance(tests, Suite) else self._compared(code, tests))
        except ToolError as error:
            run.note(f"not verified: {error}")
            return None
        return Score(0.0, reason=wrong) if wrong else Score(1.0, reason="passed")

    async def _tested(self, code: str, tests: Suite) -> str:
        """What is wrong with the code, if anything is."""
        word = secrets.token_hex(16)
        harness = _HARNESS.read_bytes()
        files: dict[str, bytes | str] = {"candidate.py": code, "test_code.py": tests.text, "run.py": harness}
        finished = await self._python("run.py", files, f"{tests.runner:8}{word}")
        passed = worked(finished) and word.encode() in finished.out
        return "" if passed else why(finished, self.seconds)

    async def _compared(self, code: str, cases: Cases) -> str:
        for number, (given, expected) in enumerate(cases, 1):
            room = max(MIB, 2 * len(expected.encode(errors="replace")))  # a wrong output may well be longer
            finished = await self._python("candidate.py", {"candidate.py": code}, given, room)
            if not worked(finished):
                return f"input {number}: {why(finished, self.seconds)}"
            if _lines(finished.out.decode(errors="replace")) != _lines(expected):
                return f"input {number}: wrong output"
        return ""

    async def _python(self, program: str, files: Mapping[str, bytes | str], stdin: str, output: int = MIB) -> Finished:
        return await run_python(program, files, stdin, self.sandbox, limits(self.seconds, self.memory, output))


def _lines(text: str) -> list[str]:
    """The lines without space at their ends; a form feed and its like end none."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _are_pairs(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and are_texts(list(pair)) for pair in value
    )
