"""A strategy over models, as the settings of other tools name them, and how their requests ask a model to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.answers.spec import parse_answers
from metagen.backends import Recorded
from metagen.backends.wrapper import innermost
from metagen.calls import hint
from metagen.errors import InputError
from metagen.jobs.job import ModelOrder, make_models, read_named, read_settings
from metagen.jobs.loading import load_all
from metagen.model import Model
from metagen.request import AnyBackend, generates, refusal, thinking_of
from metagen.run import Generator
from metagen.settings import CONCURRENCY, takes
from metagen.spec.parse import parse

TEXTS = ("model", "load", "card", "price")
"""Settings that may be given several times on the command line: here as a list, or as an object by name."""
SETTINGS = ("engine", "server")
"""The same for those that hold settings of their own: the values of an object are taken as they are."""
KNOWN = {*TEXTS, *SETTINGS, "strategy", "answers", "seed", "concurrency"}


@dataclass(frozen=True, slots=True)
class Caller:
    """What answers the requests of another tool."""

    strategy: Generator
    models: Mapping[str, AnyBackend]
    """Not open yet."""
    answers: Answers
    """What counts as an answer, where samples vote."""
    seed: int | None
    concurrency: int
    names: Mapping[str, Any]
    """What was loaded, which specs may name."""

    @property
    def backend(self) -> AnyBackend:
        """The model that an omitted generator means."""
        return next(backend for backend in self.models.values() if generates(backend))

    def default(self, wanted: Mapping[str, Any]) -> Model:
        """How a model draws where the strategy leaves it open, from settings as `Model` calls them.

        Stop strings are left out where they could end a thought: the text is cut at them anyway, by `until`. Greedy
        samples would all be the same, so a temperature of 0 counts for a single sample alone. Raises `InputError` for
        a setting that the model cannot follow. A pool is played as it was drawn, whatever is asked for.
        """
        if isinstance(innermost(self.backend), Recorded):
            return Model()
        settings = {name: value for name, value in wanted.items() if value not in (None, (), [], {})}
        if settings.get("temperature") == 0 and not isinstance(self.strategy, Model):
            del settings["temperature"]
        family = thinking_of(self.backend)
        if family is not None and not family.apart:
            settings.pop("stop", None)
        model = Model(**settings)
        if generates(self.backend) and (reason := refusal(self.backend, model.wishes())):
            raise InputError(f"{self.backend.name} {reason}")
        return model

    def drawing(self, default: Model) -> Generator:
        """The strategy, where it is a bare model with the settings of a request; else itself."""
        if not isinstance(self.strategy, Model):
            return self.strategy
        own = Model(self.strategy.name)
        return replace(default, name=own.name) if self.strategy == own else self.strategy


def read_caller(settings: Mapping[str, Any]) -> Caller:
    """What the settings of another tool name, as the options of `metagen solve` do. Raises `InputError`.

    `model`, `load`, `engine`, `server`, `card` and `price` take a text, a list of texts, or an object by name.
    """
    if strange := sorted(settings.keys() - KNOWN):
        raise InputError(f"{strange[0]}: metagen has no such setting: {hint(strange[0], KNOWN)}")
    given = {name: _texts(name, settings.get(name)) for name in TEXTS}
    engine, server = (_settings(name, settings.get(name)) for name in SETTINGS)
    order = ModelOrder(
        models=read_named(given["model"], "model"),
        load=[Path(each) for each in given["load"]],
        engine=engine,
        server=server,
        cards=read_named(given["card"], "card"),
        prices=read_named(given["price"], "price"),
    )
    names = load_all(order.load)
    strategy = parse(str(settings.get("strategy") or "Vote(16)"), names)
    if not takes(strategy, 2):
        raise InputError(f"strategy={settings['strategy']!r} is a kind of answers: give it as answers")
    answers = settings.get("answers")
    return Caller(
        strategy,
        make_models(order, names)[1],
        parse_answers(str(answers), names) if answers else MATHS,
        _whole("seed", settings.get("seed")),
        _concurrency(settings.get("concurrency")),
        names,
    )


def until(text: str, stops: Sequence[str]) -> str:
    """The text before the first of these."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def _texts(name: str, value: object) -> list[str]:
    """A setting as the command line has it."""
    if isinstance(value, Mapping):
        if strange := [key for key, inner in value.items() if not isinstance(inner, str | Path)]:
            raise InputError(f"{name}: {strange[0]} must be a text, not {value[strange[0]]!r}")
        return [f"{key}={inner}" for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return list(map(str, value))
    if value is None or isinstance(value, str | int | float | Path):
        return [] if value is None else [str(value)]
    raise InputError(f"{name} must be a text, a list of texts or an object, not {value!r}")


def _settings(name: str, value: object) -> dict[str, Any]:
    """Settings of an engine or of servers."""
    if isinstance(value, Mapping):
        return {str(key).replace("-", "_"): inner for key, inner in value.items()}
    return read_settings(_texts(name, value), name)


def _whole(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InputError(f"{name} must be a whole number, not {value!r}")


def _concurrency(value: object) -> int:
    """How many problems are answered at once."""
    number = _whole("concurrency", value)
    if number is not None and number < 1:
        raise InputError(f"concurrency must be a whole number of 1 or more, not {number}")
    return number or CONCURRENCY
