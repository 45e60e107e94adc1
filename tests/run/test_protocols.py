"""The examples in the docstrings of the protocols are generators and verifiers."""

import inspect
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

from metagen import BestOf, Generator, Scripted, Verifier, solve

HEAD = "from collections.abc import Sequence\nfrom metagen import Candidate, Model, Problem, Run, Score\n\n"
CODE = re.compile(r"^    async def (\w+).*\n(?: {8}.*\n)+", re.MULTILINE)


def example(protocol: type, folder: Path) -> Callable[..., Any]:
    """The function that a protocol's docstring shows."""
    found = CODE.search(inspect.cleandoc(protocol.__doc__ or "") + "\n")
    assert found
    (folder / "example.py").write_text(HEAD + dedent(found[0]))
    function: Callable[..., Any] = runpy.run_path(str(folder / "example.py"))[found[1]]
    return function


async def test_the_example_of_a_generator_is_one(tmp_path: Path) -> None:
    solution = await solve("Who?", example(Generator, tmp_path), Scripted(lambda request: request.prompt))
    assert solution.text == "Who? Who?"


async def test_the_example_of_a_verifier_is_one(tmp_path: Path) -> None:
    replies = ["a long reply", "short", ""]
    best = BestOf(3, by=example(Verifier, tmp_path))
    assert (await solve("?", best, Scripted(lambda request: replies[request.draw]))).text == "short"
