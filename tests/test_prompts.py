"""The prompts, letter for letter: the model that ships with metagen was trained on these forms."""

from metagen.prompts import chain_of_thought, few_shot, revise


def test_chain_of_thought() -> None:
    assert chain_of_thought("1 + 1?") == "1 + 1?\n\nLet's think step by step."


def test_few_shot() -> None:
    shots = [("1 + 1?", "It is\n2."), ("2 + 2?", "4")]
    assert few_shot("3 + 3?", shots) == (
        "Question: 1 + 1?\nAnswer: It is\n2.\n\nQuestion: 2 + 2?\nAnswer: 4\n\nQuestion: 3 + 3?\nAnswer:"
    )
    assert few_shot("3 + 3?", []) == "Question: 3 + 3?\nAnswer:"


def test_revise() -> None:
    ending = "\n\nCheck each step, then write the corrected solution."
    assert revise("1 + 1?", "It is 3.") == f"1 + 1?\n\nPrevious solution:\nIt is 3.{ending}"
    assert revise("1 + 1?", "It is 3.", "No.") == f"1 + 1?\n\nPrevious solution:\nIt is 3.\n\nFeedback:\nNo.{ending}"


def test_braces_and_percent_signs_are_text() -> None:
    assert chain_of_thought("{0} 50%s") == "{0} 50%s\n\nLet's think step by step."
    assert "{x}" in revise("{x}", "{y}")
