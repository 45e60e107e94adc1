"""Which backend a model on the command line becomes; opening none."""

from pathlib import Path

import pytest

from metagen import InputError, RetryingReward, TorchReward, VLLMEngine, VLLMReward, VLLMRewardServer
from metagen.jobs.opening import make_backend
from metagen.models import SMALL
from metagen.request import AnyBackend
from tests.support.tiny_rewards import make


def backend(model: str) -> AnyBackend:
    return make_backend(model, {}, {}, None, {})


def test_a_reward_model_is_known_by_its_architecture(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch")
    marked = make(tmp_path / "marked", "Qwen2ForProcessRewardModel", SMALL)
    skywork = make(tmp_path / "Skywork-o1-Open-PRM-tiny", "Skywork", SMALL)
    assert isinstance(backend(str(marked)), VLLMReward)
    assert isinstance(backend(str(skywork)), TorchReward), "vLLM does not serve it"
    assert isinstance(backend(str(SMALL)), VLLMEngine)


def test_a_prefix_says_how_it_is_asked() -> None:
    assert isinstance(backend(f"rlhflow+{SMALL}"), VLLMReward)
    served = backend("qwen-prm+http://localhost:8000/v1#mine")
    assert isinstance(served, RetryingReward)
    assert isinstance(served.of, VLLMRewardServer)
    assert (served.name, served.process) == ("mine", True)


def test_what_looks_like_a_prefix_is_part_of_a_name() -> None:
    with pytest.raises(InputError, match="there is no model at"):
        backend("./a+b")
