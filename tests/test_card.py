"""The sizes of models, against published numbers, against transformers, and against a sum token by token."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError, ModelCard
from metagen.card import FAMILIES
from metagen.models import SMALL

OLMOE = {
    "model_type": "olmoe", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 16,
    "num_key_value_heads": 16, "intermediate_size": 1024, "num_experts": 64, "num_experts_per_tok": 8,
    "vocab_size": 50304, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_30B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
    "vocab_size": 151936, "tie_word_embeddings": False, "attention_bias": False,
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
    "moe_layer_freq": 1, "topk_method": "noaux_tc", "vocab_size": 129280, "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
GPT_OSS_20B = {
    "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880, "num_local_experts": 32,
    "num_experts_per_tok": 4, "attention_bias": True, "vocab_size": 201088, "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip
QWEN15_MOE = {
    "model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_key_value_heads": 16, "intermediate_size": 5632, "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4,
    "decoder_sparse_step": 1, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_3_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
SMOLLM2_135M = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


PUBLISHED = {
    "OLMoE-1B-7B": (OLMOE, 1.3e9, 6.9e9),
    "Mixtral-8x7B": (MIXTRAL, 12.9e9, 46.7e9),
    "Qwen1.5-MoE-A2.7B": (QWEN15_MOE, 2.7e9, 14.3e9),
    "Qwen3-30B-A3B": (QWEN3_30B, 3.3e9, 30.5e9),
    "DeepSeek-V3": (DEEPSEEK_V3, 37e9, 671e9),
    "Llama-3-8B": (LLAMA_3_8B, 8.03e9, 8.03e9),
    "SmolLM2-135M": (SMOLLM2_135M, 134.5e6, 134.5e6),
}


@pytest.mark.parametrize(("config", "active", "total"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_published_numbers(config: dict[str, Any], active: float, total: float) -> None:
    card = ModelCard.of(config)
    assert card.active == pytest.approx(active, rel=0.02)
    assert card.total == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_in_the_docs_is_what_the_code_says(name: str) -> None:
    card = ModelCard.of(PUBLISHED[name][0])
    cells = [
        f"{card.active / 1e9:.3f} of {card.total / 1e9:.3f}",
        f"{card.weight_bytes / 1e9:.2f}",
        f"{card.cache_bytes(1) / 1e3:.1f}",
        f"{card.prompt_flops(1000) / 1e12:.3f}",
        f"{card.output_flops(1000, 1000) / 1e12:.3f}",
    ]
    page = (Path(__file__).parents[1] / "docs" / "cost.md").read_text()
    assert f"| {name} | {' | '.join(cells)} |" in page


def test_gpt_oss_is_published_without_its_embedding_among_the_active() -> None:
    card = ModelCard.of(GPT_OSS_20B)
    assert card.total == pytest.approx(20.91e9, rel=0.001)
    assert card.active - card.embedding == pytest.approx(3.61e9, rel=0.001)


TINY = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 48, "vocab_size": 100, "pad_token_id": 0,
}  # fmt: skip
EXPERTS = {"num_experts": 6, "num_local_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "num_key_value_heads": 4, "q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
    "v_head_dim": 5, "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "n_shared_experts": 2, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "head_dim": 4,
}  # fmt: skip
MORE: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 6, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 6, "num_experts_per_tok": 2, "head_dim": None},
    "olmo2": {"head_dim": None},
    "qwen2": {"head_dim": None},
    "phi3": {"head_dim": None},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 24, "head_dim": None},
    "qwen3_moe": EXPERTS | {"decoder_sparse_step": 2, "mlp_only_layers": [0]},
    "gpt_oss": {"num_local_experts": 6, "num_experts_per_tok": 2, "attention_bias": True},
    "deepseek_v2": LATENT | {"q_lora_rank": None},
    "deepseek_v3": LATENT | {"topk_method": "noaux_tc"},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_count_is_that_of_transformers(kind: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {name: value for name, value in (TINY | MORE.get(kind, {})).items() if value is not None}
    if MORE.get(kind, {}).get("q_lora_rank", 0) is None:
        fields["q_lora_rank"] = None
    config = AutoConfig.for_model(kind, **fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    buffers = sum(value.numel() for name, value in model.named_buffers() if "correction_bias" in name)
    assert ModelCard.of(config.to_dict()).total == sum(value.numel() for value in model.parameters()) + buffers


def test_the_shipped_model() -> None:
    from safetensors import safe_open

    with safe_open(SMALL / "model.safetensors", "pt") as file:
        count = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 (not a mapping)
    card = ModelCard.read(SMALL)
    assert card.name == "small-moe"
    assert card.total == count
    assert card.weight_bytes == pytest.approx((SMALL / "model.safetensors").stat().st_size, rel=0.02)


def test_memory() -> None:
    llama = ModelCard.of(LLAMA_3_8B)
    assert llama.weight_bytes == pytest.approx(16.06e9, rel=0.001)
    assert llama.cache_bytes(8192) == 2**30, "8,192 tokens of 128 KiB"
    deepseek = ModelCard.of(DEEPSEEK_V3)
    assert deepseek.weight_bytes == pytest.approx(673e9, rel=0.01)
    assert deepseek.cache_bytes(1) == 61 * (512 + 64) * 2
    assert ModelCard.of(GPT_OSS_20B).weight_bytes < 14e9


sizes = st.integers(0, 60)


@given(prompt=st.integers(1, 60), cached=sizes, output=sizes)
def test_the_closed_form_is_the_sum_over_tokens(prompt: int, cached: int, output: int) -> None:
    card, cached = ModelCard.of(OLMOE), min(cached, prompt)
    through, head = 2 * card.layers.matrices, 2 * card.embedding
    read = sum(through + card.pair_flops * (at + 1) for at in range(cached, prompt))
    written = sum(through + head + card.pair_flops * (prompt + at + 1) for at in range(output))
    assert card.flops(prompt, output, cached=cached) == read + written
    alike = card.prompt_flops(prompt) + 4 * card.output_flops(prompt, output)
    assert card.flops(prompt, 4 * output, samples=4) == alike, "samples of equal length"


@given(prompt=st.integers(1, 500), samples=st.integers(1, 20), output=st.integers(0, 500))
def test_more_output_never_costs_less(prompt: int, samples: int, output: int) -> None:
    card = ModelCard.of(MIXTRAL)
    assert card.flops(prompt, output + 1, samples=samples) > card.flops(prompt, output, samples=samples)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' is not known; there is deepseek_v2, "),
        ({}, "model_type None is not known"),
        ({key: value for key, value in OLMOE.items() if key != "hidden_size"}, "there is no field 'hidden_size'"),
        (OLMOE | {"num_experts_per_tok": None}, "no field 'num_experts_per_tok' or 'num_experts_per_token'"),
        (OLMOE | {"vocab_size": "many"}, "field 'vocab_size' must be a whole number, not 'many'"),
        (OLMOE | {"torch_dtype": "int3"}, "field 'dtype': 'int3' is not known"),
    ],
)
def test_what_is_missing_is_named(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match=said) as raised:
        ModelCard.read(tmp_path)
    assert str(raised.value).startswith(f"{file}: ")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: cannot be read: No such file"):
        ModelCard.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        ModelCard.read(tmp_path)


def test_a_model_with_pictures_is_known_by_its_text() -> None:
    assert ModelCard.of({"model_type": "llava", "text_config": LLAMA_3_8B}).total == ModelCard.of(LLAMA_3_8B).total
