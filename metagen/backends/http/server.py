"""Models behind a server that speaks OpenAI's interface: vLLM, SGLang, llama.cpp and others."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Self

from metagen.backends.http.books import Books, Lengths, reserved
from metagen.backends.http.connection import FORBIDDEN, PROBE_EVERY, Http, Refused, WebPage, final, find_model
from metagen.backends.http.dialects import DIALECTS, lengths_of, of_owner
from metagen.backends.http.hardware import add_remedy, is_crash, seems_cpu
from metagen.backends.http.openai import (
    ENDED,
    KNOWN,
    LENGTH,
    Body,
    Choice,
    Growing,
    count_ids,
    join,
    last_counts,
    loss_of,
    read_bytes,
    shares,
    written_tokens,
)
from metagen.backends.http.wording import CONTEXT, PROBE, Wording
from metagen.budget import Usage
from metagen.errors import (
    BackendGone,
    BudgetExceeded,
    GenerationError,
    InputError,
    SampleError,
    TransientError,
    UnfitRequest,
)
from metagen.request import Backend, Card, Completion, Meter, Outcome, Request, Sampling, all_written
from metagen.settings import counted, require_foreign, require_whole
from metagen.tasks import together
from metagen.thinking import Family, find_family

NOBODY = "no-such-model"
"""The name of a model that no server has."""
SESSION = "X-Session-ID"
"""The header by which routers such as vllm-router keep requests together."""
COUNTS = "its counts of tokens cannot be right: they are estimated"
SILENCE = 600.0
"""Seconds without a byte: a long generation that is not streamed says nothing until it is done."""


class OpenAIServer(Backend):
    """A model behind `url`, such as `http://localhost:8000/v1`, on a server that speaks OpenAI's interface.

    `model` is needed only if the server has several. `name` is its name in a run (default: the server's name for it).
    `context` is its length in tokens (default: what the server says, else 8,192). `card`, such as
    `ModelCard.read("config.json")`, lets FLOPs be counted.

    What the server can do is its `dialect`: `vllm`, `sglang`, `llama.cpp` or plain `openai`. It is found out when the
    server is opened, and `missing` says what cannot be done. vLLM is asked in chats, and by token ids where a partial
    reply is continued; with the first step it tells those of the prompt. Where the length is limited the prompt is
    counted first, once. With `api="completions"` it is always asked by ids. Where ids are unknown, prompts are counted
    from above (one token per byte, and what the chat template adds, which the first count of the server tells). Such a
    count shortens no reply to less than half of the context, and a limit that the server finds too long is lowered to
    what fits.

    Samples that are all awaited (n > 1) come in one body. Those that may be cancelled are streamed, so that they are
    counted as far as they came. Cancelling closes the connection, and vLLM then stops the request. Where no count came
    back, an estimate is counted, and marked as one: the prompt, and samples of the usual length if any byte had come.

    Thoughts come parted from the text by the server's own parser, or are found by their marks: those of the family that
    the model's name shows, or that `thinking` names: one of `metagen.thinking.FAMILIES`, or "none".

    The key is read from the environment variable `key_env`, and sent over plain HTTP to this machine alone unless
    `insecure_key` is set. `headers`, and the fields `extra` of the body, go with each request. So does the header
    `session`, which is the same for all requests of a problem: by it a router can keep a problem on one of several
    replicas. Connections are not capped. A connection may take `connect` seconds (default: 10), and a reply may be
    silent for `silence` seconds (default: 600). A server that hangs is found earlier, by looking at it every
    `probe_every` seconds (default: 30). Failures that may pass are `TransientError`: wrap it in `Retrying` to ask
    again.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        dialect: Literal["auto", "vllm", "sglang", "llama.cpp", "openai"] = "auto",
        name: str | None = None,
        api: Literal["auto", "completions", "chat"] = "auto",
        context: int | None = None,
        card: Card | None = None,
        key_env: str = "OPENAI_API_KEY",
        insecure_key: bool = False,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
        connect: float = 10.0,
        silence: float = SILENCE,
        probe_every: float = PROBE_EVERY,
        thinking: str | None = None,
        session: str = SESSION,
    ) -> None:
        find_family(thinking, "")
        if api not in {"auto", "completions", "chat"}:
            raise InputError(f"OpenAIServer: api must be auto, completions or chat, not {api!r}")
        if context is not None:
            require_whole(self, context=context)
        require_foreign(self, extra=extra)
        if dialect not in {"auto", *DIALECTS}:
            raise InputError(f"OpenAIServer: dialect must be auto or one of {', '.join(DIALECTS)}, not {dialect!r}")
        self._http = Http(
            url,
            key_env=key_env,
            connect=connect,
            silence=silence,
            headers=headers,
            extra=extra,
            insecure_key=insecure_key,
            probe_every=probe_every,
        )
        self._name = name
        self._wanted = dialect
        self._wanted_family = thinking
        self._given_card = card
        self.extra = extra or {}
        self._unread = partial(Wording, self._http, model, api, self.extra, context)
        self._words = self._unread()
        self._lengths = Lengths()
        self._one_by_one = False
        self._crashed = False
        self._session = session

    @property
    def name(self) -> str:
        return self._name or self._words.model or self._http.host

    @property
    def named(self) -> bool:
        return bool(self._name or self._words.model)

    @property
    def always_sent(self) -> Mapping[str, Any]:
        return self.extra

    @property
    def singly(self) -> bool:
        return self._one_by_one

    @property
    def context(self) -> int:
        return self._words.room

    @property
    def card(self) -> Card | None:
        """What the model costs to run, if it was given: a server does not tell."""
        return self._given_card

    @property
    def dialect(self) -> str:
        """What the server speaks, once it is open."""
        return self._words.dialect.name

    @property
    def missing(self) -> tuple[str, ...]:
        """What this server cannot do, and what was odd about its replies so far."""
        return tuple(self._words.said)

    async def seems_cpu(self) -> bool:
        """Whether it seems to be vLLM on a CPU, where a request with a seed can end it; call it once it is open."""
        if self.dialect != "vllm":
            return False
        return seems_cpu(await self._told("/version"), await self._told("/metrics"))

    async def _told(self, path: str) -> str:
        """What the server tells at a path that it need not have; empty where it tells nothing."""
        try:
            return await self._http.get_text(self._http.root + path)
        except GenerationError:  # nothing but a warning depends on it
            return ""

    async def probe(self) -> None:
        await self._http.probe()

    @property
    def thinking(self) -> Family | None:
        return self._words.family

    async def encode(self, text: str) -> tuple[int, ...]:
        return await self._words.tokens.encode(text)

    def refuses(self, sampling: Sampling) -> str:
        return self._words.refuses(sampling)

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        if request.n > 1 and self._one_by_one:
            return await self._singly(request, spend)
        taught: dict[str, str] = {}
        while True:
            known = self._words.learnt
            try:
                return await self._generate(request, spend)
            except Refused as refused:
                taught |= dict.fromkeys(learnt := self._words.learn(refused), str(refused))
                if not learnt and self._words.learnt == known:
                    if (shorter := self._words.shorter(refused, request)) is None:
                        self._words.forget({name for name, said in taught.items() if said == str(refused)})
                        raise final(refused) from None
                    request = shorter
            except BackendGone as gone:
                if await self._refuses_this_alone(gone):
                    raise UnfitRequest(str(gone)) from None
                raise
            except TransientError as error:
                self._crashed |= request.seed is not None and is_crash(error)
                if self._crashed and (error.unreachable or is_crash(error)):
                    raise add_remedy(error) from None
                raise

    async def _generate(self, request: Request, spend: Meter) -> list[Outcome]:
        body, path, prompt, limit = await self._words.body(request)
        with reserved(spend, self._lengths, prompt, request.n * limit, request.n) as books:
            streamed = request.passing or (request.n == 1 and self._words.dialect.counts_as_it_goes)
            if streamed or request.hearing:
                body |= self._words.stream_settings()
            try:
                if "stream" in body:
                    reply = await self._streamed(path, body, books, request)
                else:
                    reply = await self._awaited(path, body, books, self._headers(request))
            except Refused as refused:
                refused.body = body  # a server may name settings that others sent, or that nobody did
                raise
            written = self._settle(reply, request, books)
        outcomes = await self._outcomes(reply, request)
        if not self._words.dialect.returns_ids:
            _count(outcomes, reply, request, written)
        return outcomes

    async def _singly(self, request: Request, spend: Meter) -> list[Outcome]:
        """One request per sample. Each reads the prompt, which was reserved once, so under a budget each is shorter."""
        prompt = await self.count(request)
        room = request.room and request.room - prompt
        if room is not None and room < 1:
            raise BudgetExceeded(
                f"{self.name} reads the prompt once per sample, and the budget leaves no room for that"
            )

        async def single(index: int) -> Outcome:
            try:
                (outcome,) = await self.generate(replace(request.part(index, 1), room=room), spend)
            except SampleError as lost:
                return lost
            return outcome

        return await together(single(index) for index in range(request.n))

    async def count(self, request: Request) -> int:
        return await self._words.count(request)

    def longest(self, request: Request, prompt: int) -> int:
        return self._words.longest(request, prompt)

    async def _awaited(self, path: str, body: dict[str, Any], books: Books, headers: Mapping[str, str]) -> Body:
        return await self._http.ask(self._http.base + path, body, self._read, books.note_bytes, headers)

    def _headers(self, request: Request) -> Mapping[str, str]:
        """What tells a router which requests belong together, so that they reach one replica and its cache."""
        return {self._session: request.session} if self._session and request.session else {}

    def _read(self, reply: bytes) -> Body:
        return read_bytes(reply, self._http.host)

    async def _streamed(
        self,
        path: str,
        body: dict[str, Any],
        books: Books,
        request: Request,
    ) -> Body:
        heard, headers = self._heard(request), self._headers(request)
        pieces: list[bytes] = []  # what came before an error is needed
        growing = Growing(self._http.host, heard)
        try:
            try:
                async with aclosing(self._http.stream(self._http.base + path, body, headers)) as stream:
                    async for piece in stream:
                        pieces.append(piece)
                        if heard:
                            growing.add(piece)
            except TransientError:  # some servers end a stream without its last word: then all samples are whole
                if not join(pieces, self._http.host).has_ended(request.n):
                    raise
            return growing.body if heard else join(pieces, self._http.host)
        except BaseException as error:
            if not (isinstance(error, Refused) and len(pieces) == 1):  # nothing came but the refusal
                self._settle_pieces(pieces, request, books)
            if isinstance(error, Refused) and len(pieces) > 1:  # it is paid for: its room holds no other try
                raise final(error) from None
            raise

    def _heard(self, request: Request) -> Callable[[Choice], object] | None:
        """What tells those who listen how far each sample of a stream is; `None` where nobody does."""
        if (hearing := request.hearing) is None:
            return None
        opened = self._words.opened(request)

        def heard(choice: Choice) -> None:
            reply = self._words.reply(choice, request, opened=opened)
            if hearing.grew and not choice.index:
                hearing.grew(self._http.key.scrub(reply.thought), self._http.key.scrub(reply.text))
            if choice.reason in ENDED and request.n > 1:
                hearing.done(choice.index, self._http.key.scrub(reply.text), choice.reason not in LENGTH)

        return heard

    def _settle_pieces(self, pieces: list[bytes], request: Request, books: Books) -> None:
        """Book what had come of a stream that broke off.

        A server that counts as it goes sends its first piece when it has read the prompt, so one that sent nothing had
        read nothing. Its counts are of one sample each, so the tokens themselves are counted.
        """
        counts = last_counts(pieces, self._http.host)
        if self._words.dialect.counts_as_it_goes and not pieces:
            books.settle(Usage(calls=1))
        elif self._words.dialect.counts_as_it_goes and counts and self._words.believes(counts, request):
            tokens = min(count_ids(pieces, self._http.host) or counts.completion_tokens, books.output)
            books.settle(replace(counts.usage(), completion_tokens=tokens))
        elif pieces:
            books.settle_written(len(pieces))

    def _settle(self, reply: Body, request: Request, books: Books) -> int:
        """Book a whole reply by the server's count, if that can be, or else by what came; the tokens it wrote."""
        counts = reply.usage
        sound = counts and self._words.believes(counts, request)
        if counts and sound and (counts.completion_tokens or not written_tokens(reply)):
            if not (request.before or request.after or request.thought or request.open):
                self._words.learn_overhead(request.prompt + request.partial, counts.prompt_tokens)
            self._words.learn_prompt(request, counts.prompt_tokens, reply.prompt_token_ids)
            books.settle_counts(self._words.with_thoughts(counts, reply, request))
            return counts.completion_tokens
        self._words.say(COUNTS if counts else "it does not count tokens: they are estimated")
        written = min(written_tokens(reply), books.output)
        books.settle_written(written)
        return written

    async def _outcomes(self, reply: Body, request: Request) -> list[Outcome]:
        """One outcome for each sample, in order; what did not come may be asked for again."""
        outcomes: dict[int, Outcome] = {}
        if request.n > 1:
            reply.number()
        opened, secret = self._words.opened(request), bool(self._http.key.secrets)
        plain = not (secret or self._words.family or request.sampling.keep_stop)
        for choice in reply.choices:
            if 0 <= choice.index < request.n:
                lost = None if choice.finish_reason in ENDED else self._lost(choice)
                lost = lost or (self._repeated(choice, reply) if request.n == 1 else None)
                outcomes[choice.index] = lost or (
                    self._words.understood(choice, request, opened=opened)
                    if plain
                    else await self._finish(choice, request, opened=opened, secret=secret)
                )
        if len(outcomes) == request.n:
            return [outcomes[index] for index in range(request.n)]
        came = sum(isinstance(each, Completion) for each in outcomes.values())
        absent = TransientError(f"{self.name} gave {came} of {counted(request.n, 'sample')}", sent=True)
        return [outcomes.get(index, absent) for index in range(request.n)]

    def _lost(self, choice: Choice) -> GenerationError | None:
        """Why a sample is lost, if it is; an end that no server is known to give is noted."""
        if choice.reason not in KNOWN:
            self._words.say(f"it ends samples with the reason {choice.finish_reason!r}, which is taken for an end")
        return loss_of(choice)

    def _repeated(self, choice: Choice, reply: Body) -> TransientError | None:
        """What a stream says of itself when its pieces came twice, or not all: it is asked again."""
        if not choice.token_ids or not reply.usage:
            return None
        if len(choice.token_ids) == reply.usage.completion_tokens or not reply.usage.completion_tokens:
            return None
        told = reply.usage.completion_tokens
        return TransientError(f"{self.name} counted {told:,} tokens and sent {len(choice.token_ids):,}", sent=True)

    async def _finish(self, choice: Choice, request: Request, *, opened: bool, secret: bool) -> Completion:
        """A sample, without our key if the server repeats it, and with the ids of a step that ends by a stop string."""
        if self._words.family:
            await self._words.show_marks(choice)
        one = self._words.understood(choice, request, opened=opened)
        scrub = self._http.key.scrub
        if secret and scrub(said := one.thought + one.text) != said:
            return replace(one, text=scrub(one.text), thought=scrub(one.thought), tokens=())
        return await self._words.tokens.spell(one, choice.token_ids) if request.sampling.keep_stop else one

    async def __aenter__(self) -> Self:
        await self._http.open()
        try:
            await self._explore()
        except BaseException as error:
            await self._http.close()
            if isinstance(error, Refused | WebPage):
                usual = "; is this the address of its API?" if isinstance(error, WebPage) else ""
                base = self._http.base
                hint = usual if base.endswith("/v1") else f"; is its address {base.partition('/v1/')[0]}/v1?"
                raise InputError(f"cannot use {base}: {error}{hint}") from None
            if isinstance(error, BackendGone):
                raise InputError(f"cannot use {self._http.base}: {error}") from None
            raise
        return self

    async def _explore(self) -> None:
        """Find out what the server serves and can do."""
        words = self._words = self._unread()  # what served here before may have been another model
        self._crashed = False
        words.model, card = await find_model(self._http, words.model, self._serves)
        context, words.most = lengths_of(card)
        words.context = words.context or context
        if not words.context:
            words.say(f"its context is unknown: {CONTEXT} tokens are assumed")
        await self._find_dialect(card)
        if not words.dialect.tells_ids:
            lacking = "" if words.dialect.continues else "partial replies cannot be continued and "
            words.say(f"it tells no token ids, so {lacking}prompts are counted from above")
        if not words.dialect.returns_ids:
            await self._explore_plain()
        words.api = words.api if words.api != "auto" else "chat"
        await words.find_family(self._wanted_family)

    async def _serves(self, model: str) -> bool:
        """Whether the server has a model that it does not list: it answers by this name, and not by any name."""
        if not await self._answers(model):
            return False
        try:
            return not await self._answers(NOBODY)
        except GenerationError:  # gateways have many ways to refuse a name that they do not know
            return True

    async def _refuses_this_alone(self, gone: BackendGone) -> bool:
        """Whether a refusal is of one request: some gateways answer 403 to what their moderation does not let pass.

        Then a short request is answered. A key without a right gets the same refusal again.
        """
        refused = gone.__cause__
        if not (isinstance(refused, Refused) and refused.status == FORBIDDEN):
            return False
        try:
            return await self._answers(self._words.model)
        except Refused:
            return False

    async def _answers(self, model: str) -> bool:
        body, path = self._words.probe()
        body |= {"model": model}
        del body["n"]
        try:
            await self._http.ask(self._http.base + path, body, self._read)
        except Refused as refused:
            if refused.status != 404 and isinstance(final(refused), BackendGone):
                raise  # whatever the model is
            return bool(self._words.learn(refused)) and await self._answers(model)
        return True

    async def _find_dialect(self, card: dict[str, Any]) -> None:
        """Settle on the dialect that was given, or that the server names, or vLLM's if that works, or plain."""
        self._words.speak(DIALECTS.get(self._wanted) or of_owner(card) or DIALECTS["vllm"])
        if not self._words.dialect.tells_ids:
            return
        try:
            await self._words.tokens.explore()
        except TransientError:
            raise
        except GenerationError:
            self._words.speak(DIALECTS["openai"])

    async def _explore_plain(self) -> None:
        """Whether a server without vLLM's extras draws several samples per request, whether it chats, what it adds."""
        body, path = self._words.probe()
        try:
            reply = await self._http.ask(self._http.base + path, body, self._read)
        except Refused as refused:
            if refused.status == 404 and self._words.api == "auto":
                self._words.api = "completions"
            elif isinstance(final(refused), BackendGone):
                raise
            elif not self._words.learn(refused):
                self._draw_singly()
                return
            await self._explore_plain()
            return
        self._one_by_one = False
        if len(reply.choices) < 2:
            self._draw_singly()
        if reply.usage:
            self._words.learn_overhead(PROBE, reply.usage.prompt_tokens)

    def _draw_singly(self) -> None:
        self._one_by_one = True
        self._words.say("it draws one sample per request")

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()


def _count(outcomes: list[Outcome], reply: Body, request: Request, written: int) -> None:
    """Give the samples their lengths, where no ids tell them, as they were paid for: a pool plays them at that cost.

    The server's count is of all that came together. Each sample has its share of it, by its characters; one that was
    lost has as much as the others have on average.
    """
    whole = outcomes if all_written(outcomes) else [each for each in outcomes if isinstance(each, Completion)]
    if not whole:
        return
    most, part = request.limit(written), len(whole) / max(1, len(reply.choices))
    lengths = shares(int(written * part), [1 + len(each.text) + len(each.thought) for each in whole])
    if max(lengths) > most:
        lengths = [min(length, most) for length in lengths]
    thought, thoughts = min((reply.usage and reply.usage.thought) or 0, written), [0] * len(whole)
    if thought > 0:
        thoughts = list(map(min, lengths, shares(int(thought * part), [1 + length for length in lengths])))
    put = object.__setattr__  # they were just made, and nobody else has seen them yet
    for each, length, spent in zip(whole, lengths, thoughts, strict=True):
        if request.sampling.keep_stop and each.end == "length":
            continue  # a step by tokens ends by a count, not a share
        put(each, "length", length)
        if spent:
            put(each, "thought_tokens", spent)


class VLLMServer(OpenAIServer):
    """The same under its earlier name."""
