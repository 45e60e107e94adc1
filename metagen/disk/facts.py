"""When, with what and where a run was begun: facts for its reader, which are not compared when it is resumed."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metagen import distribution
from metagen.errors import InputError

FACTS = "begun"
"""Where `run.json` has them."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXAMPLE = "2026-01-31T12:00:00+00:00"


def began_at(run: Path, configuration: Mapping[str, Any]) -> datetime | None:
    """When a run was begun; `None` where it does not tell. Raises `InputError` for what is no such time."""
    about = configuration.get(FACTS, {})
    if isinstance(about, dict) and "at" not in about:
        return None
    try:
        at = datetime.fromisoformat(about["at"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        at = None
    if at is None or at < EPOCH:
        raise InputError(f"{run / 'run.json'}: field '{FACTS}.at': must be a time from 1970 on, such as {EXAMPLE}")
    return at


def facts() -> dict[str, Any]:
    """The time in UTC, the versions of metagen, vLLM (`None` where it is missing) and Python, and the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "metagen": distribution.version(),
        "vllm": next(filter(None, map(distribution.installed, distribution.ENGINES.values())), None),
        "python": platform.python_version(),
        "machine": {
            "name": platform.node(),
            "system": platform.platform(),
            "architecture": platform.machine(),
            "processors": os.cpu_count(),
        },
    }
