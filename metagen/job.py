"""What the command line was asked to do, checked as far as it can be before a model is loaded."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
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
from metagen.backends._engine_args import config_of
from metagen.budget import Budget
from metagen.card import ModelCard
from metagen.errors import InputError
from metagen.families import FAMILIES, family, known_family
from metagen.model import named_models
from metagen.models import SHIPPED, SMALL
from metagen.problem import Problem, ProblemFile
from metagen.request import AnyBackend, Backend, generates
from metagen.run import Generator
from metagen.settings import literal
from metagen.spec import foreign, parse


@dataclass(frozen=True)
class Job:
    """What both commands do: problems through a strategy over models, within a budget."""

    problems: ProblemFile
    strategy: Generator
    models: Mapping[str, AnyBackend]
    given: Mapping[str, str]
    """Which models these are, told apart for good."""
    total: int
    digest: str
    limit: int | None
    seed: int | None
    budget: Budget
    concurrency: int
    engine: Mapping[str, Any]
    loaded: list[str]

    def left(self, done: set[str]) -> Iterator[Problem]:
        return (problem for problem in islice(self.problems, self.limit) if problem.id not in done)

    def size(self) -> int:
        return min(self.total, self.limit or self.total)

    def configuration(self) -> dict[str, Any]:
        """What may not change within one run."""
        return {
            "strategy": literal(self.strategy),
            "models": dict(self.given),
            "problems": f"{self.problems.path.name} ({self.digest})",
            "seed": self.seed,
            "engine": dict(self.engine),
            "loaded": self.loaded,
        }

    def slug(self) -> str:
        """A folder's name that is the same for the same configuration."""
        text = json.dumps(self.configuration(), sort_keys=True)
        strategy = re.sub(r"[^A-Za-z0-9]+", "-", literal(self.strategy)).strip("-")[:40]
        return f"{self.problems.path.stem}-{strategy}-{blake2b(text.encode(), digest_size=3).hexdigest()}"


def prepare(
    problems: ProblemFile,
    spec: str,
    models: list[str] | None,
    load: list[Path] | None,
    engine: list[str] | None,
    limit: int | None,
    seed: int | None,
    budget: Budget,
    concurrency: int,
    cards: list[str] | None = None,
) -> Job:
    """Check everything that can be checked before a model is loaded."""
    names: dict[str, Any] = {}
    for path in load or ():
        new = load_names(path)
        if twice := sorted(names.keys() & new):
            raise InputError(f"--load {path}: {twice[0]} is defined in another loaded file too: rename one")
        names |= new
    strategy = parse(spec, names)
    _check_spelling(strategy, names)
    settings = dict(map(_setting, engine or ()))
    named = dict(map(_named, models or [str(SMALL)]))
    if len(named) < len(models or "1"):
        raise InputError("--model is given several times with the same name: write NAME=MODEL")
    known = {name: ModelCard.read(path) for name, path in map(_named, cards or ())}
    if strange := known.keys() - named.keys():
        raise InputError(f"--card {strange.pop()}=...: no model has this name; there is {', '.join(named)}")
    backends = {name: _backend(model, settings, names, known.get(name)) for name, model in named.items()}
    if not any(map(generates, backends.values())):
        named |= {"model": str(SMALL)}
        backends |= {"model": _backend(str(SMALL), settings, names, known.get("model"))}
    for name in named_models(strategy):
        if name and name not in backends:
            raise InputError(f"the strategy names a model {name!r}: give it with --model {name}=MODEL")
    if settings and not any(isinstance(backend, VLLMEngine | VLLMReward) for backend in backends.values()):
        raise InputError("--engine sets nothing here: no model of this run is loaded in this process")
    total, digest = problems.check()
    given = {name: _identity(model, names) for name, model in named.items()}
    loaded = sorted(f"{path.name} ({_digest(path)})" for path in load or ()) + foreign(spec, names)
    return Job(problems, strategy, backends, given, total, digest, limit, seed, budget, concurrency, settings, loaded)


def load_names(path: Path) -> dict[str, Any]:
    """The public functions and classes that a file of Python defines."""
    spec = spec_from_file_location(f"_loaded_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"--load {path}: there is no such file of Python")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's file may raise anything
        raise InputError(f"--load {path}: {type(error).__name__}: {error}") from error
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == spec.name}
    return {name: value for name, value in own.items() if callable(value) and not name.startswith("_")}


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--engine {text!r}: write KEY=VALUE, such as tensor_parallel_size=2")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _named(text: str) -> tuple[str, str]:
    """The name in `NAME=MODEL`, or the usual one, and the model."""
    name, equals, model = text.partition("=")
    return (name, model) if equals and name.isidentifier() else ("model", text)


def open_model(model: str) -> Backend:
    """The backend of one generating model that is named as on the command line; it is not open yet."""
    backend = _backend(model, {}, {}, None)
    if not generates(backend):
        raise InputError(f"{model} is a reward model, and one that generates is needed")
    return backend


def _backend(model: str, settings: Mapping[str, Any], names: Mapping[str, Any], card: ModelCard | None) -> AnyBackend:
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


def _check_spelling(strategy: Generator, names: Mapping[str, Any]) -> None:
    """A run is known by how its strategy is written, so that must say which it is."""
    text = literal(strategy)
    try:
        again = literal(parse(text, names))
    except InputError:
        again = ""
    if again != text:
        raise InputError(
            f"the strategy prints as {text[:200]!r}, which cannot be read back: give its class a `__repr__` that can "
            "be, such as `__repr__ = metagen.settings.spelled` in a dataclass, and a function the name it is used by"
        )


def _identity(model: str, names: Mapping[str, Any]) -> str:
    """Which model this is, for a run that is taken up again: two of the same last name are two models.

    What a path holds does not count, so a pool may have got more samples meanwhile.
    """
    path = Path(model)
    if model in names or not path.exists():
        return model
    if path.resolve().parent == SMALL.parent.resolve():
        return f"{path.resolve().name} (shipped)"
    return str(path.resolve())


def _digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()
