"""From a reading to the token ids that a reward model of some family reads, and the places of its scores in them."""

from collections.abc import Sequence
from math import exp
from typing import Any

from metagen.backends.chat import Chat
from metagen.backends.rewards.families import Family, Form
from metagen.errors import GenerationError, InputError
from metagen.request import Reading


class Readings:
    """Renders and tokenises for one model. Raises `InputError` if its tokenizer is none of that family's."""

    def __init__(self, family: Family, tokenizer: Any, name: str, context: int) -> None:
        self.family = family
        self._tokenizer = tokenizer
        self._chat = Chat(tokenizer)
        self._name, self._context = name, context
        if isinstance(family.form("?", ("?",)), list) and not self._chat.templated:
            raise InputError(f"{name} has no chat template, in which {family.name} models read")
        self.mark = self._special(family.mark) if family.mark else -1
        self.good, self.bad = (self._last(token) if token else -1 for token in (family.good, family.bad))

    def whole(self, reading: Reading) -> list[int]:
        """Question and answer. Raises `GenerationError` if they are too long."""
        return self._fitting(self._ids(self.family.form(reading.prompt, reading.steps), ends=True))

    def prefixes(self, reading: Reading) -> list[list[int]]:
        """The ids up to the end of each step, after which the model says whether it was good."""
        upto = (reading.steps[:t] for t in range(1, len(reading.steps) + 1))
        return [self._fitting(self._ids(self.family.form(reading.prompt, steps), ends=False)) for steps in upto]

    def placed(self, reading: Reading) -> tuple[list[int], list[int]]:
        """The ids to read in one pass, and the places in them at which scores are read."""
        if self.family.reads == "last":
            ids = self.whole(reading)
            return ids, [len(ids) - 1]
        if self.family.reads == "next":
            prefixes = self.prefixes(reading)
            ids = prefixes[-1]
            if any(prefix != ids[: len(prefix)] for prefix in prefixes):
                raise GenerationError(f"{self._name} reads a step differently once another follows, so not in one pass")
            return ids, [len(prefix) - 1 for prefix in prefixes]
        ids = self.whole(reading)
        return ids, places(ids, self.mark, len(reading.steps))

    def _ids(self, form: Form, *, ends: bool) -> list[int]:
        if isinstance(form, str):
            return self._chat.encode_text(form, begins=True)
        if isinstance(form, tuple):
            first = self._tokenizer.bos_token_id
            pieces = (self._chat.encode_text(piece) for piece in form)
            return [*([] if first is None else [first]), *(token for piece in pieces for token in piece)]
        return self._chat.encode_turns(form, prompting=not ends, mark=self.family.mark)

    def _fitting(self, ids: list[int]) -> list[int]:
        return fitting(ids, self._name, self._context)

    def _special(self, token: str) -> int:
        """The one id of a token that stands for itself."""
        ids = self._tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise InputError(f"{self._name}: its tokenizer has no {token!r}, which {self.family.name} models have")
        return int(ids[0])

    def _last(self, token: str) -> int:
        """The id of a word as it stands after others: tokenizers may put a space, or the mark of one, before it."""
        return int(self._tokenizer.encode(token, add_special_tokens=False)[-1])


def fitting(ids: list[int], name: str, context: int) -> list[int]:
    """The ids themselves. Raises `GenerationError` if they are too many."""
    if len(ids) >= context:
        raise GenerationError(f"question and answer have {len(ids)} tokens, and {name} reads {context - 1}")
    return ids


def places(ids: Sequence[int], mark: int, steps: int) -> list[int]:
    """Where the marks of the steps are: the last ones, since a question may hold some too."""
    every = [place for place, token in enumerate(ids) if token == mark]
    return every[len(every) - steps :]


def share(good: float, bad: float) -> float:
    """The probability of `good` against `bad` alone, from their log-probabilities (Wang et al. 2024, section 3.3)."""
    top = max(good, bad)
    weights = exp(good - top), exp(bad - top)
    return weights[0] / sum(weights)
