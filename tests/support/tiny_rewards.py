"""Random reward models of every kind, small enough to be made by a test; our tokenizer with a mark of its own."""

import json
from pathlib import Path
from typing import Any

MARK = "<extra_0>"
CONTEXT = 256
WIDTH = 64
"""With two heads, so each has the width of 32 that vLLM's attention on a CPU needs."""


def tokenizer_of(shipped: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shipped)
    tokenizer.add_tokens([MARK], special_tokens=True)
    return tokenizer


def make(folder: Path, architecture: str, shipped: Path) -> Path:
    """The folder of a model: `Qwen2For…`, causal, classifying or rewarding; `Skywork` is causal with a value head."""
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    torch.manual_seed(7)
    tokenizer = tokenizer_of(shipped)
    labels = 2 if architecture in {"Qwen2ForTokenClassification", "Qwen2ForProcessRewardModel"} else 1
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=CONTEXT, initializer_range=0.3, num_labels=labels,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    kind = architecture if hasattr(transformers, architecture) else "Qwen2ForCausalLM"
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kind != architecture:
        weights = load_file(folder / "model.safetensors") | _head(architecture, labels)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        settings = json.loads((folder / "config.json").read_text())
        named = "Qwen2ForPrmModel" if architecture == "Skywork" else architecture
        (folder / "config.json").write_text(json.dumps(settings | {"architectures": [named]}))
    return folder


def _head(architecture: str, labels: int) -> dict[str, Any]:
    """Small enough that no probability is rounded to 0 or 1."""
    import torch

    if architecture == "Skywork":
        shapes: dict[str, tuple[int, ...]] = {"v_head.summary.weight": (1, WIDTH), "v_head.summary.bias": (1,)}
    else:
        shapes = {
            "score.0.weight": (WIDTH, WIDTH), "score.0.bias": (WIDTH,),
            "score.2.weight": (labels, WIDTH), "score.2.bias": (labels,),
        }  # fmt: skip
    return {name: 0.1 * torch.randn(shape) for name, shape in shapes.items()}
