"""Small files of text as a whole, and templates: prompts with `{prompt}` and other fields of a row in them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen.errors import InputError

_NAME = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Template:
    r"""What a question is written into. `{prompt}` is the question, `{name}` any field of its row, `{{` a brace.

    Braces around anything but a name, such as `\boxed{}`, stand for themselves.
    """

    text: str
    path: Path

    @property
    def names(self) -> set[str]:
        """What stands in braces."""
        return set(filter(None, (found[1] for found in _NAME.finditer(self.text))))

    def fill(self, prompt: str, row: Mapping[str, Any], where: str) -> str:
        """The text with all names filled in. Raises `InputError` for a field that the row does not have."""

        def value(found: re.Match[str]) -> str:
            if (name := found[1]) is None:
                return found[0][0]
            if name == PROMPT:
                return prompt
            if name not in row:
                raise InputError(
                    f"{where}: there is no field {name!r}, which {self.path} names; for braces around a word "
                    f"write {{{{{name}}}}}"
                )
            given = row[name]
            return given if isinstance(given, str) else "" if given is None else str(given)

        return _NAME.sub(value, self.text)


def read_template(path: Path, answers: tuple[str, ...] = ("answer",)) -> Template:
    """Raises `InputError` for a template without `{prompt}`, or one that would show the reference answer."""
    template = Template(read_text(path).removesuffix("\n"), path)
    if PROMPT not in template.names:
        raise InputError(f"{path}: does not say where the question goes: write {{prompt}} there")
    if shown := template.names & set(answers):
        raise InputError(
            f"{path}: {{{min(shown)}}} would show the model the reference answer: take it out; "
            f"for braces around a word write {{{{{min(shown)}}}}}"
        )
    return template


def read_turn(given: str, folder: Path = Path()) -> str:
    """A system turn: what is given, or what the file holds that stands behind an `@`. Raises `InputError`."""
    return read_text(folder / given[1:]) if given.startswith("@") else given


def read_text(path: Path) -> str:
    """A whole file of text. Raises `InputError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A file of TOML. Raises `InputError`, naming the line."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # the second for what is nested too deeply
        raise InputError(f"{path}: is not TOML: {error}") from None
