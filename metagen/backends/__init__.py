"""Who serves a model: opened with `async with`, and passed to `solve`."""

from metagen.backends.balanced import Balanced
from metagen.backends.recorded import Recorded
from metagen.backends.retrying import Retrying, RetryingReward
from metagen.backends.reward_server import VLLMRewardServer
from metagen.backends.scripted import Scripted, ScriptedReward
from metagen.backends.server import VLLMServer
from metagen.backends.torch_reward import TorchReward
from metagen.backends.vllm import VLLMEngine
from metagen.backends.vllm_reward import VLLMReward
from metagen.backends.wrapper import Limited

__all__ = [
    "Balanced",
    "Limited",
    "Recorded",
    "Retrying",
    "RetryingReward",
    "Scripted",
    "ScriptedReward",
    "TorchReward",
    "VLLMEngine",
    "VLLMReward",
    "VLLMRewardServer",
    "VLLMServer",
]
