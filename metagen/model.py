"""The generator at the bottom: one of the run's models, with sampling settings."""

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, is_dataclass, replace
from math import inf
from typing import Any, ClassVar

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.request import AnyBackend, Completion, Request, Sampling, generates, refusal
from metagen.run import Run
from metagen.settings import is_number, literal, require_whole, spelled

WHOLE = {"max_tokens": 1, "top_logprobs": 1, "min_tokens": 0, "top_k": -1}
"""Settings that are whole numbers, with the least that makes sense."""
RANGES = {
    "temperature": (0, inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (0, inf),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
SAMPLES = ("n", "branch")
"""How strategies call the number of samples that they draw of one prompt."""


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """y ~ g(· | x): samples from the run's model of this name; without a name, from its first.

    A setting of `None` leaves the choice to the model's own defaults. It can step: where the problem says how a step
    ends, it writes one step, and continues a partial reply of the same model from its token ids. Then `max_tokens`
    limits each step. A step that ends by a number of tokens is whole if it has them all; one that a smaller limit
    ended, be it of the budget or of the context, is cut.
    """

    name: str = ""
    _: KW_ONLY
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int | None = None
    """Ask also how sure the model is of each token, by so many most probable ones; 20 is what servers allow."""
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    min_tokens: int | None = None
    """No reply ends before it has so many tokens."""
    logit_bias: Mapping[int, float] | None = field(default=None, hash=False)
    """What is added to the logits of tokens, by their ids: `{42: -100}` forbids one."""
    bad_words: tuple[str, ...] = ()
    """Texts that are never written."""
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    """Go on to the length limit, past the end of the reply; for measurements."""
    adapter: str | None = None
    """A LoRA adapter: its folder, where vLLM runs in this process, or its name at a server."""
    chat_template_kwargs: Mapping[str, Any] | None = field(default=None, hash=False)
    """What the chat template reads beside the turns, such as `{"enable_thinking": False}`."""
    extra: Mapping[str, Any] | None = field(default=None, hash=False)
    """Settings that have no name here: of a server's own, or of vLLM's `SamplingParams`."""

    can_step: ClassVar[bool] = True
    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"Model: name must be a text, not {self.name!r}")
        for name, least in WHOLE.items():
            if (value := getattr(self, name)) is not None:
                require_whole(self, **{name: value}, least=least)
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and least <= value <= most):
                raise InputError(f"Model: {name} must be a number from {least} to {most}, not {value!r}")
        for name in ("top_p", "repetition_penalty"):
            if getattr(self, name) == 0:
                raise InputError(f"Model: {name} must be above 0; for the most likely token write temperature=0")
        for name in ("stop", "bad_words"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not all(isinstance(text, str) and text for text in texts):
                raise InputError(f"Model: {name} must be a tuple of texts that are not empty, not {texts!r}")
        self._check_others()

    def _check_others(self) -> None:
        if not isinstance(self.stop_token_ids, tuple):
            raise InputError(f"Model: stop_token_ids must be a tuple of token ids, not {self.stop_token_ids!r}")
        for number in (*self.stop_token_ids, *(self.logit_bias or ())):
            require_whole(self, **{"token id": number}, least=0)
        if not all(map(is_number, (self.logit_bias or {}).values())):
            raise InputError(f"Model: logit_bias must be numbers by token id, not {self.logit_bias!r}")
        for name in ("chat_template_kwargs", "extra"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
                raise InputError(f"Model: {name} must be settings by name, such as {{'key': 1}}, not {value!r}")
        if self.adapter is not None and (not isinstance(self.adapter, str) or not self.adapter):
            raise InputError(f"Model: adapter must be the folder or the name of an adapter, not {self.adapter!r}")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return (await self.sample(problem, run, 1))[0]

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates in one request. Fewer come back only where a budget had no room for all."""
        identity = run.identity(self.name)
        begun = problem.partial or Candidate(())
        request = Request(
            problem=problem.id,
            prompt=problem.text,
            partial=begun.text,
            tokens=begun.tokens if begun.model == identity else (),
            n=n,
            sampling=self._sampling(problem.step),
            before=problem.before,
            after=problem.after,
        )
        completions = await run.generate(self.name, request)
        return [self._candidate(completion, begun, request, identity, problem.step) for completion in completions]

    def _sampling(self, step: str | int | None) -> Sampling:
        if isinstance(step, int) and self.max_tokens is not None and self.max_tokens < step:
            raise InputError(f"{self!r} cannot write steps of {step} tokens: give it a larger max_tokens, or none")
        return Sampling(
            **{name: getattr(self, name) for name in SHARED},
            max_tokens=step if isinstance(step, int) else self.max_tokens,
            stop=(*self.stop, step) if isinstance(step, str) else self.stop,
            keep_stop=step is not None,
        )

    @property
    def greedy(self) -> bool:
        """Whether all its samples of one prompt are the same."""
        return self.temperature == 0

    def _candidate(
        self, completion: Completion, begun: Candidate, request: Request, identity: str, step: str | int | None
    ) -> Candidate:
        ended_step = _ends_step(completion, step)
        if step is not None and not ended_step:
            completion = _without_stop(completion)
        ids_known = bool(completion.tokens) and (not begun.text or bool(request.tokens))
        return Candidate(
            steps=(*begun.steps, completion.text),
            finished=completion.end != "length" and not ended_step,
            tokens=(*request.tokens, *completion.tokens) if ids_known else (),
            model=identity if ids_known else "",
            logprobs=(*begun.logprobs, *completion.logprobs),
            confidences=(*begun.confidences, *completion.confidences),
            first=completion.first,
            cut=completion.end == "length" and not ended_step,
        )


_OWN = {"stop", "max_tokens"}
SHARED = tuple({each.name for each in fields(Model)} & {each.name for each in fields(Sampling)} - _OWN)
"""The settings that go on as they are."""


def _ends_step(completion: Completion, step: str | int | None) -> bool:
    """Whether a step is whole and more may follow. One of which nothing is known but its length is not."""
    if isinstance(step, int):
        known = bool(completion.text or completion.tokens)
        return completion.end == "length" and completion.length == step and known
    return completion.end == "stop" and completion.stop == step


def _without_stop(completion: Completion) -> Completion:
    """A step keeps the string that ends it; a stop string of the user's own, never. What is left has no known ids."""
    if completion.end != "stop":
        return completion
    return replace(completion, text=completion.text.removesuffix(completion.stop), tokens=())


def named_models(strategy: object) -> Iterator[str]:
    """The names of all models that a strategy's settings mention."""
    for part in _parts(strategy):
        if isinstance(part, Model) or getattr(part, "reward_model", False):
            yield getattr(part, "name", "")


def find_leaves(strategy: object) -> Iterator[Model]:
    """The models at the bottom of a strategy; a generator that is left out is the run's model, without settings."""
    yield from (part for part in _parts(strategy, left_out=Model()) if isinstance(part, Model))


def check_settings(strategy: object, models: Mapping[str, AnyBackend]) -> None:
    """Refuse settings that the opened models cannot follow, and samples that would all be the same."""
    writing = {name: backend for name, backend in models.items() if generates(backend)}
    for leaf in find_leaves(strategy):
        backend = writing.get(leaf.name or next(iter(writing), ""))
        if backend and (reason := refusal(backend, leaf._sampling(None))):
            raise InputError(f"{literal(leaf)}: {backend.name} {reason}")
    for part in _parts(strategy):
        drawn = [(name, getattr(part, name, 1)) for name in SAMPLES]
        several = next(((name, count) for name, count in drawn if isinstance(count, int) and count > 1), None)
        leaves = list(find_leaves(getattr(part, "of", None)))
        if several and leaves and all(leaf.greedy for leaf in leaves):
            raise InputError(
                f"{literal(part)}: draws {several[1]} samples that are all the same, since temperature=0 makes no "
                f"choice: leave temperature out, or draw one sample with {literal(getattr(part, 'of', None))}"
            )


def _parts(strategy: object, left_out: object = None) -> Iterator[object]:
    """A strategy and all that its settings hold; `left_out` stands for generators that are not given."""
    if isinstance(strategy, tuple):
        for part in strategy:
            yield from _parts(part, left_out)
    elif is_dataclass(strategy) and not isinstance(strategy, type):
        yield strategy
        for setting in fields(strategy):
            value = getattr(strategy, setting.name)
            is_left_out = value is None and "Generator" in str(setting.type)
            yield from _parts(left_out if is_left_out else value, left_out)
