"""What the command line was asked to do, checked as far as it can be before a model is loaded."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from metagen.backends import VLLMEngine, VLLMReward
from metagen.budget import Budget
from metagen.card.card import ModelCard
from metagen.disk.problems import ProblemFile
from metagen.errors import InputError
from metagen.jobs.loading import digest_of, load_all
from metagen.jobs.opening import identity_of, make_backend
from metagen.model import named_models
from metagen.models import SMALL
from metagen.problem import Problem
from metagen.request import AnyBackend, generates
from metagen.run import Generator
from metagen.settings import literal, takes
from metagen.spec.parse import foreign, parse


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
        } | ({"answers": self.problems.kind} if self.problems.kind else {})

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
    names = load_all(load)
    problems = problems.reading(names)
    strategy = parse(spec, names)
    if not takes(strategy, 2):
        raise InputError(f"{spec[:80]!r} is a kind of answers: give it with --answers, and a strategy such as Vote(16)")
    _check_spelling(strategy, names)
    settings = dict(map(_setting, engine or ()))
    named = dict(map(_named, models or [str(SMALL)]))
    if len(named) < len(models or "1"):
        raise InputError("--model is given several times with the same name: write NAME=MODEL")
    known = {name: ModelCard.read(path) for name, path in map(_named, cards or ())}
    if strange := known.keys() - named.keys():
        raise InputError(f"--card {strange.pop()}=...: no model has this name; there is {', '.join(named)}")
    backends = {name: make_backend(model, settings, names, known.get(name)) for name, model in named.items()}
    if not any(map(generates, backends.values())):
        named |= {"model": str(SMALL)}
        backends |= {"model": make_backend(str(SMALL), settings, names, known.get("model"))}
    for name in named_models(strategy):
        if name and name not in backends:
            raise InputError(f"the strategy names a model {name!r}: give it with --model {name}=MODEL")
    if settings and not any(isinstance(backend, VLLMEngine | VLLMReward) for backend in backends.values()):
        raise InputError("--engine sets nothing here: no model of this run is loaded in this process")
    total, digest = problems.check()
    given = {name: identity_of(model, names) for name, model in named.items()}
    loaded = sorted(f"{path.name} ({digest_of(path)})" for path in load or ()) + foreign(spec, names)
    return Job(problems, strategy, backends, given, total, digest, limit, seed, budget, concurrency, settings, loaded)


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
