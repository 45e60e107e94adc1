"""Kinds of answers: what each reads, when two are equal, how it is written, and who goes by it."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    Answers,
    AnyOf,
    Candidate,
    Choice,
    Code,
    Completion,
    Function,
    InputError,
    Json,
    Label,
    LastNumber,
    MatchesReference,
    Maths,
    Number,
    Pattern,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    Text,
    VerifierError,
    parse,
    parse_answers,
    solve,
    solve_all,
)
from metagen.answers.decide import decide
from metagen.answers.protocol import is_answers, verdicts
from metagen.answers.spec import CONSTRUCTORS
from metagen.strategies.choosing import vote_key
from metagen.strategies.refine import unchanged
from metagen.strategies.tree.answer import choice
from metagen.strategies.tree.node import Leaf


def last_word(text: str) -> str | None:
    return text.rsplit(maxsplit=1)[-1].strip(".") if text.split() else None


F = "def f(x):\n    return x\n"
COLOURS = Choice("ABC", texts=("the red one", "the blue one", "green"))
PRESIDENTS = Choice("ABCD", texts=("G. Washington", "A. Lincoln", "B. Franklin", "D. Eisenhower"))
TEN = Choice("ABCDEFGHIJ")
YES = Label("yes", "no")
TRUE = Label("true", "false")
WHOLE = Choice("ABCD", texts=("-2", "1", "3", "4"))
SENTIMENT = Label("positive", "negative", "very negative")
POLARITY = Label("-1", "0", "1")
LANGUAGE = Label("C", "C++", "C#")


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        (Maths(), r"So \boxed{\frac12}.", r"\frac12"),
        (Maths(), "It is positive.", None),
        (Number(), "The answer is 5 apples.", "5"),
        (Number(), r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (Number(), "The answer is about 5 or so.", "5"),
        (Number(), "The answer is 12kg of apples.", "12"),
        (Number(), "The answer is 15cm tall.", "15"),
        (Number(), "The answer is 60km/h on average.", "60"),
        (Number(), "The answer is at 5pm, I think.", "5"),
        (Number(), "The answer is US$500 a week.", "$500"),
        (Number(), "The answer is Rs500 or so.", "500"),
        (Number(), "The answer is *5* in all.", "5"),
        (Number(), r"\boxed{\underline{5}}", "5"),
        (Number(), r"\boxed{3ab}", None),
        (Number(), r"\boxed{2*x}", None),
        (Number(), "The answer is about 60 km/h or so.", "60"),
        (Number(), r"\boxed{5\text{ red and 3 blue}}", None),
        (Number(), r"\boxed{5\text{ apples and pears}}", "5"),
        (Number(), r"\boxed{\approx 5}", "5"),
        (Number(), r"\boxed{\text{cost} = 5}", r"\text{cost} = 5"),
        (Number(), r"\boxed{total cost = 5}", "5"),
        (Number(), r"\boxed{x+1}", None),
        (Number(), r"\boxed{5 = y}", None),
        (Number(), r"\boxed{x - 1}", None),
        (Number(), r"\boxed{2x}", None),
        (Number(), r"\boxed{\sqrt{2}}", None),
        (Number(), r"\boxed{√2}", None),
        (Number(), r"\boxed{3\pi}", None),
        (Number(), r"\boxed{2π}", None),
        (Number(), r"\boxed{f(2)}", None),
        (Number(), r"\boxed{x^2}", None),
        (Number(), r"\boxed{x/2}", None),
        (Number(), r"\boxed{x > 5}", None),
        (Number(), r"\boxed{5!}", None),
        (Number(), "The answer is x.", None),
        (Number(), "It is 5.", None),
        (Number(), "The answer is roughly \N{MINUS SIGN}7.", "-7"),
        (Number(), "Answer: it is \N{MINUS SIGN}7 outside", "-7"),
        (Number(), "The answer is roughly minus 7.", "-7"),
        (Number(), "The answer is negative 7.", "negative 7"),
        (Number(), "The answer is about 3 1/2 cups or so.", "3 1/2"),
        (Number(), "The answer is x \N{MINUS SIGN}7.", None),
        (Number(), "The answer is 10 minus 7.", None),
        (Number(), r"\boxed{\frac{3}{4}x}", None),
        (Number(), r"\boxed{\frac{1}{2}bh}", None),
        (Number(), r"\boxed{\frac{1}{2}n!}", None),
        (Number(), r"\boxed{-\frac{3}{4}x}", None),
        (Number(), r"\boxed{\text{about } \frac{3}{4} \text{ or so}}", "3/4"),
        (Number(), r"\boxed{\text{about } \frac{3}{4.5} \text{ or so}}", "3/4.5"),
        (Number(), r"\boxed{\text{about } \frac{3}{4}5}", None),
        (Number(), r"\boxed{\text{about } 3\frac{1}{2} \text{ or so}}", "3 1/2"),
        (LastNumber(), "Temperature: \N{MINUS SIGN}7", "-7"),
        (LastNumber(), "x = \N{EN DASH}7", "-7"),
        (LastNumber(), "So it is \N{FULLWIDTH HYPHEN-MINUS}.5", "-.5"),
        (LastNumber(), "pages 5\N{EN DASH}7", "7"),
        (LastNumber(), "x\N{MINUS SIGN}7", "7"),
        (LastNumber(), "10 \N{MINUS SIGN} 7", "7"),
        (LastNumber(), "10 \N{MINUS SIGN}7", "7"),
        (LastNumber(), "the result\N{EM DASH}7", "7"),
        (LastNumber(), "It falls to minus 5 degrees.", "-5"),
        (LastNumber(), "It has a charge of negative 5.", "-5"),
        (LastNumber(), "10 minus 7", "7"),
        (LastNumber(), "x minus 7", "7"),
        (LastNumber(), "ten minus 7", "7"),
        (LastNumber(), "non-negative 7", "7"),
        (LastNumber(), "true negative 12, false negative 5", "5"),
        (LastNumber(), "It is 5%\N{EN DASH}10%.", "10%"),
        (LastNumber(), "It is 5% \N{EN DASH} 10%.", "10%"),
        (LastNumber(), "angles 20°\N{EN DASH}30°", "30"),
        (LastNumber(), "between $5$\N{EN DASH}$10$", "$10"),
        (LastNumber(), "between $5$ \N{EN DASH} $10$", "$10"),
        (LastNumber(), "5\\%\N{EN DASH}10\\%", "10"),
        (LastNumber(), "5€\N{EN DASH}10€", "10"),
        (LastNumber(), "|x|\N{MINUS SIGN}3", "3"),
        (LastNumber(), "**5**\N{EN DASH}7", "7"),
        (LastNumber(), "$\N{MINUS SIGN}5$", "-5"),
        (LastNumber(), "$ \N{MINUS SIGN}5 $", "-5"),
        (LastNumber(), "**Answer:** \N{EN DASH}5", "-5"),
        (LastNumber(), "Answer: 2\n\\frac{1}{2}", r"\frac{1}{2}"),
        (LastNumber(), r"So $-\frac{3}{4}$ of it.", r"-\frac{3}{4}"),
        (LastNumber(), r"So \dfrac34.", r"\dfrac34"),
        (LastNumber(), r"So \frac{x}{4}.", "4"),
        (LastNumber(), "It takes 3 1/2 cups.", "3 1/2"),
        (LastNumber(), r"It takes 3\frac{1}{2} cups.", r"3\frac{1}{2}"),
        (LastNumber(), "It takes 3 5/2 cups.", "5/2"),
        (LastNumber(), "In 2020 1/2 of them", "1/2"),
        (LastNumber(), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567", "1\u202f234\u202f567"),
        (LastNumber(), r"$1{,}234$", "$1{,}234"),
        (LastNumber(), r"It is 1\,234.", r"1\,234"),
        (LastNumber(), "First 3, then 4 make 7 in all.", "7"),
        (LastNumber(), "It costs $1,234.50.", "$1,234.50"),
        (LastNumber(), "So 10-5", "5"),
        (LastNumber(), "It falls to -3 degrees.", "-3"),
        (LastNumber(), "none", None),
        (LastNumber(), "So it is 1.2e5.", "1.2e5"),
        (LastNumber(), "So it is 3E-4 in all.", "3E-4"),
        (LastNumber(), "So it is 5e.", "5"),
        (LastNumber(), r"So it is 1.2 \times 10^5.", r"1.2 \times 10^5"),
        (LastNumber(), r"So it is $1.2 \cdot 10^{-5}$.", r"$1.2 \cdot 10^{-5}"),
        (LastNumber(), "So it is 1.2 × 10^5.", "1.2 × 10^5"),
        (LastNumber(), "So it is 10^6 in all.", "10^6"),
        (Choice("ABCD"), "The answer is (C).", "C"),
        (Choice("ABCD"), "The answer is C) 42", "C"),
        (Choice("ABCD"), r"\boxed{\text{B}}", "B"),
        (Choice("ABCD"), r"\boxed{\textbf{(D) } 7}", "D"),
        (Choice("ABCD"), "The correct option is **D**.", "D"),
        (Choice("ABCD"), "Looking at it, (B) is correct.", "B"),
        (Choice("ABCD"), "b", "B"),
        (Choice("ABCD"), "C. Because it fits.", "C"),
        (Choice("ABCD"), "I think so.\nA", "A"),
        (Choice("ABCD"), "A dog is a friend.", None),
        (Choice("ABCD"), "The answer is E.", None),
        (Choice("12"), "The answer is 2.", "2"),
        (Choice("ABCD"), "B) 12\n\nOption A is too small, and option C is too large.", "B"),
        (Choice("ABCD"), "**B**\n\nExplanation: option A is the capital of France.", "B"),
        (Choice("ABCD"), "The correct answer is B, not option A.", "B"),
        (Choice("ABCD"), "I choose B over option C.", "B"),
        (Choice("ABCD"), "Option B is right, option A is not.", "B"),
        (Choice("ABCD"), "B is the correct one, option C is wrong.", "B"),
        (Choice("ABCD"), "I think it's C.\n\nOption A: wrong.\nOption B: wrong.\nOption D: wrong.", "C"),
        (Choice("ABCD"), "A) Paris\nB) Rome\nC) Oslo\nD) Bern\nSo it must be option B.", "B"),
        (Choice("ABCD"), "A) 12 is wrong.\n\nThe correct option is B.", "B"),
        (Choice("ABCD"), "A) is too small, so option B.\n\nDone.", "B"),
        (Choice("ABCD"), "First option A. It is small. Then option B. So I pick option C", "C"),
        (Choice("ABCD"), "If it is A, then x is 3. So option C.", "C"),
        (Choice("ABCD"), "Maybe it's A.\nNo.\nC", "C"),
        (Choice("ABCD"), "B\n\nWait, the correct answer is C.", "C"),
        (Choice("ABCD"), "A. Analysis\n\nHere option C fits best.", "C"),
        (Choice("ABCD"), "A is correct and B is correct, so option D, all of the above.", "D"),
        (Choice("ABCD"), "Statement A is correct. Statement B is correct. So option C (both).", "C"),
        (Choice("ABCD"), "Since the point A is right of the origin, option C holds.", "C"),
        (Choice("ABCD"), "Vitamin D is best known for bones, so option B.", "B"),
        (Choice("ABCD"), "Team A is the best team, so option B holds.", "B"),
        (Choice("ABCD"), "A) is incorrect because the heart pumps blood.\n\nSo option C fits the description.", "C"),
        (Choice("ABCD"), "A) Paris is wrong.\n\nTherefore option C fits.", "C"),
        (Choice("ABCD"), "A:\nThe capital of France is Paris, so option C fits.", "C"),
        (Choice("ABCD"), "**A:**\nThe capital of France is Paris, so option C fits.", "C"),
        (Choice("ABCD"), "The correct answer must be option C not D", "C"),
        (Choice("ABCD"), "I would say option C cannot be beaten.", "C"),
        (Choice("ABCD"), "So option D is not a mammal.", "D"),
        (Choice("ABCD"), "so option D is false, which is what we want", "D"),
        (Choice("ABCD"), "The statement in option B is not false.", "B"),
        (Choice("ABCD"), "So option D is incorrect.", None),
        (Choice("ABCD"), "D) not enough information", "D"),
        (Choice("ABCD"), "B: false", "B"),
        (Choice("ABCD"), "Option D: wrong.", None),
        (Choice("abcd"), "It is a dog.", None),
        (Choice("abcd"), "I choose b, not a.", "b"),
        (TEN, "The best answer I can give is (B).", "B"),
        (TEN, "The answer I chose is B.", "B"),
        (TEN, "So the option I would pick is C", "C"),
        (TEN, "The answer I'd give is H", "H"),
        (TEN, "The answer I think fits", None),
        (TEN, "The answer is I.", "I"),
        (TEN, "The answer is I because it fits.", "I"),
        (TEN, "option I is right", "I"),
        (TEN, "My choice is (I), I think.", "I"),
        (TEN, "I", "I"),
        (TEN, "So option I describes it best.", "I"),
        (TEN, "I conclude that option I matches.", "I"),
        (TEN, "Hence option I applies.", "I"),
        (TEN, "It must be choice I that fits.", "I"),
        (COLOURS, "The answer is the blue one.", "B"),
        (COLOURS, "Green!", "C"),
        (COLOURS, "The answer is yellow.", None),
        (PRESIDENTS, "The answer is B.", "B"),
        (PRESIDENTS, "The answer is A. Lincoln.", "B"),
        (PRESIDENTS, "a. lincoln", "B"),
        (PRESIDENTS, "A. G. Washington", "A"),
        (PRESIDENTS, "D) D. Eisenhower", "D"),
        (WHOLE, "The answer is 2.", None),
        (WHOLE, "The answer is -2.", "A"),
        (WHOLE, r"\boxed{\frac{6}{2}}", "C"),
        (WHOLE, "The answer is 12.", None),
        (Choice("AB", texts=("1/2", "0.25")), "The answer is 12.", None),
        (Choice("AB", texts=("1/2", "0.25")), r"The answer is $\frac14$.", "B"),
        (Choice("AB", texts=("x+1", "x-2")), "The answer is x-1.", None),
        (Choice("AB", texts=("[2, 3]", "(4, 5)")), "The answer is (2, 3).", None),
        (Choice("AB", texts=("5 cm", "7 mm")), "The answer is 5.", "A"),
        (Choice("ABC", texts=("AA", "Aa", "aa")), "The answer is Aa.", "B"),
        (Choice("ABC", texts=("C", "A", "B")), "The answer is A.", "A"),
        (SENTIMENT, "It is positive.", "positive"),
        (SENTIMENT, "The answer is Negative.", "negative"),
        (SENTIMENT, "I say: very negative", "very negative"),
        (SENTIMENT, "Not positive but negative.", "negative"),
        (SENTIMENT, "The answer is not positive.", None),
        (SENTIMENT, "The review isn't really positive.", None),
        (SENTIMENT, "It is positive, not negative.", "positive"),
        (SENTIMENT, "It is neither positive nor negative.", None),
        (SENTIMENT, "It is not only positive.", "positive"),
        (TRUE, "The statement is not true.", None),
        (YES, "Yes, because there is no other way.", "yes"),
        (YES, "Yes. There is no doubt about it.", "yes"),
        (YES, "Yes, but actually no.", None),
        (YES, "No, wait, yes.", None),
        (YES, "Yes or no, who knows.", None),
        (YES, "Yes? No.", None),
        (SENTIMENT, "Positive, and no negative word is in it.", "positive"),
        (SENTIMENT, "Positive, negative, very negative.", None),
        (TRUE, "This cannot be false.", None),
        (Label("spam", "not spam"), "This is not spam.", "not spam"),
        (Label("spam", "ham"), "This is not spam.", None),
        (LANGUAGE, "It is not C++.", None),
        (Choice(), "The answer is A or B.", None),
        (Choice(), "The answer is **A** or **B**.", None),
        (Choice(), "**A** or **B**", None),
        (Choice(), "**A.** or **B.**", None),
        (Choice(), "(A) or (B)", None),
        (Choice(), "Answer: **A** and **B**", None),
        (Choice(), "A) wrong\nB) wrong\nC) correct\nD) wrong", None),
        (Choice(), "Option A: no. Option B: no. Option C: yes.", None),
        (Choice(), "A) Paris\nB) Rome\n\nB) Rome", "B"),
        (Choice(), "A) Paris\nB) Rome\n\nB", "B"),
        (Choice(), r"$\boxed{\textbf{(B)}\ 12}$", "B"),
        (Choice(), r"\boxed{\textbf{(B) }\,12}", "B"),
        (Choice(), "Thus, **B** is the correct choice.", "B"),
        (Choice(), "\u2705 **B**", "B"),
        (Choice(), "Option A is good.\nB \u2705", "B"),
        (Choice(), "<answer>(C) Paris</answer>", "C"),
        (Choice(), '{"answer": "D"}', "D"),
        (SENTIMENT, r"\boxed{\text{Positive}}", "positive"),
        (SENTIMENT, r"\boxed{\text{very negative}}", "very negative"),
        (SENTIMENT, r"\boxed{\text{very}\ \text{negative}}", "very negative"),
        (SENTIMENT, "<answer>positive</answer>", "positive"),
        (SENTIMENT, "It is not that negative.", None),
        (LANGUAGE, r"\boxed{\text{C++}}", "C++"),
        (YES, "**Yes** \u2014 there is no doubt.", "yes"),
        (Text(), "<answer>Paris</answer>", "Paris"),
        (Choice(), "The answer is A and B", None),
        (Choice(), "The answer is A, B or C.", None),
        (Choice(), "I would say A/B", None),
        (Choice(), "It is A or B. The answer is B.", "B"),
        (Choice(), "The answer is A, and B is wrong.", "A"),
        (Choice(), '"B"', "B"),
        (Choice(), "[[B]]", "B"),
        (Choice(), "\N{FULLWIDTH LATIN CAPITAL LETTER B}", "B"),
        (Choice(), "The answer is “B”.", "B"),
        (SENTIMENT, "The positive parts are few.\nNegative", "negative"),
        (SENTIMENT, "I cannot tell.", None),
        (YES, "Yes.\n\nThere is no doubt about it.", "yes"),
        (SENTIMENT, "**Positive**\n\nIt isn't negative at all", "positive"),
        (SENTIMENT, "It isn't negative at all\n\nSentiment: **Positive**", "positive"),
        (SENTIMENT, "Food: positive\n\nOverall, the review is negative.", "negative"),
        (SENTIMENT, "Sentiment: **Positive**\n\nIt isn't negative at all", "positive"),
        (SENTIMENT, "Positive\n\nFood: negative\n\nIt is negative at last", "negative"),
        (TRUE, "Premise 1: true\nPremise 2: it does not follow\nTherefore the claim is false.", "false"),
        (YES, "Condition 1: Yes\nCondition 2: 5 > 7 does not hold.\nSo the final verdict is no.", "no"),
        (SENTIMENT, "Positive\n\nOn second thoughts:\n\nNegative", "negative"),
        (SENTIMENT, "Positive or negative?\n\nIt is negative at last", "negative"),
        (SENTIMENT, "Positive?\n\nIt is negative", "negative"),
        (SENTIMENT, "Positive:\n- good food\nNegative:\n- slow\nOverall it is negative.", "negative"),
        (SENTIMENT, "## Positive\n- good food\n## Negative\n- slow\nOverall it is negative.", "negative"),
        (POLARITY, "-1.\n\nIt is not 0 at all", "-1"),
        (LANGUAGE, "C++.\n\nThis is not C", "C++"),
        (Label("well-known", "new"), "It is well-known.", "well-known"),
        (POLARITY, "The answer is -1.", "-1"),
        (POLARITY, "The answer is \N{MINUS SIGN}1", "-1"),
        (POLARITY, "The answer is \N{EN DASH}1.", "-1"),
        (POLARITY, "The answer is +1.", "1"),
        (Label("-1", "0"), "The answer is 1.", None),
        (Label("+1", "-1"), "The answer is +1.", "+1"),
        (Label("< 5", "5-10", "> 10"), "The answer is <5.", "< 5"),
        (Label("positive (+)", "negative (-)"), "The answer is positive.", "positive (+)"),
        (Label("1 star *", "2 stars **"), "The answer is 1 star.", "1 star *"),
        (Label("x<5", "x>5"), "The answer is x > 5.", "x>5"),
        (LANGUAGE, r"\boxed{C\#}", "C#"),
        (LANGUAGE, r"The answer is C\+\+.", "C++"),
        (POLARITY, "The answer is 1.", "1"),
        (POLARITY, "Sentiment: 0", "0"),
        (POLARITY, "Sentiment: -10", None),
        (LANGUAGE, "It is written in C++.", "C++"),
        (LANGUAGE, "It is written in C.", "C"),
        (LANGUAGE, "It is written in c#", "C#"),
        (Json("name"), 'Here: {"name": "Ada"} and so on', '{"name": "Ada"}'),
        (Json("name"), '{"name": 1}\n```json\n{"name": {"first": 2}}\n```', '{"name": {"first": 2}}'),
        (Json("name"), '{"name": 1} {"other": 2}', '{"name": 1}'),
        (Json(), r"\frac{1}{2} {not json} {}", "{}"),
        (Json("name"), '{"name": ', None),
        (Json("name"), '{"name": NaN}', None),
        (Code(), "So:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        (Code("rust"), "```rust\nfn main() {}\n```", "fn main() {}\n"),
        (Code(), "~~~python\nx = 1\n~~~", "x = 1\n"),
        (Code(), "There is no code.", None),
        (Code(), f"```python\n{F}```\nExample usage:\n```python\nprint(f(3))\n```", F),
        (Code(), f"```\n{F}```\nOutput:\n```\n3\n```", F),
        (Text(), "The answer is Paris.", "Paris"),
        (Text(), "The answer is 5 apples.", "5 apples"),
        (Text(), "The answer is 3 days because it rained.", "3 days"),
        (Text(), "The answer is 12 Angry Men.", "12 Angry Men"),
        (Text(), "The answer is 60% of the students.", "60%"),
        (Text(), "Two and three.\n#### 5 apples", "5"),
        (Number(), "The answer is not 5.", None),
        (Number(), "The answer is less than 5.", None),
        (Number(), "The answer is half of 7.", None),
        (Number(), "The answer is at least 5.", "5"),
        (Number(), "The answer is 1.5 x 10^3.", "1.5 x 10^3"),
        (LastNumber(), "That is 1.5 x 10^3 in all", "1.5 x 10^3"),
        (LastNumber(), "In all 1.234,56 euros", "1.234,56"),
        (LastNumber(), "In all 1.234.567 people", "1.234.567"),
        (LastNumber(), "it is ٤٢", "42"),
        (LastNumber(), "In all 12,34,567 rupees", "12,34,567"),
        (LastNumber(), "共5万元", r"5 \times 10^{4}"),
        (LastNumber(), "3½ hours", "3 1/2"),
        (LastNumber(), "one half is ½", "1/2"),
        (LastNumber(), "6.02×10²³ of them", "6.02×10^{23}"),
        (LastNumber(), "12 m²", "12"),
        (Text(), " Paris \n", "Paris"),
        (Text(), " ", None),
        (Text(), "The answer is J. K. Rowling.", "J. K. Rowling"),
        (Text(), "The answer is J. R. R. Tolkien because he wrote it.", "J. R. R. Tolkien"),
        (Text(), "The answer is **J. K. Rowling**, the writer.", "J. K. Rowling"),
        (Text(), "The answer is St. Louis.", "St. Louis"),
        (Text(), "The answer is Mr. Darcy.", "Mr. Darcy"),
        (Text(), "The answer is Dr. Seuss", "Dr. Seuss"),
        (Text(), "The answer is George W. Bush. He was president.", "George W. Bush"),
        (Text(), "The answer is the U.S. Senate.", "the U.S. Senate"),
        (Text(), "The answer is the U.S. government.", "the U.S. government"),
        (Text(), "The answer is the U.S. It is a country.", "the U.S"),
        (Text(), "The answer is Vitamin C. It is in oranges.", "Vitamin C"),
        (Text(), "The answer is C. Therefore, we are done.", "C"),
        (Text(), "The answer is Main St. It is long.", "Main St"),
        (Text(), "The answer is Paris. it is big.", "Paris"),
        (Text(), "The answer is B. Paris.", "B"),
        (Text(), "The answer is **B. Paris**.", "B"),
        (Text(), "Answer: A. True", "A"),
        (Text(), "The answer is 5 p.m. the train leaves then.", "5 p.m"),
        (Pattern(r"move ([a-h][1-8])"), "First move e4, then move d5.", "d5"),
        (Pattern(r"[a-h][1-8]"), "e4 d5", "d5"),
        (Pattern(r"[a-h][1-8]"), "none", None),
        (Function(last_word), "It is Paris.", "Paris"),
        (Function(last_word), "", None),
        (Code("Python"), "```python\nx = 1\n```", "x = 1\n"),
        (Code("C#"), "```c#\nint x;\n```\nNot:\n```c\nint y;\n```", "int x;\n"),
        (Code("c++"), "```C++\nint x;\n```", "int x;\n"),
    ],
)
def test_what_a_kind_reads(kind: Answers, text: str, answer: str | None) -> None:
    assert kind.extract(text) == answer


CUT = [
    (Number(), "The answer is 12"),
    (LastNumber(), "It is 12"),
    (Choice("ABCD"), "The answer is C"),
    (Choice("ABCD"), "C"),
    (YES, "Yes.\nThere is"),
    (Text(), "The answer is J. K"),
    (LastNumber(), r"It is \frac{3}{4}"),
    (SENTIMENT, "very"),
    (SENTIMENT, "negative"),
    (Code(), "```python\nx = 1"),
    (Code(), "~~~python\nx = 1"),
    (Code(), "~~~python\nx = 1\n~~~\nNow tested:\n~~~python\ny = 1"),
    (Code(), "~~~\n```\n~~~\n```python\nx = 1"),
    (Code(), "```python\nx = 1\n```\nNow tested:\n```py"),
    (Text(), "Par"),
    (Pattern(r"[0-9]+"), "12"),
    (Function(last_word), "It is Par"),
]


@pytest.mark.parametrize(("kind", "text"), CUT)
def test_what_reaches_the_end_of_a_reply_that_was_cut_off_does_not_count(kind: Answers, text: str) -> None:
    assert kind.extract(text, finished=False) is None


@pytest.mark.parametrize(
    ("kind", "one", "other", "equal"),
    [
        (Maths(), "x+1", "1+x", True),
        (Number(), "1/2", "0.5", True),
        (Number(), "$1,234", "1234", True),
        (Number(), "0.3333333", "1/3", True),
        (Number(), "5", "6", False),
        (LastNumber(), "5.0", "5", True),
        (Choice("ABCD"), "c", "C", True),
        (Choice("ABCD"), "(C)", r"\text{(C)}", True),
        (Choice("ABCD"), "C", "D", False),
        (COLOURS, "B", "The Blue One", True),
        (PRESIDENTS, "B", "A. Lincoln", True),
        (PRESIDENTS, "A", "A. Lincoln", False),
        (Choice("ABC", texts=("D. melanogaster", "C. elegans", "E. coli")), "B", "C. elegans", True),
        (Choice("AB", texts=(r"5\text{ cm}", r"6\text{ cm}")), "A", r"5\text{ cm}", True),
        (Choice("ABCD", texts=("-1", "1", "0", "2")), "B", "1", True),
        (Choice("AB", texts=("5 cm", "7 mm")), "A", "5 mm", False),
        (SENTIMENT, "Positive", "positive", True),
        (POLARITY, "-1", "1", False),
        (POLARITY, "-1", " -1", True),
        (Json("a"), '{"a": 1.0, "b": 2}', '{"b": 3, "a": 1}', True),
        (Json("a"), '{"a": 1}', '{"a": 2}', False),
        (Json(), '{"a": 1, "b": [1, 2]}', '{ "b":[1,2],"a":1 }', True),
        (Json(), '{"a": true}', '{"a": 1}', False),
        (Json(), '{"a": 1e400}', '{"a": 1e500}', False),
        (Json(), '{"a": [1e400]}', '{"a":[1e400]}', True),
        (Code(), "x = 1\n\ny = 2", "```python\nx = 1  \ny = 2\n```", True),
        (Code(), "if x:\n    y", "if x:\ny", False),
        (Text(), "The Eiffel Tower!", "eiffel tower", True),
        (Text(), "Paris", "London", False),
        (Text(), r"\text{Paris}", "Paris", True),
        (Text(), r"\textbf{New}\ \textbf{York}", "New York", True),
        (Text(), r"\mathrm{H}", "H", True),
        (Text(), "1.5", "15", False),
        (Text(), "-5", "5", False),
        (Text(), "\N{MINUS SIGN}5", "-5", True),
        (Text(), ".5", "5", False),
        (Text(), "1/2", "12", False),
        (Text(), "3:45", "345", False),
        (Text(), "1,5", "15", False),
        (Text(), "1,000", "1000", True),
        (Text(), "1914\N{EN DASH}1918", "1914-1918", True),
        (Text(), "C++", "C", False),
        (Text(), "A+", "A", False),
        (Text(), "x<5", "x>5", False),
        (Text(), "x + y", "x - y", False),
        (Text(), "3 - 5", "3 5", False),
        (Text(), "AB+", "AB-", False),
        (Text(), "Paris - France", "Paris, France", True),
        (Text(), "red+blue", "redblue", True),
        (Text(), "U.S.", "US", True),
        (Text(), "5.", "5", True),
        (Pattern("[a-z]+"), "abc", "abc", True),
        (Function(last_word), "Paris", "paris", False),
        (Text(), "Vitamin A", "vitamin a.", True),
        (Text(), "Vitamin A", "vitamin", False),
        (Text(), "the type A", "type a", True),
        (Text(), "10²", "10^2", True),
        (Text(), "10^{2}", "10²", True),
        (Text(), "10²", "102", False),
        (Text(), "10^{-3}", "10⁻³", True),
        (Text(), "10⁻³", "10-3", False),
        (Text(), "5 m²", "5 m2", True),
    ],
)
async def test_what_is_equal(kind: Answers, one: str, other: str, equal: bool) -> None:
    assert await kind.equal(one, other) is equal
    assert await kind.equal(other, one) is equal
    if not isinstance(kind, Maths) and "1/3" not in other:
        assert (kind.key(one) == kind.key(other)) is equal


def test_letters_that_match_no_choice_but_in_some_case_are_no_choice() -> None:
    assert TEN.key("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}") not in TEN.letters
    assert Choice("JK").key("\N{KELVIN SIGN}") in {"K", "k"}


KINDS = [
    Maths(), Maths(seconds=1.0), Number(), LastNumber(), Choice("ABCD"), Choice(), COLOURS, SENTIMENT, Json(),
    Json("name", "age"), Code(), Code("rust"), Text(), Pattern(r"move ([a-h]\d)"), Function(last_word),
    AnyOf(of=Text()),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_the_repr_of_a_kind_is_its_spec(kind: Answers) -> None:
    names = {"last_word": last_word}
    assert parse_answers(repr(kind), names) == kind
    assert parse(repr(kind), names) == kind
    assert repr(parse_answers(repr(kind), names)) == repr(kind)
    assert hash(kind) == hash(parse_answers(repr(kind), names))


def test_each_kind_can_be_written_and_each_is_among_the_examples() -> None:
    assert {type(kind) for kind in KINDS} == set(CONSTRUCTORS.values())
    assert repr(Choice("ABC")) == 'Choice("ABC")'
    assert repr(Label("yes", "no")) == 'Label("yes", "no")'


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_a_kind_says_what_it_asks_for_and_a_reply_of_its_form_is_read(kind: Answers) -> None:
    assert is_answers(kind)
    assert kind.asks or isinstance(kind, Function)
    form = kind.form
    if form and form.choices:
        assert {kind.extract(choice) for choice in form.choices} == set(form.choices)
    if form and form.regex and not isinstance(kind, Pattern):
        reply = "The answer is 4."
        assert re.fullmatch(form.regex, reply)
        assert kind.extract(reply) == "4"
    if form and form.schema:
        reply = json.dumps(dict.fromkeys(form.schema["required"], 1))
        assert kind.extract(reply) == reply


def test_a_function_stands_for_its_kind() -> None:
    assert parse_answers("last_word", {"last_word": last_word}) == Function(last_word)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Vote(16)", "'Vote' is not known"),
        ("Numbr()", "did you mean Number"),
        ("Number", "is not a kind of answers; write one such as"),
        ("5", "is not a kind of answers"),
        ("Choice(", "the kind of answers 'Choice\\(' cannot be read"),
        ('Choice("AA")', "letters must be different"),
        ('Choice("A-B")', "letters must be different"),
        ('Choice("AB", texts=("x",))', "2 letters and 1 text"),
        ('Label("yes")', "two words or more"),
        ('Label("yes", "Yes")', "are one word"),
        ('Json("a", "a")', "different names"),
        ('Pattern("(")', "no regular expression"),
        ('Pattern(b"x")', "Pattern: regex must be a text, not b'x'"),
        ("Maths(seconds=0)", "seconds must be positive"),
        ('Maths(seconds="x")', "seconds must be positive and finite, not 'x'"),
        ("Code(5)", "Code: language must be a word, such as"),
        ('Code("py thon")', "Code: language must be a word, such as"),
        ("Code(None)", "Code: language must be a word, such as"),
        ("Function(5)", "not called with"),
        ("__import__('os')", "not known"),
    ],
)
def test_what_is_no_kind_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_answers(spec)


def test_a_function_that_reads_later_is_refused() -> None:
    with pytest.raises(InputError, match="Function: later is async: write a plain def"):
        Function(later)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", ["raises", "returns a number"])
def test_a_function_that_fails_is_no_answer_and_no_silence(fails: str) -> None:
    def reads(_text: str) -> Any:
        return 1 / 0 if fails == "raises" else 5

    with pytest.raises(VerifierError, match=r"ZeroDivisionError|returned int"):
        Function(reads).extract("x")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not isinstance(kind, Function)], ids=repr)
@given(text=st.text() | st.lists(st.sampled_from([*'{}[]":,1.-/()ABab \n`*\\', "answer is ", "```"])).map("".join))
def test_no_kind_raises_on_any_text(kind: Answers, text: str) -> None:
    for finished in (True, False):
        answer = kind.extract(text, finished=finished)
        if answer is not None:
            assert isinstance(kind.key(answer), str)
    kind.key(text)


def test_a_number_of_many_figures_is_read_in_one_pass() -> None:
    figures = "1234567890" * 100_000  # in as many passes as it has figures, this would take an hour
    assert LastNumber().extract(f"It is {figures} or 3 1/2.") == "3 1/2"
    assert LastNumber().extract(f"It is {figures}") == figures


@pytest.mark.parametrize(
    "answer", ["5km", "4GB", "5元", "18ドル", "1876年", "90°", "3D", "7pm", "10ms", "20°C", "2nd", "x2y"]
)
def test_a_unit_at_its_number_is_a_part_of_a_text(answer: str) -> None:
    for text in (f"The answer is {answer}.", f"Answer: **{answer}**", rf"So \boxed{{{answer}}}.", f"答案是{answer}。"):
        assert Text().extract(text) == answer


BLANKS = 200_000
"""So many that what takes their square would not end."""


@pytest.mark.parametrize("blanks", [" " * BLANKS, " \n" * BLANKS, "\u3000" * BLANKS], ids=["plain", "lines", "wide"])
def test_blanks_take_no_time(blanks: str) -> None:
    assert Choice("AB", texts=("foo", "bar")).key(f"foo{blanks}B") == "foo b"
    assert Choice("AB").extract(f"foo{blanks}x") is None
    assert Label("-1", "+1").key(f"a{blanks}<{blanks}1") == "a<1"
    assert decide(f"5{blanks}", "5")
    assert decide(f"5{blanks}x", "6") is decide("5  x", "6")


def test_an_object_is_looked_for_no_longer_than_the_reply_is_long() -> None:
    assert Json("a").extract('{"a":' * 50_000) is None
    assert Json("a").extract('{"a": "' * 30_000) is None
    assert Json("a").extract("{" * 200_000) is None


async def test_each_answer_is_judged_once_and_no_answer_is_not_right() -> None:
    judged: list[str] = []

    class Slow(Text):
        async def equal(self, answer: str, reference: str) -> bool | None:
            judged.append(answer)
            return None if answer == "?" else answer == reference

    found, failures = await verdicts(Slow(), ["a", "b", None, "a", "?"], "a")
    assert (found, failures) == ({"a": True, "b": False, None: False, "?": None}, {})
    assert sorted(judged) == ["?", "a", "b"]


async def test_a_kind_that_is_derived_from_mathematics_decides_by_its_own_equality() -> None:
    class Lenient(Maths):
        async def equal(self, answer: str, reference: str) -> bool | None:
            return abs(int(answer) - int(reference)) < 2

    assert await verdicts(Lenient(), ["3", "7"], "4") == ({"3": True, "7": False}, {})


class Move:
    """A kind of the user's own."""

    asks, form = "End with: My move is X.", None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        _, found, move = text.rpartition("My move is ")
        return move.strip(" .\n") or None if found and finished else None

    def key(self, answer: str) -> str:
        return answer.lower()

    async def equal(self, answer: str, reference: str) -> bool | None:
        return self.key(answer) == self.key(reference)


REPLIES = ["It is negative.", "I say positive", "positive", "The sentiment: Positive!", "Negative"]
PROBLEM = Problem("p", "How is it?", "positive", answers=Label("positive", "negative"))


def speaker(request: Request) -> Completion:
    return Completion(REPLIES[request.draw % len(REPLIES)], confidences=(1.0,) * 8, logprobs=(-1.0,) * 8)


async def same(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [Score(0.5) for _ in candidates]


@pytest.mark.parametrize(
    "spec",
    [
        "Vote(5)",
        "Vote(5, by=same)",
        "Vote(5, until=two_of_one, window=1)",
        "DeepConf(5, by=same, warmup=5)",
        "BestOf(5, by=MatchesReference())",
        "Until(MatchesReference(), limit=5)",
        "Beam(5, 1, by=same, answer='majority')",
    ],
)
async def test_strategies_read_the_answers_of_the_problem(spec: str) -> None:
    def two_of_one(keys: Sequence[Any], weights: Sequence[float], left: int) -> bool:
        return any(keys.count(key) >= 3 for key in keys if key is not None)

    solution = await solve(PROBLEM, parse(spec, {"same": same, "two_of_one": two_of_one}), Scripted(speaker))
    assert (solution.answer, solution.correct, solution.error) == ("positive", True, "")


async def test_a_group_of_problems_reads_the_answers_of_each() -> None:
    problems = [PROBLEM, Problem("q", "How?", "ANSWER", answers=Function(last_word))]
    answers = {each.problem: each.answer async for each in solve_all(problems, parse("Allocate(5)"), Scripted(speaker))}
    assert answers == {"p": "positive", "q": "negative"}


async def test_a_kind_of_your_own_serves() -> None:
    problem = Problem("p", "White to move", "E4", answers=Move())
    replies = ["My move is d4.", "My move is e4.", "My move is E4."]
    solution = await solve(problem, parse("Vote(3)"), Scripted(lambda request: replies[request.draw]))
    assert (solution.answer, solution.correct, solution.samples_correct) == ("e4", True, 2)


async def test_the_oracle_reads_the_answers_of_the_problem() -> None:
    async def strategy(problem: Problem, run: Run) -> Candidate:
        scores = await run.score(MatchesReference(seconds=1.0), problem, [Candidate((text,)) for text in REPLIES])
        assert [score and score.value for score in scores] == [0.0, 1.0, 1.0, 1.0, 0.0]
        return Candidate((REPLIES[1],))

    assert (await solve(PROBLEM, strategy, Scripted(speaker))).correct


def test_keys_are_those_of_the_problem() -> None:
    assert vote_key(PROBLEM, Candidate(("It is Positive!",))) == "positive"
    assert vote_key(Problem("p", "?"), Candidate(("It is Positive!",))) is None
    assert vote_key(PROBLEM, Candidate(("positive",), finished=False)) is None


def test_a_revision_with_the_same_label_changes_nothing() -> None:
    one, other = Candidate(("positive",)), Candidate(("I stay with positive",))
    assert unchanged(one, other, PROBLEM.answers)
    assert not unchanged(one, other)


def test_the_leaves_of_a_tree_vote_by_label() -> None:
    leaves = [Leaf(Candidate((text,)), 0.5, 1) for text in REPLIES]
    assert choice(leaves, "majority", PROBLEM.answers)[0] == 1


async def test_a_solution_counts_the_samples_without_an_answer() -> None:
    replies = ["It goes on and on", "and on and on", "?", "positive", "?", "positive"]
    model, strategy = Scripted(lambda request: replies[request.draw]), parse("Vote(6, of=Model(max_tokens=10))")
    solution = await solve(PROBLEM, strategy, model)
    assert (solution.compared, solution.unanswered, solution.cut) == (6, 4, 2)
    unknown = await solve(Problem("p", "?", answers=PROBLEM.answers), strategy, model)
    assert (unknown.compared, unknown.unanswered, unknown.cut) == (6, 4, 2)


async def test_a_function_that_fails_in_the_end_is_no_verdict() -> None:
    def reads(text: str) -> str | None:
        raise KeyError(text)

    solution = await solve(Problem("p", "?", "7", answers=Function(reads)), None, Scripted("It is 7."))
    assert (solution.answer, solution.correct, solution.unjudged, solution.text) == (None, None, True, "It is 7.")
    assert solution.notes == ("not graded: reads: KeyError: 'It is 7.'",)
    assert (solution.compared, solution.unanswered) == (0, 0)


class Counted(Move):
    """A kind that can compare numbers alone."""

    async def equal(self, answer: str, reference: str) -> bool | None:
        return int(answer) == int(reference)


@pytest.mark.parametrize("spec", ["Vote(3)", "BestOf(3, by=MatchesReference())", "Until(MatchesReference(), limit=3)"])
async def test_an_answer_that_a_kind_cannot_compare_costs_no_other_its_verdict(spec: str) -> None:
    replies = ["My move is seven.", "My move is 8.", "My move is 7."]
    problem = Problem("p", "?", "7", answers=Counted())
    solution = await solve(problem, parse(spec), Scripted(lambda request: replies[request.draw]))
    assert solution.verdicts == (None, False, True)
    assert solution.answer == ("seven" if spec == "Vote(3)" else "7")
    said = "Counted: ValueError: invalid literal for int() with base 10: 'seven'"
    assert f"not graded: {said}" in solution.notes
    assert any(f"no verdict on 1 of 3 candidates; the first: {said}" in note for note in solution.notes) is (
        spec != "Vote(3)"
    )


async def test_a_kind_that_can_compare_no_answer_says_so() -> None:
    problem = Problem("p", "?", "7", answers=Counted())
    oracle = parse("BestOf(2, by=MatchesReference())")
    solution = await solve(problem, oracle, Scripted("My move is seven."))
    assert solution.error.startswith("VerifierError: Counted: ValueError: invalid literal")
    plain = await solve(problem, parse("Vote(2)"), Scripted("My move is seven."))
    assert (plain.correct, plain.unjudged, plain.notes[0].startswith("not graded: Counted")) == (None, True, True)


async def later(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"extract": lambda self, text, *, finished=True: 7}, "Own.extract returned int, not a text"),
        ({"extract": lambda self, text, *, finished=True: later(text)}, r"Own.extract returned later\(...\) without"),
        ({"key": lambda self, answer: [answer]}, "Own.key returned list, not a text"),
        ({"key": lambda self, answer: later(answer)}, r"Own.key returned later\(...\) without awaiting it: write a"),
        ({"equal": lambda self, answer, reference: True}, "Own.equal is not async: write async def"),
    ],
)
async def test_what_a_kind_of_your_own_may_not_return_is_told(methods: dict[str, Any], said: str) -> None:
    kind = type("Own", (Move,), methods)()
    solution = await solve(Problem("p", "?", "e4", answers=kind), parse("Vote(2)"), Scripted("My move is e4."))
    assert solution.correct is None
    assert any(re.match(f"not graded: {said}", note) for note in solution.notes)


@pytest.mark.parametrize("method", ["extract", "key"])
def test_a_kind_that_reads_answers_later_is_refused(method: str) -> None:
    async def reads(self: Move, text: str, *, finished: bool = True) -> str:
        return text

    with pytest.raises(InputError, match=f"problem 'p': answers: Own.{method} is async: write a plain def"):
        Problem("p", "?", "e4", answers=type("Own", (Move,), {method: reads})())


async def test_a_function_whose_answer_comes_later_is_told() -> None:
    def reads(text: str) -> Any:
        return later(text)

    solution = await solve(Problem("p", "?", "7", answers=Function(reads)), None, Scripted("It is 7."))
    said = "reads returned later(...) without awaiting it: write a plain def, which awaits nothing"
    assert solution.notes == (f"not graded: {said}",)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A common wrong answer is B, but option D is right.", "D"),
        ("The wrong answer is A, the right one is option B.", "B"),
        ("The correct answer is A and B, i.e. option D.", "D"),
        ("The answer is A or C; since x>0, option C.", "C"),
        ("The answer is A if n is even, otherwise option B. n is odd: option B.", "B"),
        ("Answer: A triangle has three sides, so option C.", "C"),
        ("One might think the answer is A, but it is actually option B.", "B"),
        ("If the answer is A, x=3. So option C.", "C"),
        ("The answer is B. Option A is too small and option C would be 7.", "B"),
    ],
)
def test_the_last_choice_that_is_named_and_not_called_wrong_is_meant(text: str, letter: str) -> None:
    assert Choice("ABCD").extract(text) == letter
