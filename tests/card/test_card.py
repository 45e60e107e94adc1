"""Cards against published numbers, against the models that transformers builds, and against sums token by token."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from metagen import InputError
from metagen.card.card import ModelCard
from metagen.models import SMALL
from tests.support.published import PUBLISHED

ROOT = Path(__file__).parents[2]

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "dtype": "float32",
}  # fmt: skip
MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = SHAPE | MIXTURE | {
    "num_key_value_heads": 4, "kv_lora_rank": 12, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
    "n_routed_experts": 8, "n_shared_experts": 2, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
TIED = {"tie_word_embeddings": True}
LAYOUTS: dict[str, dict[str, Any]] = {
    "llama": SHAPE | {"model_type": "llama"},
    "llama with biases": SHAPE | TIED | {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama, a key for each head": SHAPE | {"model_type": "llama", "num_key_value_heads": None, "head_dim": 16},
    "mistral": SHAPE | {"model_type": "mistral", "sliding_window": 3},
    "qwen2": SHAPE | TIED | {"model_type": "qwen2"},
    "qwen3": SHAPE | {"model_type": "qwen3", "head_dim": 10},
    "gemma": SHAPE | {"model_type": "gemma", "head_dim": 12},
    "gemma2": SHAPE | {"model_type": "gemma2", "head_dim": 12, "sliding_window": 3},
    "gemma3_text": SHAPE | {"model_type": "gemma3_text", "head_dim": 12, "sliding_window": 3, "num_hidden_layers": 7},
    "olmoe": SHAPE | {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 3},
    "mixtral": SHAPE | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": SHAPE | MIXTURE | {
        "model_type": "qwen2_moe", "num_experts": 6, "shared_expert_intermediate_size": 40,
    },
    "qwen3_moe": SHAPE | MIXTURE | {
        "model_type": "qwen3_moe", "num_experts": 6, "head_dim": 10, "decoder_sparse_step": 2, "mlp_only_layers": [1],
    },
    "deepseek_v2": LATENT | {"model_type": "deepseek_v2", "q_lora_rank": None},
    "deepseek_v3": LATENT | {"model_type": "deepseek_v3", "q_lora_rank": 14},
    "gpt_oss": SHAPE | {
        "model_type": "gpt_oss", "head_dim": 10, "num_local_experts": 6, "num_experts_per_tok": 4, "sliding_window": 3,
    },
}  # fmt: skip
"""A small model of every layout."""

DENSE = LAYOUTS["llama"]
lengths = st.integers(0, 60)


def built(config: dict[str, Any], device: str = "meta") -> Any:
    """The model as transformers builds it."""
    fields = {name: value for name, value in config.items() if name not in {"model_type", "quantization_config"}}
    made = AutoConfig.for_model(config["model_type"], **fields)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(made, attn_implementation="eager", experts_implementation="eager")


def elements(model: Any) -> int:
    """Numbers in a model's checkpoint, what is shared once."""
    return sum({id(tensor): tensor.numel() for tensor in model.state_dict(keep_vars=True).values()}.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_numbers_are_the_published_ones(name: str) -> None:
    published, card = PUBLISHED[name], ModelCard.of(PUBLISHED[name].config)
    active = card.active if published.lookup else card.active_without_lookup
    assert card.total / 1e9 == pytest.approx(published.total, rel=0.02)
    assert active / 1e9 == pytest.approx(published.active, rel=0.02)


def test_the_numbers_are_as_exact_as_their_source() -> None:
    """DeepSeek-V3 is said to activate 36.6 billion, of them 0.9 in the head; a SmolLM2-135M has 134,515,008."""
    cards = {name: ModelCard.of(published.config) for name, published in PUBLISHED.items()}
    assert cards["SmolLM2-135M"].total == 134_515_008
    assert cards["Llama-3-8B"].total == 8_030_261_248
    assert round(cards["DeepSeek-V3"].active_without_lookup / 1e9, 1) == 36.6
    assert round(cards["DeepSeek-V3"].table / 1e9, 1) == 0.9
    assert [round(cards[f"gpt-oss-{size}b"].active_without_lookup / 1e9, 2) for size in (20, 120)] == [3.61, 5.13]


def test_the_bytes_are_those_of_the_published_files() -> None:
    """gpt-oss: 12.8 and 60.8 GiB (its model card, table 1). OLMoE in bfloat16: two bytes a weight."""
    assert [
        round(ModelCard.of(PUBLISHED[f"gpt-oss-{size}b"].config).weight_bytes / 2**30, 1) for size in (20, 120)
    ] == [
        12.8,
        60.8,
    ]
    olmoe = ModelCard.of(PUBLISHED["OLMoE-1B-7B"].config)
    assert olmoe.weight_bytes == 2 * olmoe.total


def test_fp8_takes_a_byte_for_what_is_in_linear_layers() -> None:
    config = DENSE | {"dtype": "bfloat16"}
    linear = 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    plain = 2 * ModelCard.of(config).total
    whole = ModelCard.of(config | {"quantization_config": {"quant_method": "fp8"}})
    blocks = ModelCard.of(config | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [16, 8]}})
    assert plain - whole.weight_bytes == linear
    assert blocks.weight_bytes - whole.weight_bytes == linear * 4 // (16 * 8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_total_is_that_of_the_model(layout: str) -> None:
    card = ModelCard.of(LAYOUTS[layout])
    assert card.total == elements(built(LAYOUTS[layout]))
    assert card.weight_bytes == 4 * card.total


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_total_of_a_published_model_is_that_of_the_model(name: str) -> None:
    assert ModelCard.of(PUBLISHED[name].config).total == elements(built(PUBLISHED[name].config))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_active_parameters_are_all_but_those_of_idle_experts(layout: str) -> None:
    config, parameters = LAYOUTS[layout], dict(built(LAYOUTS[layout]).named_parameters())
    experts = {len(tensor) for name, tensor in parameters.items() if ".experts." in name}
    held = sum(tensor.numel() for name, tensor in parameters.items() if ".experts." in name)
    idle = sum(held - held * config["num_experts_per_tok"] // count for count in experts)
    card = ModelCard.of(config)
    assert card.active == card.total - idle
    assert card.active_without_lookup == card.active - (0 if card.tied else 96 * 32)


def test_every_known_layout_is_compared() -> None:
    assert {config["model_type"] for config in LAYOUTS.values()} == set(ModelCard.known())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For models so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def expanded_again(config: dict[str, Any], cached: int) -> int:
    """FLOPs by which transformers makes keys and values of cached latents once more; vLLM need not."""
    if "kv_lora_rank" not in config:
        return 0
    values = config["num_attention_heads"] * (config["qk_nope_head_dim"] + config["v_head_dim"])
    return int(config["num_hidden_layers"] * 2 * config["kv_lora_rank"] * values * cached)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cached", [0, 6])
def test_the_flops_of_a_token_are_those_that_the_model_spends(layout: str, cached: int) -> None:
    config = LAYOUTS[layout]
    model = built(config, "cpu")
    with torch.inference_mode():
        before = model(torch.arange(cached)[None], use_cache=True).past_key_values if cached else None
        with FlopCounterMode(display=False) as counter:
            model(torch.tensor([[5]]), past_key_values=before, use_cache=True)
    spent = counter.get_total_flops() - expanded_again(config, cached)
    assert ModelCard.of(config).flops_prompt(cached + 1, cached) == spent


def test_the_shipped_model_has_the_numbers_of_its_files() -> None:
    card = ModelCard.read(SMALL)
    with safe_open(SMALL / "model.safetensors", "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 (not a mapping)
    assert card.total == sum(tensor.numel() for tensor in tensors)
    assert card.weight_bytes == sum(tensor.nbytes for tensor in tensors)
    assert (card.name, card.active) == ("small-moe", card.total - 4 * 6 * 3 * 128 * 128)
    assert ModelCard.read(SMALL / "config.json") == card


def test_the_flops_of_a_small_request_by_hand() -> None:
    """Two layers of width 4 with two heads, a feed-forward of 8 and 10 words: 3 tokens read, 2 written."""
    card = ModelCard.of(
        SHAPE | {"model_type": "llama", "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2,
                 "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 10}
    )  # fmt: skip
    matrices = 2 * (4 * 4 + 2 * 4 * 2 + 4 * 4 + 3 * 4 * 8)
    prompt = 3 * 2 * matrices + 2 * 4 * 10 + 4 * 2 * 2 * 2 * (1 + 2 + 3)
    second = 2 * matrices + 2 * 4 * 10 + 4 * 2 * 2 * 2 * 4
    assert card.flops(3, 2) == prompt + second
    assert card.flops(3, 1) == card.flops(3, 0) == prompt


def one_token(card: ModelCard, position: int) -> int:
    """FLOPs of the layers for the token at a position, counted from 1."""
    attention = card.attention
    seen = sum(position if window is None else min(position, window) for window in attention.windows)
    return 2 * card.layers.multiplied + 2 * attention.heads * (attention.key_dim + attention.value_dim) * seen


@given(layout=st.sampled_from(list(LAYOUTS)), prompt=st.integers(1, 60), generated=lengths, cached=lengths)
def test_the_closed_form_is_the_sum_over_tokens(layout: str, prompt: int, generated: int, cached: int) -> None:
    card, cached = ModelCard.of(LAYOUTS[layout]), min(cached, prompt)
    head = 2 * 96 * 32
    read = [one_token(card, position) for position in range(min(cached, prompt - 1) + 1, prompt + 1)]
    written = [one_token(card, prompt + number) + head for number in range(1, generated)]
    assert card.flops_prompt(prompt, cached) == sum(read) + head
    assert card.flops_generated(prompt, generated) == sum(written)
    assert card.flops(prompt, generated, cached) == sum(read) + head + sum(written)


@given(layout=st.sampled_from(list(LAYOUTS)), prompt=st.integers(1, 60), first=st.integers(1, 60), second=lengths)
def test_to_go_on_costs_what_is_left(layout: str, prompt: int, first: int, second: int) -> None:
    """All but the last written token are in the cache."""
    card = ModelCard.of(LAYOUTS[layout])
    going_on = card.flops(prompt + first, second + 1, cached=prompt + first - 1)
    assert card.flops(prompt, first) + going_on == card.flops(prompt, first + second + 1)


def test_a_cache_holds_keys_and_values_or_a_latent_and_no_more_than_a_window() -> None:
    cards = {layout: ModelCard.of(config) for layout, config in LAYOUTS.items()}
    assert cards["llama"].kv_bytes(5) == 4 * 5 * 2 * 2 * 8 * 4
    assert cards["mistral"].kv_bytes(5) == 4 * 3 * 2 * 2 * 8 * 4
    assert cards["gpt_oss"].kv_bytes(5) == (2 * 3 + 2 * 5) * 2 * 2 * 10 * 4
    assert cards["gemma3_text"].kv_bytes(5) == (6 * 3 + 1 * 5) * 2 * 2 * 12 * 4
    assert cards["deepseek_v3"].kv_bytes(5) == 4 * 5 * (12 + 4) * 4
    assert ModelCard.of(PUBLISHED["DeepSeek-V3"].config).kv_bytes(1) == 70_272
    assert cards["llama"].kv_bytes(0) == 0


def test_windows_are_where_the_config_says() -> None:
    config = LAYOUTS["qwen2"] | {"sliding_window": 3, "use_sliding_window": True}
    types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    assert ModelCard.of(config | {"layer_types": types}).attention.windows == (None, 3, 3, None)
    assert ModelCard.of(config | {"use_sliding_window": False}).attention.windows == (None,) * 4
    with pytest.raises(InputError, match=r"use_sliding_window.*layer_types"):
        ModelCard.of(config)
    with pytest.raises(InputError, match="names 1 layers, not 4"):
        ModelCard.of(config | {"layer_types": types[:1]})


NEEDED = [
    ("llama", "hidden_size"), ("llama", "vocab_size"), ("llama", "intermediate_size"), ("llama", "dtype"),
    ("mistral", "num_key_value_heads"), ("gemma", "head_dim"), ("olmoe", "num_experts"),
    ("qwen3_moe", "moe_intermediate_size"), ("qwen2_moe", "shared_expert_intermediate_size"),
    ("deepseek_v3", "kv_lora_rank"), ("deepseek_v3", "first_k_dense_replace"), ("gpt_oss", "num_experts_per_tok"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "field"), NEEDED)
def test_a_missing_field_is_named_with_its_file(layout: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({name: value for name, value in LAYOUTS[layout].items() if name != field}))
    with pytest.raises(InputError, match=rf"{re.escape(str(file))}: there is no field .*'{field}'"):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "field 'model_type' is 'bert', whose layout is not known; known are llama, mistral"),
        ({"model_type": ["llama"]}, "whose layout is not known"),
        ({"architectures": ["LlamaForTokenClassification"]}, "known are those that end in ForCausalLM"),
        ({"architectures": "LlamaForCausalLM"}, "field 'architectures' must be a list"),
        ({"hidden_size": 0}, "field 'hidden_size' must be a whole number of 1 or more, not 0"),
        ({"vocab_size": True}, "field 'vocab_size' must be a whole number"),
        ({"num_hidden_layers": "4"}, "field 'num_hidden_layers' must be a whole number"),
        ({"num_attention_heads": 5}, "field 'num_attention_heads' does not divide the width of 32: say 'head_dim'"),
        ({"tie_word_embeddings": "no"}, "field 'tie_word_embeddings' must be true or false"),
        ({"dtype": "int3"}, "field 'dtype' is 'int3'; known are float32"),
        ({"quantization_config": {"quant_method": "awq"}}, "has the method 'awq'; known are fp8 and mxfp4"),
        ({"quantization_config": "fp8"}, "field 'quantization_config' must be an object, not 'fp8'"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [0]}}, "no block of two sizes"),
        ({"model_type": "olmoe", "num_experts": 2, "num_experts_per_tok": 3}, "is 3, of only 2 experts"),
    ],
)
def test_a_field_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        ModelCard.of(DENSE | change)


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("{", "is not JSON"), ("[1]", "must hold a JSON object, not list")]
)
def test_a_file_that_is_no_config_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=f"config.json: {message}"):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize("request_", [(0, 1), (-1, 1), (3, -1), (3, 1, 4), (3, 1, -1), (2.5, 1)])
def test_a_request_that_cannot_be_is_refused(request_: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="ModelCard: "):
        ModelCard.of(DENSE).flops(*request_)


def row(name: str) -> str:
    """The line of the table in docs/cost.md."""
    published, card = PUBLISHED[name], ModelCard.of(PUBLISHED[name].config)
    said = f"{published.total:g}"
    if published.active != published.total:
        said = f"{published.active:g} of {said}"
    numbers = [
        f"{card.total / 1e9:.4g}", f"{card.active / 1e9:.4g}", f"{card.active_without_lookup / 1e9:.4g}", said,
        f"{card.weight_bytes / 1e9:.1f}", f"{card.kv_bytes(4096) / 1e6:.0f}",
        f"{card.flops_prompt(1000) / 1e12:.2f}", f"{card.flops_generated(1000, 1000) / 1e12:.2f}",
    ]  # fmt: skip
    return f"| {name} | {' | '.join(numbers)} |"


def test_the_numbers_in_the_documents_are_what_the_cards_say() -> None:
    text = (ROOT / "docs/cost.md").read_text()
    olmoe = ModelCard.of(PUBLISHED["OLMoE-1B-7B"].config)
    assert f"# {olmoe.total}, {olmoe.active}\n" in text
    lines = text.splitlines()
    table = [line for line in lines if line.startswith(tuple(f"| {name} |" for name in PUBLISHED))]
    assert table == [row(name) for name in PUBLISHED]


@given(prompt=st.integers(1, 300), generated=st.integers(0, 300), samples=st.integers(1, 9))
def test_samples_of_one_request_share_its_prompt(prompt: int, generated: int, samples: int) -> None:
    card = ModelCard.of(DENSE)
    even = card.flops(prompt, generated * samples, samples=samples)
    assert even == card.flops_prompt(prompt) + samples * card.flops_generated(prompt, generated)
    assert even <= card.flops(prompt, generated * samples + 1, samples=samples)


REWARD = {
    "model_type": "qwen2", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 7,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 656, "tie_word_embeddings": True,
    "dtype": "float16",
}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "head", "vectors"),
    [
        ("Qwen2ForProcessRewardModel", 128 * 128 + 2 * 128, 128 + 2),
        ("Qwen2ForRewardModel", 128 * 128 + 128, 128 + 1),
        ("Qwen2ForSequenceClassification", 128, 0),
    ],
)
def test_a_reward_model_has_a_head_of_its_own_at_each_position(architecture: str, head: int, vectors: int) -> None:
    speaking = ModelCard.of(REWARD | {"architectures": ["Qwen2ForCausalLM"]})
    scoring = ModelCard.of(REWARD | {"architectures": [architecture]})
    assert scoring.total == speaking.total + head + vectors
    assert scoring.flops_prompt(10) == speaking.flops_prompt(10) - 2 * 656 * 128 + 10 * 2 * head
