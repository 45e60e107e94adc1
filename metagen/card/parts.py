"""The parts of a card: weights, attention, and how numbers are stored."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters, by what becomes of them; they add, and `n * weights` is n such blocks."""

    matrices: int = 0
    """Of the linear layers that every token goes through."""
    routers: int = 0
    """Of the matrices that choose or gate experts, which are not quantized."""
    vectors: int = 0
    """Norms, biases and attention sinks."""
    experts: int = 0
    """Of the matrices of all routed experts."""
    chosen: int = 0
    """Those of `experts` that one token goes through."""
    expert_biases: int = 0
    chosen_biases: int = 0

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __rmul__(self, n: int) -> "Weights":
        return Weights(**{f.name: n * getattr(self, f.name) for f in fields(self)})

    @property
    def total(self) -> int:
        return self.matrices + self.routers + self.vectors + self.experts + self.expert_biases

    @property
    def active(self) -> int:
        """Those that one token uses."""
        return self.multiplied + self.vectors + self.chosen_biases

    @property
    def multiplied(self) -> int:
        """Those that one token multiplies with."""
        return self.matrices + self.routers + self.chosen


@dataclass(frozen=True, slots=True)
class Attention:
    """What attention needs by the length of the context."""

    heads: int
    """Of queries."""
    key_dim: int
    """Numbers in a query and a key of one head."""
    value_dim: int
    cached: int
    """Numbers that one layer caches a token: keys and values, or the latent they are made of (MLA)."""
    windows: tuple[int | None, ...]
    """For each layer, how many positions a token attends to, itself included; `None` is all."""

    def flops(self, after: int, upto: int) -> int:
        """QKᵀ and the product with V for the positions `after` + 1 … `upto`, each attending to itself and back."""
        pairs = self._summed(lambda window: _attended(upto, window) - _attended(after, window))
        return 2 * self.heads * (self.key_dim + self.value_dim) * pairs

    def kept(self, tokens: int) -> int:
        """Numbers in the cache of a sequence."""
        return self.cached * self._summed(lambda window: tokens if window is None else min(tokens, window))

    def _summed(self, of: Callable[[int | None], int]) -> int:
        """The sum over layers, of which many are alike."""
        return sum(layers * of(window) for window, layers in Counter(self.windows).items())


def _attended(tokens: int, window: int | None) -> int:
    """Pairs of positions in a sequence: the sum of min(i, window) for i from 1 to `tokens`."""
    near = tokens if window is None else min(tokens, window)
    return near * (near + 1) // 2 + (tokens - near) * (window or 0)


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes per weight, scales of quantized blocks included."""

    plain: int
    """Of embeddings, head, norms, biases and routers; of a number in the KV cache too."""
    matrices: float
    experts: float
