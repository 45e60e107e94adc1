"""What a model costs: parameters, FLOPs and bytes, from its `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from metagen.card.layouts import FAMILIES, Config, attention_of, feed_forward_of, read_config, storage_of
from metagen.card.parts import Attention, Storage, Weights
from metagen.errors import InputError
from metagen.settings import require_whole


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The cost of one model: parameters, bytes, and FLOPs by the length of a request.

    It knows the decoders that `ModelCard.known()` lists. Modules for multi-token prediction (DeepSeek-V3's
    `num_nextn_predict_layers`: another 11.5 billion weights there) are not counted; 671 billion is without them too.
    """

    name: str
    layers: Weights
    """All layers and the last norm: all but embedding and head."""
    table: int
    """The embedding: vocabulary times width. The head is as large."""
    tied: bool
    """Whether the head is the embedding, stored once."""
    attention: Attention
    storage: Storage
    speaks: bool = True
    """Whether it has a language model's head. A reward model's, over each position, is among `layers`."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a `config.json` or the folder it is in. Raises `InputError`, naming file and field."""
        file = Path(path) / "config.json" if Path(path).is_dir() else Path(path)
        return cls._made(Config(read_config(file), str(file)), file.absolute().parent.name)

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str = "") -> Self:
        """From the fields of a `config.json`. Raises `InputError`, naming the field."""
        return cls._made(Config(config, name or "config"), name or str(config.get("model_type")))

    @staticmethod
    def known() -> tuple[str, ...]:
        """The values of `model_type` whose layout is known."""
        return tuple(sorted(FAMILIES))

    @classmethod
    def _made(cls, config: "Config", name: str) -> Self:
        family = config.family()
        hidden, layers = config.whole("hidden_size"), config.whole("num_hidden_layers")
        attention, its_weights = attention_of(config, family)
        block = its_weights + Weights(vectors=family.norms * hidden)
        rest = sum((feed_forward_of(config, family, layer) for layer in range(layers)), Weights(vectors=hidden))
        table = config.whole("vocab_size") * hidden
        scoring = config.scoring_head(hidden)
        tied = config.flag("tie_word_embeddings", family.tied) or scoring is not None
        every = layers * block + rest + (scoring or Weights())
        return cls(name, every, table, tied, attention, storage_of(config), speaks=scoring is None)

    @property
    def total(self) -> int:
        """All parameters, a tied embedding once."""
        return self.layers.total + self._tables

    @property
    def active(self) -> int:
        """Parameters that one token uses, with embedding and head: as OLMoE, Mixtral and Qwen count theirs."""
        return self.layers.active + self._tables

    @property
    def active_without_lookup(self) -> int:
        """Active parameters without an embedding that is only looked up: as gpt-oss and DeepSeek-V3 count theirs."""
        return self.layers.active + self.table

    @property
    def weight_bytes(self) -> int:
        """Bytes that the weights take, as they are stored."""
        layers, bytes_ = self.layers, self.storage
        plain = self._tables + layers.routers + layers.vectors + layers.expert_biases
        return round(plain * bytes_.plain + layers.matrices * bytes_.matrices + layers.experts * bytes_.experts)

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of the KV cache for one sequence, in the type of the model; a windowed layer keeps its window."""
        require_whole(self, 0, tokens=tokens)
        return self.attention.kept(tokens) * self.storage.plain

    def flops_prompt(self, tokens: int, cached: int = 0) -> int:
        """FLOPs to read a prompt of which the first `cached` tokens are in the prefix cache.

        The head works once, at the last position: so this pays for the first generated token. That position is
        computed even if all are cached, for its logits. Raises `InputError`.
        """
        require_whole(self, tokens=tokens)
        require_whole(self, 0, cached=cached)
        if cached > tokens:
            raise InputError(f"ModelCard: cached={cached} is more than the prompt's {tokens} tokens")
        after = min(cached, tokens - 1)
        return self._flops(after, tokens) + self._flops_head

    def flops_generated(self, prompt: int, tokens: int) -> int:
        """FLOPs to write `tokens` tokens after a prompt that has been read, a pass of the model each but for the first.

        The first comes from the prompt's last position, and the last is never read. Raises `InputError`.
        """
        require_whole(self, prompt=prompt)
        require_whole(self, 0, tokens=tokens)
        passes = max(tokens - 1, 0)
        return self._flops(prompt, prompt + passes) + passes * self._flops_head

    def flops(self, prompt: int, generated: int, cached: int = 0, *, samples: int = 1) -> int:
        """FLOPs of one request: tokens read, written, and found in the prefix cache.

        Several samples read the prompt once, and are taken to have written as much as each other, to a token.
        Attention grows with the square of the length, so add these up over requests, never the tokens.
        """
        each, longer = divmod(generated, samples)
        written = (samples - longer) * self.flops_generated(prompt, each)
        if longer:
            written += longer * self.flops_generated(prompt, each + 1)
        return self.flops_prompt(prompt, cached) + written

    @property
    def _tables(self) -> int:
        return self.table if self.tied else 2 * self.table

    @property
    def _flops_head(self) -> int:
        return 2 * self.table if self.speaks else 0

    def _flops(self, after: int, upto: int) -> int:
        """Of all layers, for the positions `after` + 1 … `upto`."""
        return 2 * self.layers.multiplied * (upto - after) + self.attention.flops(after, upto)
