"""Code in a reply, where models put it: between fences."""

import re
from collections.abc import Collection

PYTHON = ("python", "py", "python3")
COQ = ("coq", "rocq", "v")

_BLOCK = re.compile(r"^ {0,3}```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^ {0,3}```|\Z)", re.MULTILINE | re.DOTALL)
"""The last one may lack its end, as where a stop string or a length limit was reached."""


def last_block(text: str, languages: Collection[str]) -> str:
    """Return the last fenced block in one of `languages`; else the last that names none; else the whole text."""
    blocks: list[tuple[str, str]] = [(language.lower(), code) for language, code in _BLOCK.findall(text)]
    for wanted in (languages, ("",)):
        found = [code for language, code in blocks if language in wanted]
        if found:
            return found[-1]
    return text


def fenced(code: str, language: str) -> str:
    """`code` between fences, from where `last_block` takes it."""
    return f"```{language}\n{code.strip()}\n```"
