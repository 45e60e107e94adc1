"""The models at the bottom of a strategy: which they are, and whether the run's can do what is asked of them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from metagen.errors import InputError
from metagen.model import USUAL, Model
from metagen.request import AnyBackend, Backend, card_of, generates, price_of, refusal, scores, thinking_of
from metagen.run.sending import unpriced, unsized
from metagen.settings import literal
from metagen.thinking import FAMILIES

PLAIN = (str, int, float, type(None))
"""Settings that hold no others."""
SAMPLES = ("n", "branch")
"""How strategies call the number of samples that they draw of one prompt, where they do not say it by `alike`."""


def named_models(strategy: object) -> Iterator[str]:
    """The names of all models that a strategy's settings mention."""
    for part in parts(strategy):
        if isinstance(part, Model) or getattr(part, "reward_model", False):
            yield getattr(part, "name", "")


def check_kinds(strategy: object, models: Mapping[str, AnyBackend]) -> None:
    """Refuse a reward model that is to write, a model that is to score, and scores where no model gives any."""
    for part in parts(strategy):
        name, rewards = getattr(part, "name", ""), getattr(part, "reward_model", False)
        named = [models[name]] if name in models else []
        if isinstance(part, Model) and not all(map(generates, named)):
            raise InputError(f"the model {name!r} scores and cannot generate: name one that can")
        if rewards and not all(map(scores, named)):
            raise InputError(f"the model {name!r} generates and cannot score: name a reward model")
        if rewards and not name and not any(map(scores, models.values())):
            raise InputError(
                "this run has no reward model: pass one by name beside the model, as in {'model': ..., 'prm': "
                "VLLMReward('small-prm')} (--model prm=small-prm on the command line)"
            )


def asks_first(part: object) -> bool:
    """Whether a strategy or a verifier asks the first model of its run, as one does that names none."""
    return any(isinstance(each, Model) and not each.name for each in parts(part, left_out=USUAL))


def asks_models(part: object) -> bool:
    """Whether a strategy or a verifier asks any model, as far as its settings say."""
    return any(isinstance(each, Model) or hasattr(each, "reward_model") for each in parts(part, left_out=USUAL))


def require_no_model(grade: object, why: str) -> None:
    """Refuse a grade that asks a model where none is opened for it. Raises `InputError`."""
    if asks_models(grade):
        raise InputError(f"--grade {literal(grade)}: asks a model, and {why}")


def naming(part: Any, name: str) -> Any:
    """The same strategy or verifier, with a name for the models that it leaves out or does not name."""
    if isinstance(part, tuple):
        return tuple(naming(each, name) for each in part)
    if isinstance(part, Model):
        return part if part.name else replace(part, name=name)
    settings = settings_of(type(part)) or ()  # type: ignore[arg-type]  # a class has a hash
    values = {each: (getattr(part, each), may_be_left_out) for each, may_be_left_out, _ in settings}
    named = {
        each: Model(name) if value is None else naming(value, name)
        for each, (value, may_be_left_out) in values.items()
        if (may_be_left_out if value is None else asks_first(value))
    }
    made = copy(part) if named else part
    for each, value in named.items():  # by hand: classes such as `Mean` are not made from their fields by name
        object.__setattr__(made, each, value)
    return made


def find_leaves(strategy: object, default: object = None) -> Iterator[Model]:
    """The models at the bottom of a strategy; a generator that is left out is `default`, or the run's model."""
    yield from (part for part in parts(strategy, left_out=default or USUAL) if isinstance(part, Model))


def find_drawing(strategy: object) -> Iterator[Model]:
    """The models that draw candidates: those that verifiers ask are left out."""
    yield from (part for part in parts(strategy, left_out=USUAL, judging=False) if isinstance(part, Model))


def leaves_open(strategy: object) -> bool:
    """Whether a strategy leaves out a generator that draws its answer, so that the run says which model draws, and how.

    What else it asks, as judges and earlier stages, takes no settings of the run.
    """
    return any(leaf is None for leaf in _answering(strategy))


def find_answering(strategy: object) -> Iterator[Model]:
    """The models that draw a strategy's answer: those that judges and earlier stages ask are left out."""
    yield from (USUAL if leaf is None else leaf for leaf in _answering(strategy))


def _answering(strategy: object) -> Iterator[Model | None]:
    """The same, with `None` for each that is left out.

    A strategy that has more than one generator says in `drawing` which draw the answer; else all do.
    """
    if strategy is None or isinstance(strategy, Model):
        yield strategy
    elif isinstance(strategy, tuple):
        for each in strategy:
            yield from _answering(each)
    elif (drawing := getattr(strategy, "drawing", None)) is not None:
        yield from _answering(drawing)
    else:
        settings = settings_of(type(strategy)) or ()  # type: ignore[arg-type]  # a class has a hash
        found = tuple(getattr(strategy, name) for name, is_generator, _ in settings if is_generator)
        yield from _answering(found or tuple(p for p in parts(strategy, judging=False) if isinstance(p, Model)))


def check_settings(strategy: object, models: Mapping[str, AnyBackend], default: object = None) -> None:
    """Refuse settings that the opened models cannot follow, and samples that would all be the same."""
    check_confidence(strategy, models, default)
    for leaf in find_leaves(strategy, default):
        backend = _backend_of(leaf, models)
        if backend and (reason := refusal(backend, leaf.wishes())):
            raise InputError(f"{literal(leaf)}: {backend.name} {reason}")
        if backend and leaf.thinking is not None:
            _check_thinking(leaf, backend)
    for part in parts(strategy):
        drawn = [getattr(part, name, 1) for name in ("alike", *SAMPLES)]
        several = next((count for count in drawn if isinstance(count, int) and count > 1), 1)
        of = getattr(part, "of", None)
        leaves = list(find_leaves(of or default)) if several > 1 else []
        if leaves and all(leaf.greedy for leaf in leaves):
            _check_greedy(part, of, several)


def check_costs(
    strategy: object,
    limits: Collection[str],
    models: Mapping[str, AnyBackend],
    default: object = None,
    *,
    learns_sizes: Callable[[AnyBackend], bool] = lambda _: False,
) -> None:
    """Refuse a limit of money or FLOPs, of the whole or of a part, where the costs of a model that it asks are unknown.

    `limits` names what is limited of the whole; a part says so by an attribute `limits`. `learns_sizes` says of a model
    that is not open yet whether its sizes may be known once it is.
    """
    inner = [(part, part.limits) for part in parts(strategy) if hasattr(part, "limits")]
    for part, limited in ((strategy, limits), *inner):
        for name in asked(part, models, default) if {"money", "flops"} & {*limited} else ():
            if "money" in limited and price_of(models[name]) is None:
                raise unpriced(models[name])
            if "flops" in limited and card_of(models[name]) is None and not learns_sizes(models[name]):
                raise unsized(models[name])


def asked(strategy: object, models: Mapping[str, AnyBackend], default: object = None) -> Iterator[str]:
    """The names of the models that a strategy asks, those of its verifiers too, as far as its settings say.

    Where none is named, that is the first one that fits.
    """
    for part in parts(strategy, left_out=default or USUAL):
        fits = generates if isinstance(part, Model) else scores if getattr(part, "reward_model", False) else None
        found = [name for name, backend in models.items() if fits and fits(backend)]
        yield from [part.name] if getattr(part, "name", "") in found else found[:1]  # type: ignore[attr-defined]


def _backend_of(leaf: Model, models: Mapping[str, AnyBackend]) -> Backend | None:
    """The model that a leaf asks, if it is among these."""
    writing = {name: backend for name, backend in models.items() if generates(backend)}
    return writing.get(leaf.name or next(iter(writing), ""))


def check_confidence(strategy: object, models: Mapping[str, AnyBackend], default: object = None) -> None:
    """Refuse a verifier that reads log-probabilities where all samples are surely drawn without."""
    for part in parts(strategy):
        for by in _judging(part):
            wanted: Model | None = getattr(by, "drawn_by", None)
            drawing = list(_bottom(part, default)) if wanted else []
            if wanted and drawing and all(_withholds(each, wanted, models) for each in drawing):
                raise InputError(reads_more(by, wanted))


def reads_more(by: object, wanted: Model) -> str:
    """What to say where a verifier needs what its samples were drawn without."""
    return (
        f"{literal(by)} reads what the model returns beside its tokens: sample with of={literal(wanted)}, "
        "from a model that does"
    )


def _judging(part: object) -> Iterator[object]:
    """The verifiers of a strategy, and those that they are made of, which judge the same samples.

    What classes of a user's own do with verifiers is not known, nor what one judges that draws samples itself.
    """
    if isinstance(part, tuple):
        for each in part:
            yield from _judging(each)
    elif _is_ours(part):
        settings = settings_of(type(part)) or ()  # type: ignore[arg-type]  # a class has a hash
        for value in [getattr(part, name) for name, _, judges in settings if judges]:
            for each in value if isinstance(value, tuple) else () if value is None else (value,):
                yield each
                inner = settings_of(type(each)) or ()  # type: ignore[arg-type]
                if not any(draws for _, draws, _ in inner):
                    yield from _judging(each)


def _bottom(generator: object, default: object) -> Iterator[object]:
    """What draws in the end: models, and what is not known to draw by others."""
    if isinstance(generator, tuple):
        for each in generator:
            yield from _bottom(each, default)
    elif generator is None:
        yield from _bottom(default or USUAL, default)
    else:
        known = settings_of(type(generator)) if _is_ours(generator) and not isinstance(generator, Model) else None  # type: ignore[arg-type]
        inner = [getattr(generator, name) for name, draws, judges in known or () if draws and not judges]
        yield from _bottom(tuple(inner), default) if inner else (generator,)


def _is_ours(part: object) -> bool:
    return type(part).__module__.startswith("metagen.")


def _withholds(drawing: object, wanted: Model, models: Mapping[str, AnyBackend]) -> bool:
    """Whether samples surely come without what a verifier reads: metagen's own models return it if they are asked."""
    if not isinstance(drawing, Model) or drawing.top_logprobs or (drawing.logprobs and not wanted.top_logprobs):
        return False
    backend: object = _backend_of(drawing, models)
    extra = {*(drawing.extra or ())}
    while backend is not None and type(backend).__module__.startswith("metagen.backends."):
        extra |= {*getattr(backend, "extra", ())}
        if hasattr(backend, "writer") or extra & {"logprobs", "top_logprobs"}:  # it plays what was recorded, or asks
            return False
        if (inner := getattr(backend, "of", None)) is None:
            return True
        backend = inner
    return False


def _check_greedy(part: object, of: object, count: int) -> None:
    """Refuse more samples than differ: one of each member of a panel, else one."""
    most = max((getattr(each, "distinct", 1) for each in parts(of)), default=1)
    if count > most:
        same = "that are all the same" if most == 1 else f"of which at most {most} differ"
        raise InputError(
            f"{literal(part)}: draws {count} samples {same}, since temperature=0 makes no choice: leave temperature "
            f"out, or draw {'one sample' if most == 1 else most} with {literal(of or USUAL)}"
        )


def _check_thinking(leaf: Model, backend: Backend) -> None:
    """Refuse to switch or limit thoughts where that cannot be done."""
    if (family := thinking_of(backend)) is None:
        raise InputError(
            f"{literal(leaf)}: {backend.name} is not known to think: name the family of its marks with "
            "thinking='FAMILY' where it is opened (--server thinking=FAMILY or --engine thinking=FAMILY on the command "
            f"line), one of {', '.join(FAMILIES)}; to play a "
            "pool whose samples do not tell of it, leave thinking out"
        )
    if not family.apart and (leaf.cap is not None or (leaf.thinking is False and not family.off)):
        raise InputError(
            f"{literal(leaf)}: {backend.name} continues no reply from token ids, so its thoughts cannot be ended: "
            "leave thinking out, or give the server's own setting in extra={...}"
        )


def parts(strategy: object, left_out: object = None, *, judging: bool = True) -> Iterator[object]:
    """The strategy and everything in its settings; `left_out` replaces each generator that was omitted.

    Without `judging`, verifiers are passed over.
    """
    if isinstance(strategy, tuple):
        for part in strategy:
            yield from parts(part, left_out, judging=judging)
    elif isinstance(strategy, Model):
        yield strategy  # which has many settings, and no parts
    elif (settings := settings_of(type(strategy))) is not None:  # type: ignore[arg-type]  # a class has a hash
        yield strategy
        for name, may_be_left_out, judges in settings:
            value = getattr(strategy, name)
            if judges and not judging:
                continue
            if value is None and may_be_left_out:
                yield from parts(left_out, left_out, judging=judging)
            elif not isinstance(value, PLAIN):
                yield from parts(value, left_out, judging=judging)


@lru_cache(1024)
def settings_of(kind: type) -> tuple[tuple[str, bool, bool], ...] | None:
    """The settings of a kind of strategy, each with whether it is a generator and a verifier; `None` where none."""
    if not is_dataclass(kind):
        return None
    return tuple((each.name, "Generator" in str(each.type), "Verifier" in str(each.type)) for each in fields(kind))
