"""What the replies of models give as their answer, whatever form it has."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metagen.answers.canonical import canonical, equal_numbers
from metagen.answers.extract import extract, without_end
from metagen.answers.grade import grade

PROBLEMS = Path(__file__).parents[3] / "shared" / "data" / "problems"
PATIENT = 60.0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6 * 7 = 42\n#### 42 apples", "42"),
        ("Answer\uff1a42", "42"),
        ("The answer is\uff1a **42**\u3002", "42"),
        ("The answer is 0.333...", "0.333..."),
        ("The answer is $0.1666...$.", "0.1666..."),
        ("The answer is 3.14159...", "3.14159"),
        ("The answer is 5...", "5"),
        ("#### **42**", "42"),
        (r"#### \frac{1}{2}", r"\frac{1}{2}"),
        ("#### x = 5", "x = 5"),
        ("#### C", "C"),
        ("Work.\n\n### Final Answer\n42", "42"),
        ("Work.\n\n## Answer:\n\n\\[ 42 \\]", "42"),
        ("**Final Answer**\n\n$\\frac12$\n", r"\frac12"),
        ("Q: 20 + 6?\nA: 26", "26"),
        ("Work.\n**A:** $26", "$26"),
        ("So there are\n\n**9** such divisors.", "9"),
        ("Hence there are **9** such divisors.", "9"),
        ("The answer is 60% of the students who came.", "60%"),
        ("The answer is 60% of the students.", "60%"),
        ("The answer is 12 of the boxes which stand in the cellar of the house of the oldest man of the town.", "12"),
        (r"\[ \text{ANSWER: } 22 \]", "22"),
        (r"\[ \textbf{Answer: } \frac{1}{2} \]", r"\frac{1}{2}"),
        (r"$\boxed{\text{ANSWER: }101}$", "101"),
        (r"\boxed{\text{Answer: } x^{2}}", "x^{2}"),
        (r"\boxed{Answer: 7}", "7"),
        ("**ANSWER: 2** (Since m = 1)", "2"),
        (r"\boxed{\text{Answer}: 5}", "5"),
        (r"$\text{Answer} = 12$", "12"),
        ("*Answer:* 5", "5"),
        ("__Answer:__ 5", "5"),
        ("Final Answer\n42", "42"),
        ("Ans. 26", "26"),
        (r"The answer is $\frac{1}{2}$ of the pie.", r"\frac{1}{2}"),
        ("ANSWER: 2 (because m = 1)", "2"),
        ("**Final answer:** 12 (rounded up)", "12"),
        ("<think>6 * 7</think> <answer> 42 </answer>", "42"),
        ("<answer>\n\\frac{1}{2}\n</answer>", r"\frac{1}{2}"),
        ("<final_answer>(3 + 4) * 5</final_answer>", "(3 + 4) * 5"),
        ("<answer>The answer is 42.</answer>", "42"),
        (r"<answer>So it is \boxed{42}</answer>", "42"),
        ("<answer>Done.\nThe answer is 7</answer>", "7"),
        ("I put it between <answer> and </answer>.\n<answer>7</answer>", "7"),
        ("First <answer>4</answer>, then <answer>5</answer>", "5"),
        ("<answer>5", "5"),
        (r'{"answer": "\\frac{1}{2}"}', r"\frac{1}{2}"),
        (r'{"answer": "\\boxed{5}"}', "5"),
        ('{"why": "x", "answer": 5}', "5"),
        ('```json\n{"final_answer": "B", "sure": true}\n```', "B"),
        ("**Answer:** Janet makes **$18** every day at the market.", "18"),
        ("Final Answer: The train takes **3 hours**.", "3"),
        ("The final answer is approximately **3.14**.", "3.14"),
        ("**Answer:** It is less than **5**.", "It is less than 5"),
        ("**Answer:** If it is **5** there is none.", "If it is 5 there is none"),
        ("**Answer:** In **3** days it is 7.", "In 3 days it is 7"),
        ("**Answer:** The boxes weigh **5** and **6** kg.", "The boxes weigh 5 and 6 kg"),
        ("The answer is **5** or **6**.", "5 or 6"),
        ("Final Answer: The final answer is $5$. I hope it is correct.", "5"),
        ("The answer is therefore $5$.", "5"),
        ("The answer is given by $x^2$.", "x^2"),
        (r"The answer is $\frac{3}{4}$, i.e. 0.75.", r"\frac{3}{4}"),
        ("The answer is 42, not 43.", "42"),
        ("The answer is 42 \u2014 as before.", "42"),
        ("The answer is x! + 1.", "x! + 1"),
        ("The answer is 5\u3002", "5"),
        ("**Answer: 5** \u2705", "5"),
        ("The answer is 42 \U0001f389", "42"),
        ("## Final Answer \u2705\n\n42", "42"),
        ("Answer:\n- 42", "42"),
        ("### Final Answer\n- 42", "42"),
        ("**Answer**\n\n> 42", "42"),
        ("Answer:\n-42", "-42"),
        ("The answer is 5<|eot_id|>", "5"),
        ("Answer: 5</s>", "5"),
    ],
)
def test_an_answer_is_found_in_each_form(text: str, answer: str) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize("first", ["The", "So our final", "Therefore, the correct"])
@pytest.mark.parametrize("value", ["42", r"$\frac{1}{2}$", "B", "**x + 1**"])
@pytest.mark.parametrize(
    "verb",
    [
        "is clearly", "must be", "must therefore be", "should be", "would be", "will be", "has to be", "can only be",
        "equals", "turns out to be", "comes out to be", "comes to", "works out to", "to the question is", "here is",
        "we get is", "to this problem is therefore", "that we want is", "you are looking for is",
    ],
)  # fmt: skip
def test_an_answer_is_given_by_other_verbs(first: str, verb: str, value: str) -> None:
    assert extract(f"We work.\n{first} answer {verb} {value}.") == value.strip("$*")


@pytest.mark.parametrize(
    "label", ["Answer - {}", "Answer – {}", "**Answer** - {}", "Final answer - {}", "ANSWER — {}."]
)
def test_a_dash_stands_behind_the_label(label: str) -> None:
    assert extract("We work.\n" + label.format("42")) == "42"


@pytest.mark.parametrize(
    "text",
    [
        "The answer must be an integer.", "The answer should be in simplest form.", "Your answer will be rounded.",
        "The answer would be larger than this.", "Answer - as always - all questions.", "We answer - 5 of them.",
        "The answer could be 42.", "The answer may be 42.", "If you get 0.43, your answer should be 1.",
        "Your final answer must be 5.",
    ],
)  # fmt: skip
def test_what_an_answer_has_to_be_is_none(text: str) -> None:
    assert extract(text) is None
    assert extract(f"The answer is 7. {text}") == "7"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("First \\boxed{x}. But that is not all.\nANSWER: 703", "703"),
        ("\\boxed{5} is what we get.\n\nNo: the answer is 6.", "6"),
        ("\\boxed{5} is early, but the answer is 7.", "7"),
        ("\\boxed{5}\n\nI was wrong.\n\n#### 6", "6"),
        ("\\boxed{5}\n\n### Final Answer\n6", "6"),
        ("The answer is 4.\n\nSo \\boxed{5}.", "5"),
        ("\\boxed{5}\n\nThis answer is correct.", "5"),
        ("\\boxed{5}\n\nThe answer: see above.", "5"),
        ("ANSWER: 7\n\\boxed{8}", "8"),
        ("\\boxed{1}\n#### 2\nThe answer is 3.", "1"),
        ("We get \\boxed{12 apples}. The answer is 13.", "12 apples"),
    ],
)
def test_the_last_word_counts(text: str, answer: str) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "#### 3. Then add",
        "### Final Answer\n\nThe shop sells many apples.",
        "A: 26\nB: 27\nC: 28",
        "A: a long story.",
        "Therefore, she used **6** eggs.",
        "**Step 2: 6**",
        "**6.** Then add.",
        r"The answer is \frac{1. 5}{2}",
        "I use <answer> </answer>.",
        "<answer>First a line.\nThen another.</answer>",
        "Answer:\n- 42\n- 43",
        "Answer:\n1. 42\n2. 43",
        '{"answer": null}',
        "### Final Answer\n* 42\n* 43",
        "**5** or **6**",
    ],
)
def test_what_is_no_answer_is_none(text: str) -> None:
    assert extract(text) is None


def test_a_line_that_was_cut_off_is_no_answer() -> None:
    assert extract("A: 2", finished=False) is None
    assert extract(r"So \boxed 12", finished=False) is None
    assert extract(r"So \boxed 12 ", finished=False) == "12"
    assert extract("### Final Answer\n2", finished=False) is None
    assert extract("There are **9** such", finished=False) is None
    assert extract("Answer: it is **9** or", finished=False) is None
    assert extract("<answer>12", finished=False) is None
    assert extract('{"answer": 12', finished=False) is None


PIECES = [
    *"0123456789.,;:/+-=%$ ()[]{}\\^_xeiAB\n°−½²√٣\0\ud800`*#",
    r"\frac", r"\text{", r"\{", r"\}", r"\boxed{", r"\boxed ", "ANSWER: ", "The answer is ", "#### ",
    "### Final Answer\n", "\nA: ", r"\[", r"\]", r"\left(", r"\ldots", " and ", " of ", "million", "cm", "m/s^2",
    "**", "\n\n",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60)


def is_balanced(text: str) -> bool:
    depth, text = 0, text.replace("\\\\", "")
    for character in text.replace(r"\{", "").replace(r"\}", ""):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and text.count(r"\{") == text.count(r"\}")


@settings(max_examples=500)
@given(TEXTS, st.booleans())
@example("0{\\\\}", True)
def test_no_answer_and_no_key_has_a_brace_without_its_partner(text: str, finished: bool) -> None:
    answer = extract(text, finished=finished)
    assert answer is None or is_balanced(answer)
    assert is_balanced(canonical(answer or ""))
    assert is_balanced(canonical(text))


@settings(max_examples=500)
@given(TEXTS)
@example(r"\{\`\}")
@example(r"\{\€\}")
@example("\\{\\\u200b\\}")
def test_a_key_of_any_text_is_its_own_key(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@settings(max_examples=300)
@given(TEXTS, TEXTS)
def test_two_numbers_of_any_form_are_compared(one: str, other: str) -> None:
    assert equal_numbers(one, other) == equal_numbers(other, one)


MONSTERS = {
    "4,301 digits in a box": rf"\boxed{{{'7' * 4301}}}",
    "a long fraction": rf"\boxed{{{'7' * 4301}/{'3' * 4301}}}",
    "200,000 brackets": "(" * 200_000,
    "200,000 brackets in a box": rf"\boxed{{{'(' * 100_000 + ')' * 100_000}}}",
    "braces": r"\boxed{" + "{" * 100_000 + "}" * 100_001,
    "half surrogates": "\\boxed{" + "\ud800" * 100_000 + "}",
    "nul": r"\boxed{1" + "\0" * 100_000 + "}",
    "nul in an answer": "The answer is \0.",
    "division by zero": r"\boxed{1/0}",
    "cues": "answer: \n" * 50_000,
    "boxes": r"\boxed{1" * 50_000,
    "headings": "### Final Answer\n" * 30_000,
    "spaces": "### Final Answer" + " " * 200_000 + "\n" * 200_000,
    "hashes": "####" * 50_000 + "\n",
    "bold": "**" * 100_000,
    "fractions": r"\boxed{" + r"\frac" * 50_000 + "}",
    "lines": "A: \n" * 60_000,
}


@pytest.mark.parametrize("text", MONSTERS.values(), ids=MONSTERS.keys())
async def test_no_text_is_too_much(text: str) -> None:
    answer = extract(text)
    key = canonical(answer or "")
    assert is_balanced(answer or "")
    assert canonical(key) == key
    for reference in ("5", "1/0", "x+1", answer or ""):
        assert await grade(answer, reference, 1.0) in {True, False, None}


def solutions(name: str) -> list[dict[str, str]]:
    path = PROBLEMS / name
    if not path.exists():
        pytest.skip("the shared problems are not here")
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_each_solution_of_math_500_gives_its_answer() -> None:
    rows = solutions("math500.jsonl")
    found = [await grade(extract(row["solution"]), row["answer"], PATIENT) for row in rows]
    assert (len(rows), found.count(True)) == (500, 500)


async def test_each_solution_of_gsm8k_gives_its_answer() -> None:
    rows = solutions("gsm8k_test.jsonl")
    answers = [row["answer"].rpartition("####")[2].strip() for row in rows]
    found = [await grade(extract(row["answer"]), answer) for row, answer in zip(rows, answers, strict=True)]
    assert (len(rows), found.count(True)) == (1319, 1319)


ENDS = (
    "<|im_end|>",
    "</s>",
    "<eos>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    " <|eot_id|>\n",
    "<|im_end|>\n<|endoftext|>",
)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is 5", "5"), ("#### 5", "5"), ("A: 5", "5"), ("### Final Answer\n5", "5"),
        ("There are **5**", "5"), ("Answer: x < 5", "x < 5"), ("The answer is Paris", "Paris"),
    ],
)  # fmt: skip
def test_the_tokens_that_end_a_turn_are_no_part_of_an_answer(end: str, reply: str, answer: str) -> None:
    assert extract(reply + end) == answer
    assert without_end(reply + end).rstrip() == reply


@pytest.mark.parametrize(
    "text", ["", "x > 5", "<b>5</b>", "List<T>", "<answer>5</answer>", "5 ", "<|im_end|> 5", "a<|b"]
)
def test_other_ends_of_a_reply_stay(text: str) -> None:
    assert without_end(text) == text
