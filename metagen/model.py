"""The generator at the bottom: one of the run's models, with sampling settings."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import lru_cache
from math import inf, nan
from operator import attrgetter
from typing import Any, ClassVar, Literal

from metagen.answers.protocol import Form
from metagen.candidate import Candidate, changed, made
from metagen.errors import BudgetExceeded, InputError, NoCandidate, UnfitRequest
from metagen.problem import Problem
from metagen.request import Completion, Request, Sampling, Settings, secrets_in
from metagen.run import Run
from metagen.run.rest import NO_ROOM, or_cut
from metagen.settings import counted, is_number, require_foreign, require_switch, require_whole, spelled
from metagen.thinking import Family

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


OBJECTS = ("chat_template_kwargs", "extra", "form")
"""Settings that are objects, as JSON has them."""
SETTINGS = tuple(each.name for each in fields(Settings))
_settings_of = attrgetter(*SETTINGS)


@dataclass(frozen=True, slots=True, repr=False)
class Model(Settings):
    """y ~ g(· | x): samples from the run's model of this name; without a name, from its first.

    A setting of `None` leaves the choice to the model's own defaults. It can step: where the problem says how a step
    ends, it writes one step, and continues a partial reply of the same model from its token ids. Then `max_tokens`
    limits each step. A step that ends by a number of tokens is whole if it has them all; one that a smaller limit
    ended, be it of the budget or of the context, is cut.
    """

    name: str = ""
    _: KW_ONLY
    thinking: bool | int | None = None
    """Whether a reasoning model thinks first, or how many tokens its thought may have: at so many it is ended, and the
    model answers. `None` leaves it to the model."""
    form: Literal[True] | Mapping[str, Any] | None = field(default=None, hash=False)
    """What the reply must look like, after its thought: `{"json": schema}`, `{"choice": (…)}`, `{"regex": "…"}` or
    `{"grammar": "…"}`; `True` is the form of the task's answers. What is thought is free."""

    can_step: ClassVar[bool] = True
    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"Model: name must be a text, not {self.name!r}")
        for name in OBJECTS:
            if isinstance(value := getattr(self, name), Mapping):
                object.__setattr__(self, name, _as_read(value))
        for name, least in WHOLE.items():
            if (value := getattr(self, name)) is not None:
                require_whole(self, least, **{name: value})
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not ((is_number(value) or value == inf) and least <= value <= most):
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
        require_switch(self, logprobs=self.logprobs, ignore_eos=self.ignore_eos)
        if self.thinking is not None and not isinstance(self.thinking, bool):
            require_whole(self, thinking=self.thinking)
        if self.form is not None and self.form is not True:
            form_of(self.form)
        if not isinstance(self.stop_token_ids, tuple):
            raise InputError(f"Model: stop_token_ids must be a tuple of token ids, not {self.stop_token_ids!r}")
        bias = {} if self.logit_bias is None else self.logit_bias
        if not isinstance(bias, Mapping) or not all(map(is_number, bias.values())):
            raise InputError(f"Model: logit_bias must be numbers by token id, not {bias!r}")
        for number in (*self.stop_token_ids, *bias):
            require_whole(self, 0, **{"token id": number})
        for name in ("chat_template_kwargs", "extra"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
                raise InputError(f"Model: {name} must be settings by name, such as {{'key': 1}}, not {value!r}")
        require_foreign(self, extra=self.extra)
        if secret := next(secrets_in(self.extra), None):
            raise InputError(
                f"Model: extra may hold no {secret[0]}, since strategies are written to files: give it to the server "
                "itself, by key_env, headers or extra"
            )
        if self.adapter is not None and (not isinstance(self.adapter, str) or not self.adapter):
            raise InputError(f"Model: adapter must be the folder or the name of an adapter, not {self.adapter!r}")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return (await self.sample(problem, run, 1))[0]

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates in one request. Fewer come back only where a budget had no room for all.

        Where the thought needs a request of its own, each candidate is then continued by a request of its own.
        """
        family = run.thinking(self.name)
        begun = await self._begun(problem.partial, run, family)
        sampling = self._sampling(problem.step, self.max_tokens, family, self._form(problem))
        if not self._thinks_apart(problem, family, begun):
            return await self._draw(problem, run, n, begun, sampling)
        limit = self._limit_of_thought(problem, begun)
        thought = replace(self._sampling(None, limit, family), stop=(), thought_only=True)
        thoughts = await self._draw(problem, run, n, begun, thought)

        async def answer(thought: Candidate, run: Run) -> Candidate:
            return await self._answered(problem, run, begun, thought, family)

        answers = [each for each in await run.map(answer, thoughts, part="last" if n == 1 else "draft") if each]
        if not answers:
            raise NoCandidate.of(n, run.why_lost())
        return answers

    def _thinks_apart(self, problem: Problem, family: Family | None, begun: Candidate) -> bool:
        """Whether the thought is drawn first: what ends a step or forms an answer must not touch it."""
        if family is None or not family.apart or not (begun.open or begun == UNBEGUN):
            return False
        if self.thinking is False and not family.always:
            return False
        return bool(self.cap or self.stop or problem.step or self._form(problem))

    @property
    def cap(self) -> int | None:
        """The most tokens that a thought may have, where it is limited apart from the reply."""
        return None if self.thinking is None or isinstance(self.thinking, bool) else self.thinking

    def _limit_of_thought(self, problem: Problem, begun: Candidate) -> int | None:
        """How many tokens of thought are drawn at once."""
        cap = self.cap
        left = None if cap is None else max(1, cap - begun.thought_tokens)
        step = problem.step if isinstance(problem.step, int) else None
        return min((limit for limit in (left, step, self.max_tokens) if limit is not None), default=None)

    async def _answered(
        self, problem: Problem, run: Run, begun: Candidate, thought: Candidate, family: Family | None
    ) -> Candidate:
        """The candidate that says something after its thought, which is ended here if it reached its limit.

        Where an answer has a form, it is also ended if the model stopped inside it, so that there is an answer. A step
        of N tokens is complete when the thought has N tokens or ends.
        """
        cap = self.cap
        capped = cap is not None and thought.cut and thought.thought_tokens >= cap
        drawn = len(thought.tokens) - len(begun.tokens)
        if isinstance(problem.step, int) and thought.tokens and not (thought.open and capped):
            return replace(thought, cut=thought.open and thought.cut and drawn < problem.step)
        left = self.max_tokens
        if left is not None and not isinstance(problem.step, int):
            left -= drawn
        stopped = thought.finished and self._form(problem) is not None
        if (thought.open and not capped and not stopped) or (left is not None and left < 1):
            return thought
        ended = await self._begun(thought.concluding(), run, family)
        sampling = self._sampling(problem.step, left, family, self._form(problem))

        async def answer() -> Candidate:
            return (await self._draw(problem, run, 1, ended, sampling))[0]

        if not (thought.thought or thought.open):  # nothing is written that could be kept
            return await answer()
        refusals = (BudgetExceeded,) if sampling.form else NO_ROOM  # a model may not take the form
        return await or_cut(thought, answer(), run, refusals=refusals)

    async def _begun(self, partial: Candidate | None, run: Run, family: Family | None) -> Candidate:
        """What is written of the reply, with what a strategy put at its end as token ids."""
        begun = partial or UNBEGUN
        if begun == UNBEGUN and self.thinking is False and family and not family.off:
            begun = Candidate((), open=True, closing=True)
        text = self._put(begun, family)
        if not (begun.closing or begun.forced or text):
            return begun
        if family is None and (begun.closing or begun.open):
            raise UnfitRequest(f"{run.identity(self.name)} is not known to think, so no thought of its can be ended")
        known = begun.model == run.identity(self.name) or not begun.tokens
        return forced(begun, await run.encode(self.name, text) if known else (), run.identity(self.name))

    def _put(self, begun: Candidate, family: Family | None) -> str:
        """What is put at the end of a reply before the model continues, including the marks of its thought."""
        if family is None:
            return begun.forced
        opening = family.opening if begun.open and not begun.tokens and begun.closing else ""
        ended = not begun.open and bool(begun.tokens) and not begun.steps
        gap = family.gap if ended else ""  # as the model goes on: else a step would end in it
        return opening + gap + (family.closing if begun.closing else "") + begun.forced

    async def _draw(self, problem: Problem, run: Run, n: int, begun: Candidate, sampling: Sampling) -> list[Candidate]:
        identity = run.identity(self.name)
        request = Request(
            problem=problem.id,
            prompt=problem.text,
            partial=begun.text,
            tokens=begun.tokens if begun.model == identity else (),
            n=n,
            sampling=sampling,
            before=problem.before,
            after=problem.after,
            thought=begun.thought,
            open=begun.open,
        )
        completions = await run.generate(self.name, request)
        step = None if sampling.thought_only else problem.step
        if isinstance(step, int) and any(
            each.end == "length" and each.text and not each.length for each in completions
        ):
            raise UnfitRequest(f"{identity} cannot step by tokens: it returns no token ids to count")
        anew = begun is UNBEGUN and step is None and not (request.open or sampling.thought_only)
        return [
            _whole(each, identity)  # as nearly all are, by a shorter way
            if anew and not (each.thought or each.open or each.thought_tokens)
            else self._candidate(each, begun, request, identity, step)
            for each in completions
        ]

    def wishes(self) -> Sampling:
        """What it asks of a backend, for whoever checks that before a problem is known."""
        form = form_of(self.form) if isinstance(self.form, Mapping) else Form() if self.form else None
        return self._sampling(None, self.max_tokens, None, form)

    def _form(self, problem: Problem) -> Form | None:
        if self.form is None:
            return None
        return problem.answers.form if self.form is True else form_of(self.form)

    def _sampling(
        self, step: str | int | None, limit: int | None, family: Family | None = None, form: Form | None = None
    ) -> Sampling:
        if isinstance(step, int) and limit is not None and limit < step:
            raise InputError(
                f"{self!r} cannot write steps of {counted(step, 'token')}: give it a larger max_tokens, or none"
            )
        sampling = _usual(self, step, limit)
        if form is None and (family is None or self.thinking is None):
            return sampling
        return replace(sampling, chat_template_kwargs=self._options(family), form=form)

    def _options(self, family: Family | None) -> Mapping[str, Any] | None:
        """What the chat template reads, the switch of thinking among it."""
        options: Mapping[str, Any] | None = _as_json(self.chat_template_kwargs)
        if family is None or self.thinking is None:
            return options
        switch = family.off if self.thinking is False else family.on
        return {**switch, **(options or {})} or None

    @property
    def greedy(self) -> bool:
        """Whether all its samples of one prompt are the same."""
        return self.temperature == 0

    def _candidate(
        self, completion: Completion, begun: Candidate, request: Request, identity: str, step: str | int | None
    ) -> Candidate:
        thought = completion.thought or completion.open or completion.thought_tokens or request.open
        if request.sampling.thought_only and not thought:
            return changed(begun, finished=False)  # it did not think: what it said is drawn anew, as it was asked for
        ended_step = _ends_step(completion, step)
        if step is not None and not ended_step:
            completion = _without_stop(completion)
        ids_known = bool(completion.tokens) and (bool(request.tokens) or not (request.partial or request.thought))
        thinks = completion.open or bool(completion.thought) or bool(begun.thoughts)
        thoughts = (*begun.thoughts, completion.thought) if completion.thought else begun.thoughts
        known = begun.thought_tokens if not begun.open else len(request.tokens)
        return made(
            steps=begun.steps if completion.open or request.sampling.thought_only else (*begun.steps, completion.text),
            finished=completion.end != "length" and not ended_step and not _goes_on(completion, request),
            tokens=request.tokens + completion.tokens if ids_known else (),
            model=identity if ids_known else "",
            logprobs=begun.logprobs + completion.logprobs,
            confidences=begun.confidences + completion.confidences,
            first=completion.first,
            cut=completion.end == "length" and not ended_step,
            thoughts=thoughts,
            open=completion.open,
            thought_tokens=known + completion.thought_tokens if thinks else 0,
            closing=False,
            forced="",
            recorded=completion.recorded,
        )


UNBEGUN = Candidate(())
"""A reply of which nothing is written."""


def _whole(completion: Completion, identity: str) -> Candidate:
    """A reply without a thought that one completion has written from its beginning."""
    ids, cut = completion.tokens, completion.end == "length"
    return made(
        steps=(completion.text,),
        finished=not cut,
        tokens=ids,
        model=identity if ids else "",
        logprobs=completion.logprobs,
        confidences=completion.confidences,
        first=completion.first,
        cut=cut,
        thoughts=(),
        open=False,
        thought_tokens=0,
        closing=False,
        forced="",
        recorded=completion.recorded,
    )


USUAL = Model()
"""The run's first model, as it draws of itself."""


@lru_cache(256)
def _usual(model: Model, step: str | int | None, limit: int | None) -> Sampling:
    """How a model draws that need not be told to think or of a form: the same for each of its requests."""
    chosen = dict(zip(SETTINGS, _settings_of(model), strict=True))
    chosen |= {
        "max_tokens": step if isinstance(step, int) else limit,
        "stop": (*model.stop, step) if isinstance(step, str) else model.stop,
        "chat_template_kwargs": _as_json(model.chat_template_kwargs),
        "extra": _as_json(model.extra),
    }
    return Sampling(**chosen, keep_stop=step is not None)


def _goes_on(completion: Completion, request: Request) -> bool:
    """Whether a thought that was drawn alone has ended, so that the text comes next."""
    return request.sampling.thought_only and not completion.open


def forced(begun: Candidate, ids: tuple[int, ...], model: str) -> Candidate:
    """A reply with what a strategy wrote at its end as a part of it; the model gave those tokens no probability."""
    told = bool(ids) and (bool(begun.tokens) or not (begun.text or begun.thought))
    unknown = (nan,) * len(ids)
    in_thought = begun.open and not begun.closing
    between = "\n" if in_thought and begun.thought and not begun.thought.endswith("\n") else ""
    added = (between + begun.forced,) if begun.forced else ()
    return replace(
        begun,
        steps=begun.steps if in_thought else (*begun.steps, *added),
        thoughts=(*begun.thoughts, *added) if in_thought else begun.thoughts,
        tokens=(*begun.tokens, *ids) if told else (),
        model=model if told else "",
        logprobs=(*begun.logprobs, *unknown) if begun.logprobs else (),
        confidences=(*begun.confidences, *unknown) if begun.confidences else (),
        thought_tokens=len(begun.tokens) + (len(ids) if in_thought else 0) if begun.open else begun.thought_tokens,
        open=in_thought,
        closing=False,
        forced="",
    )


def form_of(given: Mapping[str, Any]) -> Form:
    """The form that settings such as `{"choice": ("yes", "no")}` describe. Raises `InputError`."""
    if not isinstance(given, Mapping) or len(given) != 1 or (name := next(iter(given))) not in FORMS:
        raise InputError(f"Model: form must be True or one of {', '.join(FORMS)}, such as {{'regex': '[0-9]+'}}")
    value = given[name]
    if not isinstance(value, FORMS[name][1]) or not value:
        raise InputError(f"Model: form: {name} cannot be {value!r}")
    settings: dict[str, Any] = {FORMS[name][0]: _as_json(value) if name == "json" else value}
    return Form(**settings)


FORMS: dict[str, tuple[str, type]] = {
    "json": ("schema", Mapping),
    "choice": ("choices", tuple),
    "regex": ("regex", str),
    "grammar": ("grammar", str),
}
"""What a form may be, as vLLM calls it, with the field of `Form` and its type."""


def _as_read(value: Any) -> Any:
    """A setting as it is when its spec is read: with tuples in place of lists, which are JSON's arrays too."""
    if isinstance(value, Mapping):
        return {key: _as_read(each) for key, each in value.items()}
    return tuple(map(_as_read, value)) if isinstance(value, list | tuple) else value


def _as_json(value: Any) -> Any:
    """A setting as backends are told it, with lists."""
    if isinstance(value, Mapping):
        return {key: _as_json(each) for key, each in value.items()}
    return list(map(_as_json, value)) if isinstance(value, list | tuple) else value


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
