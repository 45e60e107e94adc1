"""A plug-in of pytest: a fixture that fails a test where too few problems are answered right."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from metagen.disk.problems import ProblemFile
    from metagen.run import Generator
    from metagen.solution import Solution

SHOWN = 5
"""Wrong answers that a failure shows."""
PATHS = ("model", "load", "card")
"""Settings that may be the path of a file."""
WIDTH = 60
"""Characters of each text that it shows."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What came out: the share of right answers with Wilson's 95 % interval, and what it cost."""

    value: float
    low: float
    high: float
    right: int
    problems: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}], {self.right:,} of {self.problems:,} problems"


@dataclass(frozen=True, slots=True)
class Measure:
    """Solves problems and fails below an accuracy. Paths are those from the folder of the test's file."""

    folder: Path

    def __call__(
        self,
        problems: str | Path,
        *,
        at_least: float,
        sure: bool = False,
        limit: int | None = None,
        system: str = "",
        template: str | Path | None = None,
        fields: Mapping[str, str] | None = None,
        split: str = "",
        **settings: Any,
    ) -> Accuracy:
        """Return the accuracy, or fail the test if it is less than `at_least`.

        With `sure`, the lower end of the interval must reach it. `fields` names columns by `prompt`, `answer`, `id`.
        The other settings are those of `read_caller`: `model`, which may be a pool, `strategy`, `answers` and so on.
        Raises `InputError` for settings that cannot be, and for problems that cannot be judged, before anything is
        spent; and `MetagenError` where a problem gets no answer or no verdict: that is no wrong answer.
        """
        __tracebackhide__ = True
        from metagen.adapters.caller import read_caller  # noqa: PLC0415 (loaded where it is used: pytest starts fast)
        from metagen.disk.problems import problem_file  # noqa: PLC0415
        from metagen.errors import InputError  # noqa: PLC0415
        from metagen.sync import solve_all  # noqa: PLC0415

        if not 0 <= at_least <= 1:
            raise InputError(f"at_least must be a number from 0 to 1, not {at_least!r}")
        if limit is not None and limit < 1:
            raise InputError(f"limit must be 1 or more, not {limit!r}: without a problem there is no accuracy")
        answers = settings.pop("answers", "")
        named = {f"{name}_field": field for name, field in (fields or {}).items()}
        caller = read_caller(settings | {name: self._found(settings[name]) for name in PATHS if name in settings})
        text = self.folder / template if template else None
        file = problem_file(self.folder / problems, **named, answers=answers, split=split, system=system, template=text)
        file = file.reading(caller.names)
        _check(file, caller.strategy, limit)
        asked = islice(file, limit)
        solved = solve_all(asked, caller.strategy, caller.models, seed=caller.seed, concurrency=caller.concurrency)
        solutions = list(solved)
        found = _accuracy(solutions)
        if (found.low if sure else found.value) < at_least:
            bound = "the lower end of the interval" if sure else "the accuracy"
            pytest.fail(f"{bound} is below {at_least:.1%}: {found}\n{_shown(solutions)}", pytrace=False)
        return found

    def _found(self, value: Any) -> Any:
        """The path of a file that is there, from the folder of the test; all else as it is. So in lists and objects."""
        if isinstance(value, Mapping):
            return {name: self._found(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._found(each) for each in value]
        if isinstance(value, str | Path) and os.path.exists(self.folder / value):
            return str(self.folder / value)
        name, equals, path = str(value).partition("=")
        return f"{name}={self._found(path)}" if equals and name.isidentifier() else value


@pytest.fixture
def metagen_accuracy(request: pytest.FixtureRequest) -> Measure:
    """Solve a file of problems, and fail below an accuracy.

    def test_the_prompt_still_works(metagen_accuracy):
        metagen_accuracy("problems.jsonl", model="pool.jsonl", strategy="Vote(8)", at_least=0.8)
    """
    return Measure(request.path.parent)


def _check(file: "ProblemFile", strategy: "Generator", limit: int | None) -> None:
    """Read the whole file. Raises `InputError` if one of the first `limit` problems cannot be judged."""
    from metagen.errors import InputError  # noqa: PLC0415
    from metagen.verifiers.needs import Needs  # noqa: PLC0415

    needs = Needs(strategy, None, limit)
    total = file.check(needs).total
    asked = total if limit is None else min(limit, total)
    if blind := asked - needs.judged:
        raise InputError(
            f"there is no verdict on {blind:,} of {asked:,} problems: without a reference or tests, nothing is right"
        )


def _accuracy(solutions: "list[Solution]") -> Accuracy:
    from metagen.analysis.share import Share  # noqa: PLC0415
    from metagen.errors import MetagenError  # noqa: PLC0415

    for said, without in {
        "no answer to": [each for each in solutions if each.failed],
        "no verdict on": [each for each in solutions if each.correct is None],
    }.items():
        if without:
            why = without[0].error or "without a reference or a grade, nothing is right"
            raise MetagenError(f"{said} {len(without):,} of {len(solutions):,} problems: {without[0].problem}: {why}")
    share = Share(sum(each.correct is True for each in solutions), len(solutions))
    tokens = sum(each.usage.tokens for each in solutions)
    return Accuracy(share.value, *share.interval(), share.count, share.total, tokens)


def _shown(solutions: "list[Solution]") -> str:
    """The first wrong answers, a line each."""
    wrong = [each for each in solutions if not each.correct]
    lines = [
        f"  {each.problem}: {_brief(each.prompt)}: {_brief(each.answer)}, and not {_brief(each.reference)}"
        for each in wrong[:SHOWN]
    ]
    more = [f"  and {len(wrong) - SHOWN:,} more"] if len(wrong) > SHOWN else []
    return "\n".join((*lines, *more))


def _brief(text: str | None) -> str:
    return repr(text if text is None else text[:WIDTH])
