"""Values of rows as JSON would have them: tables hold more kinds of them."""

import json
from datetime import date, time
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID


def plain(value: Any) -> Any:
    """A value of a row as JSON would have it: `None` for a number that is none, and texts for what JSON has not.

    A decimal keeps all its digits, a date is in the order of ISO 8601, bytes are the text that they are in UTF-8. What
    is nothing of this kind is returned as it is.
    """
    if value is None or isinstance(value, str):  # nearly all are
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        return digits(value) if value.is_finite() else None
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def digits(value: Decimal) -> str:
    """A number written out, without an exponent and without zeros at the end of its fraction."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def written(value: Any) -> str:
    """A value in JSON; what JSON has not, and `plain` does not know, is written as Python prints it."""

    def text(value: Any) -> Any:
        return str(value) if (made := plain(value)) is value else made

    return json.dumps(value, default=text)
