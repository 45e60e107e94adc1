"""What a model costs to run, from its `config.json` alone: parameters, memory, floating-point operations. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from metagen.errors import InputError

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8_e4m3fn": 1.0}
MXFP4 = 4.25 / 8
"""Bytes a weight: four bits, and eight for each block of 32."""


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one `model_type` differ from Llama's."""

    qkv_bias: bool = False
    """Biases of the query, key and value projections, whatever `attention_bias` says."""
    qk_norm: Literal["", "head", "whole"] = ""
    norms: int = 2
    """A layer."""
    tied: bool = False
    """Whether the embeddings serve as the head where the config does not say."""
    latent: bool = False
    """Multi-head latent attention (DeepSeek-V2, section 2.1)."""
    shared_gate: bool = False
    sinks: bool = False
    """One attention sink a head; biases in the router and the experts too."""


FAMILIES = {
    "deepseek_v2": Family(latent=True),
    "deepseek_v3": Family(latent=True),
    "gemma": Family(tied=True),
    "gemma2": Family(tied=True, norms=4),
    "gemma3_text": Family(tied=True, norms=4, qk_norm="head"),
    "gpt_oss": Family(sinks=True),
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "olmo2": Family(qk_norm="whole"),
    "olmoe": Family(qk_norm="whole"),
    "phi3": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True, shared_gate=True),
    "qwen3": Family(qk_norm="head"),
    "qwen3_moe": Family(qk_norm="head"),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters of a part, told apart by what they do; it adds."""

    matrices: int = 0
    """That multiply every token."""
    idle: int = 0
    """Of the experts that a token does not go to."""
    vectors: int = 0
    """Norms, biases and sinks."""

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(self.matrices + other.matrices, self.idle + other.idle, self.vectors + other.vectors)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The sizes of a model.

    FLOPs are 2 a multiplied parameter and token, and 2 a key and 2 a value element for each pair of positions that
    attend (Kaplan et al. 2020, section 2.1). The embedding's lookup costs nothing, the head is paid where a token is
    drawn, and each drawn token is run through once. Sliding windows are not taken off.
    """

    name: str
    layers: Weights
    embedding: int
    """Vocabulary times width."""
    tied: bool
    """Whether the embedding serves as the head too."""
    pair_flops: int
    """For one pair of positions, over all layers."""
    cache_elements: int
    """Of the key-value cache, a token, over all layers."""
    dtype: str = "bfloat16"
    layer_bytes: float = 2.0
    """A matrix weight in a layer; quantization counts here."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a model's folder, or its `config.json`. Raises `InputError`, naming file and field."""
        path = Path(path)
        file = path / "config.json" if path.is_dir() else path
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise InputError(f"{file}: is not JSON: {error}") from None
        try:
            return cls.of(config, file.resolve().parent.name)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str = "") -> Self:
        """From the content of a `config.json`. Raises `InputError` for a layout that is not known."""
        config = config.get("text_config") or config
        kind = config.get("model_type")
        if kind not in FAMILIES:
            raise InputError(f"model_type {kind!r} is not known; there is {', '.join(FAMILIES)}")
        return cls._of(_Config(config), FAMILIES[str(kind)], name or str(kind))

    @classmethod
    def _of(cls, config: "_Config", family: Family, name: str) -> Self:
        layers = Weights(vectors=config["hidden_size"])  # the last norm
        for layer in range(config["num_hidden_layers"]):
            layers += _attention(config, family) + _mlp(config, family, layer)
        qk, v, cached = _head_sizes(config, family)
        return cls(
            name=name,
            layers=layers,
            embedding=config["vocab_size"] * config["hidden_size"],
            tied=bool(config.get("tie_word_embeddings", family.tied)),
            pair_flops=2 * config["num_attention_heads"] * (qk + v) * config["num_hidden_layers"],
            cache_elements=cached * config["num_hidden_layers"],
            dtype=config.dtype(),
            layer_bytes=config.layer_bytes(),
        )

    @property
    def total(self) -> int:
        """All parameters, without what only predicts further tokens (DeepSeek-V3's extra layer)."""
        return self.active + self.layers.idle

    @property
    def active(self) -> int:
        """Those that one token meets. Embedding and head count whole, as the makers of most models count."""
        embeddings = self.embedding * (1 if self.tied else 2)
        return self.layers.matrices + self.layers.vectors + embeddings

    @property
    def weight_bytes(self) -> int:
        """Memory for the weights."""
        layers = (self.layers.matrices + self.layers.idle) * self.layer_bytes
        rest = self.total - self.layers.matrices - self.layers.idle
        return round(layers + rest * BYTES[self.dtype])

    def cache_bytes(self, tokens: int, bytes_each: float = 2.0) -> int:
        """Memory for the key-value cache of one sequence."""
        return round(self.cache_elements * tokens * bytes_each)

    def prompt_flops(self, tokens: int, cached: int = 0) -> int:
        """To read a prompt, of which the first `cached` tokens are in the prefix cache already."""
        pairs = (tokens * (tokens + 1) - cached * (cached + 1)) // 2
        return 2 * self.layers.matrices * (tokens - cached) + self.pair_flops * pairs

    def output_flops(self, prompt: int, tokens: int, samples: int = 1) -> int:
        """To write so many tokens after a prompt, in so many samples, equally long."""
        pairs = tokens * prompt + tokens * (tokens + samples) // (2 * samples)
        return 2 * (self.layers.matrices + self.embedding) * tokens + self.pair_flops * pairs

    def flops(self, prompt: int, output: int, *, cached: int = 0, samples: int = 1) -> int:
        """Of one request: the prompt is read once, whatever the number of samples."""
        return self.prompt_flops(prompt, cached) + self.output_flops(prompt, output, samples)


def _attention(config: "_Config", family: Family) -> Weights:
    """One layer's attention and norms."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if family.latent:
        return _latent_attention(config, width, heads)
    qk, _, _ = _head_sizes(config, family)
    query, key = heads * qk, config.get("num_key_value_heads", heads) * qk
    bias = bool(config.get("attention_bias", False))
    vectors = family.norms * width + (query + 2 * key) * (family.qkv_bias or bias) + width * bias
    vectors += {"": 0, "head": 2 * qk, "whole": query + key}[family.qk_norm] + heads * family.sinks
    return Weights(2 * width * query + 2 * width * key, vectors=vectors)


def _latent_attention(config: "_Config", width: int, heads: int) -> Weights:
    """Queries and keys go through low ranks (DeepSeek-V2, section 2.1); without `q_lora_rank` queries do not."""
    nope, rope, value = (config[f"{part}_head_dim"] for part in ("qk_nope", "qk_rope", "v"))
    rank, low = config["kv_lora_rank"], config.get("q_lora_rank")
    query = width * low + low * heads * (nope + rope) if low else width * heads * (nope + rope)
    others = width * (rank + rope) + rank * heads * (nope + value) + heads * value * width
    return Weights(query + others, vectors=2 * width + rank + (low or 0))


def _mlp(config: "_Config", family: Family, layer: int) -> Weights:
    """One layer's feed-forward part: dense, or a router with experts."""
    width = config["hidden_size"]
    experts = config.first("num_experts", "num_local_experts", "n_routed_experts", default=0)
    if not experts or not config.is_sparse(layer):
        return Weights(3 * width * config["intermediate_size"])
    active = config.first("num_experts_per_tok", "num_experts_per_token")
    size = config.get("moe_intermediate_size") or config["intermediate_size"]
    expert = 3 * width * size
    shared = config.get("shared_expert_intermediate_size") or (config.get("n_shared_experts") or 0) * size
    matrices = experts * width + active * expert + 3 * width * shared + width * family.shared_gate
    biases = (2 * size + width) * family.sinks
    vectors = experts * (family.sinks or config.get("topk_method") == "noaux_tc") + active * biases
    return Weights(matrices, (experts - active) * (expert + biases), vectors)


def _head_sizes(config: "_Config", family: Family) -> tuple[int, int, int]:
    """Elements of a head's query, of its value, and of all that is cached for a token in one layer."""
    heads = config["num_attention_heads"]
    if family.latent:
        rope = config["qk_rope_head_dim"]
        return config["qk_nope_head_dim"] + rope, config["v_head_dim"], config["kv_lora_rank"] + rope
    size = config.get("head_dim") or config["hidden_size"] // heads
    return size, size, 2 * size * config.get("num_key_value_heads", heads)


class _Config:
    """A `config.json` whose missing fields are named."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> int:
        return self.first(name)

    def get(self, name: str, default: Any = None) -> Any:
        value = self._fields.get(name)
        return default if value is None else value

    def first(self, *names: str, default: int | None = None) -> int:
        """The whole number in the first of these fields that is there."""
        for name in names:
            if (value := self.get(name)) is not None:
                if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                    raise InputError(f"field {name!r} must be a whole number, not {value!r}")
                return value
        if default is None:
            raise InputError(f"there is no field {' or '.join(map(repr, names))}")
        return default

    def is_sparse(self, layer: int) -> bool:
        """Whether this layer of a mixture of experts has experts."""
        if layer in self.get("mlp_only_layers", ()) or layer < self.get("first_k_dense_replace", 0):
            return False
        return bool(
            (layer + 1) % self.get("decoder_sparse_step", 1) == 0 and layer % self.get("moe_layer_freq", 1) == 0
        )

    def dtype(self) -> str:
        name = str(self.get("dtype") or self.get("torch_dtype") or "bfloat16")
        if name not in BYTES:
            raise InputError(f"field 'dtype': {name!r} is not known; there is {', '.join(BYTES)}")
        return name

    def layer_bytes(self) -> float:
        quantization = self.get("quantization_config") or {}
        match quantization.get("quant_method"):
            case "fp8":
                return 1.0
            case "mxfp4":
                return MXFP4
            case "awq" | "gptq":
                return float(quantization.get("bits", 4)) / 8
        return BYTES[self.dtype()]
