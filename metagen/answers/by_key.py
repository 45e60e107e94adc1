"""What kinds of answers have in common, and how texts are compared that may be set differently."""

import re
import string
import unicodedata

from metagen.answers.protocol import Form
from metagen.settings import spelled

ENDS = "End with: The answer is {}."
COMMAND = r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|underline)(?![a-zA-Z])\s*"
"""A command of LaTeX that changes how its text looks."""
_IN_TEXT = re.compile(COMMAND + r"\{([^{}]*)\}")
_SPACE = re.compile(r"\\[ ,;:]|\\q?quad(?![a-zA-Z])")
_MARKUP = re.compile(rf"{COMMAND}|\\[()\[\]]|[`$]|(?<!\w)\*|\*(?!\w)")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b(?![+#])(?=\s+\S)")
"""Not at the end: `Vitamin A`."""
_POWER = re.compile(r"\^\s*\{([^{}]*)\}")
_RAISED = re.compile(r"(?<=[0-9])(?=[⁰¹²³⁴-⁹⁻])(?<![⁰¹²³⁴-⁹⁻])")
_PUNCTUATION = rf"[{re.escape(string.punctuation)}]"
_OF_NUMBERS = (
    r"(?<=\d)(?!,\d{3}(?!\d))[^\w\s](?=\d)|(?<=\d)\^(?=-\d)|(?<![\w)])-(?=\.?\d)|(?<!\w)\.(?=\d)"
    r"|(?<=\b[a-z])#|(?<=[a-z])\+(?!\w)|(?<=[a-z]\+)\+|[<>=]|(?<= )[+*/](?= )|(?<=\b\w )-(?= \w\b)"
)
"""Without these a text says something else: `1.5`, `-5`, `3:45`, `10^2`, `C++`, `x + y < 5`."""
_ALL_PUNCTUATION = re.compile(_PUNCTUATION)
_MERE_PUNCTUATION = re.compile(rf"(?!{_OF_NUMBERS}){_PUNCTUATION}")
_DASHES = re.compile(r"[\N{HYPHEN}-\N{EM DASH}\N{MINUS SIGN}](?=\.?\d)")


class ByKey:
    """What most kinds have in common: two answers are equal if their keys are, and there is no form."""

    __slots__ = ()
    __repr__ = spelled

    @property
    def form(self) -> Form | None:
        return None

    def key(self, answer: str) -> str:
        return " ".join(answer.split())

    async def equal(self, answer: str, reference: str) -> bool | None:
        return self.key(answer) == self.key(reference)


def without_commands(text: str) -> str:
    r"""What `\text{…}` and the like hold, with plain spaces for those of LaTeX."""
    return _SPACE.sub(" ", _IN_TEXT.sub(r"\1", text)) if "\\" in text else text


def without_markup(text: str) -> str:
    """A text without the markup of LaTeX and Markdown around it."""
    return _MARKUP.sub("", without_commands(text)).strip().strip("{}")


def normalised(text: str, *, numbers: bool = False) -> str:
    """Return a text in small letters without punctuation, articles and spare spaces.

    With `numbers`, punctuation stays without which a number, or a text such as `C++`, is another one.
    """
    text = _POWER.sub(r"^\1", _RAISED.sub("^", text))
    folded = unicodedata.normalize("NFKC", without_commands(text)).casefold()
    plain = _MERE_PUNCTUATION.sub("", _DASHES.sub("-", folded)) if numbers else _ALL_PUNCTUATION.sub("", folded)
    return " ".join(_ARTICLES.sub(" ", plain).split()) or " ".join(text.casefold().split())
