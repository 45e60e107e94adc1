"""Find the final answer in a reply."""

import re
from collections.abc import Iterator
from functools import lru_cache

from metagen.answers.canonical import without_unit

_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(?:(?P<brace>\{)|(?P<bare>[^\s{}$]+))|\\.|[{}]", re.DOTALL)


_HASHES = re.compile(r"####[ \t]*([-+]?[$€£]?[-+]?[0-9.,/]*[0-9])\.?[ \t]*$", re.MULTILINE)


_CUE = re.compile(r"\banswer(?:\*\*)?\s*(?:is\b\s*:?|[:=])(?:\s|\*\*|\$|\\[(\[])*+(?!that\b)", re.IGNORECASE)


_SAID = re.compile(r"(.{1,60}?)(?:[.!?](?=[\s*$]|\\[)\]]|\Z)|,?\s(?:because|since|which)\b|\n|\Z)")
"""What follows the cue, to the end of the sentence. What is longer than 60 characters is prose and not an answer."""


_WRAPPING = re.compile(r"^(?:\s|\*\*|`|\\?[$€£¥₹]|\\[(\[])+|(?:\s|\*\*|`|\\?\$|[€£¥₹]|\\[)\]]|[.,;:])+$")


@lru_cache(512)
def extract(text: str, *, finished: bool = True) -> str | None:
    r"""Return the final answer that a solution gives, or `None` if it gives none.

    By kind first, since what was marked on purpose outranks what a sentence happens to say, and within a kind the
    last one: the content of `\boxed{…}` or `\fbox{…}` (or the word after `\boxed `); `#### n` with a number to the end
    of the line, so that a heading is none; `the answer is …`, `final answer: …` to the end of the sentence, without
    its period, currency, Markdown and dollar signs, and without plain units. An unclosed or empty box gives nothing.
    Of a text that was cut off, not `finished`, nothing counts that reaches its end: "The answer is 12" may have been
    on its way to 123.
    """
    end = len(text) + finished
    return _boxed(text) or _hashed(text, end) or _said(text, end)


def _boxed(text: str) -> str | None:
    """The content of the box that begins last; one that was cut off before it was closed does not count."""
    return max(_boxes(text), default=(-1, None))[1]


def _boxes(text: str) -> Iterator[tuple[int, str]]:
    """Where each closed and filled box begins, and what is in it, in one pass over all braces."""
    openings: list[int | None] = []
    for token in _BOX_TOKEN.finditer(text):
        if token["bare"]:
            yield token.start(), token["bare"].rstrip(".,;")
        elif token["brace"]:
            openings.append(token.end())
        elif token[0] == "{":
            openings.append(None)
        elif token[0] == "}" and openings:
            start = openings.pop()
            content = "" if start is None else text[start : token.start()].strip()
            if start is not None and content:
                yield start, content


def _hashed(text: str, end: int) -> str | None:
    found = [match[1] for match in _HASHES.finditer(text) if match.end() < end]
    return found[-1] if found else None


def _said(text: str, end: int) -> str | None:
    """What the last sentence of the form "the answer is …" says that is short enough and ends before `end`."""
    for cue in reversed(list(_CUE.finditer(text))):
        found = _SAID.match(text, cue.end())
        if found and found.end() >= end:
            continue
        said = _WRAPPING.sub("", found[1]) if found else ""
        if re.search(r"\w", said) and r"\boxed" not in said:
            return without_unit(said) or said
    return None
