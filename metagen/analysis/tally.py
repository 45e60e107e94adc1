"""What a run or a pool of samples shows: accuracy with its interval, coverage, cost. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from math import nan
from operator import add
from typing import Any

from metagen.analysis.share import Share
from metagen.budget import COUNTS, Usage, counts_of
from metagen.disk.rows import SolutionRow
from metagen.settings import counted
from metagen.solution import NOT_GRADED, Solution
from metagen.strategies.refine import NOT_REVISED

HINT_CUT = "raise max_tokens"
HINT_ASK = "say in the prompt how to answer, or choose another kind of answers with --answers"


@dataclass(slots=True)
class Tally:
    """The figures of a run, added up one solution at a time.

    Accuracy counts problems with a reference; a failed problem among them is not right. Answers on which the grader has
    no verdict are counted apart and are in no share, and so are unfinished problems.
    """

    problems: int = 0
    failed: int = 0
    """Problems without any candidate, whatever the budget; a resumed run tries them again."""
    unfinished: int = 0
    """Problems that the budget of the call cut short, before or after an answer; a resumed run solves them again."""
    correct: int = 0
    judged: int = 0
    unjudged: int = 0
    lost: int = 0
    compared: int = 0
    """Samples that strategies compared, in all."""
    unanswered: int = 0
    cut: int = 0
    scored: int = 0
    """Verdicts that were asked of verifiers, in all."""
    unscored: int = 0
    whys: Counter[str] = field(default_factory=Counter)
    """Why verifiers gave no verdict, and how many problems share each reason."""
    unrevised: Counter[str] = field(default_factory=Counter)
    """Why drafts were not revised where they were to be, and how many problems share each first reason."""
    ungraded: Counter[str] = field(default_factory=Counter)
    """Why the grader gave no verdict on an answer, and how many problems share each first reason."""
    losses: Counter[str] = field(default_factory=Counter)
    """Why samples were lost, and how many problems share each reason."""
    _spent: list[Any] = field(default_factory=lambda: [0] * len(COUNTS))
    reasons: Counter[str] = field(default_factory=Counter)
    """Why problems failed, and how many share each reason."""
    _drawn: int = 0
    _covered: int = 0
    _single: float = 0.0
    sampled: int = 0
    """Problems with samples and a verdict: failed ones have no samples."""
    _gained: float = 0.0
    _samples: int = 0

    def add(self, solution: Solution | SolutionRow) -> None:
        self.problems += 1
        failed = solution.failed and not solution.unfinished
        self.failed += failed
        if failed:
            self.reasons[one_line(solution.error)] += 1
        self.lost += solution.lost
        if solution.why_lost:
            self.losses[one_line(solution.why_lost)] += 1
        self._spent = list(map(add, self._spent, counts_of(solution.usage)))
        if solution.unfinished:
            self.unfinished += 1
        else:
            self._add_answer(solution)

    def _add_answer(self, solution: Solution | SolutionRow) -> None:
        self.correct += solution.correct is True
        self.judged += solution.correct is not None
        self.unjudged += solution.unjudged
        self.compared += solution.compared
        self.unanswered += solution.unanswered
        self.cut += solution.cut
        self.scored += solution.scored
        self.unscored += solution.unscored
        if solution.why_unscored:
            self.whys[one_line(solution.why_unscored)] += 1
        _note(self.unrevised, solution, NOT_REVISED)
        if solution.unjudged:
            _note(self.ungraded, solution, NOT_GRADED)
        if solution.samples:
            self._drawn += 1
            self._covered += solution.samples_correct > 0
            self._single += (single := solution.samples_correct / solution.samples)
            self._samples += solution.samples
            if solution.correct is not None:
                self.sampled += 1
                self._gained += solution.correct - single

    @property
    def solved(self) -> int:
        """Problems that a resumed run keeps."""
        return self.problems - self.failed - self.unfinished

    def reason(self) -> tuple[str, int]:
        """The most frequent reason why problems failed, the first of equals, and how many share it."""
        return self.reasons.most_common(1)[0] if self.reasons else ("", 0)

    def silence(self) -> str:
        """How many samples gave no answer, with a hint; empty if all gave one."""
        return silence(self.unanswered, self.compared, self.cut)

    def without_verdict(self) -> str:
        """How many verdicts verifiers did not give, with the most frequent reason; empty if they gave all."""
        return without_verdict(self.unscored, self.scored, self.whys)

    def without_grade(self) -> str:
        """How many answers the grader could not judge, with the most frequent reason; empty if it judged all."""
        why = f" ({self.ungraded.most_common(1)[0][0]})" if self.ungraded else ""
        return f"{counted(self.unjudged, 'answer')} that the grader could not judge{why}" if self.unjudged else ""

    def without_revision(self) -> str:
        """In how many problems a critic or a revision failed, with the most frequent reason; empty if in none."""
        if not self.unrevised:
            return ""
        ((why, _),) = self.unrevised.most_common(1)
        return f"in {self.unrevised.total():,} of {counted(self.problems, 'problem')} ({why})"

    @property
    def usage(self) -> Usage:
        """What all of them have cost."""
        return Usage(**dict(zip(COUNTS, self._spent, strict=True)))

    @property
    def accuracy(self) -> Share:
        """Right answers out of those that were judged."""
        return Share(self.correct, self.judged)

    @property
    def single(self) -> float:
        """The mean, over problems, of the share of right ones among the samples that were compared: pass@1."""
        return self._single / self._drawn if self._drawn else nan

    @property
    def gained(self) -> float:
        """How much more often the answer is right than one sample, over the problems with samples and a verdict."""
        return self._gained / self.sampled if self.sampled else nan

    @property
    def coverage(self) -> Share:
        """Problems for which one of the compared samples is right: what a perfect verifier would reach."""
        return Share(self._covered, self._drawn)

    @property
    def samples(self) -> float:
        """Compared samples per problem, on average."""
        return self._samples / self._drawn if self._drawn else nan


def _note(whys: Counter[str], solution: Solution | SolutionRow, beginning: str) -> None:
    """Count the first note of a solution that begins so, without that beginning."""
    if why := next((note for note in solution.notes if note.startswith(beginning)), ""):
        whys[one_line(why.removeprefix(beginning))] += 1


def one_line(text: str) -> str:
    """A reason without its line ends: what others raise may have several lines."""
    return " ".join(text.split())


def silence(unanswered: int, total: int, cut: int) -> str:
    """How many samples gave no answer, such as `126 of 160, of them 74 cut: raise max_tokens`; empty if all did.

    Where fewer than one in a hundred gave none, it says nothing of what to do.
    """
    if not unanswered:
        return ""
    found = f"{unanswered:,} of {total:,}, of them {cut:,} cut"
    if 100 * unanswered < total:
        return found
    hints = [HINT_CUT] * (cut > 0) + [HINT_ASK] * (unanswered > cut)
    return f"{found}: {'; '.join(hints)}"


def without_verdict(unscored: int, total: int, whys: Counter[str]) -> str:
    """How many verdicts were not given, such as `8 of 8 (Judge: it replied 'Good.')`; empty if all were."""
    if not unscored:
        return ""
    why = f" ({whys.most_common(1)[0][0]})" if whys else ""
    return f"{unscored:,} of {total:,}{why}"
