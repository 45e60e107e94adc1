"""Whether a run can keep to its budget and say what is right, checked before anything is spent."""

from collections.abc import Mapping

from metagen import leaves
from metagen.backends.wrapper import innermost
from metagen.budget import Budget
from metagen.errors import InputError
from metagen.request import AnyBackend
from metagen.run import Generator
from metagen.settings import counted


def check_costs(strategy: Generator, budget: Budget, models: Mapping[str, AnyBackend]) -> None:
    """Refuse a limit of money or FLOPs, of the run or of a part, where the costs of a model that it asks are not known.

    The models need not be open yet. Raises `InputError`.
    """
    leaves.check_costs(strategy, budget.limits, models, learns_sizes=_learns_sizes)


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
            f"{path}: has {counted(judged, 'problem')} with a reference answer or tests, and needs {least} to say what "
            "is right: name the field of the answers (--answer-field), or a grade (--grade)"
        )
