"""What serves a model: opened with `async with`, and passed to `solve`."""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.backends.balanced import Balanced, BalancedReward
    from metagen.backends.http.reward_server import VLLMRewardServer
    from metagen.backends.http.server import OpenAIServer, VLLMServer
    from metagen.backends.recorded import Recorded
    from metagen.backends.retrying import Retrying, RetryingReward
    from metagen.backends.rewards.torch import TorchReward
    from metagen.backends.scripted import Scripted, ScriptedReward
    from metagen.backends.vllm.generating import VLLMEngine
    from metagen.backends.vllm.scoring import VLLMReward
    from metagen.backends.wrapper import Limited, Priced, PricedReward

__all__ = [
    "Balanced",
    "BalancedReward",
    "Limited",
    "OpenAIServer",
    "Priced",
    "PricedReward",
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

load_lazily(__name__)
