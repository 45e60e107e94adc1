"""A pool of samples on disk: played, and recorded where another backend stands behind it."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from metagen.budget import Price, Usage
from metagen.disk.lines import Appender
from metagen.disk.pool import Sample, is_list, reply_of, sampled
from metagen.disk.samples import Samples
from metagen.errors import BudgetExceeded, GenerationError, InputError, MetagenError, SampleError
from metagen.request import (
    Backend,
    Card,
    Completion,
    Meter,
    Outcome,
    Request,
    Sampling,
    card_of,
    draws_singly,
    extra_of,
    is_named,
    longest_of,
    price_of,
    refusal,
    thinking_of,
)
from metagen.settings import counted
from metagen.tasks import together
from metagen.thinking import USUAL, Family


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

    Pools from elsewhere need less: a line without a prompt or settings serves any of its problem, and its `score`, and
    the scores of its `steps`, are played by `RecordedScore()`. A file that ends in `.json` holds a list of samples.

    `card` is that of the model that drew the samples, so that FLOPs are counted; without it, that of `of` is used, if
    there is one.

    Samples stay on disk until they are played: in memory are their places in the file.

    Samples are recorded only beside those of a model of the same name, whose server was given the same fields by
    `extra`. Where several models have one name, `origin`
    says which it is, such as the path of its folder, and `asked` what else the samples depend on, such as
    `{"seed": 1}`: both are kept in `PATH.model`, and a pool with others is refused.
    """

    def __init__(
        self,
        path: str | Path,
        of: Backend | None = None,
        *,
        card: Card | None = None,
        origin: str = "",
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._card = card
        self.of = of
        self._origin = origin
        self._asked = asked or {}
        self._samples = Samples(self.path)
        self._appender: Appender | None = None
        if of is not None and is_list(self.path):
            raise InputError(f"{self.path}: a JSON list is a pool to play; to record, give a file that ends in .jsonl")
        if of is None:
            if not os.path.isfile(self.path):  # unlike `Path.is_file`, it takes a name of any length
                raise InputError(f"{self.path}: there is no such pool of samples; `metagen sample` makes one")
            self._samples.load()

    @property
    def name(self) -> str:
        return self.of.name if self.of else f"recorded:{self.path}"

    @property
    def writer(self) -> str:
        """The model whose samples are played; empty in pools from elsewhere."""
        return self._samples.writer

    @property
    def card(self) -> Card | None:
        """Of the model whose samples these are: as given, else of the backend behind it."""
        return self._card or (card_of(self.of) if self.of else None)

    @property
    def price(self) -> Price | None:
        return price_of(self.of) if self.of else None

    @property
    def singly(self) -> bool:
        return draws_singly(self.of) if self.of else False

    @property
    def context(self) -> int:
        """Of the model behind it, else the longest recorded prompt and completion together."""
        return self.of.context if self.of else self._samples.longest

    @property
    def missing(self) -> tuple[str, ...]:
        return self.of.missing if self.of else ()

    @property
    def waits(self) -> str:
        return self.of.waits if self.of else ""

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        draws = range(request.draw, request.draw + request.n)
        pool = self._samples.find(request, draws)
        missing = [draw for draw in draws if draw not in pool] if self.of else []
        known = {draw: played(sample, request) for draw, sample in pool.items()}

        async def asked(gap: range) -> dict[int, Outcome]:
            try:
                return await self._record(request, gap, spend)
            except SampleError as error:
                if not known:
                    raise
                return dict.fromkeys(set(missing) & set(gap), error)

        # Else one request from the first gap to the last: it reads the prompt once, as was reserved, and what it draws
        # between the gaps is drawn for nothing.
        gaps = _gaps(missing) if self.singly else [range(missing[0], missing[-1] + 1)] if missing else []
        drawn = dict(each for gap in await together(map(asked, gaps)) for each in gap.items())
        if not known and not drawn:
            raise self._absent(request, draws[0])
        whole = [one for draw, one in known.items() if isinstance(one, Completion) and draw not in drawn]
        written = sum(one.length for one in whole)
        usage = Usage(completion_tokens=written, thought_tokens=sum(one.thought_tokens for one in whole))
        if not missing:
            spend(replace(usage, calls=1, prompt_tokens=next((pool[draw].prompt_tokens for draw in known), 0)))
        elif whole:
            spend(usage)
        return [known.get(draw) or drawn.get(draw) or self._absent(request, draw) for draw in draws]

    def _absent(self, request: Request, draw: int) -> GenerationError:
        return GenerationError(
            f"{self.path} has {counted(self._samples.count(request), 'sample')} for problem {request.problem!r} with "
            f"this prompt and these settings, and draw {draw}, counted from 0, was asked for"
        )

    async def count(self, request: Request) -> int:
        if self.of:
            return await self.of.count(request)
        sample = self._samples.first(request)
        return sample.prompt_tokens if sample else 0

    def longest(self, request: Request, prompt: int) -> int:
        return longest_of(self.of, request, prompt) if self.of else request.limit(self.context - prompt)

    @property
    def thinking(self) -> Family | None:
        """Of the model behind it; without one, that of the samples whose thinking was switched or drawn alone."""
        if self.of:
            return thinking_of(self.of)
        return self._samples.family or (USUAL if self._samples.thought_alone else None)

    async def encode(self, text: str) -> tuple[int, ...]:
        """Of the model behind it; a pool keeps no ids, and its samples are found by their texts."""
        return await self.of.encode(text) if self.of else ()

    def refuses(self, sampling: Sampling) -> str:
        return refusal(self.of, sampling) if self.of else ""

    async def _record(self, request: Request, draws: range, spend: Meter) -> dict[int, Outcome]:
        """Ask for samples, each with the seed of its own number, and keep those that are whole and new."""
        if self.of is None or self._appender is None:
            raise RuntimeError(f"the pool {self.path} is not open: use `async with Recorded(...)`")
        prompt_tokens = await self.of.count(request)  # it may fail, and nothing is paid for yet
        completions = await self.of.generate(request.part(draws[0] - request.draw, len(draws)), spend)
        with suppress(MetagenError):  # by now a server may have told it; if the model is gone, what came is kept
            prompt_tokens = await self.of.count(request)
        drawn = dict(zip(draws, completions, strict=True))
        samples = [
            sampled(request, draw, completion, prompt_tokens, self.of.name, extra_of(self.of))
            for draw, completion in drawn.items()
            if isinstance(completion, Completion)
            and not self._samples.has(request, draw)
            and not cut_by_budget(completion, request, singly=self.singly)
        ]
        self._samples.append(samples, self._appender)
        return drawn

    async def __aenter__(self) -> Self:
        if self.of is None:
            return self
        self._appender = Appender(self.path)
        try:
            self._samples.load(torn=True)
            if is_named(self.of):  # a model may take minutes to open
                self._samples.check_writer(self.of.name)
            self._samples.check_extra(extra_of(self.of))
            if self._origin or self._asked:
                self._samples.claim(self._origin, self._asked)
            await self.of.__aenter__()
        except BaseException:
            self._close()
            raise
        try:
            self._samples.check_writer(self.of.name)
        except BaseException:
            self._close()
            await self.of.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._close()
        if self.of:
            await self.of.__aexit__(*raised)

    def _close(self) -> None:
        if self._appender:
            self._appender.close()
            self._appender = None


def _gaps(missing: Sequence[int]) -> list[range]:
    """The numbers, which rise, in as few ranges as they are."""
    starts = [at for at, number in enumerate(missing) if not at or number > missing[at - 1] + 1]
    return [range(missing[at], missing[end - 1] + 1) for at, end in pairwise([*starts, len(missing)])]


def cut_by_budget(completion: Completion, request: Request, *, singly: bool = False) -> bool:
    """Whether the completion ended by a limit that neither the caller nor the model set."""
    if completion.end != "length" or request.room is None:
        return False  # its length does not matter: where a prompt is read once per sample, each had less than the room
    if not singly and 0 < completion.length < request.room:
        return False
    return request.sampling.max_tokens is None or request.room < request.sampling.max_tokens


def played(sample: Sample, request: Request) -> Outcome:
    """The recorded completion: nothing of it if it passes its limit, and lost if the budget has no room for it."""
    if request.room is not None and sample.tokens > request.room:
        return BudgetExceeded(f"the budget leaves {request.room} tokens, and the recorded sample has {sample.tokens}")
    if sample.tokens > (limit := request.limit(sample.tokens)):
        return Completion("", (), "length", length=limit)
    known = {name: getattr(sample, name) for name in ("end", "stop", "logprobs", "confidences", "first", "recorded")}
    said = reply_of(sample)
    return Completion(
        said.text,
        **known,
        length=sample.tokens,
        thought=said.thought,
        open=said.open,
        thought_tokens=sample.thought_tokens,
    )
