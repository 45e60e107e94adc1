"""Every prompt that the library sends, one pure function each.

A prompt is the text of one user turn; the backend puts it in the model's chat template. The model that ships with
metagen saw all of these forms in training, so a change here wants a new training run.
"""

from collections.abc import Sequence
from typing import NamedTuple

THINK = "Let's think step by step."
REVISE = "Check each step, then write the corrected solution."


class Demonstration(NamedTuple):
    """A worked example for a few-shot prompt: a question, and a solution that ends in its answer."""

    question: str
    solution: str


def chain_of_thought(question: str) -> str:
    """Ask for the thought before the answer (zero-shot chain of thought; Kojima et al. 2022, section 3)."""
    return f"{question}\n\n{THINK}"


def few_shot(question: str, shots: Sequence[tuple[str, str]]) -> str:
    """Show worked examples (question, solution) first (few-shot chain of thought; Wei et al. 2022, section 2)."""
    shown = "".join(f"Question: {asked}\nAnswer: {solution}\n\n" for asked, solution in shots)
    return f"{shown}Question: {question}\nAnswer:"


def revise(question: str, attempt: str, feedback: str = "") -> str:
    """Ask for a better solution than `attempt` (self-refinement; Madaan et al. 2023, section 2)."""
    said = f"\n\nFeedback:\n{feedback}" if feedback else ""
    return f"{question}\n\nPrevious solution:\n{attempt}{said}\n\n{REVISE}"
