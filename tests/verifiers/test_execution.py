import json
from pathlib import Path
from typing import Any, cast

import pytest

from metagen import (
    BestOf,
    Candidate,
    InputError,
    PassesTests,
    Problem,
    Run,
    Sandbox,
    Score,
    Scripted,
    ToolError,
    parse,
    solve,
)
from metagen.execution.limits import MIB
from metagen.execution.processes import Finished
from metagen.execution.suites import read_cases
from tests.support.confined import needs_sandbox

NO_RUN = cast("Run", None)
PATIENT = 30.0
"""Seconds of work, for what must come out on a busy machine too."""
TESTS = "assert double(2) == 4\nassert double(-1) == -2"
PASSED = Score(1.0, reason="passed")
RIGHT = "def double(x):\n    return 2 * x"

SHOW = """
import gc, os, sys

def show():
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            os.write(1, value if isinstance(value, bytes) else repr(value).encode()[:5000])
        frame = frame.f_back
    os.write(1, repr([each for each in gc.get_objects() if type(each) in (dict, list, tuple)]).encode()[:500_000])
    os._exit(0)
"""
"""Prints whatever the process holds, and leaves."""


async def judged(answer: str | None, *texts: str, **settings: Any) -> list[Score | None]:
    verifier = PassesTests(**{"seconds": PATIENT} | settings)
    return await verifier(Problem("p", "?", answer=answer), [Candidate((text,)) for text in texts], NO_RUN)


@pytest.mark.parametrize(
    ("tests", "cases"),
    [
        ("assert f(1)", None),
        ("1", None),
        ("[1]", None),
        ("[" * 100_000, None),
        ('{"inputs": ["1\\n", ""], "outputs": ["2", "3"]}', [("1\n", "2"), ("", "3")]),
    ],
)
def test_read_cases(tests: str, cases: object) -> None:
    assert read_cases(tests, "p") == cases


@pytest.mark.parametrize(
    "cases", [{}, {"inputs": []}, {"inputs": [], "outputs": []}, {"inputs": ["1"], "outputs": []}, {"fn_name": "f"}]
)
def test_cases_that_do_not_pair_are_refused(cases: object) -> None:
    with pytest.raises(InputError, match="'p': its tests need as many outputs as inputs"):
        read_cases(json.dumps(cases), "p")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seconds": 0}, "PassesTests: seconds"),
        ({"seconds": float("nan")}, "PassesTests: seconds"),
        ({"seconds": "10"}, "PassesTests: seconds must be .* not '10'"),
        ({"seconds": True}, "PassesTests: seconds"),
        ({"memory": 1000}, "PassesTests: memory must be a whole number of 134217728"),
        ({"sandbox": None}, "PassesTests: sandbox"),
        ({"tests": 3}, "PassesTests: tests"),
        ({"tests": ("a", "b")}, "PassesTests: tests"),
        ({"tests": (("a", "b", "c"),)}, "PassesTests: tests"),
        ({"tests": ((),)}, "PassesTests: tests"),
        ({"tests": {"p": 3}}, "PassesTests: tests"),
    ],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PassesTests(**settings)


def test_tests_by_problem_are_a_setting_like_others() -> None:
    verifier = PassesTests({"p": 'assert "1"'})
    strategy = BestOf(2, by=verifier)
    assert repr(verifier) == r'PassesTests((("p", "assert \"1\""),))'
    assert parse(repr(strategy)) == strategy
    assert {verifier: 1}[PassesTests((("p", 'assert "1"'),))] == 1


def test_a_spec_cannot_leave_the_sandbox_unless_it_is_given_the_name() -> None:
    strategy = BestOf(2, by=PassesTests(sandbox=Sandbox(unsafe=True)))
    with pytest.raises(InputError, match="'Sandbox' is not known"):
        parse(repr(strategy))
    assert parse(repr(strategy), {"Sandbox": Sandbox}) == strategy


@pytest.mark.parametrize("tests", [None, "", " \n"])
async def test_a_problem_without_tests_is_refused(tests: str | None) -> None:
    with pytest.raises(InputError, match="'p' has no tests"):
        await judged(tests, RIGHT)
    with pytest.raises(InputError, match="'p' has no tests"):
        await judged(tests, RIGHT, tests={"q": TESTS})


async def test_a_sandbox_that_fails_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> Finished:
        raise ToolError("no room")

    monkeypatch.setattr(Sandbox, "run", fails)
    solution = await solve(Problem("p", "?", answer=TESTS), BestOf(1, by=PassesTests()), Scripted(RIGHT))
    assert "not verified: no room" in str(solution)


CASE = """
import unittest
class Test(unittest.TestCase):
    def test(self):
        for x in (1, 2):
            with self.subTest(x=x): self.assertEqual(double(x), 2 * x)
"""
SKIPPED = (
    "import unittest\nclass Skipped(unittest.TestCase):\n"
    "    @classmethod\n    def setUpClass(cls): raise unittest.SkipTest('not here')\n"
)


HOLDS = "total = 5\ndef read(): return int(input())"


@needs_sandbox
class TestWithTests:
    async def test_code_is_judged_by_its_tests(self) -> None:
        wrong = "def double(x): return x"
        texts = (RIGHT, f"So:\n```python\n{RIGHT}\n```", wrong, "double = 1", "def double(x", "import nonesuch", "")
        scores = await judged(TESTS, *texts)
        assert scores[:2] == [PASSED] * 2
        assert [score and score.value for score in scores[2:]] == [0.0] * 5
        assert [score.reason for score in scores[2:] if score] == [
            "AssertionError",
            "TypeError: 'int' object is not callable",
            "SyntaxError: '(' was never closed",
            "ModuleNotFoundError: No module named 'nonesuch'",
            "NameError: name 'double' is not defined",
        ]

    async def test_tests_for_all_or_for_each_go_before_the_answer(self) -> None:
        assert await judged("assert False", RIGHT, tests=TESTS) == [PASSED]
        assert await judged("assert False", RIGHT, tests={"p": TESTS, "q": "assert False"}) == [PASSED]
        assert await judged(TESTS, RIGHT, tests={"q": "assert False"}) == [PASSED]

    async def test_no_candidates_no_verdicts(self) -> None:
        assert await judged(TESTS) == []

    async def test_a_main_part_and_reading_input_are_no_matter(self) -> None:
        code = f"{RIGHT}\n_private = 3\nif __name__ == '__main__':\n    print(double(int(input())))"
        assert await judged(f"{TESTS}\nassert _private == 3", code) == [PASSED]

    async def test_classes_of_unittest_and_check_functions_work(self) -> None:
        unit = """
import unittest
class Test(unittest.TestCase):
    def test(self): self.assertEqual(double(2), 4)
if __name__ == "__main__":
    unittest.main()
"""
        check = "def check(candidate):\n    assert candidate(2) == 4\ncheck(double)"
        wrong = "def double(x): return x"
        for tests in (unit, check):
            scores = await judged(tests, RIGHT, wrong)
            assert [score and score.value for score in scores] == [1.0, 0.0]

    @pytest.mark.parametrize(
        "tests",
        [
            "async def test_double():\n    assert double(2) == 4",
            "async def test_double(tmp_path):\n    assert double(2) == 4",
            "import unittest\nclass T(unittest.TestCase):\n    async def test(self): self.assertEqual(double(2), 4)",
            (
                "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n"
                "    async def test(self): self.assertEqual(double(2), 4)"
            ),
            "import asyncio\nasync def check(f):\n    assert f(2) == 4\nasyncio.run(check(double))",
        ],
    )
    async def test_async_tests_run(self, tests: str) -> None:
        scores = await judged(tests, RIGHT, "def double(x): return x", "pass")
        assert [score and score.value for score in scores] == [1.0, 0.0, 0.0]

    @pytest.mark.parametrize(
        ("tests", "values"),
        [
            ("def test_double():\n    yield\n    assert double(2) == 4", [0.0, 0.0]),
            (f"{SKIPPED}    def test(self): self.assertEqual(double(2), 4)", [0.0, 0.0]),
            (f"{SKIPPED}    def test(self): self.fail()\ndef test_double():\n    assert double(2) == 4", [1.0, 0.0]),
            (
                (
                    "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
                    "        with self.subTest(): self.skipTest('a part')\n        self.assertEqual(double(2), 4)"
                ),
                [1.0, 0.0],
            ),
            (
                (
                    "import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n"
                    "    def test(self): self.assertNotEqual(double(2), 4)"
                ),
                [1.0, 0.0],
            ),
        ],
    )
    async def test_what_does_not_run_passes_nothing(self, tests: str, values: list[float]) -> None:
        scores = await judged(tests, RIGHT, "def double(x): return x")
        assert [score and score.value for score in scores] == values

    @pytest.mark.parametrize(
        "tests",
        [
            "def test_one(tmp_path):\n    assert double(1) == 2\ndef test_two(tmp_path):\n    assert double(2) == 4",
            "def test_one():\n    assert double(1) == 2\ndef test_two():\n    assert double(2) == 4",
            CASE,
            f"import pytest\n{CASE}",
        ],
        ids=["pytest", "functions", "unittest", "unittest by pytest"],
    )
    async def test_what_the_code_skips_or_leaves_has_failed(self, tests: str) -> None:
        raised = [
            "KeyboardInterrupt",
            "SystemExit",
            "unittest.SkipTest('x')",
            "pytest.skip('x')",
            "pytest.xfail('x')",
            "pytest.exit('x')",
            "pytest.exit('x', returncode=0)",
        ]
        code = "import pytest, unittest\ndef double(x):\n    if x != 1: raise {}\n    return 2"
        always = "import unittest\ndef double(x): raise unittest.SkipTest"
        scores = await judged(tests, RIGHT, *map(code.format, raised), always)
        assert [score and score.value for score in scores] == [1.0] + [0.0] * (len(raised) + 1)

    async def test_code_that_empties_the_file_of_tests_is_tested_all_the_same(self) -> None:
        emptied = "open('test_code.py', 'w').close()\n"
        for tests in ("assert double(2) == 4", "def test_double():\n    assert double(2) == 4"):
            scores = await judged(tests, emptied + RIGHT, f"{emptied}def double(x): return x")
            assert [score and score.value for score in scores] == [1.0, 0.0]

    async def test_tests_may_skip_what_the_code_does_not_offer(self) -> None:
        tests = """
import pytest
def test_double(): assert double(2) == 4
def test_of_text():
    try: double("a")
    except ValueError: pytest.skip("no texts")
"""
        assert await judged(tests, "def double(x):\n    if x == 'a': raise ValueError\n    return 2 * x") == [PASSED]

    @pytest.mark.parametrize("fixture", ["", "tmp_path"])
    async def test_what_the_tests_call_a_test_and_the_code_made_is_none(self, fixture: str) -> None:
        code = f"{RIGHT}\ndef maker(n): return lambda x: x + n\nclass Model:\n    def __call__(self, x): return x"
        tests = f"""
test_function, test_add, test_model = double, maker(5), Model()
def test_all({fixture}):
    assert test_function(2) == 4 and test_add(1) == 6 and test_model(3) == 3
"""
        assert await judged(tests, code) == [PASSED]

    async def test_the_reason_is_what_failed(self) -> None:
        wrong = "def double(x): return x"
        unit = "import unittest\nclass Test(unittest.TestCase):\n    def test(self): self.assertEqual(double(1), 2)"
        for tests in (unit, f"import pytest\n{unit}"):
            assert await judged(tests, wrong) == [Score(0.0, reason="AssertionError: 1 != 2")]

    @pytest.mark.parametrize("fixture", ["", "tmp_path"])
    async def test_what_the_code_calls_a_test_is_none(self, fixture: str) -> None:
        code = f"""
from typing import NamedTuple
class Point(NamedTuple):
    x: int
    def __call__(self): raise ValueError
test_point = Point(3)
def test_mine(): assert False
class TestMine:
    def test_mine(self): assert False
{RIGHT}
"""
        assert await judged(f"def test_double({fixture}): assert double(2) == 4", code) == [PASSED]

    async def test_tests_see_what_the_code_holds_now(self) -> None:
        code = "calls = 0\ndef double(x):\n    global calls\n    calls += 1\n    return 2 * x\ndef sum(x): return 7"
        tests = """
import __main__
double(2)
assert calls == __main__.calls == 1 and sum([]) == 7 and "double" in globals()
def test_double(): assert double(2) == 4 and calls == 2
"""
        assert await judged(tests, code) == [PASSED]

    @pytest.mark.parametrize("code", [HOLDS, f"{HOLDS}\ndef count():\n    global calls\n    calls = 1"])
    async def test_tests_may_replace_builtins_and_look_into_globals(self, code: str) -> None:
        tests = """
import __main__
from unittest.mock import mock_open, patch
with patch("builtins.input", return_value="4"):
    assert read() == int(input()) == 4
with patch("builtins.open", mock_open(read_data="5")):
    assert open("x").read() == "5"
assert "total" in globals() and globals()["total"] == globals().get("total") == vars(__main__)["total"] == total == 5
assert "total" in dir()
"""
        assert await judged(tests, code) == [PASSED]

    async def test_code_that_sets_no_global_name_costs_its_tests_no_time(self) -> None:
        tests = "import builtins\nassert __builtins__ is vars(builtins) and read and total == 5"
        assert await judged(tests, HOLDS) == [PASSED]

    @pytest.mark.parametrize(
        "code",
        [
            "pytestmark = pytest.mark.xfail",
            "@pytest.fixture(autouse=True)\ndef mine(request): request.node.add_marker(pytest.mark.xfail)",
            "def setup_function(function): pytest.xfail('x')",
            "def pytest_generate_tests(metafunc): metafunc.definition.add_marker(pytest.mark.xfail)",
            "class Base: pytestmark = pytest.mark.xfail",
            "def as_it_is(function): return pytest.mark.xfail(function)",
        ],
    )
    async def test_the_code_expects_no_failures(self, code: str) -> None:
        base = "def as_it_is(function): return function\nclass Base: pass"
        tests = """
def test_one(tmp_path): assert double(1) == 2
@as_it_is
def test_two(): assert double(2) == 4
class TestThree(Base):
    def test_three(self): assert double(3) == 6
"""
        wrong = f"import pytest\n{base}\n{code}\ndef double(x): return 2"
        scores = await judged(tests, f"{base}\n{RIGHT}", wrong)
        assert [score and score.value for score in scores] == [1.0, 0.0]

    async def test_the_code_expects_no_failures_of_unittest(self) -> None:
        tests = """
import unittest
class Test(unittest.TestCase):
    def test_one(self): self.assertEqual(double(1), 2)
    @as_it_is
    def test_two(self): self.assertEqual(double(2), 4)
"""
        codes = ["def as_it_is(f): return f", "from unittest import expectedFailure as as_it_is"]
        scores = await judged(tests, f"{codes[0]}\n{RIGHT}", *(f"{code}\ndef double(x): return 2" for code in codes))
        assert [score and score.value for score in scores] == [1.0, 0.0, 0.0]

    async def test_tests_may_expect_failures(self) -> None:
        tests = "import pytest\n@pytest.mark.xfail\ndef test_half(): assert double(1) == 1\n"
        assert await judged(f"{tests}def test_double(): assert double(1) == 2", RIGHT) == [PASSED]

    @pytest.mark.parametrize("fixture", ["", "tmp_path"])
    async def test_tests_that_the_code_decorates_run(self, fixture: str) -> None:
        code = "def timed(function):\n    def wrapped(*given): return function(*given)\n    return wrapped"
        tests = f"""
def test_other({fixture}): pass
@timed
def test_double(): assert double(2) == 4
class TestIt:
    @timed
    def test_double(self): assert double(2) == 4
"""
        tests = tests if fixture else tests.partition("class")[0]
        scores = await judged(tests, f"{code}\n{RIGHT}", f"{code}\ndef double(x): return x")
        assert [score and score.value for score in scores] == [1.0, 0.0]

    async def test_tests_that_import_what_the_sandbox_does_not_see_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "metagen_helper.py").write_text("def ok(x): return x == 4")
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in ("metagen_helper", "numpy.nothing", "os.nothing"):
            with pytest.raises(InputError, match=f"'p': its tests import '{name}', which is not installed here, or"):
                await judged(f"import {name}\nassert double(2) == 4", RIGHT)
        assert await judged("import os.path, numpy.testing\nassert double(2) == 4", RIGHT) == [PASSED]

    async def test_a_plugin_of_pytest_that_is_not_readable_there_costs_no_verdict(self) -> None:
        tests = """
import pathlib
folder = pathlib.Path("far-1.0.dist-info")
folder.mkdir()
(folder / "METADATA").write_text("Name: far\\nVersion: 1.0")
(folder / "entry_points.txt").write_text("[pytest11]\\nfar = nonesuch.plugin")
def test_double(capsys): assert double(2) == 4
"""
        scores = await judged(tests, RIGHT, "def double(x): return x")
        assert [score and score.value for score in scores] == [1.0, 0.0]

    async def test_dataclasses_and_workers_work(self) -> None:
        code = """
from dataclasses import dataclass
from concurrent.futures import ProcessPoolExecutor
@dataclass
class Box:
    n: int
def one(n): return Box(n)
def double(x):
    with ProcessPoolExecutor(2) as pool: return sum(box.n for box in pool.map(one, [x, x]))
"""
        assert await judged(TESTS, code) == [PASSED]

    @pytest.mark.parametrize(
        "code",
        [
            "import sys; sys.exit(0)",
            "exit()",
            "raise SystemExit",
            "import os; os._exit(0)",
            "def double(x): exit()",
            "def double(x): raise SystemExit(0)",
            "def double(x):\n    import os\n    os._exit(0)",
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "import os; os.execv('/bin/true', ['true'])",
            "print('passed')\nimport sys; sys.exit()",
            "import sys\nprint(sys.argv, open('run.py').read())\nsys.exit()",
            "import threading, os\nthreading.Thread(target=os._exit, args=(0,)).start()",
            "open('tests.py', 'w')\nimport os; os._exit(0)",
            "def __getattr__(name): return lambda x: 2 * x",
            f"{SHOW}\nshow()",
            f"{SHOW}\ndef double(x): show()",
        ],
    )
    async def test_leaving_early_is_not_passing(self, code: str) -> None:
        (score,) = await judged(TESTS, code)
        assert score is not None
        assert score.value == 0

    async def test_a_program_that_knows_the_harness_can_report_success_itself_as_the_page_says(self) -> None:
        """The code and its tests share a process, so it can do whatever the harness does: docs/sandbox.md."""
        code = """
import os
for descriptor in map(int, os.listdir("/proc/self/fd")):
    if descriptor > 2 and os.path.exists(path := f"/proc/self/fd/{descriptor}") and "pipe" in os.readlink(path):
        try:
            os.write(1, os.read(descriptor, 64))
        except OSError:
            pass
os._exit(0)
"""
        assert await judged(TESTS, code) == [PASSED]

    async def test_what_is_hostile_costs_one_verdict(self) -> None:
        hostile = {
            "no end within 2 s": "while True: pass",
            "too much output": "while True: print('x' * 10000)",
            "MemoryError": "x = bytearray(1 << 40)",
            "ended by signal 9": "import os\nos.kill(os.getpid(), 9)",
            "PermissionError": "import os; os.kill(1, 9); os.setuid(0)",
            "Read-only file system": "open('/usr/x', 'w')",
            "not supported by protocol": "import socket; socket.socket(socket.AF_INET)",
            "no end within 2 s ": "import os\nfor _ in range(2): os.fork()\nwhile True: pass",
        }
        scores = await judged(TESTS, RIGHT, *hostile.values(), f"{RIGHT}\n", seconds=2)
        assert (scores[0], scores[-1]) == (PASSED, PASSED)
        reasons = [score.reason for score in scores[1:-1] if score and not score.value]
        assert len(reasons) == len(hostile)
        assert all(reason.strip() in said or "signal" in said for reason, said in zip(hostile, reasons, strict=True)), (
            reasons
        )


@needs_sandbox
class TestWithOutputs:
    CASES = json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7"]})

    async def test_code_is_judged_by_what_it_prints(self) -> None:
        scores = await judged(
            self.CASES,
            "print(sum(map(int, input().split())))",
            "if __name__ == '__main__':\n    print(sum(map(int, input().split())), ' ')\n    print()",
            "print(3)",
            "print(1 / 0)",
            "import sys\nprint(sum(map(int, input().split())))\nsys.exit(3)",
            "print('3 7')",
        )
        assert scores == [
            PASSED,
            PASSED,
            Score(0.0, reason="input 2: wrong output"),
            Score(0.0, reason="input 1: ZeroDivisionError: division by zero"),
            Score(0.0, reason="input 1: exit code 3"),
            Score(0.0, reason="input 1: wrong output"),
        ]

    async def test_an_output_may_be_as_long_as_it_is_to_be(self) -> None:
        cases = json.dumps({"inputs": [""], "outputs": ["x" * (MIB + 10)]})
        codes = [f"print('x' * {length})" for length in (MIB + 10, MIB + 11, 3 * MIB)]
        assert await judged(cases, *codes) == [
            PASSED,
            Score(0.0, reason="input 1: wrong output"),
            Score(0.0, reason="input 1: too much output"),
        ]

    @pytest.mark.parametrize("end", ["\f", "\v", "\x1c", "\x85", "\u2028"])
    async def test_a_line_ends_with_a_newline_alone(self, end: str) -> None:
        cases = json.dumps({"inputs": [""], "outputs": ["1\n2"]})
        codes = [f"print({text!r})" for text in (f"1{end}2", "1\r\n2")]
        assert await judged(cases, *codes) == [Score(0.0, reason="input 1: wrong output"), PASSED]

    async def test_the_expected_output_is_nowhere_to_be_read(self) -> None:
        code = "import os\nprint(sorted(os.listdir()), len(os.sys.argv), open('/proc/self/cmdline').read())"
        cases = json.dumps({"inputs": [""], "outputs": ["['candidate.py'] 1"]})
        (score,) = await judged(cases, code)
        assert score == Score(0.0, reason="input 1: wrong output")
        assert await judged(cases, "import os\nprint(os.listdir(), len(os.sys.argv))") == [PASSED]


def test_an_answer_that_is_no_tests_is_named_as_what_was_read() -> None:
    with pytest.raises(
        InputError, match=r"'p': its tests run nothing: .* \(it has no tests but its answer, which is '4'\)$"
    ):
        PassesTests().check_problem(Problem("p", "2 + 2?", "4"))
