"""What an engine on a CPU is built with."""

import pytest

from metagen.backends.folder import config_of
from metagen.backends.vllm import arguments
from metagen.models import SMALL

LLAMA = {
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "vocab_size": 49152,
}


@pytest.mark.parametrize(
    ("layers", "heads", "seats"),
    [
        (1, 1, 1024),  # 0.5 KB a token: the most
        (12, 3, 256),  # 18 KB: room for 227, so the fewest
        (8, 3, 341),  # 12 KB
        (30, 9, 256),
    ],
)
def test_as_many_samples_are_computed_at_once_as_the_cache_has_room_for(layers: int, heads: int, seats: int) -> None:
    config = LLAMA | {"num_hidden_layers": layers, "num_key_value_heads": heads}
    assert arguments.defaults(config, cpu=True)["max_num_seqs"] == seats


def test_the_shipped_model_computes_the_most_unless_the_user_leaves_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def seats(**given: int) -> int:
        return int(arguments.defaults(config_of(str(SMALL)), given, cpu=True)["max_num_seqs"])

    assert seats() == 1024
    assert seats(kv_cache_memory_bytes=1 << 30) == 512
    assert seats(max_num_batched_tokens=300) == 300
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert seats() == 512


@pytest.mark.parametrize("config", [{}, {"model_type": "unheard of"}, LLAMA])
def test_a_layout_that_is_not_known_gets_the_fewest(config: dict[str, object]) -> None:
    assert arguments.defaults(config, cpu=True)["max_num_seqs"] == 256
    assert "max_num_seqs" not in arguments.defaults(config, cpu=False)
