"""What the page of clusters shows runs, over workers of Ray."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/clusters.md"


PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 2


@pytest.mark.ray
@pytest.mark.parametrize("code", PROGRAMS)
def test_the_workers_of_the_page_answer(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["1 7", "2 7"]
