"""How one server is asked: the bodies of requests in its dialect, and what it refuses or calls otherwise."""

import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from metagen.backends.chat import NO_SYSTEM
from metagen.backends.http.connection import UNFIT, Http, Refused
from metagen.backends.http.dialects import DIALECTS, Dialect
from metagen.backends.http.openai import (
    LENGTH,
    Body,
    Choice,
    Counts,
    Detailed,
    completion,
    plain_completion,
    reply_of,
    settings_of,
)
from metagen.backends.http.tokens import REMEMBERED, Tokens, written_so_far
from metagen.backends.thoughts import TAIL
from metagen.errors import UnfitRequest
from metagen.messages import plain
from metagen.request import Completion, Request, Sampling, changed, options_of
from metagen.thinking import Family, Reply, find_family

Asked = tuple[Hashable, ...]
CONTEXT = 8192
"""Tokens, where the server does not tell and the caller does not know."""
COMPLETIONS, CHATS = "/completions", "/chat/completions"
TURN = 16
"""Tokens that a chat template adds to each further turn at most."""
LONGEST = 1 << 20
"""The most tokens of a reply that a server's count is believed to have, where nothing limits it."""
OVERHEAD = 16
"""Tokens that a chat template adds to a prompt, until the server's first count tells."""
DROPPED = ("temperature", "top_p", "top_k", "min_p", "seed", "stream_options")
"""Settings that a server may refuse and be asked without, which is said."""
BENDING = frozenset({"temperature", "top_p", "top_k", "min_p"})
"""Those among them that bend the distribution."""


@dataclass(slots=True)
class Wording:
    """What is known of one server, and the words for it. It learns from refusals and from the first counts."""

    http: Http
    model: str
    api: str
    extra: Mapping[str, Any]
    context: int | None = None
    most: int | None = None
    """The most tokens of a reply, where the server tells."""
    dialect: Dialect = field(default_factory=lambda: DIALECTS["openai"])
    said: dict[str, None] = field(default_factory=dict)
    """What is missing or odd, each once, in the order in which it was noticed."""
    limit_name: str = "max_tokens"
    overhead: int = OVERHEAD
    counted: OrderedDict[Asked, int] = field(default_factory=OrderedDict)
    """The tokens of prompts that the server has counted, where it tells no ids."""
    unsupported: set[str] = field(default_factory=set)
    family: Family | None = None
    """How the model marks its thoughts."""
    opens: tuple[int, ...] = ()
    closes: tuple[int, ...] = ()
    """The ids of the marks that open and end one, where ids are known."""
    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        self.speak(self.dialect)

    @property
    def room(self) -> int:
        """The most tokens of a prompt and its reply together."""
        return self.context or CONTEXT

    def speak(self, dialect: Dialect) -> None:
        """Use a dialect from here on."""
        self.dialect = dialect
        self.tokens = Tokens(self.http, dialect, self.model, self.room)

    def say(self, what: str) -> None:
        """Note what the user should know."""
        self.said[what] = None

    @property
    def learnt(self) -> int:
        """How much was learnt from refusals; a request that was sent before knew less."""
        return len(self.unsupported) + (self.limit_name != "max_tokens") + self.tokens.merges

    def learn(self, refused: Refused) -> set[str]:
        """The settings that a refusal names and that the server can be asked without, or calls otherwise.

        A value that is out of range teaches nothing: asked without the setting, the server would draw from another
        distribution than the caller thinks, in this request and in all others. Nor does a setting that was not sent.
        """
        text, sent = TURNS.sub("", str(refused)), refused.body
        if refused.status not in {400, 422}:
            return set()
        named = set(re.findall(r"[a-z_]+", FUNCTION.sub("", text))) & set(DROPPED) - self.unsupported
        if sent is not None:
            named &= sent.keys()
        if named & BENDING and OUT_OF_RANGE.search(text) and not UNKNOWN.search(text):
            named -= BENDING
        elif not self.tokens.merges and _has_system(sent) and SYSTEM.search(text) and "role" in text.lower():
            self.tokens.merges = True
            self.say(NO_SYSTEM)
            return {"system"}
        elif self.limit_name == "max_tokens" and "max_completion_tokens" in text and "max_tokens" in text:
            self.limit_name = "max_completion_tokens"
            return {"max_tokens"}
        for name in named:
            self.unsupported.add(name)
            self.say(LEFT_OUT.format(name))
        return named

    def forget(self, learnt: set[str]) -> None:
        """Take back what was learnt from refusals, where the request was refused without it all the same."""
        self.unsupported -= learnt
        for name in learnt:
            self.said.pop(NO_SYSTEM if name == "system" else LEFT_OUT.format(name), None)
        self.tokens.merges &= "system" not in learnt
        if "max_tokens" in learnt:
            self.limit_name = "max_tokens"

    def shorter(self, refused: Refused, request: Request) -> Request | None:
        """The request with less room for its reply, where a refusal says that the length does not fit.

        The prompt was reckoned too low then. Its bound fits for certain; where that leaves nothing, halves are tried,
        down to an eighth of the context: a limit below that is the caller's own, and stays as it is.
        """
        asked = self.longest(request, prompt := self.bound(request))
        left, own = self.room - prompt, request.sampling.max_tokens or request.room
        if (
            self.dialect.tells_ids
            or not own
            or refused.status not in UNFIT - {413}
            or not TOO_LONG.search(str(refused))
        ):
            return None
        room = max(left, min(asked, self.room) // 2, 1)
        fits = room == left or room >= self.room // 8
        return changed(request, room=room) if fits and room < asked else None

    def refuses(self, sampling: Sampling) -> str:
        """What this kind of server cannot do of these settings, and the remedy."""
        lacking = [name for name in self.dialect.lacks if getattr(sampling, name) not in (None, False, ())]
        if not lacking:
            return ""
        remedy = "if the server has it by some name, give it in extra={...}"
        return f"speaks the dialect {self.dialect.name!r}, which has no {min(lacking)}: {remedy}"

    async def find_family(self, wanted: str | None) -> None:
        """Find out how the model marks its thoughts, by its name, and whether its chat template opens them."""
        self.opens = self.closes = ()
        self.family = find_family(wanted, self.model)
        if self.family and not self.dialect.returns_ids:
            self.family = replace(self.family, apart=False)
        elif self.family:
            self.opens = await self.tokens.encode(self.family.open)
            self.closes = await self.tokens.encode(self.family.close)
            end = await self.tokens.spelled(*(await self.tokens.of(Request("", PROBE)))[-TAIL:])
            self.family = replace(self.family, opened=end.rstrip().endswith(self.family.open))

    async def show_marks(self, choice: Choice) -> None:
        """Put the marks of its thought into the text of a sample, where its ids tell of some that the text lacks."""
        if choice.token_ids and choice.text is not None and not choice.thought:
            choice.text = await self._shown(choice.text, choice.token_ids, choice.reason)

    def understood(self, choice: Choice, request: Request, *, opened: bool) -> Completion:
        """One sample, its thought apart from its text, which shows its marks."""
        if not (opened or self.family or request.sampling.thought_only) and (plain := plain_completion(choice)):
            return plain
        reply = self.reply(choice, request, opened=opened)
        thought = self.thought_tokens(choice, opened=opened)
        one = completion(choice, reply, request.sampling.top_logprobs, thought)
        if request.sampling.thought_only and one.end == "stop":  # by the mark, which is no stop string of the user's
            return replace(one, end="eos", stop="", tokens=choice.token_ids or ())
        return one

    def reply(self, choice: Choice, request: Request, *, opened: bool) -> Reply:
        """The thought and the text of a sample, or of as much of it as has come.

        Without ids, the family's name alone says that the chat template opens a thought. A reply that ends by itself
        without a mark is a text then: the server was told not to think, or keeps the thought to itself.
        """
        family = self.family
        guessed = opened and family is not None and not family.apart and not request.open
        if guessed and family and family.close not in choice.written and _is_text(choice, request):
            opened = False
        return reply_of(choice, family, opened=opened)

    def opened(self, request: Request) -> bool:
        """Whether a completion is inside a thought from its first token on."""
        anew = not request.reply and not request.tokens
        return request.open or bool(self.family and self.family.opened and anew)

    def with_thoughts(self, counts: Counts, reply: Body, request: Request) -> Counts:
        """The server's counts, with the tokens of thoughts where it does not tell them and ids show them."""
        if counts.thought is not None or not self.closes:
            return counts
        opened = self.opened(request)
        tokens = sum(self.thought_tokens(choice, opened=opened) for choice in reply.choices)
        return msgspec.structs.replace(counts, completion_tokens_details=Detailed(reasoning_tokens=tokens))

    async def _shown(self, text: str, ids: Sequence[int], reason: str) -> str:
        """The text without the token that ended the reply, and with the mark that ended a thought."""
        if not self.family or reason in LENGTH:
            return text
        if (ids[-1],) == self.closes:
            return text if text.endswith(self.family.close) else text + self.family.close
        last = await self.tokens.spelled(ids[-1])
        return text.removesuffix(last) if ENDS.fullmatch(last) else text

    def thought_tokens(self, choice: Choice, *, opened: bool) -> int:
        """The tokens of a sample's thought, without its last mark, by its ids."""
        ids = choice.token_ids or ()
        if len(self.closes) == 1 and self.closes[0] in ids:
            return ids.index(self.closes[0])
        return len(ids) if opened or (len(self.opens) == 1 and self.opens[0] in ids) else 0

    def learn_overhead(self, prompt: str, counted: int) -> None:
        """From the server's count of a prompt, what its chat template adds."""
        if 0 < counted < self.room:
            self.overhead = max(self.overhead, counted - _bytes(prompt))

    def learn_prompt(self, request: Request, counted: int, ids: tuple[int, ...] | None) -> None:
        """Remember what the server told of a prompt: its ids, by which a step is continued, or else their number."""
        if ids and request.sampling.keep_stop and self.dialect.returns_ids and len(ids) == counted:
            self.tokens.learn(request, ids)
        if self.dialect.tells_ids or not 0 < counted < self.room:
            return
        asked = _asked(request)
        self.counted[asked] = max(counted, self.counted.get(asked, 0))
        if len(self.counted) > REMEMBERED:
            self.counted.popitem(last=False)

    async def count(self, request: Request) -> int:
        """The prompt's tokens, or a bound on them."""
        if not self.dialect.tells_ids:
            return self.bound(request)
        await self._check_system(request)
        return len(await self.tokens.of(request, self.family))

    def bound(self, request: Request) -> int:
        """What the server has counted of this very prompt, or else a bound on its tokens.

        Where the context is known, the server takes no longer prompt than that.
        """
        if counted := self.counted.get(_asked(request)):
            return counted
        most = self.at_most(request)
        return most if self.context is None else min(most, self.context - 1)

    def longest(self, request: Request, prompt: int) -> int:
        """How many tokens each sample may have at most, if `count` gives `prompt` for the request.

        A bound says little of a long prompt: most texts have four bytes per token. So where ids are unknown, half of
        the context may be asked for in any case, and any limit of the caller's own where the context is unknown. The
        server refuses what does not fit, and `shorter` knows what to ask for then.
        """
        left, own = self.room - prompt, request.sampling.max_tokens
        if self.dialect.tells_ids:
            return request.limit(left)
        if own and self.context is None:
            return request.limit(own)
        return request.limit(min(max(left, self.room // 2), self.most or self.room))

    def believes(self, counts: Counts, request: Request) -> bool:
        """Whether a request can have cost what the server counted."""
        if self.context is None:  # what is assumed proves no count wrong
            prompt = max(self.room, self.at_most(request))
            return counts.is_sound(prompt, request.n * request.limit(LONGEST))
        return counts.is_sound(self.context, request.n * request.limit(max(self.context - counts.prompt_tokens, 0)))

    def at_most(self, request: Request) -> int:
        """A bound on the tokens of a prompt with unknown ids: one per byte, and some for the chat template."""
        turns = sum(
            len(repr(turn.fields()).encode(errors="replace")) + TURN for turn in (*request.before, *request.after)
        )
        sampling = request.sampling
        beside = options_of(sampling) + (repr(sampling.form) if sampling.form else "")  # such as tools, and a schema
        return _bytes(request.prompt + written_so_far(request, self.family) + beside) + turns + self.overhead

    async def body(self, request: Request) -> tuple[dict[str, Any], str, int, int]:
        """What is sent, where to, and how many tokens prompt and sample have at most. Raises `UnfitRequest`."""
        if request.sampling.keep_stop and not self.dialect.keep_stop:
            raise UnfitRequest(f"{self.model} cannot step: it does not return the text that ends a step")
        if request.sampling.keep_stop and not (request.sampling.stop or self.dialect.returns_ids):
            raise UnfitRequest(f"{self.model} cannot step by tokens: it returns no token ids to count")
        if not self.dialect.tells_ids:
            return self._as_text(request)
        await self._check_system(request)
        begun = request.partial or request.tokens or request.thought or request.open
        if self.api == "completions" or begun or request.sampling.thought_only:
            return await self._as_ids(request)
        if request.sampling.max_tokens and request.room is None:
            ids, room = await self._ids_and_room(request)
            limit = request.limit(room)
            return self._settings(request, limit) | self._chat(request), CHATS, len(ids), limit
        # Without a length of its own, the server renders the prompt itself: that saves asking for its ids.
        prompt = self.tokens.known(request) or self.bound(request)
        body = self._settings(request, request.room and request.limit(request.room))
        return body | self._chat(request), CHATS, prompt, request.limit(self.room - 1)

    def stream_settings(self) -> dict[str, Any]:
        """What asks for a stream, with its count."""
        if "stream_options" in self.unsupported:
            return {"stream": True}
        options = {"include_usage": True} | ({"continuous_usage_stats": True} if self.dialect.counts_as_it_goes else {})
        return {"stream": True, "stream_options": options}

    def probe(self) -> tuple[dict[str, Any], str]:
        """A small request for two samples, and where it goes."""
        body = {"model": self.model, "n": 2, self.limit_name: 1} | dict(self.extra)
        if self.api == "completions":
            return body | {"prompt": PROBE}, COMPLETIONS
        return body | {"messages": [{"role": "user", "content": PROBE}]}, CHATS

    async def _check_system(self, request: Request) -> None:
        await self.tokens.check_system(request)
        if self.tokens.merges:
            self.say(NO_SYSTEM)

    async def _ids_and_room(self, request: Request) -> tuple[tuple[int, ...], int]:
        """The prompt's ids, and how many tokens the context leaves for the reply."""
        ids = await self.tokens.of(request, self.family)
        room = self.room - len(ids)
        if room < 1:
            raise UnfitRequest(f"the prompt has {len(ids)} tokens, and {self.model} has a context of {self.room}")
        return ids, room

    def _settings(self, request: Request, limit: int | None) -> dict[str, Any]:
        settings = settings_of(request, self.model, limit) | self.dialect.settings(request.sampling)
        for name in self.dialect.calls:
            settings.pop(name, None)
        if "max_tokens" in settings:
            settings[self.limit_name] = settings.pop("max_tokens")
        return {name: value for name, value in settings.items() if name not in self.unsupported} | dict(self.extra)

    def _chat(self, request: Request, begun: str = "") -> dict[str, Any]:
        extras = self.dialect.extras(partial=bool(begun))
        return {"messages": self.tokens.messages(request, begun)} | extras | _chat_logprobs(request)

    async def _as_ids(self, request: Request) -> tuple[dict[str, Any], str, int, int]:
        ids, room = await self._ids_and_room(request)
        limit = request.limit(room)
        body = self._settings(request, limit) | self.dialect.extras(partial=False)
        body.pop("tools", None)  # the ids of the prompt hold them
        if self.family:  # its marks may be special tokens, which are left out of texts
            body |= {"skip_special_tokens": False} | self._end_of_thought(request)
        if request.sampling.logprobs or request.sampling.top_logprobs:
            body["logprobs"] = request.sampling.top_logprobs or 0
        return body | {"prompt": list(ids)}, COMPLETIONS, len(ids), limit

    def _end_of_thought(self, request: Request) -> dict[str, Any]:
        """What ends a completion with its thought."""
        if not (request.sampling.thought_only and self.family):
            return {}
        if len(self.closes) == 1:
            return {"stop_token_ids": [*request.sampling.stop_token_ids, *self.closes]}
        return {"stop": [self.family.close], self.dialect.keep_stop: True}

    def _as_text(self, request: Request) -> tuple[dict[str, Any], str, int, int]:
        begun = written_so_far(request, self.family)
        if (begun or request.open) and self.dialect.continues != "text":
            raise UnfitRequest(f"{self.model} cannot continue a partial reply: it takes no token ids")
        prompt = self.bound(request)
        limit = self.longest(request, prompt)
        body = self._settings(request, limit if request.sampling.max_tokens or request.room else None)
        if self.api == "completions":
            return body | {"prompt": plain(request.turns) + begun}, COMPLETIONS, prompt, limit
        return body | self._chat(request, begun), CHATS, prompt, limit


PROBE = "1"
LEFT_OUT = "it refuses {}, which is left out"
SYSTEM = re.compile(r"\bsystem\b", re.IGNORECASE)
FUNCTION = re.compile(r"""function\s+[\\"'`]*\w+""")
"""The name of a tool, which is the caller's word."""
TURNS = re.compile(r"""[{,]\s*[\\"']+role[\\"']+\s*:\s*[\\"']+\w*""")
"""The role of a turn, where a server repeats the request that it refuses."""
UNKNOWN = re.compile(
    r"unsupported (?:param|arg|field|option|setting)|unrecogni[sz]ed|\bunknown\b|\bunexpected\b|not permitted"
    r"|only the default|\b(?:unsupported|omit|omitted|unset|null|removed?|without|(?:is|are) not supported"
    r"|not (?:a )?(?:valid|available|allowed)) ?\b(?!value)",
    re.IGNORECASE,
)
"""What servers say of a setting that they do not have, whatever its value is."""
OUT_OF_RANGE = re.compile(
    r"\brange\b|\bm(?:ax|in)imum\b|\bbetween\b|\babove\b|\bbelow\b|\bmust be\b|\bshould be\b|\bat (?:most|least)\b"
    r"|\b(?:less|greater|more|smaller|larger|higher|lower) than\b|\btoo (?:high|low|large|small|big)\b|\bexceed"
    r"|\bnon-?negative\b|\binvalid value\b|\bexpected a\b|[<>]=|[≤≥]|[<>] ?\d",
    re.IGNORECASE,
)
"""What servers say of a value that they do not take."""
TOO_LONG = re.compile(r"context|length|too (?:long|large|many|big)|exceed|max\w*_tokens", re.IGNORECASE)
"""What servers say of a limit that does not fit."""
ENDS = re.compile(r"<\S+>|\[\S+\]")
"""What tokens look like that end a reply, such as `<|im_end|>` and `</s>`."""


def _has_system(sent: Mapping[str, Any] | None) -> bool:
    """Whether a body has a system turn, as far as is known."""
    return sent is None or any(turn.get("role") == "system" for turn in sent.get("messages", ()))


def _is_text(choice: Choice, request: Request) -> bool:
    """Whether a sample ended by itself, not by a length or a stop string; where it is not told which, by neither."""
    told = choice.stop_reason is not None or choice.matched_stop is not None
    return choice.reason not in LENGTH | {""} and not choice.stop and (told or not request.sampling.stop)


def _asked(request: Request) -> Asked:
    """What the server reads of a request: two that are alike in it have equally many tokens."""
    begun = (request.partial, request.thought, request.open)
    return request.before, request.prompt, request.after, begun, request.sampling


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _chat_logprobs(request: Request) -> dict[str, Any]:
    """As chats ask for them."""
    if top := request.sampling.top_logprobs:
        return {"logprobs": True, "top_logprobs": top}
    return {"logprobs": True} if request.sampling.logprobs else {}
