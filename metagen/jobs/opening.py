"""From a model's name and settings to an opened backend."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from metagen.backends import (
    Balanced,
    Recorded,
    Retrying,
    RetryingReward,
    TorchReward,
    VLLMEngine,
    VLLMReward,
    VLLMRewardServer,
    VLLMServer,
)
from metagen.backends.folder import config_of
from metagen.backends.rewards.families import FAMILIES, family, known_family
from metagen.card.card import ModelCard
from metagen.errors import InputError
from metagen.models import SHIPPED, SMALL
from metagen.request import AnyBackend, Backend, generates


def open_model(model: str) -> Backend:
    """The backend of one generating model that is named as on the command line; it is not open yet."""
    backend = make_backend(model, {}, {}, None)
    if not generates(backend):
        raise InputError(f"{model} is a reward model, and one that generates is needed")
    return backend


def make_backend(
    model: str, settings: Mapping[str, Any], names: Mapping[str, Any], card: ModelCard | None
) -> AnyBackend:
    like, plus, rest = model.partition("+")
    if plus and like in FAMILIES:
        return _reward(rest, settings, card, like)
    if model.startswith(("http://", "https://")):
        servers = [VLLMServer(*url.split("#", 1), card=card) for url in model.split(",")]
        return Retrying(servers[0] if len(servers) == 1 else Balanced(*servers))
    if model.endswith(".jsonl"):
        return Recorded(model, card=card)
    if card:
        raise InputError(f"--card is for servers and pools; {model} has its own")
    if model in names:
        return _made(model, names[model])
    model = str(SHIPPED.get(model, model))
    return _reward(model, settings, None) if known_family(model, config_of(model)) else VLLMEngine(model, **settings)


def _reward(model: str, settings: Mapping[str, Any], card: ModelCard | None, like: str | None = None) -> AnyBackend:
    """A reward model on a server, on vLLM in this process, or in torch where vLLM lacks its architecture."""
    if model.startswith(("http://", "https://")):
        return RetryingReward(VLLMRewardServer(*model.split("#", 1), like=like, card=card))
    if card:
        raise InputError(f"--card is for servers and pools; {model} has its own")
    if not family(model, config_of(model), like).served:
        return TorchReward(model, like=like)
    return VLLMReward(model, like=like, **settings)


def _made(model: str, make: Callable[[], Any]) -> AnyBackend:
    try:
        made = make()
    except Exception as error:  # the user's function may raise anything
        raise InputError(f"--model {model}: {type(error).__name__}: {error}") from error
    if not hasattr(made, "generate") and not hasattr(made, "rate"):
        raise InputError(f"--model {model}: it returns {type(made).__name__}, not a backend")
    return cast(AnyBackend, made)


def identity_of(model: str, names: Mapping[str, Any]) -> str:
    """Which model this is, for a run that is taken up again: two of the same last name are two models.

    What a path holds does not count, so a pool may have got more samples meanwhile.
    """
    path = Path(model)
    if model in names or not path.exists():
        return model
    if path.resolve().parent == SMALL.parent.resolve():
        return f"{path.resolve().name} (shipped)"
    return str(path.resolve())
