"""From a model's name and settings to its backend, which opens nothing yet."""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from metagen import backends
from metagen.backends.rewards.families import FAMILIES, family, known_family
from metagen.budget import Price
from metagen.calls import hint
from metagen.errors import InputError
from metagen.models import SHIPPED, SMALL
from metagen.request import AnyBackend, Backend, Card, RewardBackend, generates, is_backend
from metagen.spec import plugins

POOLS = (".json", ".jsonl", ".jsonl.gz", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst")
"""The ends of names of pools; one that is packed is refused by its content."""
ADDRESS = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+):\d+(/|\Z)")
"""How an address begins that lacks its `http://`."""
OURS = " (shipped)"
"""What follows the name of a model that ships, in its identity."""


def open_model(model: str) -> Backend:
    """The backend of one generating model, named as on the command line. It is not open yet."""
    backend = make_backend(model, {}, {}, None, {})
    if not generates(backend):
        raise InputError(f"{model} is a reward model, and one that generates is needed")
    return backend


def make_backend(
    model: str,
    engine: Mapping[str, Any],
    names: Mapping[str, Any],
    card: Card | None,
    server: Mapping[str, Any],
) -> AnyBackend:
    """The backend that `--model` names. It is not open yet.

    `names` are those of loaded files. `engine` holds settings of the engine, if the model runs in this
    process, and `server` those of servers. Raises `InputError`.
    """
    like, plus, rest = model.partition("+")
    if plus and like in FAMILIES:
        return _make_reward(rest, engine, card, server, like)
    if is_served(model):
        servers = [_make_server(backends.OpenAIServer, url, server, card=card) for url in _addresses(model)]
        return backends.Retrying(servers[0] if len(servers) == 1 else backends.Balanced(*servers))
    if name := model if model in names else "" if ADDRESS.match(model) else _name_of(model):
        return _make(model, _find(name, names), card)
    if model.lower().endswith(POOLS):
        return backends.Recorded(model, card=card)
    if meant := _meant(model):
        raise InputError(f"--model {model}: {meant}")
    if card:
        raise InputError(f"--card is for servers and pools; {model} has its own")
    model = str(SHIPPED.get(model, model))
    if known_family(model, _config_of(model)):
        return _make_reward(model, engine, None, server)
    return backends.VLLMEngine(model, **engine)


def _meant(model: str) -> str:
    """What to write in the place of a text that is nearly an address or a backend; empty for what may be a model."""
    like, plus, rest = model.partition("+")
    if plus and is_served(rest):
        return f"there is no family {like!r} of reward models: {hint(like, FAMILIES)}"
    if ADDRESS.match(model) and not os.path.exists(model):
        return f"write http://{model}"
    return f"write {model}:TEXT" if _own_backend(model) and not os.path.exists(model) else ""


def at_price(backend: AnyBackend, price: str | None) -> AnyBackend:
    """The backend at the price that `--price` gives it, if any. Raises `InputError`."""
    if price is None:
        return backend
    try:
        parsed = Price.parse(price)
    except InputError as error:
        raise InputError(f"--price: {error}") from None
    if generates(backend):
        return backends.Priced(backend, parsed)
    return backends.PricedReward(cast(RewardBackend, backend), parsed)


def _make_reward(
    model: str,
    engine: Mapping[str, Any],
    card: Card | None,
    server: Mapping[str, Any],
    like: str | None = None,
) -> AnyBackend:
    """A reward model on a server, on vLLM in this process, or in torch where vLLM lacks its architecture."""
    if is_served(model):
        make = backends.VLLMRewardServer
        rewards = [_make_server(make, url, server, like=like, card=card) for url in _addresses(model)]
        return backends.RetryingReward(rewards[0] if len(rewards) == 1 else backends.BalancedReward(*rewards))
    if card:
        raise InputError(f"--card is for servers and pools; {model} has its own")
    if not family(model, _config_of(model), like).served:
        return backends.TorchReward(model, like=like)
    return backends.VLLMReward(model, like=like, **engine)


def _config_of(model: str) -> dict[str, Any]:
    from metagen.backends.folder import config_of  # noqa: PLC0415 (a model behind a server has no folder here)

    return config_of(model)


def is_served(model: str) -> bool:
    """Whether it is behind a server, of a family that may stand before the address."""
    like, plus, rest = model.partition("+")
    address = rest if plus and like in FAMILIES else model
    return address.lower().startswith(("http://", "https://"))


def _addresses(model: str) -> list[str]:
    """Those of the servers of one model, between which there are commas."""
    return [each.strip() for each in model.split(",")]


def split_by_model(settings: Mapping[str, Any], models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The settings of each model's server: those of all, and over them its own, which are written `NAME.KEY`."""
    split: dict[str, dict[str, Any]] = {name: {} for name in models}
    for key, value in sorted(settings.items(), key=lambda setting: "." in setting[0]):
        name, dot, rest = key.rpartition(".")
        if dot and name not in split:
            raise InputError(f"--server {key}=...: no model is named {name!r}; there is {', '.join(split)}")
        for each in (name,) if dot else split:
            split[each][rest] = value
    return split


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for pair in value.items() for each in pair)


KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "insecure_key": (lambda value: isinstance(value, bool), "true or false"),
    "headers": (_are_headers, """an object of texts, such as '{"X-Team": "a"}'"""),
    "extra": (lambda value: isinstance(value, dict), """an object, such as '{"seed": 7}'"""),
    "context": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    **dict.fromkeys(("name", "key_env", "session"), (lambda value: isinstance(value, str), "a text")),
}
"""What settings of servers must be. Another value would fail with the first request, or count as true."""
Made = TypeVar("Made")


def _make_server(make: Callable[..., Made], address: str, settings: Mapping[str, Any], **more: Any) -> Made:
    """A server with its settings. Raises `InputError` for one that it does not have."""
    parameters = inspect.signature(make).parameters
    known = parameters.keys() - {"url", "model", "card", "like"}
    if strange := sorted(settings.keys() - known):
        is_other = strange[0] in inspect.signature(backends.OpenAIServer).parameters
        whose = "the server of a reward model" if make is backends.VLLMRewardServer else "a server"
        remedy = f"for another model write NAME.{strange[0]}=..." if is_other else hint(strange[0], known)
        raise InputError(f"--server {strange[0]}=...: {whose} has no such setting: {remedy}")
    for name, value in settings.items():
        if name in KINDS and value is not parameters[name].default and not KINDS[name][0](value):
            shown = "" if name in {"headers", "extra"} else f", not {value!r}"  # these may hold keys
            raise InputError(f"--server {name}=...: must be {KINDS[name][1]}{shown}")
    try:
        return make(*address.split("#", 1), **settings, **more)
    except TypeError as error:
        raise InputError(f"--server: {error}") from None


def _name_of(model: str) -> str:
    """The name in `NAME:ARGUMENT`; empty where the model is written in another way, or is a path."""
    name, colon, _ = model.partition(":")
    return name if colon and name.isidentifier() and not os.path.exists(model) else ""


def _find(name: str, names: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes the backend: a name of a loaded file, a class of metagen's, or one of an installed package."""
    made: Callable[..., Any] | None = names.get(name) or _own_backend(name) or plugins.find(name, plugins.BACKENDS)
    if made is None:
        own = set(filter(_own_backend, backends.__all__))
        offered = own | names.keys() | plugins.names(plugins.BACKENDS)
        raise InputError(
            f"--model {name}:...: there is no backend {name!r} that a text can open: {hint(name, offered)}"
        )
    return made


def _own_backend(name: str) -> Callable[..., Any] | None:
    """A backend of metagen's own that is made from a text, such as a path or an address; not those made from others."""
    if name not in backends.__all__:
        return None
    make: Callable[..., Any] = getattr(backends, name)
    first = next(iter(inspect.signature(make).parameters.values()))
    return make if str in (first.annotation, *get_args(first.annotation)) else None


def _make(model: str, make: Callable[..., Any], card: Card | None) -> AnyBackend:
    """The backend that a class or a function makes of the argument after the colon, if there is one."""
    arguments = [text for text in model.partition(":")[2:] if text]
    settings = {"card": card} if card else {}
    if is_backend(make):  # an object of a loaded file
        if arguments or settings:
            raise InputError(f"--model {model}: it is made in a loaded file: give it no argument and no --card")
        return make
    if not callable(make):
        raise InputError(f"--model {model}: it is {type(make).__name__} in a loaded file, not a backend")
    if card and "card" not in inspect.signature(make).parameters:
        raise InputError(f"--card is for servers and pools; {model} takes none")
    try:
        made = make(*arguments, **settings)
    except InputError as error:
        raise InputError(f"--model {model}: {error}") from error
    except (Exception, SystemExit) as error:  # the user's function may raise anything
        raise InputError(f"--model {model}: {type(error).__name__}: {error}") from error
    if not is_backend(made):
        raise InputError(f"--model {model}: it returns {type(made).__name__}, not a backend")
    return made


def is_loaded(model: str, names: Mapping[str, Any]) -> bool:
    """Whether a name of a loaded file is the model, or makes it."""
    return (model if model in names else _name_of(model)) in names


def identity_of(model: str, names: Mapping[str, Any]) -> str:
    """Which model this is, for a run that is taken up again: two of the same last name are two models.

    What a path holds does not count, so a pool may have got more samples meanwhile.
    """
    if is_served(model):
        return model
    if name := _name_of(model):
        known = name in names or _own_backend(name)
        return model if known else f"{model}, by {plugins.origin(name, plugins.BACKENDS)}"
    path = Path(model)
    if model in names or not os.path.exists(model):
        return model
    if path.resolve().parent == SMALL.parent.resolve():
        return f"{path.resolve().name}{OURS}"
    return str(path.resolve())
