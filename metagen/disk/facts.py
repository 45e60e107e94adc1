"""When, with what and where a run was begun: facts for its reader, which are not compared when it is resumed."""

import os
import platform
from datetime import UTC, datetime
from typing import Any

from metagen import distribution

FACTS = "begun"
"""Where `run.json` has them."""


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
