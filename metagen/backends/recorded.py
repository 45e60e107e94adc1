"""A pool of samples on disk: played, and recorded where another backend stands behind it."""

import os
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from metagen.budget import Usage
from metagen.disk.lines import Appender, read_lines
from metagen.disk.pool import Key, Sample, key, sample_key, sampled
from metagen.errors import BudgetExceeded, GenerationError, InputError
from metagen.request import Backend, Card, Completion, Meter, Outcome, Request, card_of


class Recorded(Backend):
    """Plays the samples of a pool; with `of`, asks that backend for those that are missing and records them.

    A sample is found by its problem, prompt, sampling settings and draw number. So strategies that draw from the same
    model with the same settings share their samples, and a recorded run repeats itself. Within one run each sample is
    played once: where a pool has too few, those that are missing are lost, and none is repeated. Numbers are given in
    the order in which a problem's requests are made, so a strategy that makes equal requests at once may find its
    samples in another order when it is played. Usage counts what the samples cost when they were drawn.

    Token ids are not kept, so a recorded sample cannot be cut. One that is longer than its limit (`max_tokens`) is
    played as cut off before it said anything, and one that a budget has no room for is refused. One that a budget cut
    when it was drawn is not recorded.
    """

    def __init__(self, path: str | Path, of: Backend | None = None, *, card: Card | None = None) -> None:
        self.path = Path(path)
        self._card = card
        self.of = of
        self._pool: dict[Key, dict[int, Sample]] = defaultdict(dict)
        self._appender: Appender | None = None
        self._longest = 0
        if of is None:
            if not os.path.isfile(self.path):  # unlike `Path.is_file`, it takes a name of any length
                raise InputError(f"{self.path}: there is no such pool of samples; `metagen sample` makes one")
            self._load()

    @property
    def name(self) -> str:
        return self.of.name if self.of else f"recorded:{self.path}"

    @property
    def card(self) -> Card | None:
        """Of the model whose samples these are: as given, else of the backend behind it."""
        return self._card or (card_of(self.of) if self.of else None)

    @property
    def context(self) -> int:
        """Of the model behind it, else the longest recorded prompt and completion together."""
        return self.of.context if self.of else self._longest

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        draws = range(request.draw, request.draw + request.n)
        pool = self._find(request)
        missing = [draw for draw in draws if draw not in pool] if self.of else []
        # One request from the first gap to the last: it reads the prompt once, as was reserved, and what it draws
        # between the gaps is drawn for nothing.
        asked = range(missing[0], missing[-1] + 1) if missing else range(0)
        drawn = await self._record(request, asked, spend) if missing else {}
        known = {draw: played(pool[draw], request) for draw in draws if draw in pool}
        if not known and not drawn:
            raise self._absent(request, draws[0])
        played_tokens = [one.length for draw, one in known.items() if isinstance(one, Completion) and draw not in asked]
        if not missing:
            prompt = next((pool[draw].prompt_tokens for draw in known), 0)
            spend(Usage(calls=1, prompt_tokens=prompt, completion_tokens=sum(played_tokens)))
        elif played_tokens:
            spend(Usage(completion_tokens=sum(played_tokens)))
        return [known.get(draw) or drawn.get(draw) or self._absent(request, draw) for draw in draws]

    def _absent(self, request: Request, draw: int) -> GenerationError:
        return GenerationError(
            f"{self.path} has {len(self._find(request))} samples for problem {request.problem!r} with this prompt "
            f"and these settings, and number {draw} was asked for"
        )

    async def count(self, request: Request) -> int:
        if self.of:
            return await self.of.count(request)
        sample = next(iter(self._find(request).values()), None)
        return sample.prompt_tokens if sample else 0

    def _find(self, request: Request) -> dict[int, Sample]:
        return self._pool.get(key(request, any_sampling=True), {}) | self._pool.get(key(request), {})

    async def _record(self, request: Request, draws: range, spend: Meter) -> dict[int, Outcome]:
        """Ask for samples, each with the seed of its own number, and keep those that are whole and new."""
        if self.of is None or self._appender is None:
            raise RuntimeError(f"the pool {self.path} is not open: use `async with Recorded(...)`")
        prompt_tokens = await self.of.count(request)
        completions = await self.of.generate(request.part(draws[0] - request.draw, len(draws)), spend)
        drawn = dict(zip(draws, completions, strict=True))
        known = self._pool[key(request)]
        samples = [
            sampled(request, draw, completion, prompt_tokens, self.of.name)
            for draw, completion in drawn.items()
            if isinstance(completion, Completion) and draw not in known and not cut_by_budget(completion, request)
        ]
        self._appender.write(sample.model_dump(exclude_defaults=True) for sample in samples)
        known.update((sample.draw, sample) for sample in samples)
        return drawn

    async def __aenter__(self) -> Self:
        if self.of is None:
            return self
        self._appender = Appender(self.path)
        try:
            self._load()
            await self.of.__aenter__()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._close()
        if self.of:
            await self.of.__aexit__(kind, error, trace)

    def _close(self) -> None:
        if self._appender:
            self._appender.close()
            self._appender = None

    def _load(self) -> None:
        self._pool.clear()
        for number, row in read_lines(self.path):
            try:
                sample = Sample.model_validate(row)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"]))
                raise InputError(f"{self.path}, line {number}: field {field!r}: {first['msg']}") from None
            draws = self._pool[sample_key(sample)]
            if sample.draw in draws:
                raise InputError(f"{self.path}, line {number}: sample {sample.draw} of this request stands here again")
            if self.of and sample.model not in ("", self.of.name):
                raise InputError(
                    f"{self.path}, line {number}: was drawn from {sample.model}, and this is {self.of.name}: "
                    "give another pool"
                )
            draws[sample.draw] = sample
            self._longest = max(self._longest, sample.prompt_tokens + sample.tokens)


def cut_by_budget(completion: Completion, request: Request) -> bool:
    """Whether the completion ended by a limit that neither the caller nor the model set."""
    return completion.end == "length" and completion.length == request.room


def played(sample: Sample, request: Request) -> Outcome:
    """The recorded completion: nothing of it if it passes its limit, and lost if the budget has no room for it."""
    if request.room is not None and sample.tokens > request.room:
        return BudgetExceeded(f"the budget leaves {request.room} tokens, and the recorded sample has {sample.tokens}")
    if sample.tokens > (limit := request.limit(sample.tokens)):
        return Completion("", (), "length", length=limit)
    known = {name: getattr(sample, name) for name in ("text", "end", "stop", "logprobs", "confidences", "first")}
    return Completion(**known, length=sample.tokens)
