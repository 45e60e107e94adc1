"""A server's keys: sent to their server alone, and removed wherever they come back."""

import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from metagen.errors import InputError
from metagen.request import secrets_in

BLOT = "***"
SHORTEST = 6
"""Characters. A shorter key is looked for in messages alone: removing it from whole replies would spoil them."""


class Key:
    """The key in the environment variable `variable`, empty if there is none, and those that are sent beside it.

    These are headers and fields of the body that are called keys by their names, such as `X-Api-Key`. A header
    `Authorization` goes in place of the key in the variable.
    """

    def __init__(
        self, variable: str, headers: Mapping[str, str] | None = None, fields: Mapping[str, Any] | None = None
    ) -> None:
        self.variable = variable
        values = [value for _, value in secrets_in([headers or {}, fields or {}])]
        self.is_given = any(str(name).lower() == "authorization" for name in headers or ())
        parts = {part for value in values for part in (value.strip(), value.strip().rpartition(" ")[2])}
        self._others = tuple(sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True))

    @property
    def value(self) -> str:
        return "" if self.is_given else os.environ.get(self.variable, "").strip()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key that is there, the longest first: one may begin as another does."""
        if value := self.value:
            return tuple(sorted((value, *self._others), key=len, reverse=True)) if self._others else (value,)
        return self._others

    def headers(self) -> dict[str, str]:
        """What is sent. Raises `InputError`, without telling it, for what cannot be a key."""
        key = self.value
        if not key.isprintable():
            raise InputError(f"the environment variable {self.variable} holds no key: it has control characters")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def scrub(self, text: str) -> str:
        """The text without the keys, however they are spelled: as they are, escaped, or in base64."""
        for key in self.secrets:
            text = _pattern(key).sub(BLOT, text)
        return text

    def scrub_body(self, body: bytes) -> bytes:
        """The same for the bytes of a reply, before anything reads them."""
        for key in self.secrets:
            body = _bytes_pattern(key).sub(BLOT.encode(), body) if len(key) >= SHORTEST else body
        return body


@lru_cache(8)
def _pattern(key: str) -> re.Pattern[str]:
    spelled = "".join(map(_letter, key))
    if len(key) < SHORTEST:
        return re.compile(spelled)
    raw = key.encode()
    others = sorted({raw.hex(), raw.hex().upper(), *_in_base64(raw)}, key=len, reverse=True)
    return re.compile("|".join([spelled, *map(re.escape, others)]))


@lru_cache(8)
def _bytes_pattern(key: str) -> re.Pattern[bytes]:
    return re.compile(_pattern(key).pattern.encode())


def _letter(letter: str) -> str:
    r"""A letter as it is, behind percent signs, and as JSON escapes it: servers mix these in one key."""
    percent = "".join(f"%{byte:02x}" for byte in letter.encode())
    code = letter.encode("utf-16-be").hex()
    escaped = "".join(rf"\\u{code[at : at + 4]}" for at in range(0, len(code), 4))
    short = {"/": r"|\\/", '"': r'|\\"', "\\": r"|\\\\", " ": r"|\+"}.get(letter, "")
    return f"(?:{re.escape(letter)}|(?i:{percent}|{escaped}){short})"


def _in_base64(raw: bytes) -> set[str]:
    """What a key looks like inside base64, whatever stands before and behind it."""
    found = set()
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            first = (0, 2, 3)[before]  # characters that what stands before shares
            last = len(text) - (1 if (before + len(raw)) % 3 else 0)  # and what stands behind
            found.add(text[first:last])
    return found
