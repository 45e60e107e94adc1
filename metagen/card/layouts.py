"""What a model costs to run, from its Hugging Face `config.json` alone: parameters, bytes and FLOPs. Pure.

FLOPs are those that the model's definition asks for, whatever kernels compute them ("model FLOPs", Chowdhery et al.
2022, appendix B): two for each multiplication by a weight of a matrix, and attention by the positions that are
attended to. Norms, biases, activations and the softmax are left out, as is usual: they are far below one percent.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metagen.card.parts import Attention, Storage, Weights
from metagen.errors import InputError

DTYPES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes per number."""


MXFP4 = 17 / 32
"""Bytes per weight: 4 bits, and for each block of 32 a scale of 8 bits (Open Compute Project 2023)."""


@dataclass(frozen=True, slots=True)
class Family:
    """How the decoders of one `model_type` differ from Llama. Sources: the models' classes in transformers."""

    tied: bool = False
    """What an absent `tie_word_embeddings` means."""
    needs: tuple[str, ...] = ("num_key_value_heads",)
    """Fields whose absence would mean a default that is easily wrong, so they must be there."""
    bias: Literal["", "attention_bias", "qkv_bias"] = "attention_bias"
    """The field that gives biases to the attention's matrices; with `qkv_bias` the last has none. Empty: no biases."""
    biased: bool = False
    """What its absence means."""
    norms: int = 2
    """Norms of a layer, as wide as the model."""
    qk_norm: Literal["", "head", "all"] = ""
    """Norms of queries and keys: as wide as a head, or as all heads together."""
    sinks: bool = False
    """A logit for each head that nothing is read from."""
    mlp_bias: bool = False
    """Whether there is such a field."""
    full_every: int | None = 1
    """Every so many layers attend to all positions, the others to a window; 0 is no layer, and `None` asks
    `use_sliding_window`."""
    mixture: Literal["", "all", "qwen", "deepseek"] = ""
    """Which layers have experts, and how the fields are called."""
    expert_biases: bool = False
    """Those of the router too."""
    shared_expert: bool = False
    """One that every token goes through, with a gate."""
    latent: bool = False
    """Multi-head latent attention (DeepSeek-V2, section 2.1)."""
    correction: bool = False
    """A bias for each expert that balances the load without a loss (DeepSeek-V3, section 2.1.2)."""


_HEAD_DIM = ("num_key_value_heads", "head_dim")


FAMILIES = {
    "llama": Family(needs=(), mlp_bias=True),
    "mistral": Family(bias="", full_every=0),
    "qwen2": Family(bias="qkv_bias", biased=True, full_every=None),
    "qwen3": Family(needs=_HEAD_DIM, qk_norm="head", full_every=None),
    "gemma": Family(tied=True, needs=_HEAD_DIM),
    "gemma2": Family(tied=True, needs=_HEAD_DIM, norms=4, full_every=2),
    "gemma3_text": Family(tied=True, needs=_HEAD_DIM, norms=4, qk_norm="head", full_every=6),
    "olmoe": Family(needs=(), qk_norm="all", mixture="all"),
    "mixtral": Family(bias="", full_every=0, mixture="all"),
    "qwen2_moe": Family(bias="qkv_bias", biased=True, full_every=None, mixture="qwen", shared_expert=True),
    "qwen3_moe": Family(qk_norm="head", full_every=None, mixture="qwen"),
    "deepseek_v2": Family(needs=(), latent=True, mixture="deepseek"),
    "deepseek_v3": Family(needs=(), latent=True, mixture="deepseek", correction=True),
    "gpt_oss": Family(needs=_HEAD_DIM, biased=True, sinks=True, full_every=2, mixture="all", expert_biases=True),
}


_SCORING = {"ForProcessRewardModel": 2, "ForRewardModel": 1, "ForSequenceClassification": 1}
"""How the architectures of reward models end, and how many numbers they give."""


def read_config(file: Path) -> dict[str, Any]:
    """The fields of a `config.json`. Raises `InputError`, naming the file."""
    try:
        config = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{file}: must hold a JSON object, not {type(config).__name__}")
    return config


@dataclass(frozen=True, slots=True)
class Config:
    """The fields of a `config.json`, checked as they are read; `null` is as good as absent."""

    given: Mapping[str, Any]
    where: str

    def family(self) -> Family:
        """Raises `InputError` for another layout than the known ones, or a head that is not known."""
        kind = str(self.given.get("model_type"))
        if kind not in FAMILIES:
            raise self.wrong("model_type", f"is {kind!r}, whose layout is not known; known are {', '.join(FAMILIES)}")
        for architecture in self.listed("architectures"):
            if not str(architecture).endswith(("ForCausalLM", *_SCORING)):
                known = ", ".join(("ForCausalLM", *_SCORING))
                raise self.wrong("architectures", f"names {architecture!r}: known are those that end in {known}")
        for name in FAMILIES[kind].needs:
            self.whole(name)
        return FAMILIES[kind]

    def scoring_head(self, hidden: int) -> Weights | None:
        """The head of a reward model, as vLLM builds them; `None` for a language model."""
        kinds = (kind for one in self.listed("architectures") for kind in _SCORING if str(one).endswith(kind))
        if (kind := next(kinds, None)) is None:
            return None
        labels = self.whole("num_labels", absent=_SCORING[kind])
        if kind == "ForSequenceClassification":
            return Weights(matrices=hidden * labels)
        return Weights(matrices=hidden * hidden + hidden * labels, vectors=hidden + labels)

    def whole(self, *names: str, absent: int | None = None, least: int = 1) -> int:
        """The first of the fields that is there."""
        name = next((name for name in names if self.given.get(name) is not None), None)
        if name is None:
            if absent is None:
                raise InputError(f"{self.where}: there is no field {' or '.join(map(repr, names))}, which is needed")
            return absent
        value = self.given[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(name, f"must be a whole number of {least} or more, not {value!r}")
        return value

    def flag(self, name: str, absent: bool) -> bool:
        value = self.given.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, f"must be true or false, not {value!r}")
        return absent if value is None else value

    def listed(self, name: str) -> list[Any]:
        value = self.given.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, f"must be a list, not {value!r}")
        return value or []

    def wrong(self, name: str, why: str) -> InputError:
        return InputError(f"{self.where}: field {name!r} {why}")


def _matrix(inputs: int, outputs: int, bias: bool = False) -> Weights:
    return Weights(matrices=inputs * outputs, vectors=outputs if bias else 0)


def attention_of(config: Config, family: Family) -> tuple[Attention, Weights]:
    """What one layer's attention needs, and its weights."""
    return _latent_attention(config, family) if family.latent else _grouped_attention(config, family)


def _grouped_attention(config: Config, family: Family) -> tuple[Attention, Weights]:
    """Heads of queries that share heads of keys and values (Ainslie et al. 2023), or one for each."""
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    shared = config.whole("num_key_value_heads", absent=heads)
    dim = config.whole("head_dim", absent=_share(config, hidden, heads))
    bias = bool(family.bias) and config.flag(family.bias, family.biased)
    weights = _matrix(hidden, heads * dim, bias) + 2 * _matrix(hidden, shared * dim, bias)
    weights += _matrix(heads * dim, hidden, bias and family.bias == "attention_bias")
    norms = {"": 0, "head": 2 * dim, "all": (heads + shared) * dim}[family.qk_norm]
    weights += Weights(vectors=norms + (heads if family.sinks else 0))
    return Attention(heads, dim, dim, 2 * shared * dim, tuple(_windows(config, family))), weights


def _share(config: Config, hidden: int, heads: int) -> int:
    """The width of a head where no field says it."""
    if hidden % heads and not config.given.get("head_dim"):
        raise config.wrong("num_attention_heads", f"does not divide the width of {hidden}: say 'head_dim'")
    return hidden // heads


def _latent_attention(config: Config, family: Family) -> tuple[Attention, Weights]:
    """Keys and values are made of one small latent a token, which is all that is cached (DeepSeek-V2, section 2.1)."""
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    latent, rope = config.whole("kv_lora_rank"), config.whole("qk_rope_head_dim")
    nope, value = config.whole("qk_nope_head_dim"), config.whole("v_head_dim")
    bias = config.flag("attention_bias", absent=False)
    weights = _latent_queries(config, heads * (nope + rope), bias)
    weights += _matrix(hidden, latent + rope, bias) + Weights(vectors=latent)
    weights += _matrix(latent, heads * (nope + value)) + _matrix(heads * value, hidden, bias)
    return Attention(heads, nope + rope, value, latent + rope, tuple(_windows(config, family))), weights


def _latent_queries(config: Config, outputs: int, bias: bool) -> Weights:
    """Queries through a latent of their own; small models have none."""
    hidden, rank = config.whole("hidden_size"), config.whole("q_lora_rank", absent=0)
    if not rank:
        return _matrix(hidden, outputs)
    return _matrix(hidden, rank, bias) + Weights(vectors=rank) + _matrix(rank, outputs)


def _windows(config: Config, family: Family) -> Iterator[int | None]:
    """For each layer, how far it attends."""
    layers = config.whole("num_hidden_layers")
    window = config.whole("sliding_window", absent=0, least=0)
    if family.full_every is None and not config.flag("use_sliding_window", absent=False):
        window = 0
    kinds = config.listed("layer_types") or _layer_types(config, family, layers, bool(window))
    if len(kinds) != layers:
        raise config.wrong("layer_types", f"names {len(kinds)} layers, not {layers}")
    for kind in kinds:
        yield window or None if kind == "sliding_attention" and family.full_every != 1 else None


def _layer_types(config: Config, family: Family, layers: int, windowed: bool) -> list[str]:
    every = family.full_every
    if every is None and windowed:
        # Qwen's models differ in what an absent list means.
        raise config.wrong("use_sliding_window", "is true: say in which layers, with the field 'layer_types'")
    if every and every > 1:
        every = config.whole("sliding_window_pattern", absent=every)
    return ["sliding_attention" if not every or (layer + 1) % every else "full_attention" for layer in range(layers)]


def feed_forward_of(config: Config, family: Family, layer: int) -> Weights:
    if _is_sparse(config, family, layer):
        return _mixture(config, family)
    bias = config.flag("mlp_bias", absent=False) if family.mlp_bias else False
    return _gated(config, config.whole("intermediate_size"), bias)


def _is_sparse(config: Config, family: Family, layer: int) -> bool:
    """Whether the layer, counted from 0, has experts."""
    if family.mixture == "qwen":
        return (
            layer not in config.listed("mlp_only_layers")
            and (layer + 1) % config.whole("decoder_sparse_step", absent=1) == 0
        )
    if family.mixture == "deepseek":
        first = config.whole("first_k_dense_replace", least=0)
        return layer >= first and layer % config.whole("moe_layer_freq", absent=1) == 0
    return bool(family.mixture)


def _gated(config: Config, width: int, bias: bool = False) -> Weights:
    """Gate, up and down: three matrices (Shazeer 2020)."""
    hidden = config.whole("hidden_size")
    return 2 * _matrix(hidden, width, bias) + _matrix(width, hidden, bias)


def _mixture(config: Config, family: Family) -> Weights:
    """Router, routed experts and those that every token goes through."""
    hidden, field = config.whole("hidden_size"), _WIDTHS[family.mixture]
    count = config.whole("n_routed_experts", "num_experts", "num_local_experts")
    chosen = config.whole("num_experts_per_tok")
    if chosen > count:
        raise config.wrong("num_experts_per_tok", f"is {chosen}, of only {count} experts")
    expert = _gated(config, config.whole(field), family.expert_biases)
    biases = count * (family.expert_biases + family.correction)  # the router's own
    return _shared(config, family) + Weights(
        routers=count * hidden,
        vectors=biases,
        experts=count * expert.matrices,
        chosen=chosen * expert.matrices,
        expert_biases=count * expert.vectors,
        chosen_biases=chosen * expert.vectors,
    )


_WIDTHS = {"all": "intermediate_size", "qwen": "moe_intermediate_size", "deepseek": "moe_intermediate_size"}


def _shared(config: Config, family: Family) -> Weights:
    """Experts that every token goes through: DeepSeek's, and Qwen2's with a gate of its own."""
    if family.mixture == "deepseek":
        count = config.whole("n_shared_experts", absent=0, least=0)
        return _gated(config, count * config.whole("moe_intermediate_size"))
    if family.shared_expert:
        gate = Weights(routers=config.whole("hidden_size"))
        return _gated(config, config.whole("shared_expert_intermediate_size")) + gate
    return Weights()


def storage_of(config: Config) -> Storage:
    """Bytes per weight. With fp8 all linear layers but head and routers are quantized, with mxfp4 the experts."""
    plain, quantized = _plain(config), config.given.get("quantization_config")
    if not quantized:
        return Storage(plain, plain, plain)
    if not isinstance(quantized, dict):
        raise config.wrong("quantization_config", f"must be an object, not {quantized!r}")
    match quantized.get("quant_method"):
        case "mxfp4":
            return Storage(plain, plain, MXFP4)
        case "fp8":
            fp8 = _fp8(config, quantized)
            return Storage(plain, fp8, fp8)
        case method:
            raise config.wrong("quantization_config", f"has the method {method!r}; known are fp8 and mxfp4")


def _plain(config: Config) -> int:
    """Bytes of a number that is not quantized."""
    named = config.given.get("dtype") or config.given.get("torch_dtype")
    if named is None:
        raise InputError(f"{config.where}: there is no field 'dtype' or 'torch_dtype', which is needed")
    name = str(named).removeprefix("torch.")
    if name not in DTYPES:
        raise config.wrong("dtype", f"is {named!r}; known are {', '.join(DTYPES)}")
    return DTYPES[name]


def _fp8(config: Config, quantized: Mapping[str, Any]) -> float:
    """One byte, and a scale of four for each block; one scale for a whole matrix is too little to count."""
    match quantized.get("weight_block_size"):
        case None:
            return 1.0
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return 1 + 4 / (rows * columns)
    raise config.wrong("quantization_config", "has no block of two sizes in 'weight_block_size'")
