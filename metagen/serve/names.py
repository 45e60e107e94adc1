"""What a client may write into `model`: an alias, a served model, or a strategy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from metagen import strategies, tools, verifiers
from metagen.calls import Reader, refuse_class
from metagen.errors import InputError
from metagen.leaves import asked, named_models, parts, settings_of
from metagen.model import Model
from metagen.request import AnyBackend, generates
from metagen.run import Generator
from metagen.serve.keys import Key
from metagen.serve.refusals import Refusal, unknown_model
from metagen.settings import GENERATOR, literal, require_async, takes
from metagen.verifiers import critics

CLOSED = {"PassesTests", "Proves", "RecordedScore"}
"""Verifiers that run programs or read files."""
TOOLS = {"ReAct", "SelfAsk", "DSP", "ProgramOfThought", "DraftSketchProve", "CodeVote", "CodeT"}
"""Strategies that call tools or run programs of a model's."""
CONSTRUCTORS: dict[str, Any] = {
    **{name: getattr(strategies, name) for name in strategies.__all__ if name not in TOOLS},
    **{name: getattr(verifiers, name) for name in verifiers.__all__ if name not in CLOSED},
    **{name: getattr(critics, name) for name in critics.__all__},
    "Model": Model,
}
"""What a spec in a request may name: nothing that runs a program, calls a tool or opens a file."""


def refuse(name: str) -> None:
    """Raise `InputError` for a name of metagen's that no request may use."""
    if name in {*TOOLS, *CLOSED, *tools.__all__}:
        raise InputError(
            f"{name} runs programs, calls tools or opens files, so a request cannot name it: an alias of the server can"
        )


READER = Reader("strategy", CONSTRUCTORS, refuse)
LONGEST = 4000
"""Characters of a spec in a request."""
MOST_SAMPLES = 4096
"""The most samples that a strategy of a request may draw, as far as its numbers tell."""
MOST_REPEATS = 64
"""How often templates that are nested in one another may repeat the question."""
DRAWN = ("n", "width", "branch", "subtrees", "expansions", "ahead", "limit", "rounds", "waits", "hops", "turns")
"""Settings that say how often a part draws from what is in it."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a name stands for."""

    name: str
    strategy: Generator
    owner: str
    """`metagen` for strategies, and for models what serves them."""
    label: str
    """The name in metrics: that of all specs is the same."""
    model: str = ""
    """The model that was asked, which an omitted generator means; empty for the first."""
    spec: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", literal(self.strategy))


class Catalogue:
    """The names that there are. Raises `InputError` for an alias that cannot be, and `Refusal` for a client's."""

    def __init__(self, models: Mapping[str, AnyBackend], aliases: Mapping[str, Generator]) -> None:
        writing = {name: backend for name, backend in models.items() if generates(backend)}
        self._models = models
        self._served: dict[str, Served] = {}
        for name, backend in writing.items():
            for called in dict.fromkeys((backend.name, name)):
                self._served.setdefault(called, Served(called, Model(name), "model", called, name))
        for name, strategy in aliases.items():
            _check_alias(name, strategy, models)
            self._served[name] = Served(name, strategy, "metagen", name)

    def listed(self, key: Key) -> Iterator[Served]:
        """What a key may call by name."""
        return (served for served in self._served.values() if key.may_use(served.name))

    def find(self, name: str, spec: str, key: Key) -> Served:
        """What `name` stands for, with the strategy of `spec` in its place if there is one."""
        served = self._served.get(name)
        if served and not key.may_use(name):
            raise unknown_model(name)
        if not served and "(" not in name:
            raise unknown_model(name)
        if spec and not served:
            said = "name a model in 'model' where 'metagen.strategy' gives the strategy: here both are one"
            raise Refusal(400, said, param="metagen.strategy", code="invalid_strategy")
        if spec:
            return self._made(spec, key, "metagen.strategy", served.model if served else "")
        return served or self._made(name, key, "model")

    def models(self, served: Served) -> Mapping[str, AnyBackend]:
        """The models by name, first the one that an omitted generator means."""
        return {served.model: self._models[served.model], **self._models} if served.model else self._models

    def _made(self, spec: str, key: Key, param: str, model: str = "") -> Served:
        if not key.specs:
            raise Refusal(403, "This key may not name strategies of its own", param=param, code="specs_not_allowed")
        try:
            served = Served(spec, read_spec(spec), "metagen", "spec", model)
            self._check_key(served, key)
            _check_alias(spec, served.strategy, self._models)
        except InputError as error:
            raise Refusal(400, f"{param!r}: {error}", param=param, code="invalid_strategy") from None
        except RecursionError:
            said = f"{param!r}: the strategy is nested too deeply"
            raise Refusal(400, said, param=param, code="invalid_strategy") from None
        return served

    def _check_key(self, served: Served, key: Key) -> None:
        """Raise `Refusal` if a strategy asks a model that the key may not use, by none of its names."""
        if key.models is None:
            return
        for name in (*filter(None, named_models(served.strategy)), *asked(served.strategy, self.models(served))):
            names = {name, *(called for called, each in self._served.items() if each.model == name)}
            if not any(map(key.may_use, names)):
                raise unknown_model(name)


def read_spec(text: str) -> Generator:
    """The strategy that a client wrote. Raises `InputError`."""
    if len(text) > LONGEST:
        raise InputError(f"the strategy is {len(text)} characters long; at most {LONGEST} are read")
    made = READER.read(text)
    refuse_class(made, text, "strategy")
    if not takes(made, 2):
        raise InputError(f"{text[:80]!r} is not a strategy; write one such as Vote(16)")
    require_async(made, literal(made), GENERATOR)
    if (samples := count_samples(made)) > MOST_SAMPLES:
        raise InputError(f"it may draw {samples:,} samples, and {MOST_SAMPLES:,} are the most")
    if (repeats := count_repeats(made)) > MOST_REPEATS:
        raise InputError(f"its templates repeat the question {repeats:,} times, and {MOST_REPEATS} are the most")
    if any(part.adapter or part.extra or part.chat_template_kwargs for part in parts(made) if isinstance(part, Model)):
        raise InputError("adapter, extra and chat_template_kwargs cannot be set in a request")
    return made  # type: ignore[no-any-return]


def count_samples(strategy: object, candidates: int = 1) -> int:
    """A bound on how many samples a strategy draws, with those of its judges: how often, times what it draws from.

    `candidates` are judged at once; one who judges pairs compares each with all others.
    """
    if isinstance(strategy, tuple):
        return sum(count_samples(each, candidates) for each in strategy)
    if isinstance(strategy, Model):
        return 1
    if isinstance(strategy, strategies.Tournament):  # in fewer matches than n, of two each
        return strategy.n * (max(1, count_samples(strategy.of)) + 2 * count_samples(strategy.by, 2))
    times = prod(_number(getattr(strategy, name, 1)) for name in DRAWN if not _shared(strategy, name))
    if isinstance(strategy, verifiers.Pairwise):
        times = max(1, candidates - 1)
    elif times > 1:
        candidates = times
    settings = settings_of(type(strategy)) or ()  # type: ignore[arg-type]  # a class has a hash
    return times * sum(
        max(int(drawn), count_samples(getattr(strategy, name), candidates)) for name, drawn, _ in settings
    )


def count_repeats(strategy: object) -> int:
    """A bound on how often the longest prompt of a strategy holds the question."""
    if isinstance(strategy, tuple):
        return max(map(count_repeats, strategy), default=1)
    template = strategy.template if isinstance(strategy, strategies.Ask) else ""
    repeats = max(1, template.count("{question}")) if isinstance(template, str) else 1
    settings = settings_of(type(strategy)) or ()  # type: ignore[arg-type]  # a class has a hash
    return repeats * max((count_repeats(getattr(strategy, name)) for name, *_ in settings), default=1)


def _number(value: object) -> int:
    """How many samples a setting asks for; several numbers are several rounds."""
    if isinstance(value, tuple):
        return sum(map(_number, value))
    return max(1, value) if isinstance(value, int) else 1


def _shared(strategy: object, name: str) -> bool:
    """Whether its rounds share the samples of `n`, and draw no others."""
    return name == "rounds" and hasattr(strategy, "n")


def _check_alias(name: str, strategy: Generator, models: Mapping[str, AnyBackend]) -> None:
    if not name or len(name) > LONGEST or not name.isprintable():
        raise InputError(f"the name {name[:80]!r} of a strategy must be a line of text")
    for model in named_models(strategy):
        if model and model not in models:
            raise InputError(f"{literal(strategy)[:80]} names a model {model!r}, and there is {', '.join(models)}")
