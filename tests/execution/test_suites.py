import pytest

from metagen import InputError
from metagen.execution.suites import Suite, completes, does_something, last_program, read_tests


def importable(name: str) -> bool:
    return name != "solution"


CASE = "import unittest\nclass Test(unittest.TestCase):\n    def test(self):\n        {}\n"


@pytest.mark.parametrize(
    "tests",
    [
        "assert double(2) == 4",
        "def check(candidate):\n    assert candidate(2) == 4\ncheck(double)",
        "for x in range(3):\n    assert double(x) == 2 * x",
        "import random\nrandom.seed(0)\nprint(double(2))",
        "from candidate import double\ndouble(2)",
        "from __main__ import double\ndouble(2)",
        "import __main__\nassert __main__.double(2) == 4",
        "if double(2) != 4:\n    raise SystemExit(1)",
        "def many():\n    assert double(2)\nif __name__ == '__main__':\n    many()",
    ],
)
def test_statements_are_tests(tests: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("__main__.__spec__", None)  # as under a console script
    assert read_tests(tests, "p", importable) == Suite(tests)


@pytest.mark.parametrize(
    ("tests", "runner"),
    [
        (CASE.format("self.assertTrue(f())"), "unittest"),
        (CASE.format("self.assertTrue(f())") + "unittest.main()", "unittest"),
        ("def test_it():\n    assert f()", "unittest"),
        ("def test_it(tmp_path):\n    assert f()", "pytest"),
        ("class TestIt:\n    def test_it(self):\n        assert f()", "pytest"),
        ("import pytest\ndef test_it():\n    assert f()", "pytest"),
    ],
)
def test_what_is_defined_and_not_called_needs_a_runner(tests: str, runner: str) -> None:
    assert read_tests(tests, "p", importable) == Suite(tests, runner)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("", "run nothing"),
        ("pass", "run nothing"),
        ("import math", "run nothing"),
        ("METADATA = {'author': 'x'}", "run nothing"),
        ("import sys\nsys.setrecursionlimit(1000)\nprint('ok')", "run nothing"),
        ("def verify():\n    assert double(2) == 4", "run nothing"),
        ("def check(candidate):\n    pass\ncheck(3)", "run nothing"),
        (CASE.format("pass"), "run nothing"),
        (CASE.replace("def test", "def run").format("self.fail()") + "unittest.main()", "run nothing"),
        ("def test_it():\n    pass", "run nothing"),
        ("async def check(f):\n    assert f(1)\ncheck(g)", r"call check\(\), which is async"),
        ("def check(candidate):\n    assert candidate(2) == 4", "define check\\(\\) and never call it: give the field"),
        ("import random\nrandom.seed(0)\ndef check(candidate):\n    assert candidate(2)", "define check"),
        ("assert double(2", "are not Python"),
        ("Double two must be four.", "are not Python"),
        ("from solution import double\nassert double(2) == 4", "import 'solution', which is not installed here"),
    ],
)
def test_tests_that_run_nothing_or_cannot_run_are_refused_in_one_line(tests: str, said: str) -> None:
    with pytest.raises(InputError, match=f"problem 'p': its tests {said}") as refused:
        read_tests(tests, "p", importable)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("prompt", "code", "program"),
    [
        ("Write f.", "def f(): return 1", "def f(): return 1"),
        ("def f():\n", "    return 1", "def f():\n    return 1"),
        ('def f():\n    """One."""', "    return 1", 'def f():\n    """One."""\n    return 1'),
        ('def f():\n    """One."""\n', "def f(): return 1", 'def f():\n    """One."""\ndef f(): return 1'),
        ('def f():\n    """One."""\n', "  return 1", 'def f():\n    """One."""\n  return 1'),
        ("x = 1", "def f(): return 1", "def f(): return 1"),
        (
            "import math\ndef f():\n",
            "from __future__ import annotations\n    return 1",
            "from __future__ import annotations\nimport math\ndef f():\n\n    return 1",
        ),
        ("def f():\n    x = 1\n", "import os\n  return 2\n", "def f():\n    x = 1\nimport os\n  return 2\n"),
    ],
)
def test_code_goes_behind_a_prompt_that_begins_it(prompt: str, code: str, program: str) -> None:
    assert completes(prompt, code) == program


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("return x + 1", "    return x + 1"),
        ("y = x\nreturn y + 1\n", "    y = x\n    return y + 1\n"),
        ("if x:\n    return 1\nreturn 2", "    if x:\n        return 1\n    return 2"),
        ("y = x\n    return y + 1", "    y = x\n    return y + 1"),
        ("    return x + 1", "    return x + 1"),
        ("return x +", "return x +"),
    ],
)
@pytest.mark.parametrize("prompt", ['def f(x):\n    """Add one."""\n', "def f(x):\n"])
def test_a_body_without_its_indentation_gets_it_again(prompt: str, code: str, body: str) -> None:
    assert completes(prompt, code) == prompt + body


@pytest.mark.parametrize("text", ["def f(): return 1", "    return 1", "return 1", "print(1)", "x = 1", "import os"])
def test_code_is_known(text: str) -> None:
    assert does_something(text)


@pytest.mark.parametrize("text", ["", "Yes", "42", "It is 7.", "x < 3", "(" * 100_000, "\0"])
def test_a_word_is_no_code(text: str) -> None:
    assert not does_something(text)


CODE = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    "example",
    [
        "print(f(3))\n",
        "for x in range(3):\n    print(x, f(x))\n",
        "result = f(3)\nprint(result)\n",
        "assert f(3) == 3\n",
        "def test_f():\n    assert f(3) == 3\n",
        "if __name__ == '__main__':\n    print(f(3))\n",
        ">>> f(3)\n3\n",
        "3\n",
    ],
)
def test_an_example_of_the_code_is_not_the_code(example: str) -> None:
    assert last_program(f"```python\n{CODE}```\nSo:\n```python\n{example}```\nDone.") == CODE
    assert last_program(f"```\n{CODE}```\nSo:\n```\n{example}```\n```\n{example}```") == CODE


@pytest.mark.parametrize(
    "second",
    [
        "def f(x):\n    return 2 * x\n",
        "f = lambda x: 2 * x\n",
        "def g(x):\n    return f(x)\n",
        "print(input())\n",
        "def f(x)\n    return 2\n",
    ],
)
def test_the_last_program_counts_where_it_is_no_example(second: str) -> None:
    assert last_program(f"```python\n{CODE}```\nBetter:\n```python\n{second}```") == second
