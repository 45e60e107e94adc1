"""Whether a run can keep to its budget and say what is right, checked before anything is spent."""

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.backends.wrapper import innermost
from metagen.budget import Budget
from metagen.errors import InputError
from metagen.leaves import parts
from metagen.model import USUAL, Model
from metagen.request import AnyBackend, card_of, generates, price_of, scores
from metagen.run import Generator
from metagen.run.sending import unpriced, unsized
from metagen.strategies.control import Within


def check_costs(strategy: Generator, budget: Budget, models: Mapping[str, AnyBackend]) -> None:
    """Refuse a limit of money or FLOPs, of the run or of a `Within`, where a model's costs are not known.

    Raises `InputError`.
    """
    inner = [(Budget(flops=each.flops, money=each.money), each) for each in parts(strategy) if isinstance(each, Within)]
    for limit, part in ((budget, strategy), *inner):
        for name in asked(part, models) if limit.money or limit.flops else ():
            if limit.money and price_of(models[name]) is None:
                raise unpriced(models[name])
            if limit.flops and card_of(models[name]) is None and not _learns_sizes(models[name]):
                raise unsized(models[name])


def asked(strategy: object, models: Mapping[str, AnyBackend]) -> Iterator[str]:
    """The names of the models that a strategy asks, as far as its settings say; a name that is left out is resolved."""
    for part in parts(strategy, left_out=USUAL):
        if (fits := _fitting(part)) is not None:
            found = [name for name, backend in models.items() if fits(backend)]
            yield from [part.name] if part.name in found else found[:1]  # type: ignore[attr-defined]


def _fitting(part: object) -> Any:
    """What tells the models that a part can ask; `None` if it asks none."""
    if isinstance(part, Model):
        return generates
    return scores if getattr(part, "reward_model", False) else None


def _learns_sizes(backend: AnyBackend) -> bool:
    """Whether the sizes of a model may be known once it is open: only a property can change, and no server tells."""
    from metagen.backends import Balanced, BalancedReward, OpenAIServer, Recorded, VLLMRewardServer  # noqa: PLC0415

    inner = innermost(backend)
    if isinstance(inner, Balanced | BalancedReward):
        return all(map(_learns_sizes, inner.of))
    if isinstance(inner, Recorded):
        return inner.of is not None and _learns_sizes(inner.of)
    told = getattr(type(inner), "card", None)
    return isinstance(told, property) and not isinstance(inner, OpenAIServer | VLLMRewardServer)


def require_judged(judged: int, path: object, least: int = 1) -> None:
    """Refuse problems of which fewer than `least` have something that says what is right. Raises `InputError`."""
    if judged < least:
        raise InputError(
            f"{path}: {judged} of its problems have a reference answer or tests, and {least} are needed to say what is "
            "right: name the field of the answers (--answer-field), or a grade (--grade)"
        )
