"""Published models: the fields of their `config.json` that a card reads, and the numbers published of them."""

from typing import Any, NamedTuple


class Published(NamedTuple):
    total: float
    """Billions."""
    active: float
    """Billions; the same as `total` for a dense model."""
    config: dict[str, Any]
    lookup: bool = True
    """Whether `active` counts an embedding that is only looked up."""


BF16 = {"dtype": "bfloat16"}
QWEN_VOCABULARY = {"vocab_size": 151936}
DEEPSEEK_HEADS = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
GPT_OSS = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201088, "num_experts_per_tok": 4, "sliding_window": 128,
    "attention_bias": True, "dtype": "bfloat16", "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip

PUBLISHED = {
    "SmolLM2-135M": Published(0.135, 0.135, BF16 | {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    }),
    "Gemma-2B": Published(2.51, 2.51, BF16 | {
        "model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18,
        "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 256000,
    }),
    "Mistral-7B-v0.1": Published(7.24, 7.24, BF16 | {
        "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "sliding_window": 4096,
    }),
    "Qwen2.5-7B": Published(7.61, 7.61, BF16 | {
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
        "use_sliding_window": False, "sliding_window": 131072,
    }),
    "Llama-3-8B": Published(8.03, 8.03, BF16 | {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    }),
    "Qwen3-8B": Published(8.2, 8.2, BF16 | QWEN_VOCABULARY | {
        "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    }),
    "OLMoE-1B-7B": Published(6.9, 1.3, BF16 | {
        "model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 50304,
        "num_experts": 64, "num_experts_per_tok": 8,
    }),
    "Qwen1.5-MoE-A2.7B": Published(14.3, 2.7, BF16 | QWEN_VOCABULARY | {
        "model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4,
    }),
    "gpt-oss-20b": Published(20.9, 3.6, GPT_OSS | {"num_hidden_layers": 24, "num_local_experts": 32}, lookup=False),
    "Qwen3-30B-A3B": Published(30.5, 3.3, BF16 | QWEN_VOCABULARY | {
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
    }),
    "Mixtral-8x7B": Published(46.7, 12.9, BF16 | {
        "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "sliding_window": None,
        "num_local_experts": 8, "num_experts_per_tok": 2,
    }),
    "gpt-oss-120b": Published(116.8, 5.1, GPT_OSS | {"num_hidden_layers": 36, "num_local_experts": 128}, lookup=False),
    "DeepSeek-V2": Published(236, 21, BF16 | DEEPSEEK_HEADS | {
        "model_type": "deepseek_v2", "hidden_size": 5120, "intermediate_size": 12288, "num_hidden_layers": 60,
        "num_attention_heads": 128, "q_lora_rank": 1536, "vocab_size": 102400, "moe_intermediate_size": 1536,
        "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
    }, lookup=False),
    "DeepSeek-V3": Published(671, 37, BF16 | DEEPSEEK_HEADS | {
        "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
        "num_attention_heads": 128, "q_lora_rank": 1536, "vocab_size": 129280, "moe_intermediate_size": 2048,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "moe_layer_freq": 1, "num_nextn_predict_layers": 1,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }, lookup=False),
}  # fmt: skip
"""Dense models first, then mixtures, each by size.

Sources: the models' own cards and papers. DeepSeek-V3's 671 billion leave out its module for multi-token prediction.
"""
