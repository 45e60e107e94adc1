"""Code in a reply, where models put it: between fences."""

import re
from collections.abc import Collection

PYTHON = ("python", "py", "python3")
COQ = ("coq", "rocq", "v")

_BLOCK = re.compile(
    r"^(?P<indent>[ \t]*)(?P<item>(?:>[ \t]?|[-*+][ \t]+|[0-9]{1,9}[.)][ \t]+)*)(?P<fence>`{3,}|~{3,})[ \t]*"
    r"(?P<language>[\w+#-]*)[^`\n]*\n(?P<code>.*?)(?:^[ \t>]*(?P<end>(?P=fence))|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""The last one may lack its end, as where a stop string or a length limit was reached. It may stand in a list."""
_OPENING = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})[^`\n]*\Z", re.MULTILINE)


def last_block(text: str, languages: Collection[str]) -> str:
    """Return the last fenced block in one of `languages`; else the last that names none; else the whole text."""
    return (all_blocks(text, languages) or [text])[-1]


def all_blocks(text: str, languages: Collection[str]) -> list[str]:
    """Return the fenced blocks in one of `languages`; else those that name none."""
    blocks = [(found["language"].lower(), _flush(found)) for found in _BLOCK.finditer(text)]
    named = [code for language, code in blocks if language in languages]
    return named or [code for language, code in blocks if not language]


def is_open(text: str) -> bool:
    """Whether a text ends inside of a block, or of the line that opens one."""
    blocks = list(_BLOCK.finditer(text))
    rest = text[blocks[-1].end() :] if blocks else text
    return any(found["end"] is None for found in blocks) or bool(_OPENING.search(rest))


def _flush(block: re.Match[str]) -> str:
    """The code of a block, without as much indentation as its fence has, and without the marks of a quotation."""
    quoted = block["item"].count(">")
    width = len((block["indent"] + block["item"]).expandtabs(4))
    return "".join(_unindented(line, width, quoted) for line in block["code"].splitlines(keepends=True))


def _unindented(line: str, width: int, quoted: int) -> str:
    if quoted:
        return re.sub(rf"^(?:[ \t]*> ?){{1,{quoted}}}", "", line)
    line = line.expandtabs(4) if width and line[:1] == "\t" else line
    return line[min(width, len(line) - len(line.lstrip(" "))) :]


def fenced(code: str, language: str) -> str:
    """`code` between fences, from where `last_block` takes it."""
    return f"```{language}\n{code.strip()}\n```"
