"""Who serves a model: opened with `async with`, and passed to `solve`."""

from metagen.backends.recorded import Recorded
from metagen.backends.scripted import Scripted
from metagen.backends.vllm import VLLMEngine
from metagen.backends.wrapper import Limited

__all__ = ["Limited", "Recorded", "Scripted", "VLLMEngine"]
