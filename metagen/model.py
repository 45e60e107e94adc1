"""The generator at the bottom: one of the run's models, with sampling settings."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass, replace
from typing import ClassVar

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.request import Completion, Request, Sampling
from metagen.run import Run
from metagen.settings import require_whole, spelled


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

    can_step: ClassVar[bool] = True
    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"Model: name must be a text, not {self.name!r}")
        if self.max_tokens is not None:
            require_whole(self, max_tokens=self.max_tokens)
        if self.top_logprobs is not None:
            require_whole(self, top_logprobs=self.top_logprobs)
        if self.top_k is not None:
            require_whole(self, top_k=self.top_k, least=-1)
        for name, most in (("temperature", float("inf")), ("top_p", 1.0), ("min_p", 1.0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
                raise InputError(f"Model: {name} must be a number from 0 to {most}, not {value!r}")
        if self.top_p == 0:
            raise InputError("Model: top_p must be above 0; for the most likely token write temperature=0")
        if not isinstance(self.stop, tuple) or not all(isinstance(text, str) and text for text in self.stop):
            raise InputError(f"Model: stop must be a tuple of texts that are not empty, not {self.stop!r}")

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
        )
        completions = await run.generate(self.name, request)
        return [self._candidate(completion, begun, request, identity, problem.step) for completion in completions]

    def _sampling(self, step: str | int | None) -> Sampling:
        if isinstance(step, int) and self.max_tokens is not None and self.max_tokens < step:
            raise InputError(f"{self!r} cannot write steps of {step} tokens: give it a larger max_tokens, or none")
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            max_tokens=step if isinstance(step, int) else self.max_tokens,
            stop=(*self.stop, step) if isinstance(step, str) else self.stop,
            keep_stop=step is not None,
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
        )

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
    if isinstance(strategy, Model) or getattr(strategy, "reward_model", False):
        yield getattr(strategy, "name", "")
    elif isinstance(strategy, tuple):
        for part in strategy:
            yield from named_models(part)
    elif is_dataclass(strategy):
        for field in fields(strategy):
            yield from named_models(getattr(strategy, field.name))
