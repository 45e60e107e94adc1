"""Questions of HotpotQA (Yang et al. 2018) with their passages, where they are at hand: for tests and benchmarks.

The passages of all questions are one corpus, so each question has 1,000 to choose from.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from metagen import Problem
from metagen.tools.search import Index

FILE = Path(__file__).parents[3] / "shared/data/qa/hotpot100.jsonl"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answer and the titles of the passages that it takes."""

    problem: Problem
    kind: str
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """Which share of a question's gold titles is among the first five found."""

    one_hop: float
    """By the question alone."""
    second_hop: float
    """By the question with the gold passage that the first hop ranks best."""
    other_by_one: float
    """The same two, for the gold titles other than that passage."""
    other_by_second: float


def read(file: Path = FILE) -> tuple[list[Question], dict[str, str]]:
    """The questions, and the text of each passage by its title."""
    questions, passages = [], {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = tuple(dict.fromkeys(row["supporting_facts"]["title"]))
        questions.append(Question(Problem(row["id"], row["question"], row["answer"]), row["type"], gold))
        for title, sentences in zip(row["context"]["title"], row["context"]["sentences"], strict=True):
            passages[title] = "".join(sentences)
    return questions, passages


def write_corpus(passages: dict[str, str], file: Path) -> None:
    """The passages as JSON Lines, as `Search` reads them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"title": title, "text": text}) for title, text in passages.items())
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def recall(question: Question, index: Index, k: int = 5) -> Recall:
    """What one hop finds, and what a second finds that knows the first gold passage."""
    asked = question.problem.prompt
    ranked = [passage.title for passage in index.best(asked, len(index.passages))]
    ranks = {title: ranked.index(title) if title in ranked else len(ranked) for title in question.gold}
    first = min(question.gold, key=ranks.__getitem__)
    known = next(passage for passage in index.passages if passage.title == first)
    again = [passage.title for passage in index.best(f"{asked} {known.title} {known.text}", k)]
    others = [title for title in question.gold if title != first]
    return Recall(
        share(question.gold, ranked[:k]), share(question.gold, again), share(others, ranked[:k]), share(others, again)
    )


def share(wanted: tuple[str, ...] | list[str], found: list[str]) -> float:
    return sum(title in found for title in wanted) / len(wanted)
