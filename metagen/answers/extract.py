"""Find the final answer in a reply.

`extract` reads only what was given as the answer. It never falls back on the last number of the text: an answer that
was never given must not vote. A reply that was cut off, or that gave up, ends in some number all the same, and such
numbers would form a party of their own.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from metagen.answers.canonical import PROSE, balanced, canonical
from metagen.answers.decide import is_turned
from metagen.answers.languages import in_english
from metagen.answers.numerals import NUMBER_KEY, repeating
from metagen.answers.units import without_unit

Found = tuple[int, str]
"""Where an answer is given, and the answer."""

_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(?:(?P<brace>\{)|(?P<bare>[^\s{}$]+))|\\.|[{}]", re.DOTALL)


_LABEL = re.compile(
    r"(?:\\(?:text(?:bf|it|rm)?|mathbf|mathrm)\s*\{)?\s*(?:the\s+)?(?:final\s+)?answer\s*\}?\s*(?:is\b|[:=])\s*:?(?:\s*\})?\s*",
    re.IGNORECASE,
)
"""What a box may say before the answer."""


LONGEST = 60
"""Characters of an answer that no box marks. What is longer is prose."""


_HASHES = re.compile(r"####[ \t]*([^\n#]{1,60}?)[ \t]*$", re.MULTILINE)


_EMOJI = "\\u2600-\\u27bf\\u2b00-\\u2bff\\ufe0f\\U0001f300-\\U0001faff"
_ITEM = r"\n[ \t]*[-•>][ \t]+"
"""The mark of a list or a quotation at the head of a line: a minus sign has no space behind it."""
_DONE = rf"(?:\*\*|:|[ \t{_EMOJI}]){{0,5}}\n"
"""What follows the word `answer` in a heading."""
_HEADING = re.compile(
    rf"^[ \t]*(?:(?:#{{1,6}}[ \t{_EMOJI}]*(?:\*\*)?|\*\*)(?:the[ \t]+)?(?:final[ \t]+)?|final[ \t]+)answer{_DONE}"
    r"(?:[ \t]*[-•>][ \t]+|\s|\\\[|\$\$)*+([^\n]{1,60}?)[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
"""A heading, and the first line under it."""
_HEADING_ENDS = re.compile(_DONE)


_LINE = re.compile(
    r"^[ \t]*(?:\*\*)?A(?:ns)?(?:\*\*)?(?::|(?<=ns)\.)(?:\*\*)?[ \t]*([^\n]{1,60}?)[ \t]*$", re.MULTILINE
)
_CHOICE_LINE = re.compile(r"^[ \t]*(?:\*\*)?B(?:\*\*)?:", re.MULTILINE)


_OPENED = rf"(?:{_ITEM}|\s|[*_]{{1,2}}|\$|\\[(\[]|\}})*+(?!that\b)"
_MARKS = r"(?:[*_]{1,2}|\})?"
_WHICH = (
    r"(?:\s+(?:(?:to\s+(?:the|this|that|our|your|my)|(?:that\s+)?(?:we|I|you))(?:\s+(?!is\b)[a-z]+){1,3}?|here|now))?"
)
"""What may stand behind the word `answer`: `to the question`, `that we want`."""
_SURELY = r"therefore|thus|hence|then|simply|just|exactly|precisely|indeed|still|clearly|obviously|actually|certainly"
_SENTENCE = re.compile(
    rf"\banswer{_MARKS}{_WHICH}\s*(?:is\b|(?:turns|comes|works)\s+out\s+(?:to\s+be|to)\b|comes\s+to\b|equals\b"
    rf"|(?P<must>(?:must|should|would|will|has\s+to|can\s+only)\s+(?:(?:{_SURELY})\s+)?be\b))\s*[:\uff1a]?"
    rf"(?:\s*(?:(?:{_SURELY})\b,?|(?:given\s+by|equal\s+to)\b:?))?{_OPENED}",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    rf"(?<![a-zA-Z0-9])(?:answer{_MARKS}\s*[:=\uff1a]|(?P<must>(?:(?-i:A(?:nswer|NSWER))|(?<=final\s)answer){_MARKS}\s+[-–—]\s)){_OPENED}",
    re.IGNORECASE,
)
"""Behind `must be` and a dash stands an answer only where it is a value or a name, and no condition on answers."""
_YOURS = re.compile(r"\byour\s+(?:final\s+)?$", re.IGNORECASE)
"""Who says what `your answer should be` repeats the question."""

_AGAIN = re.compile(_LABEL.pattern + _OPENED, re.IGNORECASE)
"""A label behind another one, as in `Final Answer: The final answer is 5.`"""
_SEVERAL = re.compile(r"\n[ \t]*(?:[-*•][ \t]+[^\n]*\n[ \t]*[-*•]|1[.)][ \t]+[^\n]*\n[ \t]*2[.)])[ \t]+\S")
"""The first two items of a list."""


_GIVEN = re.compile(
    r"<(?P<tag>(?:final_)?answer)>(?P<content>(?:(?!<(?P=tag)>).)*?)(?:</(?P=tag)>|\Z)"
    r"|\"(?:final_)?answer\"\s*:\s*(?:\"(?P<text>[^\"\n]*)\"|(?!null\b)(?P<bare>[^\s\"{}\[\],]+))",
    re.DOTALL | re.IGNORECASE,
)
"""What is between tags, which models write that were trained by rewards, or in the field `answer` of a JSON object."""


_WORD = "answer"
"""What all sentences, labels and headings hold."""
_LETTER = re.compile(r"\w")
_ENDED = re.compile(r"<\|\w+\|>|<｜[\w▁]+｜>|</s>|<(?:eos|end_of_turn)>")
"""A token with which a model ends its turn, which raw replies have at their end."""
_LONGEST_END, _MOST_ENDS = 40, 4
_SOME_WORDS = re.compile(r"\b[a-zA-Z]+\b[^\n]*\b[a-zA-Z]+\b")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")


_SAID = re.compile(
    r"""(.{1,60}?)
    (?: (?:[.?]|!(?!\s*[-+*/^=<>]))(?=[\s*$]|\\[)\]]|\Z) | [。！？।]                    # the end of a sentence
      | (?<!\bor\s)(?<!\band\s)(?<![/&]\s)\*\*(?!,?\s*(?:and|or|[/&])\s*\*\*)            # of what is bold
      | (?:\$|\\\))(?=\s+(?!and\b|or\b)[a-z]{2,}\b)                                    # of a formula
      | ,?\s(?:(?:because|since|which)\b|i\.e\.) | ,\s+not\b | \s—\s | \s\((?=[a-zA-Z]{2})
      | \s*<(?=[/|]) | \n | \Z )""",
    re.VERBOSE,
)
"""What follows the cue, to the end of the sentence. What is longer than 60 characters is prose and not an answer."""


_LED = re.compile(r"([-+]?[$€£¥]?[0-9][0-9.,/]*[ ]?\\?%?)\s+(?:of|such|in|as|for|from|on|are|were|is|who|that|when)\s")
"""A number after which the cue's sentence continues, as in `60% of the students`."""


_ENDLESS = re.compile(r"([-+]?[0-9]*\.[0-9]{2,30})\.\.\.(?![0-9])")
"""A decimal with dots: they belong to the answer if some of its figures repeat."""


_WRAPPING = re.compile(
    rf"^(?:[\s{_EMOJI}]|\*\*|`|\\?[$€£¥₹]|\\[(\[])+|(?:[\s{_EMOJI}]|\*\*|`|\\?\$|[€£¥₹]|\\[)\]]|[.,;:。।])+$"
)


_AROUND = re.compile(rf"[\s{_EMOJI}]*+")
_IN_BOLD = re.compile(r"^\*\*(.*)\*\*$")
_AND = r",?\s*(?:and|or|[/&])\s*"
_JOINED = re.compile(rf"\*\*({_AND})\*\*")
_EACH_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_DIGIT_OR_CONDITION = re.compile(r"\d|\b(?:if|unless|whether|when|where|suppose)\b", re.IGNORECASE)
_AMOUNT = re.compile(r"[-+]?[$€£]?[-+]?[0-9.,/]*[0-9]")
_NUMBERED = re.compile(r"[0-9]+[.):]\s")


_BOLD = re.compile(
    rf"(?:^|\bthere (?:are|is) )\*\*([^*\n]{{1,40}}?)(?!\*\*{_AND}\*\*)\*\*|\*\*([^*\n]{{1,40}}?)\*\*(?= such\b)",
    re.IGNORECASE,
)
"""A value in bold that opens the line or says how many there are; bold elsewhere may be for emphasis."""


_FORMULA = re.compile(r"[\\=^_(\[{]|[0-9]")


@lru_cache(512)
def extract(text: str, *, finished: bool = True) -> str | None:
    r"""Return the final answer that a solution gives, or `None` if it gives none.

    Marked on purpose are the content of `\boxed{…}` or `\fbox{…}` (or the word after `\boxed `), what follows `Answer:`
    to the end of the sentence, a value in the line under the heading `Final Answer` or after `A:`, and the line in
    `<answer>…</answer>` or in the field `"answer"` of a JSON object. The last of them counts. `#### n` with a value to
    the end of the line, so that a heading is none, and the sentence `the answer is …` count where nothing is marked
    before them, or where some words or the end of a paragraph stand between: what was marked on purpose outranks what
    the next line happens to say, but an early box is not the last word. Where there is none of these, a value in bold
    counts that opens the last line, or follows "there are".

    An answer comes without its period, currency, Markdown and dollar signs and plain units, and never has a brace
    without its partner. An unclosed or empty box gives nothing. Of a text that was cut off, not `finished`, nothing
    counts that reaches its end: "The answer is 12" may have been on its way to 123.
    """
    text = in_english(without_end(text))
    end, places = len(text) + finished, _places(text)
    found = max(_marked(text, end, places), default=None)
    found = _hashed(text, end, found) or found
    if places and ("nswer" in text or "NSWER" in text):
        found = _cued(text, end, found, _LABELLED, places) or found
        found = _said(text, end, found, places) or found
    if found:
        return found[1]
    return _bold(text) if finished else None


def without_end(text: str) -> str:
    """A reply without the tokens with which its model ended it, as raw replies have them."""
    bare = text.rstrip()
    if not bare.endswith(">"):  # as nearly all
        return text
    for _ in range(_MOST_ENDS):
        start = bare.rfind("<", max(0, len(bare) - _LONGEST_END))
        if start < 0 or not _ENDED.fullmatch(bare, start):
            break
        text = bare[:start]
        bare = text.rstrip()
    return text


def without_emoji(text: str) -> str:
    """A text without the blanks and emoji around it."""
    bare = text[_around(text) :]  # the end is read backwards: a pattern that ends in $ is tried at each place
    return bare[: len(bare) - _around(bare[::-1])]


def _around(text: str) -> int:
    found = _AROUND.match(text)
    return found.end() if found else 0


def alone(text: str) -> str | None:
    """What a text says that is nothing but an answer, such as `7`, `7 apples` or `x = 3`; `None` if it says more."""
    text = text.strip()
    value = _trimmed(text) if len(text) <= LONGEST and "\n" not in text else None
    return value if value and _is_value(value) else None


def _marked(text: str, end: int, places: Iterable[int]) -> list[Found]:
    """What is marked by boxes, headings and lines; most replies have none of them."""
    found: list[Found] = []
    if r"\boxed" in text or r"\fbox" in text:
        found += _boxes(text, end)
    if any(text[place + len(_WORD) : place + len(_WORD) + 1] in (">", '"') for place in places):
        found += _given(text, end)
    for place in places:
        if _HEADING_ENDS.match(text, place + len(_WORD)):
            found += _values(_HEADING, text, end)
            break
    if "A:" in text or "A**:" in text or "Ans" in text:
        found += _lined(text, end)
    return found


def _boxes(text: str, end: int) -> Iterator[Found]:
    """Where each closed and filled box begins, and what is in it, in one pass over all braces.

    A box without braces is closed by what follows it.
    """
    openings: list[int | None] = []
    for token in _BOX_TOKEN.finditer(text):
        if token["bare"]:
            if token.end() < end:
                yield token.start(), balanced(token["bare"].rstrip(".,;"))
        elif token["brace"]:
            openings.append(token.end())
        elif token[0] == "{":
            openings.append(None)
        elif token[0] == "}" and openings:
            start = openings.pop()
            content = "" if start is None else _unlabelled(text[start : token.start()])
            if start is not None and content:
                yield start, content


def _given(text: str, end: int) -> Iterator[Found]:
    """The line between tags or in a field. A stop string may have cut off the last tag. `_boxes` finds boxes."""
    for found in _GIVEN.finditer(text):
        written = (found["text"] or "").replace("\\\\", "\\")
        content = found["content"] or written or found["bare"] or ""
        if r"\boxed" in content:
            value = extract(content) if written else None  # the box of a tag is found as any other
        else:
            value = None if "\n" in content.strip() else _trimmed(_unlabelled(content))
        if value and found.end() < end:
            yield found.start(), value


def _unlabelled(content: str) -> str:
    content = content.strip()
    label = _LABEL.match(content)
    return balanced((content[label.end() :] if label else content).strip())


def _hashed(text: str, end: int, before: Found | None) -> Found | None:
    found = next(_values(_HASHES, text, end), None) if "####" in text else None
    return found if found and _outranks(text, found[0], before) else None


def _said(text: str, end: int, before: Found | None, places: Sequence[int]) -> Found | None:
    """What the last sentence of the form "the answer is …" says, in a paragraph after `before`."""
    found = _cued(text, end, before, _SENTENCE, places)
    return found if found and _outranks(text, found[0], before) else None


def _outranks(text: str, start: int, before: Found | None) -> bool:
    """Whether what is at `start` follows what was found before in a later paragraph, or after more than a word."""
    if before is None:
        return True
    between = text[before[0] + len(before[1]) : start]
    return start > before[0] and bool(_PARAGRAPH.search(between) or _SOME_WORDS.search(between))


def _lined(text: str, end: int) -> Iterator[Found]:
    """What stands after `A:`, unless it is the first of several choices."""
    for start, value in _values(_LINE, text, end):
        if not _CHOICE_LINE.search(text, start):
            yield start, value


def _values(pattern: re.Pattern[str], text: str, end: int) -> Iterator[Found]:
    """The values that are marked so, the last one first, and no more than that one."""
    for found in reversed(list(pattern.finditer(text))):
        given = found[1].rstrip(". ")
        if _SEVERAL.match(text, text.rfind("\n", 0, found.start(1))):
            return
        value = given if _AMOUNT.fullmatch(given) else _trimmed(given)
        if found.end() < end and value and not _NUMBERED.match(given) and _is_value(value):
            yield found.start(1), value
            return


def _places(text: str) -> list[int]:
    """Where the word `answer` stands, in any case, the last place first. A pattern is ten times as slow."""
    folded = text.lower()
    if len(folded) > len(text) or "ſ" in text:  # to patterns, it is a small s
        return [found.start() for found in re.finditer(_WORD, text, re.IGNORECASE)][::-1]
    places, at = [], len(text)
    while (at := folded.rfind(_WORD, 0, at)) >= 0:
        places.append(at)
    return places


def _cued(text: str, end: int, before: Found | None, cues: re.Pattern[str], places: Iterable[int]) -> Found | None:
    """What follows the last of the `cues` that is short enough and ends before `end`.

    With something found before, it must follow that and be a value.
    """
    after = before[0] if before else -1
    for place in places:
        if not (cue := cues.match(text, place)):
            continue
        if place <= after:
            return None
        must = cue["must"]
        if must and _YOURS.search(text, max(0, place - 20), place):
            continue
        cue = _AGAIN.match(text, cue.end()) or cue
        if _SEVERAL.match(text, text.rfind("\n", 0, cue.end())):
            return None
        found = _LED.match(text, cue.end()) or _SAID.match(text, cue.end())
        if not found or found.end() >= end or r"\boxed" in found[1]:
            continue
        said = _endless(text, cue.end()) or _trimmed(found[1])
        if found[0].endswith("**") and said and not _is_value(said):
            line = text[cue.end() :].partition("\n")[0]
            said = None if cue.end() + len(line) >= end else _emphasised(line) or _without_bold(line, said)
        is_free = after < 0 and not must
        if said and _LETTER.search(said) and (is_free or _is_value(said) or (must and after < 0 and said[0].isupper())):
            return place, said
    return None


def _emphasised(line: str) -> str | None:
    """The one value in bold in a line with other words and no other number, as in `Janet makes **$18** a day`."""
    found = _EACH_BOLD.search(line) if line.count("**") == len("**") else None
    value = _trimmed(found[1]) if found else None
    if not (found and value and _is_value(value)):
        return None
    before, behind = line[: found.start()], line[found.end() :]
    is_other = _DIGIT_OR_CONDITION.search(f"{before} {behind}") or is_turned(f"{before}{value}")
    return None if is_other else value


def _without_bold(line: str, said: str) -> str | None:
    """The sentence in a line where words in bold do not end it: one of them opens there."""
    if line.count("**") % 2:
        return said
    found = _SAID.match(line.replace("**", ""))
    return _trimmed(found[1]) if found else None


def _endless(text: str, place: int) -> str | None:
    found = _ENDLESS.match(text, place)
    return found[0] if found and repeating(rf"{found[1]}\ldots") is not None else None


def _trimmed(text: str) -> str | None:
    """What is said without what wraps it, up to a brace that was opened before; `None` if one stays open."""
    if text.isdecimal() and text.isascii():
        return text
    text = _WRAPPING.sub("", _closed(text))
    text = _JOINED.sub(r"\1", _IN_BOLD.sub(r"\1", text)) if "**" in text else text
    if balanced(text) != text:
        return None
    return text if text.endswith("%") else without_unit(text) or text


def _closed(text: str) -> str:
    """`text` up to the first brace that closes what was not opened in it."""
    if "}" not in text:
        return text
    depth = 0
    for token in re.finditer(r"\\.|[{}]", text):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth < 0:
            return text[: token.start()]
    return text


def _is_value(text: str) -> bool:
    """Whether it is a number, a letter or a formula rather than prose."""
    key = canonical(text)
    if NUMBER_KEY.fullmatch(key) or (len(key) == 1 and key.isalpha()):
        return True
    return bool(_FORMULA.search(key)) and not PROSE.search(key)


def _bold(text: str) -> str | None:
    """The last value in bold that the last line is about."""
    *_, line = text.rstrip().splitlines() or [""]
    for first, second in reversed(_BOLD.findall(line.strip())):
        given = first or second
        value = _trimmed(given)
        if value and not given.rstrip().endswith((".", ":", ")")) and NUMBER_KEY.fullmatch(canonical(value)):
            return value
    return None
