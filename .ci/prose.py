"""Find phrases that read as translated, in the documentation and in the texts of the package.

    python .ci/prose.py

Read are the pages without their blocks of code, and every text in the package: docstrings, help, messages. Each finding
names its place and what to write instead; the exit code is 1 if there is one.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNITS = "solutions|tokens|samples|FLOPs|calls|bytes|steps|seconds|problems|requests|µs|ms|nodes"
TICS = {
    r"\bhand(s|ed|ing)? over\b": "returns",
    r"\bgo(es)? on\b|\bwent on\b": "continues",
    r"\bdearer\b|\bdear\b": "expensive",
    r"\b(tell|tells|told) (\w+ )?apart\b": "distinguishes, or counts separately",
    rf"\b({UNITS}) an? (problem|sample|second|node|token|step)\b": "per problem, per second",
    r"\b(times|an? list|a number|a token|a budget) an? (problem|request|sample|byte|step)\b": "per problem, per byte",
    r"\bled astray\b": "affected",
    r"\blet finish\b": "allowed to finish",
    r"\btill now\b": "until now",
}
"""By regular expressions, what to write instead."""
RIDDLES = {
    r"(?:^|[.;] |- )What (?!if\b)[^.?!:]{3,160}[.]": "say what it is: a sentence needs a noun before its clause",
    r"(?:^|[.;] )(?:Is|Are|Has|Had|Were|Should) [^.?!]{3,160}, [^.?!]*[.]": "if it is ...",
}
"""The same for whole sentences, in pages alone: a docstring may say what a field holds."""
CODE = re.compile(r"^```.*?^```|^    .*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
IN_CODE = re.compile(r"`[^`\n]*`")


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a page or a module, each with the line where it begins. Code in them is blanks."""
    if path.suffix == ".md":
        yield 1, CODE.sub(blank, path.read_text())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, IN_CODE.sub(blank, node.value)


def blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def faults(path: Path) -> Iterator[str]:
    known = TICS | (RIDDLES if path.suffix == ".md" else {})
    for line, text in texts(path):
        for pattern, better in known.items():
            for found in re.finditer(pattern, text, re.MULTILINE):
                at = line + text.count("\n", 0, found.start())
                yield f"{path.relative_to(ROOT)}:{at}: {' '.join(found[0].split())!r}: write: {better}"


if __name__ == "__main__":
    shown = [fault for path in (*pages(), *ROOT.glob("metagen/**/*.py")) for fault in faults(path)]
    sys.stdout.writelines(f"{fault}\n" for fault in shown)
    sys.exit(bool(shown))
