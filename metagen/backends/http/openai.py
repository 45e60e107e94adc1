"""What an OpenAI-compatible server is asked and what it replies, as plain data. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, pairwise
from math import nan
from typing import Any

import msgspec

from metagen.backends.http.connection import CLOSED, DONE, TRANSIENT, Refused, error_text, read_json
from metagen.budget import Usage
from metagen.confidence import of_token
from metagen.errors import GenerationError, TransientError
from metagen.request import NUMBERS, Completion, Request, Sampling, completed
from metagen.thinking import Family, Reply, may_think, split

LENGTH = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
STOP = frozenset(
    {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete", "completed", "tool_calls"}
)
INVALID = frozenset({"invalid_request_error", "BadRequestError"})
"""How servers call errors that are the fault of the request."""
STATUS = re.compile("[0-9]{3}")
PASSING = re.compile(r"\brate|overload|try again|timed? ?out|too many requests", re.IGNORECASE)
"""What errors say that may pass."""
UNREADABLE = "unreadable"
"""Our own name for the end of a sample that cannot be read."""
GIVEN_UP = frozenset({"abort", "aborted", "cancelled", "error", "timeout", UNREADABLE})
"""The server did not finish the sample, and may be asked for it again."""
WITHHELD = frozenset({"content_filter", "content-filter", "safety", "recitation", "refusal", "blocklist"})
"""The server made the sample and keeps it back: asked again, it would do so again."""

ENDED = LENGTH | STOP
KNOWN = ENDED | GIVEN_UP | WITHHELD | {""}


class Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class Detailed(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class Counts(msgspec.Struct, gc=False):
    """The `usage` of a reply, or of the part of it that has come."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Cached | None = None
    completion_tokens_details: Detailed | None = None

    def usage(self) -> Usage:
        cached = (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0
        return Usage(
            calls=1,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=min(max(cached, 0), self.prompt_tokens),
            completion_tokens=self.completion_tokens,
            thought_tokens=min(max(self.thought or 0, 0), self.completion_tokens),
        )

    @property
    def thought(self) -> int | None:
        """The tokens of thoughts, where the server tells."""
        details = self.completion_tokens_details
        return details.reasoning_tokens if details else None

    def is_sound(self, prompt: int, output: int) -> bool:
        """Whether a request can have cost that, at up to `prompt` tokens to read and `output` to write."""
        return 0 < self.prompt_tokens <= prompt and 0 <= self.completion_tokens <= output


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """In JSON; some servers give the object itself."""

    @property
    def written(self) -> str:
        """The arguments in JSON, or a piece of that; empty where there are none."""
        return json.dumps(self.arguments) if isinstance(self.arguments, dict) else self.arguments or ""


class ToolCall(msgspec.Struct, gc=False):
    """A call of a tool, or a piece of one in a stream."""

    index: int | None = None
    function: Function | None = None

    def added(self, piece: "ToolCall") -> "ToolCall":
        """The call with another piece of it."""
        before, more = self.function or Function(), piece.function or Function()
        name, arguments = (before.name or "") + (more.name or ""), before.written + more.written
        return ToolCall(index=self.index, function=Function(name=name, arguments=arguments))

    @property
    def written(self) -> str:
        """The call as models write it into their text, where no parser of the server takes it out."""
        function = self.function or Function()
        name, arguments = json.dumps(function.name), function.written or "{}"
        return f'\n<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'


class Message(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    """The same under its earlier name."""

    @property
    def thought(self) -> str:
        return self.reasoning or self.reasoning_content or ""


class Likely(msgspec.Struct, gc=False):
    """A token that may have stood at a place, and the logarithm of its probability, where the server tells it."""

    token: str = ""
    logprob: float | None = None


class Token(Likely, gc=False):
    """One token of a chat's reply, with the most probable ones at its place."""

    top_logprobs: list[Likely] | None = None


class Logprobs(msgspec.Struct, gc=False):
    """Of completions (`token_logprobs`) or of chats (`content`)."""

    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None
    content: list[Token] | None = None

    def values(self) -> tuple[float, ...]:
        """One for each token; not a number where the server tells none."""
        if self.content is not None:
            return tuple(nan if token.logprob is None else token.logprob for token in self.content)
        return tuple(nan if value is None else value for value in self.token_logprobs or ())

    def tops(self) -> list[dict[str, float]]:
        """The most probable tokens at each place, if they were asked for."""
        if self.content is None:
            return [top or {} for top in self.top_logprobs or ()]
        told = [[(top.token, top.logprob) for top in token.top_logprobs or ()] for token in self.content]
        return [{token: logprob for token, logprob in tops if logprob is not None} for tops in told]


class Choice(msgspec.Struct, gc=False):
    """One sample, or a piece of one in a stream."""

    index: int = 0
    text: str | None = None
    message: Message | None = None
    delta: Message | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    matched_stop: int | str | None = None
    token_ids: tuple[int, ...] | None = None
    reasoned: str = ""
    """The thought, from the pieces of a stream."""
    called: tuple[ToolCall, ...] = ()
    """The calls of tools, from the pieces of a stream."""

    @property
    def said(self) -> str:
        """The text, without the calls of tools."""
        said = self.message or self.delta
        return (said.content if said else None) or self.text or ""

    @property
    def calls(self) -> Sequence[ToolCall]:
        said = self.message or self.delta
        return (said.tool_calls if said else None) or self.called

    @property
    def written(self) -> str:
        """The text, and after it the calls of tools."""
        if not (calls := self.calls):
            return self.said
        return (self.said + "".join(call.written for call in calls)).lstrip("\n")

    @property
    def thought(self) -> str:
        """What the server's own parser took for the thought; empty where it has none."""
        said = self.message or self.delta
        return (said.thought if said else "") or self.reasoned

    @property
    def reason(self) -> str:
        """Why it ended, in small letters; empty while it is under way."""
        return (self.finish_reason or "").lower()

    @property
    def stop(self) -> str:
        """The stop string that ended it, where the server tells."""
        matched = self.stop_reason if self.stop_reason is not None else self.matched_stop
        return matched if isinstance(matched, str) else ""


class Body(msgspec.Struct, gc=False):
    """A whole reply, or one piece of a stream."""

    choices: list[Choice] = msgspec.field(default_factory=list)
    usage: Counts | None = None
    error: Any = None
    prompt_token_ids: tuple[int, ...] | None = None
    """Of a chat's prompt in the model's template, where the server tells."""

    def number(self) -> None:
        """Give samples their numbers by their places, where the server gives none."""
        if len(self.choices) > 1 and not self.choices[-1].index and not any(choice.index for choice in self.choices):
            for place, choice in enumerate(self.choices):
                choice.index = place

    def has_ended(self, n: int) -> bool:
        """Whether all of `n` samples have come to their ends."""
        return sum(choice.reason in ENDED | WITHHELD for choice in self.choices) == n


_READER = msgspec.json.Decoder(Body)
TOTALS = ("prompt_tokens", "completion_tokens")
UNREAD = (msgspec.ValidationError, UnicodeEncodeError)
"""What is raised for fields of another type, and for half of a surrogate pair in the place of a number."""


def _as_it_should_be(reply: bytes) -> Body | None:
    """The reply, read in one pass; `None` for what is broken, odd, or an error, and needs a closer look."""
    try:
        body = _READER.decode(reply)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return None if body.error or not (body.choices or body.usage) else body


def read_bytes(reply: bytes, host: str) -> Body:
    """A reply as it came. Raises `TransientError` as `read` does, and for what is not JSON.

    Some servers send a stream though none was asked for.
    """
    if body := _as_it_should_be(reply):
        return body
    if reply.lstrip().startswith((b"data:", b"event:", b":")):
        events = (line[5:].strip() for line in reply.splitlines() if line.startswith(b"data:"))
        return join((event for event in events if event not in (b"", DONE)), host)
    return read(read_json(reply, host), host)


def read(reply: object, host: str) -> Body:
    """Raises `TransientError` if that is no reply of such a server, or tells of an error on its side.

    Raises `Refused` if the error says that the request would fail again.
    """
    if isinstance(reply, dict) and (error := _error_in(reply)):
        raise _failure(error, host)
    reply = _usual(reply)
    try:
        return msgspec.convert(reply, Body, strict=False)
    except UNREAD as error:
        if body := _readable_part(reply):
            return body
        field = str(error).partition("`$")[2].strip(".`") or "all of it"
        raise TransientError(f"{host} sent a reply that cannot be read (field {field!r})", sent=True) from None


def _error_in(reply: dict[str, Any]) -> object:
    """The error in the place of a reply, if there is one, in the form of OpenAI's API or in a server's own."""
    own = "choices" not in reply and (reply.get("message") or reply.get("detail"))
    return reply.get("error") or (reply if own else None)


def _failure(error: object, host: str) -> GenerationError:
    """What an error means that came in place of a reply, by the status that it names.

    Of a key, an account or a model it may be the fault of one of several servers behind this one: it ends no run.
    """
    told = (error.get("code"), error.get("status")) if isinstance(error, dict) else ()
    status = next((int(each) for each in map(str, told) if STATUS.fullmatch(each)), 0)
    is_fault = isinstance(error, dict) and error.get("type") in INVALID
    if not status and is_fault and not PASSING.search(str(error)):
        status = 400
    if 400 <= status < 500 and status not in TRANSIENT | CLOSED:
        return Refused(status, f"{host} answered {status}: {error_text(error)}")
    return TransientError(f"{host} broke off: {error_text(error)}", sent=True)


def _usual(reply: object) -> object:
    """The reply as most servers write it: some write `null` for no samples or no number, and contents in parts."""
    if not isinstance(reply, dict) or not isinstance(given := reply.get("choices") or [], list):
        return reply
    return reply | {"choices": [_usual_choice(each) if isinstance(each, dict) else each for each in given]}


def _usual_choice(choice: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in choice.items() if value is not None}
    joined = {name: _joined(given[name]) for name in ("message", "delta") if isinstance(given.get(name), dict)}
    return given | joined


def _joined(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is a list of parts, such as Mistral's, with its texts as one, and its thoughts too."""
    parts = message.get("content")
    if not isinstance(parts, list) or not all(isinstance(part, str | dict) for part in parts):
        return message
    thoughts = [_text_of(part.get("thinking")) for part in parts if isinstance(part, dict)]
    texts = [_text_of(part if isinstance(part, str) else part.get("text")) for part in parts]
    thought = {"reasoning": "".join(thoughts)} if any(thoughts) else {}
    return message | thought | {"content": "".join(texts)}


def _text_of(part: object) -> str:
    """The text of a part: its own, or that of the parts of which it consists in its turn."""
    if isinstance(part, list):
        return "".join(map(_text_of, part))
    if isinstance(part, dict):
        return _text_of(part.get("text"))
    return part if isinstance(part, str) else ""


def _readable_part(reply: object) -> Body | None:
    """What can be read of a reply: one sample that cannot costs no other, and a count that cannot costs none."""
    given = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(reply, dict) or not isinstance(given, list):
        return None
    choices = [_choice(each, place) for place, each in enumerate(given)]
    if choices and all(choice.reason == UNREADABLE for choice in choices):
        return None
    return Body(choices, _counts(reply.get("usage")))


def _counts(given: object) -> Counts | None:
    """What can be read of a count: odd details cost no more than themselves."""
    totals = {name: given.get(name) for name in TOTALS} if isinstance(given, dict) else None
    for told in (given, totals):
        with suppress(*UNREAD):
            return msgspec.convert(told, Counts | None, strict=False)
    return None


def _choice(given: object, place: int) -> Choice:
    try:
        return msgspec.convert({"index": place} | given if isinstance(given, dict) else given, Choice, strict=False)
    except UNREAD:
        index = given.get("index") if isinstance(given, dict) else None
        return Choice(index=index if isinstance(index, int) else place, finish_reason=UNREADABLE)


def read_piece(piece: bytes, host: str) -> Body | None:
    """One piece of a stream; `None` for what is no reply at all, such as a keepalive of the server's own.

    Raises `TransientError` for a piece that is broken: without it, the text would lack its middle.
    """
    if body := _as_it_should_be(piece):
        return body
    if not piece.startswith(b"{"):
        return None
    return read(read_json(piece, host), host)


def last_counts(pieces: Sequence[bytes], host: str) -> Counts | None:
    """The latest count in the pieces of a stream."""
    return next((body.usage for body in _readable(reversed(pieces), host) if body.usage), None)


def count_ids(pieces: Iterable[bytes], host: str) -> int:
    """The tokens in the pieces of a stream, of all samples together, where they are told."""
    return sum(len(choice.token_ids or ()) for body in _readable(pieces, host) for choice in body.choices)


def _readable(pieces: Iterable[bytes], host: str) -> Iterator[Body]:
    """What the pieces say; one that cannot be read counts nothing."""
    for piece in pieces:
        with suppress(GenerationError):
            if body := read_piece(piece, host):
                yield body


class Growing:
    """A reply that comes in the pieces of a stream; `heard` is called with each choice that a piece added to."""

    def __init__(self, host: str, heard: Callable[[Choice], object] | None = None) -> None:
        self._host = host
        self._heard = heard
        self._choices: dict[int, Choice] = {}
        self._usage: Counts | None = None
        self._prompt: tuple[int, ...] | None = None

    def add(self, piece: bytes) -> None:
        if (body := read_piece(piece, self._host)) is None:
            return
        self._usage = body.usage or self._usage
        self._prompt = body.prompt_token_ids or self._prompt
        for part in body.choices:
            choice = self._choices.setdefault(part.index, Choice(index=part.index, text=""))
            _add(choice, part)
            if self._heard:
                self._heard(choice)

    @property
    def body(self) -> Body:
        """What has come."""
        return Body(list(self._choices.values()), self._usage, prompt_token_ids=self._prompt)


def join(pieces: Iterable[bytes], host: str) -> Body:
    """The whole reply, from the pieces of a stream."""
    whole = Growing(host)
    for piece in pieces:
        whole.add(piece)
    return whole.body


def _add(choice: Choice, piece: Choice) -> None:
    if piece.delta is not None:
        piece.message = None  # which some servers send beside it, with all that was said so far
    choice.text = (choice.text or "") + piece.said
    for call in piece.calls:
        choice.called = _with_call(choice.called, call)
    choice.reasoned += piece.thought
    if choice.finish_reason != UNREADABLE:  # a part of it is missing for good
        choice.finish_reason = piece.finish_reason or choice.finish_reason
    choice.stop_reason = piece.stop_reason if piece.stop_reason is not None else choice.stop_reason
    choice.matched_stop = piece.matched_stop if piece.matched_stop is not None else choice.matched_stop
    choice.token_ids = (choice.token_ids or ()) + piece.token_ids if piece.token_ids else choice.token_ids
    if piece.logprobs:
        before = choice.logprobs or Logprobs()
        choice.logprobs = Logprobs(
            token_logprobs=[*before.values(), *piece.logprobs.values()],
            top_logprobs=[*before.tops(), *piece.logprobs.tops()],
        )


def _with_call(called: tuple[ToolCall, ...], piece: ToolCall) -> tuple[ToolCall, ...]:
    """The calls with another piece. Where a server does not number them, a name begins another one."""
    begins = piece.function is not None and bool(piece.function.name)
    unnumbered = len(called) - (not begins) if called else 0
    index = unnumbered if piece.index is None else piece.index
    calls = {each.index: each for each in called}
    begun = calls.get(index)
    added = begun.added(piece) if begun else msgspec.structs.replace(piece, index=index)
    return (*(calls | {index: added}).values(),)


def settings_of(request: Request, model: str, limit: int | None) -> dict[str, Any]:
    """The settings of a request in the words of OpenAI's API; what was not set is left out."""
    own: dict[str, Any] = {"n": request.n if request.n > 1 else None, "max_tokens": limit, "seed": request.seed}
    return {name: value for name, value in own.items() if value is not None} | _lasting(request.sampling, model)


@lru_cache(64)
def _lasting(sampling: Sampling, model: str) -> dict[str, Any]:
    """The settings that are the same in many requests."""
    options = dict(sampling.chat_template_kwargs or {})
    settings: dict[str, Any] = {
        "tools": options.pop("tools", None),
        "model": sampling.adapter or model,
        **{name: getattr(sampling, name) for name in NUMBERS},
        "logit_bias": {str(token): bias for token, bias in (sampling.logit_bias or {}).items()} or None,
        "bad_words": list(sampling.bad_words) or None,
        "stop_token_ids": list(sampling.stop_token_ids) or None,
        "ignore_eos": sampling.ignore_eos or None,
        "structured_outputs": sampling.form and sampling.form.settings(),
        "chat_template_kwargs": options or None,
        "stop": list(sampling.stop) or None,
    }
    return {name: value for name, value in settings.items() if value is not None} | dict(sampling.extra or {})


def written_tokens(body: Body) -> int:
    """The tokens of what came, where nobody counted them: its ids, or else one token per byte at most."""
    return sum(len(each.token_ids or ()) or len((each.thought + each.written).encode()) for each in body.choices)


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """A total in whole parts, in proportion to sizes that are not all 0; the parts sum to it."""
    whole = sum(sizes)
    ends = [total * size // whole for size in accumulate(sizes)]
    return [end - begin for begin, end in pairwise([0, *ends])]


def loss_of(choice: Choice) -> GenerationError | None:
    """Why a sample is lost, if it is: given up by the server, or withheld."""
    reason = choice.reason
    if reason in ENDED:
        return None
    if not reason or reason in GIVEN_UP:
        return TransientError(f"the server gave up a sample: {choice.finish_reason or 'it has no end'}", sent=True)
    if reason in WITHHELD:
        return GenerationError(f"the server withheld a sample: {choice.finish_reason}")
    return None


def reply_of(choice: Choice, family: Family | None, *, opened: bool = False) -> Reply:
    """The thought and the text: as the server's parser has parted them, or else by their marks.

    A thought after which nothing was said has not ended: parsers do not tell.
    """
    if not choice.thought:
        return split(choice.written, family, opened=opened)
    said = split(choice.written, family)
    thought = "\n".join(filter(None, (choice.thought.strip(), said.thought)))
    return Reply(thought, said.text.lstrip(), said.open or not said.text.strip())


def plain_completion(choice: Choice) -> Completion | None:
    """A sample that is a plain text, as nearly all are: what `completion` makes of it, by a shorter way.

    `None` where it may hold more: a thought, a call of a tool, log-probabilities.
    """
    if choice.logprobs or choice.called or choice.reasoned:
        return None
    text, said = choice.text or "", choice.message or choice.delta
    if said is not None:
        if said.tool_calls or said.reasoning or said.reasoning_content:
            return None
        text = said.content or text
    if may_think(text):
        return None
    ids, is_cut = choice.token_ids or (), choice.reason in LENGTH
    stop = "" if is_cut else choice.stop
    end = "length" if is_cut else "stop" if stop else "eos"
    return completed(text, () if stop else ids, end, stop, (), len(ids), (), (), "", False, 0, None)


def completion(choice: Choice, reply: Reply, top: int | None, thought_tokens: int = 0) -> Completion:
    """One sample. Its ids are left out where a stop string ended it: they may spell more than the text."""
    is_cut, ids, logprobs = choice.reason in LENGTH, choice.token_ids or (), choice.logprobs
    stop = "" if is_cut else choice.stop
    tops = [_most_probable(each, top) for each in logprobs.tops()] if top and logprobs else []
    return completed(
        text=reply.text,
        tokens=() if stop else ids,
        end="length" if is_cut else "stop" if stop else "eos",
        stop=stop,
        logprobs=logprobs.values() if logprobs else (),
        length=len(ids),
        confidences=tuple(of_token([logprob for _, logprob in each]) for each in tops) if tops and all(tops) else (),
        first=tops[0] if tops else (),
        thought=reply.thought,
        open=reply.open,
        thought_tokens=thought_tokens,
        recorded=None,
    )


def _most_probable(tokens: dict[str, float], k: int) -> tuple[tuple[str, float], ...]:
    """The k most probable; a server may add the token that was drawn, or give it in place of the last."""
    return tuple(sorted(tokens.items(), key=lambda token: -token[1])[:k])
