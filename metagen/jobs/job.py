"""What the command line was asked to do, checked as far as it can be before a model is loaded."""

import json
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b
from os.path import isabs
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metagen.budget import Budget, Price
from metagen.disk.problems import Contents, ProblemFile
from metagen.errors import InputError
from metagen.jobs.costs import check_costs
from metagen.jobs.loading import digest_of, load_all
from metagen.jobs.opening import OURS, at_price, identity_of, is_loaded, is_served, make_backend, split_by_model
from metagen.leaves import check_confidence, check_kinds, named_models
from metagen.models import SMALL
from metagen.problem import Problem
from metagen.request import AnyBackend, generates, price_of, without_secrets
from metagen.run import Generator, Verifier
from metagen.settings import CONCURRENCY, MOST, literal, takes
from metagen.spec.parse import foreign, parse, parse_grade, reads_back
from metagen.verifiers.needs import Needs

if TYPE_CHECKING:
    from metagen.card.card import ModelCard

ON_THE_WAY = {"connect", "headers", "insecure_key", "key_env", "probe_every", "session", "silence"}
"""Settings of servers that say how they are reached, which changes no reply."""


LONGEST = 200
"""Bytes of the name of a file of problems that the name of a run begins with: a name has at most 255."""


@dataclass(frozen=True)
class Job:
    """What both commands do: problems through a strategy over models, within a budget."""

    problems: ProblemFile
    strategy: Generator
    models: Mapping[str, AnyBackend]
    given: Mapping[str, str]
    """Which models these are, distinguished for good."""
    contents: Contents
    limit: int | None
    seed: int | None
    budget: Budget
    concurrency: int
    engine: Mapping[str, Any]
    server: Mapping[str, Any]
    """Those settings of servers that may change what they reply."""
    loaded: list[str]
    coded: list[str] = field(default_factory=list)
    """The files of code among them, where they define a model."""
    grade: Verifier | None = None
    order: "ModelOrder | None" = None
    """The models as they were asked for, for workers, which open their own."""
    judged: int = 0
    """Problems whose answers can be right or wrong."""
    only: frozenset[str] | None = None
    """The ids of the problems to solve, of the first `limit`; `None` for all of them."""
    costs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The prices and cards that were given, by model: they change no reply, but the totals of a run."""

    def left(self, done: set[str]) -> Iterator[Problem]:
        left = self.problems.lacking(done, self.limit)
        return left if self.only is None else (each for each in left if each.id in self.only)

    def ids(self) -> Container[str]:
        """The ids of the problems to solve."""
        return frozenset(self.problems.ids(self.limit)) if self.only is None else self.only

    def origin(self, name: str) -> str:
        """Where the folder of a model is, which distinguishes it from others called alike; empty for other models."""
        given = self.given.get(name, "")
        return given if isabs(given) or given.endswith(OURS) else ""

    def asked(self, name: str) -> dict[str, Any]:
        """What the samples of a model's pool depend on, beside the model and the requests, and how it was given."""
        server = {key: value for key, value in self.server.items() if key.rpartition(".")[0] in ("", name)}
        asked = {"seed": self.seed, "engine": dict(self.engine), "server": server, "loaded": self.coded}
        model = self.order.models.get(name) if self.order and not self.origin(name) else None
        if model is None or not self.order:
            return asked
        files = [os.path.abspath(path) for path in self.order.load] if self.coded else []
        return asked | {"given": {"model": model, "load": files}}

    def size(self) -> int:
        """How many problems there are to solve."""
        return len(self.only) if self.only is not None else min(self.contents.total, self.limit or self.contents.total)

    def configuration(self) -> dict[str, Any]:
        """What may not change within one run."""
        return self._asked() | dict(self.costs)

    def _asked(self) -> dict[str, Any]:
        """What the replies depend on."""
        return {
            "strategy": literal(self.strategy),
            "models": dict(self.given),
            "problems": f"{self.problems.path.name} ({self.contents.digest})",
            "seed": self.seed,
            "engine": dict(self.engine),
            "loaded": self.loaded,
        } | {name: said for name, said in (*self._of_problems(), ("server", self.server)) if said}

    def _of_problems(self) -> Iterator[tuple[str, str]]:
        """What the problems are asked with, beside what their file says."""
        yield "answers", self.problems.kind
        yield "system", self.problems.system
        if template := self.problems.template:
            yield "template", template.text
            yield "filled", self.contents.filled
        if self.grade:
            yield "grade", literal(self.grade)

    def slug(self, *, costs: bool = False) -> str:
        """A folder's name that is the same where the replies are; with `costs`, where prices and cards are too.

        A run is not begun anew because a price is given later: its folder is found, and says that the price differs.
        """
        text = json.dumps(self.configuration() if costs else self._asked(), sort_keys=True)
        strategy = re.sub(r"[^A-Za-z0-9]+", "-", literal(self.strategy)).strip("-")[:40]
        stem = re.sub(r"[*?[\]]+", "-", self.problems.path.stem)
        if len(name := os.fsencode(stem)) > LONGEST:
            stem = name[:LONGEST].decode(errors="ignore")
        return f"{stem}-{strategy}-{blake2b(text.encode(), digest_size=3).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """Which models are wanted, and how, before anything of it is checked."""

    models: Mapping[str, str] = field(default_factory=dict)
    """By name: what `--model` takes. Without any, the model that ships."""
    load: Sequence[Path] = ()
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the engines in this process."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the servers; those of one model as `NAME.KEY`."""
    cards: Mapping[str, str | Path] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    """By name: what `--price` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(ModelOrder):
    """What a run was asked to do, before anything of it is checked."""

    problems: ProblemFile
    strategy: str
    limit: int | None = None
    seed: int | None = None
    budget: Budget = field(default_factory=Budget)
    concurrency: int = CONCURRENCY
    grade: str = ""
    """A verifier that says what is right; empty leaves it to the problems."""
    elsewhere: bool = False
    """Whether workers solve the problems, so that this machine need not have what that takes."""


def prepare(order: Order, only: frozenset[str] | None = None) -> Job:
    """Check everything that can be checked before a model is loaded. Raises `InputError`.

    Where `only` is given, the job is to solve the problems with these ids, and the others need not fit.
    """
    for name, size in (("limit", order.limit), ("concurrency", order.concurrency)):
        if size is not None and not 1 <= size <= MOST:
            raise InputError(f"{name} must be from 1 to {MOST:,}, not {size!r}")
    names = load_all(order.load)
    problems = order.problems.reading(names)
    strategy = parse(order.strategy, names)
    if not takes(strategy, 2):
        spec = order.strategy[:80]
        raise InputError(f"{spec!r} is a kind of answers: give it with --answers, and a strategy such as Vote(16)")
    grade = parse_grade(order.grade, names) if order.grade else None
    _check_spelling("strategy", strategy, names, parse)
    if grade:
        _check_spelling("grade", grade, names, parse_grade)
    named, backends = make_models(order, names)
    for name in named_models((strategy, grade)):
        if name and name not in backends:
            raise InputError(f"the strategy or the grade names a model {name!r}: give it with --model {name}=MODEL")
    check_kinds((strategy, grade), backends)
    check_confidence(strategy, backends)
    check_costs(strategy, order.budget, backends)
    needs = Needs(strategy, grade, order.limit, elsewhere=order.elsewhere)

    def look(problem: Problem) -> None:
        if only is None or problem.id in only:
            needs(problem)

    contents = problems.check(look)
    loaded = digests_of(order.load)
    loaded += [origin for spec in (order.strategy, order.grade) if spec for origin in foreign(spec, names)]
    return Job(
        problems=problems,
        strategy=strategy,
        models=backends,
        given={name: identity_of(model, names) for name, model in named.items()},
        contents=contents,
        limit=order.limit,
        seed=order.seed,
        budget=order.budget,
        concurrency=order.concurrency,
        engine=order.engine,
        server=dict(_replied_with(order.server)),
        loaded=loaded,
        coded=digests_of(order.load) if any(is_loaded(model, names) for model in named.values()) else [],
        grade=grade,
        order=order,
        judged=needs.judged,
        costs=dict(_costs(order, backends)),
        only=only,
    )


def _replied_with(server: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings of servers on which replies depend, for the record of the run: without secrets."""
    for name, value in server.items():
        setting = name.rpartition(".")[2]
        if setting not in ON_THE_WAY:
            yield name, without_secrets(value) if setting == "extra" and isinstance(value, dict) else value


def digests_of(files: Iterable[Path]) -> list[str]:
    """The files of code, distinguished by what is in them."""
    return sorted(f"{path.name} ({digest_of(path)})" for path in files)


def _costs(order: ModelOrder, backends: Mapping[str, AnyBackend]) -> Iterator[tuple[str, dict[str, str]]]:
    """The prices and the cards that were given, by model."""
    if order.prices:
        prices = {name: price_of(backends[name]) for name in order.prices}
        yield "price", {name: _format(price) for name, price in prices.items() if price}
    if order.cards:
        yield "card", {name: _mark(path) for name, path in order.cards.items()}


def _format(price: Price) -> str:
    """The price as `--price` takes it, the same for prices that are equal: `1/2` for `1.0/2.00/1`."""
    parts = [price.read, price.write] if price.cached in (None, price.read) else [price.read, price.write, price.cached]
    return "/".join(format(Decimal(str(each)).normalize(), "f") for each in parts)


def _mark(path: str | Path) -> str:
    """What is the same for cards that count alike, wherever they are read from."""
    return blake2b(repr(replace(_read_card(path), name="")).encode(), digest_size=8).hexdigest()


def make_models(order: ModelOrder, names: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, AnyBackend]]:
    """The models by name, as they were asked for, and their backends, which are not open yet. Raises `InputError`.

    `names` are those of loaded files. Without any model that writes, the one that ships is among them.
    """
    named = dict(order.models) or {"model": str(SMALL)}
    cards = {name: _read_card(path) for name, path in order.cards.items()}
    if strange := cards.keys() - named.keys():
        raise InputError(f"--card {strange.pop()}=...: no model has this name; there is {', '.join(named)}")
    servers = split_by_model(order.server, named)
    backends = {
        name: make_backend(model, order.engine, names, cards.get(name), servers[name]) for name, model in named.items()
    }
    if not any(map(generates, backends.values())):
        named |= {"model": str(SMALL)}
        backends |= {"model": make_backend(str(SMALL), order.engine, names, cards.get("model"), {})}
    _check_used(order, named, backends)
    return named, dict(_priced(backends, order.prices))


def _read_card(path: str | Path) -> "ModelCard":
    from metagen.card.card import ModelCard  # noqa: PLC0415 (few runs give one)

    return ModelCard.read(path)


def read_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Models by name, from `NAME=MODEL` or `MODEL` alone, which has the usual name. Raises `InputError` for twins."""
    named: dict[str, str] = {}
    for text in texts:
        name, equals, model = text.partition("=")
        name, model = (name, model) if equals and name.isidentifier() else ("model", text)
        if not model:
            raise InputError(f"{option} {text}: name a model after the '='")
        if name in named:
            raise InputError(f"{option} is given several times with the same name, {name}: write NAME=MODEL")
        named[name] = model
    return named


PYTHON = {"True": "true", "False": "false", "None": "null"}
"""What is no JSON, by the JSON that is meant."""


def read_settings(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Settings from `KEY=VALUE`; a value is JSON, or else a text. Raises `InputError` for twins and for `True`."""
    settings: dict[str, Any] = {}
    for text in texts:
        given, equals, value = text.partition("=")
        if not equals or not given:
            raise InputError(f"{option} {text!r}: write KEY=VALUE")
        if (name := given.replace("-", "_")) in settings:
            raise InputError(f"{option} {given}=... is given several times: give it once")
        if value in PYTHON:  # a text, and so it would count as true
            raise InputError(f"{option} {text}: write {given}={PYTHON[value]}, as JSON does")
        try:
            settings[name] = json.loads(value)
        except (ValueError, RecursionError):
            settings[name] = value
    return settings


def _priced(backends: Mapping[str, AnyBackend], prices: Mapping[str, str]) -> dict[str, AnyBackend]:
    """The same models, some at a price."""
    if strange := sorted(prices.keys() - backends.keys()):
        raise InputError(f"--price {strange[0]}=...: no model has this name; there is {', '.join(backends)}")
    return {name: at_price(backend, prices.get(name)) for name, backend in backends.items()}


def _check_used(order: ModelOrder, named: Mapping[str, str], backends: Mapping[str, AnyBackend]) -> None:
    """Refuse settings that set nothing."""
    if order.engine and not any(map(_is_in_this_process, backends.values())):
        raise InputError("--engine sets nothing here: no model of this run is loaded in this process")
    if order.server and not any(map(is_served, named.values())):
        raise InputError("--server sets nothing here: no model of this run is behind a server")


def _is_in_this_process(backend: AnyBackend) -> bool:
    from metagen.backends import VLLMEngine, VLLMReward  # noqa: PLC0415 (a run over a server needs neither)

    return isinstance(backend, VLLMEngine | VLLMReward)


def _check_spelling(what: str, made: object, names: Mapping[str, Any], read: Callable[..., object]) -> None:
    """A run is known by how its strategy and its grade are written, so that must say which they are."""
    text = literal(made)
    if not reads_back(text, names, read):
        raise InputError(
            f"the {what} prints as {text[:200]!r}, which cannot be read back: give its class a `__repr__` that can "
            "be, such as `__repr__ = metagen.spelled` in a dataclass, and a function the name it is used by"
        )
