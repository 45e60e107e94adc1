"""Replies in other languages give their answers as English ones do."""

import pytest

from metagen.answers.extract import extract
from metagen.answers.kinds import Choice, Label, Number, Text
from metagen.answers.languages import in_english


@pytest.mark.parametrize(
    "text",
    [
        "উত্তর হল 5।", "Die Antwort ist 5.", "La respuesta es 5.", "La réponse est 5.", "答えは5です。",
        "Ответ — 5.", "Jibu ni 5.", "సమాధానం 5.", "คำตอบคือ 5", "答案是 5。", "উত্তর: 5", "Antwort: 5",
        "Respuesta: 5", "Réponse : 5", "答え: 5", "Ответ: 5", "Jibu: 5", "సమాధానం: 5", "คำตอบ: 5",
        "答案：5", "الإجابة: 5", "الجواب هو 5.", "उत्तर: 5", "A resposta é 5.", "La risposta è 5.",
        "Jawaban: 5", "Jawabannya adalah 5.", "정답은 5입니다.", "답: 5", "Đáp án là 5.",
        "Het antwoord is 5.", "Odpowiedź: 5", "Cevap: 5", "Відповідь: 5", "**答案：5**", "**答案**：5",
        "所以，答案是 **5**。", "因此答案为$5$。", "**Respuesta final:** 5", "RESPUESTA: 5",
        "Die endgültige Antwort lautet: 5", "La réponse est donc 5.", "### 最终答案\n\n5",
        "**Réponse finale**\n\n5", r"$\boxed{\text{答案：}5}$", r"答案是 $\boxed{5}$。",
        "Ответ: 5 долларов", "答案是5元。", "答えは、**5**ドルです。", "La respuesta es 5 dólares.",
        "Die Antwort ist 5 Dollar.", "정답은 5달러입니다.", "答案是6。\n\n不对，答案是5。",
        "Die Antwort ist 6. No: the answer is 5.", "The answer is 6.\n\nNein, die Antwort ist 5.",
    ],
)  # fmt: skip
def test_a_phrase_of_another_language_gives_the_answer(text: str) -> None:
    answer = extract(text)
    assert answer is not None
    assert Number().key(answer) == "5"


@pytest.mark.parametrize(
    "text",
    [
        "Die Antwort ist nicht 5.", "Die Antwort ist nicht **5**.", "La respuesta es menos de 5.",
        "答案是5或6", "Die Antwort ist 5 oder 6.", "答案不是5", "La réponse n'est pas 5.", "답은 5보다 작습니다",
        "答案是小明有5个", "La respuesta es la mitad de 10.", "正解です", "Die Antworten: 5", "所以选A为起点。",
    ],
)  # fmt: skip
def test_words_that_may_change_the_number_give_none(text: str) -> None:
    assert extract(text) is None


@pytest.mark.parametrize("text", ["答案是12", "Die Antwort ist 12", "答えは12です", "Ответ: 12", "คำตอบคือ 12"])
def test_a_phrase_that_was_cut_off_gives_none(text: str) -> None:
    assert extract(text, finished=False) is None
    assert extract(f"{text}\n\n", finished=False) == "12"


@pytest.mark.parametrize(
    "text",
    [
        "答案选B。", "因此，选B。", "故选：B", "正确选项是B。", "答案：B. 罗马", "正解はBです。", "답은 B다.",
        "La respuesta correcta es la opción B.", "La bonne réponse est la B.", "A resposta é a alternativa B.",
        "Die richtige Antwort ist B) Rom.", "Đáp án đúng là B.", "Jawaban yang benar adalah B.",
        "Jibu sahihi ni B.", "सही उत्तर B है।", "الإجابة الصحيحة هي B.", "Правильный ответ — B) Рим",
    ],
)  # fmt: skip
def test_a_letter_is_chosen_in_other_languages(text: str) -> None:
    assert Choice().extract(f"A) x, B) y\n\n{text}") == "B"


def test_other_kinds_read_them_too() -> None:
    assert Choice().extract("正确答案是B。") == "B"
    assert Choice().extract("A oder B?\nDie Antwort ist (B).") == "B"
    assert Label("yes", "no").extract("It is yes in the text, but: La respuesta es no.") == "no"
    assert Text().extract("Lo leí ayer.\nLa respuesta es Gabriel García Márquez.") == "Gabriel García Márquez"


def test_english_replies_stay_as_they_are() -> None:
    for text in ("The answer is 5.", "An antiquated responsibility: 5", "답 or 答案 is a word.", "Jibunni: 5"):
        assert in_english(text) == text
