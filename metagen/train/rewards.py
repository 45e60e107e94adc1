"""Reward models from labelled samples: a process reward for each step, or an outcome reward for the whole.

A process reward model is a decoder with a small head over the hidden state at each step's mark, `<extra_0>`, as in
Qwen2.5-Math-PRM (Zhang et al. 2025, section 3.1): `Qwen2ForProcessRewardModel`, which vLLM serves. An outcome reward
model has one number at the end of the reply (Cobbe et al. 2021, section 4.1): `…ForSequenceClassification`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from metagen.errors import InputError

MARK = "<extra_0>"
"""Stands after each step; the score of the step is read there."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled sample: whether each step is good; one label for the whole where it is an outcome's."""

    prompt: str
    steps: tuple[str, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of an example, and where its scores are read."""

    ids: list[int]
    places: list[int]
    labels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences padded on the right to the same length T, with all S places at which something is scored."""

    ids: Tensor
    """[B, T] int64."""
    real: Tensor
    """[B, T] bool: not padding."""
    rows: Tensor
    """[S] int64, with `columns`: the places."""
    columns: Tensor
    labels: Tensor
    """[S] float32, 0 to 1."""


class ProcessRewardModel(nn.Module):  # type: ignore[misc]
    """A decoder with a head of two layers over the hidden state of each position; logits for bad and good."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        width = decoder.config.hidden_size
        self.model = decoder
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    @classmethod
    def over(cls, base: Path | str, tokenizer: PreTrainedTokenizerBase) -> Self:
        """A new head over a causal model, whose embedding grows if the tokenizer has more tokens than it.

        A process reward model that was saved here continues with the head that it has.
        """
        decoder = AutoModel.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
        make_room(decoder, tokenizer)
        made = cls(decoder)
        if "Qwen2ForProcessRewardModel" in (decoder.config.architectures or ()):
            with safe_open(Path(base) / "model.safetensors", "pt") as weights:
                head = {name: weights.get_tensor(f"score.{name}") for name in made.score.state_dict()}
            made.score.load_state_dict(head)
        return made

    def forward(self, batch: Batch) -> Tensor:
        """[S] the logit that what stands before each place is good."""
        hidden = self.model(input_ids=batch.ids, attention_mask=batch.real.long(), use_cache=False).last_hidden_state
        bad, good = self.score(hidden[batch.rows, batch.columns]).unbind(-1)
        return Tensor(good - bad)

    def save(self, out: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write the folder that vLLM serves, in float16."""
        config = self.model.config
        check_served(config)
        out.mkdir(parents=True, exist_ok=True)
        tensors = {name: weight.detach().half().contiguous() for name, weight in self.state_dict().items()}
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
        settings = config.to_diff_dict() | {
            "architectures": ["Qwen2ForProcessRewardModel"],
            "dtype": "float16",
            "num_labels": 2,
        }
        (out / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        tokenizer.save_pretrained(out)


def check_served(config: Any) -> None:
    """Raise `InputError` for a base over which vLLM serves no process reward model."""
    if config.model_type != "qwen2":
        raise InputError(f"vLLM serves process reward models over Qwen2 only, and the base is {config.model_type}")


def make_room(decoder: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the embedding grow if the tokenizer has more tokens than it."""
    if len(tokenizer) > decoder.config.vocab_size:
        decoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)


class OutcomeRewardModel(nn.Module):  # type: ignore[misc]
    """A decoder with one linear head over the last token of the reply; its logit says whether the whole is right."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier

    @classmethod
    def over(cls, base: Path | str, tokenizer: PreTrainedTokenizerBase) -> Self:
        """A new head over a causal model."""
        made = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, dtype=torch.float32, trust_remote_code=False
        )
        made.config.pad_token_id = tokenizer.pad_token_id
        return cls(made)

    def forward(self, batch: Batch) -> Tensor:
        """[B] the logit that the reply is right, read where it is served.

        The classifier itself passes over a last token that also pads, as the end of a reply does for many models.
        """
        decoder = self.classifier.base_model
        hidden = decoder(input_ids=batch.ids, attention_mask=batch.real.long(), use_cache=False).last_hidden_state
        return Tensor(self.classifier.score(hidden[batch.rows, batch.columns])[:, 0])

    def save(self, out: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write the folder that vLLM and transformers load, in float16."""
        self.classifier.half().save_pretrained(out)
        tokenizer.save_pretrained(out)


RewardModel = ProcessRewardModel | OutcomeRewardModel


def tokenizer_of(base: Path | str, *, marked: bool, here: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of the base, which knows the mark of a step where it is to be `marked`.

    With `here`, it must be on this machine: no hub is asked.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        base, trust_remote_code=False, local_files_only=here
    )
    if not tokenizer.chat_template:
        raise InputError(f"{base}: has no chat template, and a question and its answer are read in one")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if marked:
        tokenizer.add_tokens([MARK], special_tokens=True)
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, example: Example) -> Encoded:
    """The user's turn in the chat template, then the reply: each step without its newline and with the mark."""
    turn = tokenizer.apply_chat_template(
        [{"role": "user", "content": example.prompt}], tokenize=False, add_generation_prompt=True
    )
    reply = "".join(f"{step.strip()}{MARK}" for step in example.steps)
    ids = tokenizer(f"{turn}{reply}", add_special_tokens=False).input_ids
    mark = tokenizer.convert_tokens_to_ids(MARK)
    places = [place for place, token in enumerate(ids) if token == mark][-len(example.steps) :]
    return Encoded(ids, places, example.labels)


def encode_whole(tokenizer: PreTrainedTokenizerBase, example: Example) -> Encoded:
    """Both turns in the chat template; the score is read at the last token."""
    turns = [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": "".join(example.steps)}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return Encoded(ids, [len(ids) - 1], example.labels)


def collate(items: Sequence[Encoded], pad: int) -> Batch:
    """Pad encoded examples to the longest of them."""
    longest = max(len(item.ids) for item in items)
    lengths = torch.tensor([len(item.ids) for item in items])
    return Batch(
        ids=torch.tensor([item.ids + [pad] * (longest - len(item.ids)) for item in items]),
        real=torch.arange(longest) < lengths[:, None],
        rows=torch.tensor([row for row, item in enumerate(items) for _ in item.places]),
        columns=torch.tensor([place for item in items for place in item.places]),
        labels=torch.tensor([label for item in items for label in item.labels], dtype=torch.float32),
    )


def loss(model: RewardModel, batch: Batch) -> Tensor:
    """Mean cross-entropy of the labels, in nats a place."""
    return functional.binary_cross_entropy_with_logits(model(batch), batch.labels)
