"""What some tests need that not every environment has: a mark for each, which skips them without it."""

from importlib.util import find_spec

import pytest

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM")
