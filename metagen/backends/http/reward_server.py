"""Reward models behind `vllm serve`."""

from collections import OrderedDict
from typing import Any, Self

import msgspec

from metagen.backends.http.books import Lengths, reserved
from metagen.backends.http.connection import PROBE_EVERY, Http, Refused, WebPage, find_model
from metagen.backends.http.openai import UNREAD, Counts
from metagen.backends.http.server import SILENCE
from metagen.backends.rewards.families import Family, Form, family
from metagen.backends.rewards.readings import fitting, places, share
from metagen.errors import InputError, TransientError
from metagen.request import Card, Meter, Reading, RewardBackend
from metagen.settings import counted
from metagen.tasks import together

REMEMBERED = 4096
"""Readings whose token ids are kept, between counting them and sending them."""


class _Scored(msgspec.Struct):
    """What was read of one prompt: one row per token or mark by `/pooling`, or one row by `/classify`."""

    data: list[list[float]] | None = None
    probs: list[float] | None = None


class _Reply(msgspec.Struct):
    data: list[_Scored] = msgspec.field(default_factory=list)
    choices: list[dict[str, Any]] = msgspec.field(default_factory=list)
    usage: Counts | None = None


class VLLMRewardServer(RewardBackend):
    """A reward model behind `url`, such as `http://localhost:8000/v1`: `vllm serve`, pooling or, if causal, generating.

    Its family is found by the model's name, or given as `like`. Readings are tokenised by the server and sent as ids:
    to `/pooling` where steps are marked, to `/classify` or `/pooling` where the whole is scored, and to
    `/v1/completions`, one token per step, where the model is causal. A server of marked steps must know the mark of its
    model: the one of Qwen's is vLLM's default, another is given to it by `--pooler-config '{"step_tag_id": ...}'`.

    `model` is needed only if the server has several. `name` is its name in a run (default: the server's name for it).
    `context` is the most tokens of a reading (default: what the server says). `card`, such as
    `ModelCard.read("config.json")`, lets FLOPs be counted. The key is read from the environment variable `key_env`
    (default: `OPENAI_API_KEY`), and sent over plain HTTP to this machine alone unless `insecure_key` is set. `headers`
    go with each request. A connection may take `connect` seconds (default: 10), and a reply may be silent for `silence`
    seconds (default: 600). A server that hangs is found earlier, by looking at it every `probe_every` seconds (default:
    30).

    Cancelling closes the connection; what had been sent is then counted whole, as an estimate. Failures that may pass
    are `TransientError`.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        like: str | None = None,
        name: str | None = None,
        context: int | None = None,
        card: Card | None = None,
        key_env: str = "OPENAI_API_KEY",
        insecure_key: bool = False,
        headers: dict[str, str] | None = None,
        connect: float = 10.0,
        silence: float = SILENCE,
        probe_every: float = PROBE_EVERY,
    ) -> None:
        self._family: Family = family(model or url, {}, like)
        if not self._family.served:
            raise InputError(f"vLLM has no architecture for {self._family.name} models: use TorchReward")
        self._http = Http(
            url,
            key_env=key_env,
            connect=connect,
            silence=silence,
            headers=headers,
            insecure_key=insecure_key,
            probe_every=probe_every,
        )
        self._wanted, self._wanted_context = model, context
        self._model, self._context = model, context
        self._name = name
        self._given_card = card
        self._lengths = Lengths()
        self._classifies = False
        self._mark = self._good = self._bad = -1
        self._ids: OrderedDict[Reading, list[list[int]]] = OrderedDict()

    @property
    def name(self) -> str:
        return self._name or self._model or self._http.host

    @property
    def context(self) -> int:
        return self._context or 0

    @property
    def process(self) -> bool:
        return self._family.process

    @property
    def card(self) -> Card | None:
        """What the model costs to run, if it was given: a server does not tell."""
        return self._given_card

    async def probe(self) -> None:
        await self._http.probe()

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        every = await self._read(reading)
        reading.check_time()
        if self._family.reads == "next":
            return tuple(await together(self._asked(ids, spend) for ids in every))
        (ids,) = every
        if self._family.reads == "marks":
            body = {"input": ids, "task": "token_classify", "use_activation": True}
            return self._marked(await self._rows("/pooling", body, ids, spend), ids, len(reading.steps))
        return (await self._valued(ids, spend),)

    async def count(self, reading: Reading) -> int:
        return sum(len(ids) + (self._family.reads == "next") for ids in await self._read(reading))

    async def _read(self, reading: Reading) -> list[list[int]]:
        """The ids of all that is sent for a reading: one text, or for causal models one per step."""
        if (known := self._ids.get(reading)) is not None:
            return known
        if self._family.reads == "next":
            upto = [reading.steps[:t] for t in range(1, len(reading.steps) + 1)]
            forms = [self._family.form(reading.prompt, steps) for steps in upto]
        else:
            forms = [self._family.form(reading.prompt, reading.steps)]
        ids = await together(self._tokenized(form) for form in forms)
        self._ids[reading] = [fitting(each, self.name, self.context) for each in ids]
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)
        return self._ids[reading]

    async def _tokenized(self, form: Form) -> list[int]:
        ids = await self._told_ids(form)
        if ids is None:
            raise self._unreadable("token ids")
        return ids

    async def _told_ids(self, form: Form, *, special: bool = True) -> list[int] | None:
        """The ids of what is read; `None` where the server tells none."""
        if isinstance(form, list):
            body: dict[str, Any] = {"messages": form, "add_generation_prompt": self._family.reads == "next"}
        else:
            body = {"prompt": form, "add_special_tokens": special}
        reply = await self._http.post(f"{self._http.root}/tokenize", {"model": self._model} | body)
        try:
            return list(map(int, reply["tokens"]))
        except (TypeError, KeyError, ValueError):
            return None

    def _marked(self, rows: list[list[float]], ids: list[int], steps: int) -> tuple[float, ...]:
        """The probability of the second class at each step's mark; a question may hold marks too."""
        if len(rows) == len(ids):
            rows = [rows[place] for place in places(ids, self._mark, steps)]
        elif len(rows) != ids.count(self._mark):
            gave = f"{self.name} gave {counted(len(rows), 'score')} for {counted(ids.count(self._mark), 'mark')}"
            raise InputError(
                f"{gave}: start its server with "
                f"""--pooler-config '{{"step_tag_id": {self._mark}}}'"""
            )
        if not all(rows):
            raise self._unreadable("a score")
        return tuple(row[-1] for row in rows[len(rows) - steps :])

    async def _valued(self, ids: list[int], spend: Meter) -> float:
        """The logit of the whole."""
        body = {"input": ids, "use_activation": False}
        if self._classifies:
            rows = await self._rows("/classify", body, ids, spend)
        else:
            rows = await self._rows("/pooling", body | {"task": "token_classify"}, ids, spend)
        if not rows or not rows[-1]:
            raise self._unreadable("a score")
        return rows[-1][-1]

    async def _rows(self, path: str, body: dict[str, Any], ids: list[int], spend: Meter) -> list[list[float]]:
        reply = await self._sent(path, body, len(ids), 0, spend)
        scored = reply.data[0] if reply.data else _Scored()
        if scored.data is None and scored.probs is None:
            raise self._unreadable("scores")
        return scored.data if scored.data is not None else [scored.probs or []]

    def _unreadable(self, what: str) -> TransientError:
        return TransientError(f"{self.name} sent a reply without {what}", sent=True)

    async def _asked(self, ids: list[int], spend: Meter) -> float:
        """The share of `good` against `bad` in the token after a prompt."""
        labels = [self._good, self._bad]
        body = {
            "prompt": ids,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": len(labels),
            "logprob_token_ids": labels,
        }
        reply = await self._sent("/v1/completions", body | {"return_tokens_as_token_ids": True}, len(ids), 1, spend)
        try:
            told = reply.choices[0]["logprobs"]["top_logprobs"][0]
            good, bad = (float(told[f"token_id:{label}"]) for label in labels)
        except (TypeError, KeyError, IndexError):
            raise self._unreadable("log-probabilities") from None
        return share(good, bad)

    async def _sent(self, path: str, body: dict[str, Any], prompt: int, output: int, spend: Meter) -> _Reply:
        """One request, counted once: as the server says, or as it was reserved."""
        with reserved(spend, self._lengths, prompt, output) as books:
            sent = {"model": self._model} | body
            reply = self._parsed(await self._http.post(f"{self._http.root}{path}", sent, books.note_bytes))
            if reply.usage and reply.usage.is_sound(self.context, books.output or self.context):
                books.settle_counts(reply.usage)
        return reply

    def _parsed(self, reply: Any) -> _Reply:
        try:
            return msgspec.convert(reply, _Reply, strict=False)
        except UNREAD:
            raise self._unreadable("what was asked for") from None

    async def __aenter__(self) -> Self:
        await self._http.open()
        try:
            await self._explore()
        except BaseException as error:
            await self._http.close()
            if isinstance(error, Refused | WebPage):
                raise InputError(f"cannot use {self._http.base}: {error}") from None
            raise
        return self

    async def _explore(self) -> None:
        """Find out what the server serves, and the ids of the tokens at which scores are read."""
        self._ids.clear()  # what served here before may have been another model
        self._model, told = await find_model(self._http, self._wanted)
        length = told.get("max_model_len")
        self._context = self._wanted_context or (length if isinstance(length, int) and length > 0 else None)
        if not self._context:
            raise InputError(f"{self.name} does not tell its context: give it with context=")
        if self._family.mark:
            self._mark = await self._token(self._family.mark)
        if self._family.good:
            self._good, self._bad = await self._token(self._family.good), await self._token(self._family.bad)
        if self._family.reads == "last":
            self._classifies = await self._serves("/classify")

    async def _token(self, text: str) -> int:
        ids = await self._told_ids(text, special=False)
        if not ids:
            raise InputError(f"{self.name} tells no token ids: it must be vLLM's server")
        return ids[-1]

    async def _serves(self, path: str) -> bool:
        try:
            await self._http.post(f"{self._http.root}{path}", {"model": self._model, "input": "1"})
        except Refused:
            return False
        return True

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
