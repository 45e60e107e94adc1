"""The phrases that give an answer in other languages, written in English: `答案是5` becomes `answer is 5`.

The languages are those of MGSM (Shi et al. 2022) and others in which models often write. What follows a phrase stays
as it is. So a phrase is left alone where words that nothing here reads may change a number: `Die Antwort ist nicht 5`.
"""

import re
from functools import cache

_PHRASES = (
    ("إجاب", r"(?:ال)?إجابة(?: النهائية| الصحيحة)?", r"\s+هي"),  # Arabic
    ("جواب", r"(?:ال)?جواب(?: النهائي| الصحيح)?", r"\s+هو"),
    ("উত্তর", r"উত্তর(?:টি)?", r"\s+(?:হলো|হল)"),  # Bengali
    ("antwort", r"\b(?:endgültige |richtige )?antwort", r"\s+(?:ist|lautet)\b(?:\s+(?:also|daher|somit)\b)?"),
    ("respuesta", r"\brespuesta(?: final| correcta)?", r"\s+es\b"),
    ("réponse", r"\bréponse(?: finale| correcte)?", r"\s+est\b(?:\s+donc\b)?"),
    ("उत्तर", r"उत्तर", r"\s+है|(?=\s+\(?(?:[A-J]\b|\d))"),  # Hindi
    ("jawaban", r"\bjawaban(?:nya)?(?: akhir(?:nya)?| yang benar)?", r"\s+adalah\b"),
    ("risposta", r"\brisposta(?: finale| corretta)?", r"\s+è\b(?:\s+quindi\b)?"),
    ("答え", r"(?:最終的な|最終)?答え", r"は、?"),
    ("正解", r"正解", r"は、?"),
    ("답", r"(?:최종 )?(?:정답|답)", r"[은는]"),
    ("antwoord", r"\b(?:uiteindelijke )?antwoord", r"\s+is\b(?:\s+dus\b)?"),
    ("odpowiedź", r"\bodpowiedź", r"\s+(?:to|brzmi)\b"),
    ("resposta", r"\bresposta(?: final| correta)?", r"\s+é\b(?:\s+portanto\b)?"),
    ("ответ", r"\bответ", r"\s+(?:[—–]|-(?=\s)|равен\b)"),
    ("відповідь", r"\bвідповідь", r"\s+(?:[—–]|-(?=\s))"),
    ("jibu", r"\bjibu(?: la mwisho| sahihi)?", r"\s+ni\b"),  # Swahili
    ("సమాధానం", "సమాధానం", r"(?=\s+[-−]?[$₹]?\d)"),  # Telugu
    ("คำตอบ", r"คำตอบ(?:สุดท้าย)?", r"\s*(?:คือ|เท่ากับ)"),
    ("cevap", r"\b(?:nihai )?cevap", r"\s+olarak\b"),  # Turkish
    ("đáp", r"\bđáp (?:án|số)(?: cuối cùng| đúng)?", r"\s+là\b"),
    ("câu trả lời", r"\bcâu trả lời(?: cuối cùng| đúng)?", r"\s+là\b"),
    ("答案", r"(?:(?:最终|最後|最后|正确|正確)的?)?答案", r"[是为為选選]"),
    ("选", r"(?:故|应该?|所以|因此|正确)，?选项?", r"[是为]|(?=\s*[（(*]{0,3}[A-J](?:[）)*。，,.;；\s]|$))"),
)
"""What every text with a phrase has, which is fast to look for, the word for `answer`, and that for `is` behind it."""
_OPTION = (
    r"(?:\s+(?:la|a|l(?=['’]))['’]?(?:\s*(?:opción|option|opzione|alternativa|opção|letra|lettre|lettera))?"
    r"(?=\s+\W{0,3}[A-J]\b))?"
)
"""What may stand before the letter of a choice, as in `La respuesta es la opción B`."""
_ASCII = tuple(each for each in _PHRASES if each[0].isascii())
_SENTENCE = re.compile(r"(?:[^\n.。।]|\.(?=\d)){0,60}")
_UNREAD = re.compile(
    r"""[\s*_$]*[^\W\d_]{2}.*\d | .*\d.*?(?:\s[^\W\d_]+\s|[^\W\d_a-zA-Z]).*\d
    | .*\d.{0,3}(?:보다|미만|초과|より|未満|未满)""",
    re.VERBOSE,
)
"""Words before a number or between two, or `less than` behind it, may make another number of it."""
_POLITE = re.compile(
    r"(answer is [^\n。]{1,60}?)\s*(?:です|である|となります|になります|입니다|이다|다|है)(?=[。।.!！\s*]|$)"
)
"""The verb behind an answer, in Japanese, Korean and Hindi."""


def in_english(text: str) -> str:
    """Return a reply with the phrases that give its answer in English; nearly all replies as they are."""
    folded = text.lower()
    found = [phrase for phrase in (_ASCII if text.isascii() else _PHRASES) if phrase[0] in folded]
    for _, noun, verb in found:
        text = _pattern(noun, verb).sub(_translated, text)
    return _POLITE.sub(r"\1", text) if found else text


@cache
def _pattern(noun: str, verb: str) -> re.Pattern[str]:
    """A phrase, with a colon or the end of the line in place of the verb; compiled when a reply may have it."""
    return re.compile(
        rf"{noun}(?P<marks>[*_]{{0,2}})(?:(?P<verb>(?:{verb}){_OPTION})|\s*(?P<colon>[:：=])|(?=[*\s]{{0,4}}\n))",
        re.IGNORECASE,
    )


def _translated(found: re.Match[str]) -> str:
    text, start = found.string, found.start()
    sentence = _SENTENCE.match(text, found.end())
    if sentence and _UNREAD.match(sentence[0]):
        return found[0]
    gap = " " if start and text[start - 1].isalnum() else ""
    said = " is " if found["verb"] is not None else ":" if found["colon"] else ""
    return f"{gap}answer{found['marks']}{said}"
