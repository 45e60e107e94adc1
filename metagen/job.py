"""What the command line was asked to do, checked as far as it can be before a model is loaded."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import Any

from metagen.backends import Recorded, VLLMEngine
from metagen.budget import Budget
from metagen.errors import InputError
from metagen.model import named_models
from metagen.models import SMALL
from metagen.problem import Problem, ProblemFile
from metagen.request import Backend
from metagen.run import Generator
from metagen.settings import literal
from metagen.spec import parse


@dataclass(frozen=True)
class Job:
    """What both commands do: problems through a strategy over models, within a budget."""

    problems: ProblemFile
    strategy: Generator
    models: Mapping[str, Backend]
    total: int
    digest: str
    limit: int | None
    seed: int | None
    budget: Budget
    concurrency: int
    engine: Mapping[str, Any]
    loaded: Mapping[str, str]

    def left(self, done: set[str]) -> Iterator[Problem]:
        return (problem for problem in islice(self.problems, self.limit) if problem.id not in done)

    def size(self) -> int:
        return min(self.total, self.limit or self.total)

    def configuration(self) -> dict[str, Any]:
        """What may not change within one run."""
        return {
            "strategy": literal(self.strategy),
            "models": {name: backend.name for name, backend in self.models.items()},
            "problems": f"{self.problems.path.name} ({self.digest})",
            "seed": self.seed,
            "engine": dict(self.engine),
            "loaded": dict(self.loaded),
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
) -> Job:
    """Check everything that can be checked before a model is loaded."""
    names: dict[str, Any] = {}
    for path in load or ():
        names |= load_names(path)
    strategy = parse(spec, names)
    settings = dict(map(_setting, engine or ()))
    backends = dict(_backend(text, settings, names) for text in models or [str(SMALL)])
    if len(backends) < len(models or "1"):
        raise InputError("--model is given several times with the same name: write NAME=MODEL")
    for name in named_models(strategy):
        if name and name not in backends:
            raise InputError(f"the strategy names a model {name!r}: give it with --model {name}=MODEL")
    total, digest = problems.check()
    loaded = {path.name: blake2b(path.read_bytes(), digest_size=8).hexdigest() for path in load or ()}
    return Job(problems, strategy, backends, total, digest, limit, seed, budget, concurrency, settings, loaded)


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


def _backend(text: str, settings: Mapping[str, Any], names: Mapping[str, Any]) -> tuple[str, Backend]:
    name, equals, model = text.partition("=")
    if not (equals and name.isidentifier()):
        name, model = "model", text
    if model in names:
        try:
            return name, names[model]()
        except Exception as error:  # the user's function may raise anything
            raise InputError(f"--model {model}: {type(error).__name__}: {error}") from error
    if model.endswith(".jsonl"):
        return name, Recorded(model)
    return name, VLLMEngine(model, **settings)
