"""Choices by letter and labels as answers."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

from metagen.answers.by_key import ENDS, ByKey, normalised, without_commands, without_markup
from metagen.answers.canonical import canonical
from metagen.answers.extract import LONGEST, extract, without_emoji
from metagen.answers.numerals import NUMBER_KEY
from metagen.answers.protocol import Form
from metagen.errors import InputError
from metagen.settings import counted

_BRACES = re.compile(r"[{}]")
_SIGNS = re.compile(r"[+/^=<>%&|~]|(?<=\w)\*(?=\w)|(?<![^\W\d_])-|[.,](?=\d)|[\[(](?=-?\d)|(?<=\d)[\])]")
"""Punctuation without which a text says something else, such as the sign of a number."""
_CHOSEN = r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\b"
_MENTIONED = (
    rf"{_CHOSEN}(?:\s+(?:I|we|you)\b[\w’' ]{{1,30}}?)?[\s*]*(?:\bis\b|:)[\s:*]*(?:is\b[\s:*]*)?LETTER"
    rf"|\b(?:[Cc]orrect|[Rr]ight|[Bb]est|[Ff]inal)\s+{_CHOSEN}[\s:*]*LETTER"
    r"|(?<!\bnot )(?<!\bover )(?<!\bthan )(?<!\bunlike )(?<!\bagainst )\b(?:option|choice|answer)\b[\s*]*LETTER"
    r"|LETTER is (?:the )?(?:right|correct)\b"
)
_THOUGHT = (
    r"\b(?:[Ii]t[’']s|[Ii]t is|I(?:[’']d| would|[’']ll| will)? (?:choose|pick|select|say|go with))\s+"
    r"(?:option\s+)?LETTER(?!\s+(?!(?:over|because|since|as|and|but|not|rather|instead)\b)[a-z])"
)
"""What is said of a letter, the surer first: "the answer is C" and "option C", "it's C"."""
_WHAT_I_DO = (
    r"(?:would|will|could|can|am|was|think|thought|believe|feel|cho\w+|pick\w*|want|got|get|gave|give|have|had|like|found"
    r"|said|say)"
)
_NOT_THE_WORD = rf"(?<=\()I|I(?![’']|\s+{_WHAT_I_DO}\b)"
_IS = r"(?:is|was|would be|seems|looks)\s+(?:[a-z]+ly\s+|also\s+)?"
_NOT = r"not(?!\s+(?:an?|false|wrong|incorrect)\b)"
"""Not so `option D is not a mammal`, which may be what was asked for."""
_WRONG = (
    r"\w\)?(?:\s*[:–—-]\s*(?:wrong|incorrect)"
    rf"|\s+{_IS}(?:{_NOT}|wrong|incorrect|too|ruled out|invalid|impossible)"
    r"|\s+(?:fails|does not|(?:is|does)n[’']t))\b"
)
_IS_WRONG = re.compile(_WRONG)
_LEFT_OUT = re.compile(rf"\W*{_CHOSEN}[\s*]*\(?{_WRONG}")
"""A letter that is not the answer, and a line or text that begins with one."""
_ANOTHER = (
    r"[\s*]*(?:[,/&]|\bor\b|\band\b)[\s*]*(?:(?:or|and)[\s*]+)?\(?LETTER\b\)?[\s*]*(?=[.,;!?/&\n]|\b(?:or|and)\b|\Z)"
)
"""What follows the first of several letters, as in `A or B.` and `A, B and C`."""
_DENIED = re.compile(
    r"(?<!\w)(?:not|never|neither|nor|hardly|than|instead of|is ?n['’]?t|(?:was|does|are|ca)n['’]?t|cannot)"
    r"(?: (?:be|really|very|exactly|quite|entirely|clearly|that|so|too|all|overly|particularly|especially|an?|the))* \Z"
)
"""What stands before a label that a text does not say."""
_CLAUSE = re.compile(r"[.,;!\n]+|\s[–—]\s")
_TURNS = re.compile(r"\b(?:but|however|although|though|actually|wait|rather|instead|or)\b|\?", re.IGNORECASE)
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")
_AFTER_ANSWER = re.compile(r"\banswer\b\W*(?:is\b)?\W*([^\n]*)", re.IGNORECASE)
_MINUS = re.compile(r"[-\N{HYPHEN}-\N{EM DASH}\N{MINUS SIGN}](?=\d)")
"""Signs that are read as a minus before a number."""


@dataclass(frozen=True, slots=True, repr=False)
class Choice(ByKey):
    """One of several choices, by its letter or its text, as in `Choice("ABCD")`; the key is the letter.

    What is given as the answer counts first, then the last letter that is said to be right, then a letter that the
    reply begins with, then the last one mentioned.

    `texts` are what the letters stand for, in their order. A row of a problem file that has `choices` brings its own.
    """

    letters: str = "ABCD"
    _: KW_ONLY
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        letters = self.letters
        if not isinstance(letters, str) or not letters.isalnum() or len(set(letters.upper())) < len(letters):
            raise InputError(f'Choice: letters must be different letters or figures, such as "ABCD", not {letters!r}')
        if not isinstance(self.texts, tuple) or not all(isinstance(text, str) for text in self.texts):
            raise InputError(f"Choice: texts must be texts, not {self.texts!r}")
        if self.texts and len(self.texts) != len(letters):
            raise InputError(
                f"Choice: there are {counted(len(letters), 'letter')} and {counted(len(self.texts), 'text')}"
            )

    @property
    def asks(self) -> str:
        return ENDS.format("X") + f" X is one of {', '.join(self.letters)}."

    @property
    def form(self) -> Form:
        return Form(choices=tuple(self.letters))

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given, end = extract(text, finished=finished) or "", len(text) + finished
        paragraph = text.strip().rpartition("\n\n")[2]
        last = paragraph.rpartition("\n")[2]
        for place in (
            self._initialled(given, text, end),
            given,
            self._opening(text),
            self._last(_MENTIONED, text, end),
            text if finished and self._is_one(text) else "",
            last if finished and self._is_one(paragraph) and not _LEFT_OUT.match(last) else "",
            self._last(_THOUGHT, text, end),
        ):
            if place and (letter := self._letter(place)):
                return letter
        return None

    def key(self, answer: str) -> str:
        return self._letter(answer) or normalised(answer)

    def _last(self, pattern: str, text: str, end: int) -> str:
        """The last letter that is mentioned so and alone, where it is not the word I and not said to be wrong."""
        letter = "|".join(_NOT_THE_WORD if each == "I" else each for each in self.letters)
        another = re.compile(_ANOTHER.replace("LETTER", f"[{self.letters}]"))
        found = [
            match[match.lastindex or 0]
            for match in re.finditer(pattern.replace("LETTER", rf"[(*]{{0,3}}({letter})\b[)*]{{0,3}}"), text)
            if match.end() < end
            and not _IS_WRONG.match(text, match.start(match.lastindex or 0))
            and not another.match(text, match.end())
        ]
        return found[-1] if found else ""

    def _is_one(self, text: str) -> bool:
        """Whether a text that begins with a letter does not go through several of them, or leave that one out."""
        before = r"(?:^|[.;!?]\s{1,3})[^\w\n]{0,9}(?:[Oo]ption\s|[Cc]hoice\s)?\(?|\s\("
        head = rf"(?:{before})([{self.letters}])(?:\)|[.:]\s|\s[–—-]\s)"
        letters = {found[1] for found in re.finditer(head, text, re.MULTILINE)}
        return len(letters) <= 1 and not _LEFT_OUT.match(text)

    def _opening(self, text: str) -> str:
        """The letter that stands alone in the first line, or begins it as in `B) 12`, if no other line has another."""
        letter_alone = rf"([{self.letters}])[^\w\n:]*$"
        beginning = rf"([{self.letters}])\)(?!.*\b(?:wrong|incorrect)\b).*$"
        mark = rf"^[^\w\n]*(?:{letter_alone}|{beginning})"
        first, _, rest = text.strip().partition("\n")
        found = re.match(mark, first) if rest else None
        if not found or self._last(_MENTIONED, first, len(first) + 1):
            return ""
        letter = found[1] or found[2]
        return letter if all(letter in match.groups() for match in re.finditer(mark, rest, re.MULTILINE)) else ""

    def _initialled(self, given: str, text: str, end: int) -> str:
        """The choice whose text begins with a letter and a period, such as `A. Lincoln`, if the answer is given so."""
        texts = [each for each in self.texts if given and re.match(rf"{re.escape(given)}\W+\w", each)]
        found = [match[1] for match in _AFTER_ANSWER.finditer(text) if match.end() < end] if texts else []
        return next((each for each in texts if found and re.match(rf"{re.escape(each)}(?!\w)", found[-1])), "")

    def _letter(self, text: str) -> str | None:
        """The letter that a text is, or begins with as a choice does, or whose text it is."""
        pattern = rf"(?:(?:option|choice|answer)\s*:?\s*)?[(\[\"'“‘«]*([{self.letters}])(?:[)\]\"'”’».:]*|[).:]+\s(.*))"
        bare = without_emoji(without_markup(unicodedata.normalize("NFKC", text)))
        found = re.fullmatch(pattern, bare, re.IGNORECASE | re.DOTALL)
        if found and found[2] and re.match(_ANOTHER.replace("LETTER", f"[{self.letters}]"), found[2]):
            return None
        letter = next((each for each in self.letters if each.upper() == found[1].upper()), None) if found else None
        if found and letter and not found[2]:
            return letter
        exactly = self._only(_exact, text) or self._only(_folded, text) or self._number(text)
        return exactly or letter or self._only(_worded, text)

    def _only(self, read: Callable[[str], object], text: str) -> str | None:
        """The letter of the one choice that reads the same."""
        texts, same = list(map(read, self.texts)), read(text)
        return self.letters[texts.index(same)] if same and texts.count(same) == 1 else None

    def _number(self, text: str) -> str | None:
        """The letter of the one choice that is the same number; of two units, one might be another."""
        if len(text) > LONGEST or not NUMBER_KEY.fullmatch(key := canonical(text)):
            return None
        named = _WORD.search(text)
        same = [canonical(each) == key and not (named and _WORD.search(each)) for each in self.texts]
        return self.letters[same.index(True)] if same.count(True) == 1 else None


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Label(ByKey):
    """One of several words, as in `Label("positive", "negative")`, whatever their case.

    A line that is nothing but the label outranks a sentence that names one.

    Where labels differ in signs alone or are signed numbers, as in `Label("C", "C++")` and `Label("-1", "0")`, signs
    count.
    """

    labels: tuple[str, ...]

    def __init__(self, *labels: str) -> None:
        object.__setattr__(self, "labels", labels)
        if not all(isinstance(label, str) and normalised(label) for label in labels) or len(labels) < 2:
            raise InputError('Label: needs two words or more, such as Label("positive", "negative")')
        if len(set(map(self.key, labels))) < len(labels):
            raise InputError(f"Label: two of {', '.join(labels)} are one word")

    @property
    def asks(self) -> str:
        return ENDS.format("X") + f" X is one of: {', '.join(self.labels)}."

    @property
    def form(self) -> Form:
        return Form(choices=self.labels)

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given = extract(text, finished=finished)
        lines = text.strip().splitlines() if finished else []
        for place in (given or "", self._alone(lines), *lines[-1:], *([text] if finished else [])):
            if len(named := self._named(place)) == 1:
                return named.pop()
        return self._leading(text.strip()) or None if finished else None

    def key(self, answer: str) -> str:
        if not _signed(self.labels):
            return normalised(answer)
        folded = unicodedata.normalize("NFKC", without_commands(answer)).casefold()
        read = _MINUS.sub("-", " ".join(folded.split()))
        read = re.sub(r" ?([<>=]) ?", r"\1", re.sub(r"\\(?=[#+&%_])", "", read))
        if not any(label.strip().startswith("+") for label in self.labels):
            read = re.sub(r"(?<!\w)\+(?=\d)", "", read)
        return read

    def _alone(self, lines: Sequence[str]) -> str:
        """The label that the last line is, or the first one where no other line is another label."""
        if not lines:
            return ""
        first, last = self._whole(lines[0]), self._ending(lines[-1])
        if last or not first:
            return last
        return first if {*map(self._ending, lines)} <= {"", first} else ""

    def _leading(self, text: str) -> str:
        """The label that a text begins with, as in `Yes, there is no doubt`, if it takes back nothing."""
        if len(text) > LONGEST or _TURNS.search(text):
            return ""
        first, *others = map(self._whole, _CLAUSE.split(text))
        return "" if {*others} - {"", first} else first

    def _whole(self, line: str) -> str:
        """The label that a line is beside markup and its period."""
        bare = without_markup(line)
        if bare.endswith(("?", ":")):
            return ""
        by_key = {self.key(label): label for label in self.labels}
        keys = map(self.key, (bare, bare.rstrip(".,;! ")))
        return next((by_key[key] for key in keys if key in by_key), "")

    def _ending(self, line: str) -> str:
        """The label that a line is, or what stands behind its colon, as in `Sentiment: positive`."""
        return self._whole(line) or self._whole(line.rpartition(": ")[2])

    def _named(self, text: str) -> set[str]:
        """The labels that a text has and does not deny; of two that begin alike, the longer one."""
        by_key = {self.key(label): label for label in self.labels}
        longest, read = sorted(by_key, key=len, reverse=True), self.key(text)
        part = r"[\w+#-]" if _signed(self.labels) else r"\w"
        found = re.finditer(rf"(?<!{part})(?:{'|'.join(map(re.escape, longest))})(?!{part})", read)
        return {by_key[each[0]] for each in found if not _DENIED.search(read, max(0, each.start() - 40), each.start())}


def _exact(text: str) -> str:
    return " ".join(without_markup(text).split()).rstrip(".,;: ")


def _folded(text: str) -> str:
    return _exact(text).casefold()


def _worded(text: str) -> tuple[str, ...]:
    """The words of a text, and its signs; empty where it has none."""
    spaced = _BRACES.sub(" ", without_markup(text))
    return (words, *_SIGNS.findall(spaced)) if (words := normalised(spaced)) else ()


@lru_cache(64)
def _signed(labels: tuple[str, ...]) -> bool:
    """Whether signs count in labels: where these differ in nothing else, or are signed numbers."""
    alike = len(set(map(normalised, labels))) < len(labels)
    return alike or any(re.match(rf"\s*(?:{_MINUS.pattern}|\+\d)", label) for label in labels)
