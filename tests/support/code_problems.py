"""Twelve problems as HumanEval, MBPP, unittest, pytest and APPS have them, each with one right answer and two wrong."""
# ruff: noqa: E501

from typing import Any, NamedTuple


class Coded(NamedTuple):
    row: dict[str, Any]
    """A line of a file of problems."""
    right: str
    wrong: tuple[str, str]


def fenced(code: str) -> str:
    return f"Here is the function.\n```python\n{code}\n```"


def humaneval(name: str, prompt: str, asserts: str) -> dict[str, Any]:
    test = f"\n\nMETADATA = {{'author': 'x'}}\n\n\ndef check(candidate):\n    {asserts}\n"
    return {"task_id": f"HumanEval/{name}", "prompt": prompt, "test": test, "entry_point": name}


ADD = 'def add(x: int, y: int) -> int:\n    """The sum of two numbers.\n    >>> add(2, 3)\n    5\n    """\n'
MEAN = 'from typing import List\n\n\ndef mean(xs: List[float]) -> float:\n    """The mean."""\n'
POLY = (
    "def poly(xs: list, x: float) -> float:\n    return sum(c * x**i for i, c in enumerate(xs))\n\n\n"
    'def at_one(xs: list) -> float:\n    """The polynomial at 1."""\n'
)

PROBLEMS = (
    Coded(  # the reply continues the prompt
        humaneval("add", ADD, "assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0"),
        "    return x + y\n",
        ("    return x - y\n", "    return 5\n"),
    ),
    Coded(  # the reply gives the function again, and leaves the imports to the prompt
        humaneval("mean", MEAN, "assert candidate([1.0, 2.0]) == 1.5"),
        fenced("def mean(xs: List[float]) -> float:\n    return sum(xs) / len(xs)"),
        (fenced("def mean(xs: List[float]) -> float:\n    return sum(xs)"), "It is the sum over the length."),
    ),
    Coded(  # the reply uses what the prompt defines
        humaneval("at_one", POLY, "assert candidate([1, 2, 3]) == 6"),
        "    return poly(xs, 1)\n",
        ("    return poly(xs, 0)\n", "    return poly(xs)\n"),
    ),
    Coded(
        {"id": "unit-1", "prompt": "Write double(x).", "tests": "import unittest\n\n\nclass Doubles(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(double(2), 4)\n"},
        fenced("def double(x): return 2 * x"),
        (fenced("def double(x): return x ** 3"), fenced("def double(x: return")),
    ),
    Coded(
        {"id": "unit-2", "prompt": "Write last(xs).", "tests": "from unittest import TestCase, main\n\n\nclass Last(TestCase):\n    def setUp(self):\n        self.xs = [1, 2]\n\n    def test_some(self):\n        self.assertEqual(last(self.xs), 2)\n\n    def test_none(self):\n        with self.assertRaises(IndexError):\n            last([])\n\n\nif __name__ == '__main__':\n    main()\n"},
        fenced("def last(xs): return xs[-1]"),
        (fenced("def last(xs): return xs[0]"), fenced("def last(xs): return xs[-1] if xs else None")),
    ),
    Coded(
        {"id": "unit-3", "prompt": "Write even(x).", "tests": "import unittest\nfrom candidate import even\n\n\nclass Even(unittest.TestCase):\n    def test_many(self):\n        for x in range(4):\n            with self.subTest(x):\n                self.assertIs(even(x), x in (0, 2))\n"},
        fenced("def even(x): return x % 2 == 0"),
        (fenced("def even(x): return x == 0"), fenced("import sys\nsys.exit(0)")),
    ),
    Coded(
        {"id": "pytest-1", "prompt": "Write square(x).", "tests": "def test_square():\n    assert square(3) == 9\n\n\ndef test_negative():\n    assert square(-3) == 9\n"},
        fenced("def square(x): return x * x"),
        (fenced("def square(x): return x * abs(x)"), fenced("def square(x): return 9 if x == 3 else 0")),
    ),
    Coded(
        {"id": "pytest-2", "prompt": "Write root(x).", "tests": "import pytest\n\n\n@pytest.mark.parametrize(('x', 'y'), [(4, 2), (9, 3)])\ndef test_root(x, y):\n    assert root(x) == y\n\n\ndef test_refused():\n    with pytest.raises(ValueError):\n        root(-1)\n"},
        fenced("def root(x):\n    if x < 0:\n        raise ValueError(x)\n    return x ** 0.5"),
        (fenced("def root(x): return x ** 0.5"), fenced("def root(x):\n    if x < 0: raise ValueError\n    return 2")),
    ),
    Coded(
        {"id": "pytest-3", "prompt": "Write shout(text), which prints it in capitals.", "tests": "class TestShout:\n    def test_it(self, capsys):\n        shout('a')\n        assert capsys.readouterr().out == 'A\\n'\n"},
        fenced("def shout(text): print(text.upper())"),
        (fenced("def shout(text): print(text)"), fenced("def shout(text): return text.upper()\ndef test_mine(): pass")),
    ),
    Coded(
        {"task_id": 2, "text": "Write a function to triple a number.", "code": "def triple(x): return 3 * x", "test_setup_code": "import math", "test_list": ["assert triple(2) == 6", "assert triple(0) == math.floor(0.5)"]},
        fenced("def triple(x): return 3 * x"),
        (fenced("def triple(x): return x ** 2 + 2"), fenced("def threefold(x): return 3 * x")),
    ),
    Coded(
        {"id": "io-1", "question": "Read a number and print twice that.", "inputs": ["2\n", "5\n"], "outputs": ["4\n", "10\n"]},
        fenced("print(2 * int(input()))"),
        (fenced("print(2 + int(input()))"), fenced("print(4)")),
    ),
    Coded(
        {"id": "io-2", "question": "Print the lines in reverse.", "tests": {"inputs": ["a\nb\n"], "outputs": ["b\na\n"]}},
        fenced("import sys\nprint(*reversed(sys.stdin.read().split()), sep='\\n')"),
        (fenced("import sys\nprint(sys.stdin.read())"), fenced("print('b a')")),
    ),
)  # fmt: skip
