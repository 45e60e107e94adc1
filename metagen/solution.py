"""The answer to a problem, and all that is known of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from metagen.budget import Usage
from metagen.candidate import Candidate
from metagen.copies import maker
from metagen.notebook import html_table
from metagen.trace import Span, once_each

NOT_GRADED = "not graded: "
"""How the note begins that says why a grader gave no verdict."""
LATER = ("prompt", "reference", "tags", "answers", "verdicts", "groups", "at", "unfinished")
"""Fields that a line leaves out where they are empty."""
UNWRITTEN = {"trace", "candidate", *LATER}


@dataclass(frozen=True, slots=True)
class Solution:
    """What a strategy answered to one problem, whether it is right, what it cost and what was lost on the way.

    It is plain data; only `trace` and `candidate` stay behind when it is written down.
    """

    problem: str
    """The id of the problem."""
    answer: str | None
    """The final answer, as extracted from `text`; `None` if it has none."""
    text: str = ""
    correct: bool | None = None
    """`None` if there is no reference answer, or no verdict."""
    unjudged: bool = False
    """There is a reference, but the grader reached no verdict."""
    samples: int = 0
    """How many candidates the outermost strategy compared and the grader judged."""
    samples_correct: int = 0
    """How many of `samples` are right."""
    compared: int = 0
    """How many candidates the outermost strategy compared, with a reference or without."""
    unanswered: int = 0
    """How many of them gave no answer."""
    cut: int = 0
    """How many of those were cut off by a length limit."""
    scored: int = 0
    """How many verdicts were asked of the verifiers of the strategy."""
    unscored: int = 0
    """How many of them they did not give."""
    why_unscored: str = ""
    """The first reason for that."""
    lost: int = 0
    """Samples that were lost to errors or a budget."""
    why_lost: str = ""
    """The first reason for that."""
    notes: tuple[str, ...] = ()
    """What the strategy and the grader reported on the way, such as "settled after 5 of 8 samples"."""
    error: str = ""
    """Why there is no candidate at all, if there is none."""
    usage: Usage = field(default_factory=Usage)
    """Tokens, FLOPs and money, verifiers included, without what grading used."""
    seconds: float = 0.0
    """Seconds by the clock that the answer took."""
    prompt: str = ""
    """The question, as the problem has it."""
    reference: str | None = None
    """The reference answer, where there is one."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Those of the problem, such as its `level` and `subject`."""
    answers: tuple[str | None, ...] = ()
    """The answer of each compared candidate, in the order in which they were issued."""
    verdicts: tuple[bool | None, ...] = ()
    """Whether each of them is right; `None` is no verdict."""
    groups: tuple[int, ...] = ()
    """Equal numbers for candidates whose answers are equal, in the order of the first of each; -1 for no answer."""
    at: str = ""
    """The path of the span that compared them; empty where the answer was not chosen among several."""
    unfinished: bool = False
    """Whether the budget of the whole call, and not one inside the strategy, refused or shortened a part of it."""
    candidate: Candidate | None = field(default=None, repr=False, compare=False)
    """What `text` is the text of, with its thought and how it ended; `None` for a solution from a file."""
    trace: Span = field(default_factory=lambda: Span("solve"), repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """Whether every sample was lost. A resumed run tries the problem again."""
        return bool(self.error)

    @property
    def final(self) -> bool:
        """Whether a resumed run keeps it: it has neither failed, nor is it unfinished."""
        return not (self.error or self.unfinished)

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        right = {True: "right", False: "wrong", None: "not graded"}[self.correct]
        grouped = list(zip(self.groups or self.answers, self.answers, strict=True))
        votes, first = Counter(group for group, answer in grouped if answer is not None), dict(reversed(grouped))
        counts = [f"{first[group]}: {count}" for group, count in votes.most_common()]
        counts += [f"no answer: {silent}"] if (silent := self.answers.count(None)) else []
        facts = {
            "answer": "none" if self.answer is None else f"{self.answer} ({right})",
            "reference": self.reference or "",
            "candidates": ", ".join(counts),
            "text": self.text,
            "error": self.error,
            "notes": "\n".join(once_each(self.notes)),
            "tokens": f"{self.usage.tokens:,}",
        }
        return html_table(f"Problem {self.problem}", (), [fact for fact in facts.items() if fact[1]])

    def row(self) -> dict[str, Any]:
        """One line of `solutions.jsonl`."""
        row = {name: getattr(self, name) for name in WRITTEN}
        shown = {name: value for name in LATER if (value := getattr(self, name))}
        return row | {"usage": self.usage.row()} | shown


solved = maker(Solution)
"""A solution of which all fields are given."""
WRITTEN = tuple(each.name for each in fields(Solution) if each.name not in UNWRITTEN)
"""The fields that every line has."""
