"""A decoder and a small head over some of its positions, in torch: what all kinds of reward models come down to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from transformers.utils import logging

from metagen.backends.rewards.families import Family
from metagen.errors import InputError


def tokenizer_and_config(model: str) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(model, trust_remote_code=False), AutoConfig.from_pretrained(
        model, trust_remote_code=False
    )


class Scorer:
    """Reads token ids in one pass, right-padded, and scores some of their places.

    `tokens` are the ids of `bad` and `good` in a causal model's vocabulary.
    """

    def __init__(self, model: str, family: Family, tokens: tuple[int, int], device: str, dtype: str) -> None:
        self._values = family.reads in {"values", "last"}
        self._sigmoid = family.reads == "values"
        with _quiet():
            parts = _parts(model, family, tokens)
        self._decoder, self._head = (part.to(device=device, dtype=getattr(torch, dtype)).eval() for part in parts)
        self._device = device

    def __call__(self, ids: Sequence[list[int]], places: Sequence[list[int]]) -> list[tuple[float, ...]]:
        """For B sequences of up to T ids, the scores at each one's places."""
        with torch.inference_mode():
            return self._read(ids, places)

    def _read(self, ids: Sequence[list[int]], places: Sequence[list[int]]) -> list[tuple[float, ...]]:
        lengths = torch.tensor([len(each) for each in ids])
        longest = int(lengths.max())
        padded = torch.tensor([each + [0] * (longest - len(each)) for each in ids], device=self._device)  # [B, T]
        real = (torch.arange(longest) < lengths[:, None]).long().to(self._device)
        hidden = self._decoder(input_ids=padded, attention_mask=real, use_cache=False).last_hidden_state
        rows = torch.tensor([row for row, every in enumerate(places) for _ in every], device=self._device)
        columns = torch.tensor([place for every in places for place in every], device=self._device)
        scores = iter(self._scores(self._head(hidden[rows, columns]).float()).tolist())
        return [tuple(next(scores) for _ in every) for every in places]

    def _scores(self, numbers: Tensor) -> Tensor:
        """From what the head gives, [S, 1] or [S, 2], to [S] scores."""
        if not self._values:
            return Tensor(numbers.softmax(-1)[:, -1])
        return Tensor(numbers[:, -1].sigmoid() if self._sigmoid else numbers[:, -1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, and its report that a decoder does not use the head's weights."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _parts(model: str, family: Family, tokens: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """The decoder and the head. Raises `InputError` for a head that is not known."""
    architecture = str((AutoConfig.from_pretrained(model, trust_remote_code=False).architectures or [""])[0])
    if family.reads == "next":
        causal = AutoModelForCausalLM.from_pretrained(model, trust_remote_code=False)
        return causal.base_model, _linear(causal.get_output_embeddings().weight[list(tokens)])
    if architecture.endswith("ForSequenceClassification"):
        whole = AutoModelForSequenceClassification.from_pretrained(model, trust_remote_code=False)
        return whole.base_model, whole.score
    if architecture.endswith("ForTokenClassification"):
        each = AutoModelForTokenClassification.from_pretrained(model, trust_remote_code=False)
        return each.base_model, getattr(each, "score", None) or each.classifier
    return AutoModel.from_pretrained(model, trust_remote_code=False), _head(dict(_tensors(model)), model)


def _head(weights: dict[str, Tensor], model: str) -> nn.Module:
    """The head of Qwen2.5-Math's reward models, of two layers, or Skywork's, of one."""
    if "v_head.summary.weight" in weights:
        return _linear(weights["v_head.summary.weight"], weights["v_head.summary.bias"])
    if "score.2.weight" in weights:
        first, last = (_linear(weights[f"score.{at}.weight"], weights[f"score.{at}.bias"]) for at in (0, 2))
        return nn.Sequential(first, nn.ReLU(), last)
    raise InputError(f"{model}: its weights hold no head of a reward model that is known (score.*, v_head.*)")


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def _tensors(model: str) -> Iterator[tuple[str, Tensor]]:
    """The weights of the head."""
    folder = Path(model) if Path(model).is_dir() else Path(snapshot_download(model, allow_patterns="*.safetensors"))
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                if name.startswith(("score.", "v_head.")):
                    yield name, file.get_tensor(name)
