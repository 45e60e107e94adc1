"""Which steps of recorded samples are good, found by rollouts on a model: the labels that a process reward learns from.

Hard estimation of Math-Shepherd (Wang et al. 2024, section 3.2): a step is good if one of k rollouts that continue it
reaches the reference answer. Three shortcuts, which change no such label but by the chance of a rollout:

- A sample that is right is a rollout of each of its own prefixes, so these are good, and so they are in every other
  sample of the problem.
- After a bad step all are bad: nothing that continues it was right. So a sample has one first bad step, which is
  found by bisection (Luo et al. 2024, OmegaPRM, section 3.2).
- A prefix that several samples share is tried once.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from metagen.budget import Account, Usage
from metagen.candidate import Candidate, steps_of
from metagen.disk.files import check_file
from metagen.disk.lines import Appender, Reader
from metagen.disk.pool import read_samples, reply_of
from metagen.errors import SampleError, VerifierError
from metagen.problem import Problem
from metagen.request import Backend
from metagen.run import Generator, Run, Verifier
from metagen.solve import map_problems
from metagen.strategies import Until
from metagen.train import ROLLOUTS
from metagen.verifiers.grading import oracle_of

Steps = tuple[str, ...]


class Labelled(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One line of a file of labels: a sample in steps, of which the first `good` are good."""

    problem: str
    prompt: str
    steps: Steps
    good: int

    @property
    def right(self) -> bool:
        """Whether the sample is right as a whole."""
        return self.good == len(self.steps)


_LABELS = Reader(Labelled)


@dataclass(slots=True)
class Prefixes:
    """What is known of the prefixes of one problem's samples."""

    good: set[Steps] = field(default_factory=set)
    bad: set[Steps] = field(default_factory=set)

    def add_right(self, steps: Steps) -> None:
        """A right sample: all of its prefixes are good."""
        self.good.update(steps[:t] for t in range(1, len(steps) + 1))

    def learn(self, lines: Iterable[Labelled]) -> None:
        """What was found out before."""
        for line in lines:
            self.add_right(line.steps[: line.good])
            if line.good + 1 < len(line.steps):  # else the whole is wrong, which says nothing of what continues it
                self.bad.add(line.steps[: line.good + 1])

    def span(self, steps: Steps) -> tuple[int, int]:
        """How many first steps are surely good, and how many may be: the last step of a wrong sample is not."""
        least = next((t for t in range(len(steps) - 1, 0, -1) if steps[:t] in self.good), 0)
        most = next((t for t in range(least, len(steps)) if steps[: t + 1] in self.bad), len(steps) - 1)
        return least, most


def tried(least: int, most: int) -> int:
    """The length of the prefix to try next, where the number of good steps is from `least` to `most`, which differ."""
    return (least + most + 1) // 2


async def first_bad(steps: Steps, known: Prefixes, good: Callable[[Steps], Awaitable[bool]]) -> int:
    """The number of good first steps of a wrong sample, by bisection; what is found out is kept in `known`."""
    least, most = known.span(steps)
    while least < most:
        prefix = steps[: tried(least, most)]
        if await good(prefix):
            known.add_right(prefix)
        else:
            known.bad.add(prefix)
        least, most = known.span(steps)
    return least


class Prober:
    """Whether a rollout from a prefix is right: at most `rollouts` of them, until one is.

    Those without a verdict count neither way. Raises `VerifierError` if no rollout has one.
    """

    def __init__(self, problem: Problem, run: Run, of: Generator | None, rollouts: int, oracle: Verifier) -> None:
        self._problem = problem
        self._run = run
        self._oracle = oracle
        self._strategy = Until(oracle, of=of, limit=rollouts, window=min(4, rollouts))

    async def __call__(self, prefix: Steps) -> bool:
        begun = Candidate(prefix, finished=False)
        reached = await self._run.ask(self._strategy, self._problem.continuing(begun))
        (score,) = await self._run.score(self._oracle, self._problem, [reached])
        if score is None:
            raise VerifierError(f"no rollout behind step {len(prefix)} has a verdict")
        return score.value >= 1


@dataclass(frozen=True, slots=True)
class Labeller:
    """Labels all samples of a problem that the grader has a verdict on: `grade`, or else what the problem brings."""

    samples: Mapping[str, Sequence[str]]
    of: Generator | None = None
    rollouts: int = ROLLOUTS
    end: str = "\n"
    grade: Verifier | None = None
    failed: Callable[[str], object] = lambda _: None
    """Is called with the reason why a sample has no labels."""
    done: Mapping[str, Sequence[Labelled]] = field(default_factory=dict)
    """The samples that have labels already, by problem: they are not labelled again, and their prefixes are known."""

    async def __call__(self, problem: Problem, run: Run) -> list[Labelled]:
        done = self.done.get(problem.id, ())
        distinct = lacking(self.samples[problem.id], done, self.end)
        oracle = self.grade or oracle_of(problem)
        assert oracle
        verdicts = await run.score(oracle, problem, [Candidate((text,)) for text in distinct])
        known, good = Prefixes(), Prober(problem, run, self.of, self.rollouts, oracle)
        known.learn(done)
        judged = []
        for text, score in zip(distinct, verdicts, strict=True):
            if score is None:
                self._fail(problem, "the grader has no verdict on it")
                continue
            judged.append((steps_of(text, self.end), score.value >= 1))
            if score.value >= 1:
                known.add_right(judged[-1][0])
        lines = []
        for steps, right in judged:
            try:
                count = len(steps) if right else await first_bad(steps, known, good)
            except SampleError as error:
                self._fail(problem, str(error))
                continue
            lines.append(Labelled(problem=problem.id, prompt=problem.prompt, steps=steps, good=count))
        return lines

    def _fail(self, problem: Problem, reason: str) -> None:
        self.failed(f"a sample of problem {problem.id!r}: {reason}")


def lacking(texts: Iterable[str], lines: Iterable[Labelled], end: str = "\n") -> list[str]:
    """The distinct samples of a problem that are not among its labelled ones; those without a step need no labels."""
    labelled = {line.steps for line in lines}
    return [text for text in dict.fromkeys(texts) if (steps := steps_of(text, end)) and steps not in labelled]


def by_problem(lines: Iterable[Labelled]) -> dict[str, list[Labelled]]:
    """Labelled samples by their problems."""
    found = defaultdict[str, list[Labelled]](list)
    for line in lines:
        found[line.problem].append(line)
    return found


def samples_of(pool: Path) -> dict[str, list[str]]:
    """The whole samples of a pool, without their thoughts, by problem. Raises `InputError`, naming the line."""
    texts: dict[str, list[str]] = defaultdict(list)
    for _, _, sample in read_samples(pool):
        reply = reply_of(sample)
        if sample.end != "length" and not sample.partial and not reply.open:
            texts[sample.id].append(reply.text)
    return dict(texts)


def read_labels(path: Path, *, torn: bool = False) -> Iterator[Labelled]:
    """The lines of a file of labels. Raises `InputError`, naming the line and the field."""
    return (row for _, _, row in _LABELS.read(path, torn=torn))


def kept(path: Path) -> list[Labelled]:
    """What a file of labels holds so far; a last line that a kill cut short is passed over."""
    check_file(path)
    return list(read_labels(path, torn=True)) if path.exists() else []


async def label(
    problems: Iterable[Problem],
    samples: Mapping[str, Sequence[str]],
    model: Backend,
    out: Path,
    *,
    rollouts: int = ROLLOUTS,
    end: str = "\n",
    seed: int | None = None,
    concurrency: int = 64,
    failed: Callable[[str], object] = lambda _: None,
    grade: Verifier | None = None,
) -> AsyncIterator[Usage]:
    """Label the samples of all problems that can be graded, and append them to `out`, problem by problem.

    `failed` is called with the reason where a sample of a problem cannot be labelled, or none of them can; then a later
    call tries these samples again.

    A sample that `out` has already is passed over, so the same call continues where it was stopped. Yields, for each
    problem of which samples were labelled, what all of it has cost so far.
    """
    done = by_problem(kept(out))
    wanted = (each for each in problems if lacking(samples.get(each.id, ()), done.get(each.id, ()), end))
    left = (each for each in wanted if (grade or oracle_of(each)) is not None)
    labeller = Labeller(samples, rollouts=rollouts, end=end, grade=grade, failed=failed, done=done)
    account = Account()
    labelled = map_problems(labeller, left, model, seed=seed, account=account, concurrency=concurrency)
    with Appender(out) as file:
        async with aclosing(labelled):
            async for problem, lines in labelled:
                if not isinstance(lines, SampleError):
                    file.write(map(msgspec.to_builtins, lines))
                else:
                    failed(f"problem {problem.id!r}: {type(lines).__name__}: {lines}")
                yield account.spent
