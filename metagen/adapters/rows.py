"""What a run holds as rows for training and for tables: candidates, pairs and best answers. Pure.

The forms of pairs and answers are those that TRL reads: `prompt` with `chosen` and `rejected`, or with `completion`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow
from metagen.messages import Message, Turns, asking, plain, read_messages
from metagen.view.candidates import Shown
from metagen.view.problems import asked, judged_candidates

Row = dict[str, Any]
Solved = tuple[SolutionRow, Sequence[SpanRow]]
"""A solution and its spans."""


@dataclass(frozen=True, slots=True)
class Training:
    """How rows to train on are made."""

    each: int = 1
    """The most rows of one problem."""
    plain: bool = False
    """Whether prompts and replies are texts, and not turns of a conversation."""


def candidate_rows(solved: Solved) -> Iterator[Row]:
    """Every candidate that the answer was chosen among, with what is known of it."""
    row, spans = solved
    for number, each in enumerate(judged_candidates(row, spans)):
        yield {
            "problem": row.problem,
            "number": number,
            "prompt": row.prompt or asked(spans),
            "text": each.text,
            "thought": each.thought,
            "answer": each.answer,
            "reference": row.reference,
            "right": each.right,
            "score": each.score,
            "steps": list(each.steps),
            "chosen": each.chosen,
            "cut": each.cut,
            "tokens": each.tokens,
        }


def pair_rows(solved: Solved, how: Training) -> Iterator[Row]:
    """Pairs of a better and a worse reply: right and wrong ones, else those of the highest and the lowest scores."""
    best, worst = _ranked(solved[0], _whole(solved))
    say, prompt = _speaker(solved, how)
    for better, worse in zip(best[: how.each], worst, strict=False):
        if better.right == worse.right and not (better.score or 0) > (worse.score or 0):
            return
        yield {
            "problem": solved[0].problem,
            "prompt": prompt,
            "chosen": say(better),
            "rejected": say(worse),
            "score_chosen": better.score,
            "score_rejected": worse.score,
        }


def answer_rows(solved: Solved, how: Training) -> Iterator[Row]:
    """The best replies, none of them wrong: what the run answered comes first."""
    best, _ = _ranked(solved[0], _whole(solved))
    say, prompt = _speaker(solved, how)
    for each in sorted(best, key=lambda each: not each.chosen)[: how.each]:
        yield {"problem": solved[0].problem, "prompt": prompt, "completion": say(each), "score": each.score}


def _whole(solved: Solved) -> list[Shown]:
    """The candidates that say something and are not cut, equal texts once, the chosen one of them first."""
    every = [each for each in judged_candidates(*solved) if each.text.strip() and not each.cut]
    first = {each.text: each for each in reversed(every)} | {each.text: each for each in every if each.chosen}
    return [each for each in every if first[each.text] is each]


def _ranked(row: SolutionRow, candidates: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """Candidates from the best, and from the worst; the right and the wrong apart where they were graded.

    Wrong ones come with the highest score first: the pairs with them are the hardest. One without a score comes last.
    """

    def score(each: Shown) -> tuple[bool, float]:
        return each.score is None, -(each.score or 0.0)

    by_score = sorted(candidates, key=score)
    if any(each.right is not None for each in candidates) or row.reference is not None:
        return [each for each in by_score if each.right], [each for each in by_score if each.right is False]
    scored = [each for each in by_score if each.score is not None]
    return by_score, scored[::-1]


def _speaker(solved: Solved, how: Training) -> tuple[Callable[[Shown], Any], Any]:
    """How a reply is written, and the prompt in the same form."""
    turns = conversation_of(*solved)
    if how.plain:
        return (lambda each: each.text), plain(turns)
    return _turn, [turn.fields() for turn in turns]


def _turn(each: Shown) -> list[Row]:
    thought = {"reasoning_content": each.thought} if each.thought else {}
    return [{"role": "assistant", "content": each.text, **thought}]


def conversation_of(row: SolutionRow, spans: Sequence[SpanRow]) -> Turns:
    """The question in its conversation, as the problem has it and not as a strategy asked it."""
    question = row.prompt or asked(spans)
    sent = next((span.request for span in spans if span.request and not span.verifying), None)
    if sent is None or not sent.messages:
        return (Message("user", question),)
    return asking(read_messages(sent.messages, f"problem {row.problem!r}: messages"), question)
