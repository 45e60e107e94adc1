"""From labelled samples to a model on disk and a report of how well it knows what it has not seen. Needs torch."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metagen.disk.files import replace_text
from metagen.errors import InputError
from metagen.settings import counted
from metagen.train import corrections, rewards
from metagen.train.checkpoints import saving
from metagen.train.experts import SORTED
from metagen.train.finetune import Progress, Schedule, Tuning
from metagen.train.metrics import auc, calibration_error

HELD_OUT = 0.05
"""The share of the problems that is kept from training, for the report."""
LOOK = 64
"""Examples at a time when scoring."""

Item = TypeVar("Item")
Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Course:
    """What is learned from, by whom, and where it goes."""

    base: str
    """The causal model that learning begins from: a folder or a hub name."""
    out: Path
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def checkpoint(self) -> Path:
        """Where a killed training is taken up; it is deleted once the model is kept."""
        return self.out / "checkpoint.safetensors"


def learn_process(examples: Sequence[rewards.Example], course: Course, watch: Watch) -> dict[str, Any]:
    """Train a process reward model; the report has the area under the curve of steps and of whole samples."""
    tokenizer = rewards.tokenizer_of(course.base, marked=True)
    encode = rewards.encode
    model = _seeded(course, lambda: rewards.ProcessRewardModel.over(course.base, tokenizer))
    return _learn_reward(model, tokenizer, encode, examples, course, watch)


def learn_outcome(examples: Sequence[rewards.Example], course: Course, watch: Watch) -> dict[str, Any]:
    """Train an outcome reward model on whole samples, one label each."""
    tokenizer = rewards.tokenizer_of(course.base, marked=False)
    model = _seeded(course, lambda: rewards.OutcomeRewardModel.over(course.base, tokenizer))
    return _learn_reward(model, tokenizer, rewards.encode_whole, examples, course, watch)


def learn_corrector(
    graded: Mapping[str, Sequence[tuple[str, bool]]], course: Course, keep: float, watch: Watch
) -> dict[str, Any]:
    """Train a corrector on pairs of a worse and a better candidate; the report has its loss on problems kept back."""
    tokenizer = AutoTokenizer.from_pretrained(course.base, trust_remote_code=False)
    pairs = list(corrections.pairs(graded, keep, course.schedule.seed))
    kept, learned = _split(pairs, lambda pair: pair.question)
    model = _seeded(
        course, lambda: AutoModelForCausalLM.from_pretrained(course.base, dtype=torch.float32, trust_remote_code=False)
    )
    if model.config.model_type == "qwen3_moe":
        model.config._experts_implementation = SORTED  # many times faster on a CPU
    items, unseen = ([corrections.encode(tokenizer, pair) for pair in part] for part in (learned, kept))
    for progress in Tuning(model, items, lambda batch: corrections.loss(model, batch), course.schedule).run(
        course.checkpoint
    ):
        watch(progress)
    model.eval()
    with torch.no_grad():
        losses = [float(corrections.loss(model, part)) for part in _parts(unseen)]
    report = _written(course, {"pairs": len(items), "held out": {"pairs": len(unseen), "loss": _mean(losses)}})
    with saving(course.out):
        model.half().save_pretrained(course.out)
        tokenizer.save_pretrained(course.out)
    course.checkpoint.unlink(missing_ok=True)
    return report


def _learn_reward(
    model: rewards.RewardModel,
    tokenizer: Any,
    encode: Callable[[Any, rewards.Example], rewards.Encoded],
    examples: Sequence[rewards.Example],
    course: Course,
    watch: Watch,
) -> dict[str, Any]:
    kept, learned = _split(examples, lambda example: example.prompt)
    items, unseen = ([encode(tokenizer, example) for example in part] for part in (learned, kept))
    pad = tokenizer.pad_token_id

    def loss(batch: Sequence[rewards.Encoded]) -> torch.Tensor:
        return rewards.loss(model, rewards.collate(batch, pad))

    for progress in Tuning(model, items, loss, course.schedule).run(course.checkpoint):
        watch(progress)
    found = quality(model, unseen, pad)
    report = _written(course, {"samples": len(items), "held out": found})
    with saving(course.out):
        model.save(course.out, tokenizer)
    course.checkpoint.unlink(missing_ok=True)
    return report


def quality(model: rewards.RewardModel, items: Sequence[rewards.Encoded], pad: int) -> dict[str, float]:
    """How well the scores tell good from bad: each step by itself, and whole samples by their lowest step."""
    model.eval()
    scores: list[float] = []
    with torch.no_grad():
        for part in _parts(items):
            scores += torch.sigmoid(model(rewards.collate(part, pad))).tolist()
    labels = [label for item in items for label in item.labels]
    given = iter(scores)
    lowest = [min(next(given) for _ in item.labels) for item in items]
    return {
        "samples": len(items),
        "steps": len(labels),
        "good": round(_mean(labels), 4),
        "step auc": round(auc(scores, labels), 4),
        "outcome auc": round(auc(lowest, [min(item.labels) for item in items]), 4),
        "calibration error": round(calibration_error(scores, labels), 4),
    }


def _split(items: Sequence[Any], problem: Callable[[Any], str]) -> tuple[list[Any], list[Any]]:
    """What is held out, and the rest: by problems, so that none is in both."""
    problems = sorted({problem(item) for item in items})
    if len(problems) < 2:
        raise InputError(f"there are samples of {counted(len(problems), 'problem')} to learn from: give a larger pool")
    held = set(Random("held out").sample(problems, max(1, int(len(problems) * HELD_OUT))))
    return [item for item in items if problem(item) in held], [item for item in items if problem(item) not in held]


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[at : at + LOOK] for at in range(0, len(items), LOOK))


def _seeded(course: Course, make: Callable[[], Any]) -> Any:
    torch.manual_seed(course.schedule.seed)
    return make()


def _written(course: Course, found: dict[str, Any]) -> dict[str, Any]:
    """Keep the report where the model goes, with what it came from. It comes first: by it, the folder is known."""
    report = {"base": Path(course.base).name, "schedule": asdict(course.schedule), **found}
    replace_text(course.out / "report.json", json.dumps(report, indent=2) + "\n")
    return report


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
