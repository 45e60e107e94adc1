"""What a model is asked, what it replies, and the protocol of whoever serves it."""

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeGuard, runtime_checkable

from metagen.answers.protocol import Form
from metagen.budget import Price, Usage
from metagen.candidate import Score
from metagen.copies import copier, maker
from metagen.errors import BudgetExceeded, SampleError, UnfitRequest
from metagen.messages import Message, Turns
from metagen.thinking import USUAL, Family

SECRET = frozenset((
    "auth", "authorisation", "authorization", "bearer", "cookie", "credential", "credentials", "jwt", "passphrase",
    "passwd", "password", "salt", "secret", "secrets", "signature",
))  # fmt: skip
"""Words in the names of what opens a server, or keeps others out of it."""
OF_TEXT = frozenset({"bos", "cache", "end", "eos", "mask", "pad", "sep", "start", "stop", "think", "unk"})
"""Words before "key" or "token" where that is none, as in `prompt_cache_key` and `stop_token`."""
BESIDE = frozenset({"prompt_cache_key", "safety_identifier", "user"})
"""Fields of requests that say for whom they are, and bend no distribution."""
WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word of a name such as `X-Api-Key`, `api_key` or `apiKey`."""
Meter = Callable[[Usage], None]
"""Where a backend reports what it spent: as often as it likes, also when it fails or is cancelled."""


@runtime_checkable
class Renewing(Protocol):
    """A meter that can also reserve anew, within the budget, for a try after one that was paid for."""

    def __call__(self, usage: Usage, /) -> None: ...

    async def renew(self, request: "Request") -> "Request":
        """The request with the room that it has now. Raises `BudgetExceeded` if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to draw from p(y | x), as a user says it. `None` leaves the choice to the model's own defaults."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    """The longest reply, in tokens; `None` is what the context leaves."""
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    """Whether to return the log-probability of each generated token."""
    top_logprobs: int | None = None
    """Return them, and how sure the model is of each token by so many most probable ones; 20 is what servers allow."""
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


NUMBERS = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "min_tokens",
)  # fmt: skip
"""Settings that vLLM and clients of OpenAI's interface call as we do; `None` leaves them to the model's defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Settings):
    """How to draw one completion."""

    keep_stop: bool = False
    """Whether the stop string that ended a completion stays in its text. It does where a reply is written in steps."""
    form: Form | None = field(default=None, hash=False)
    """What the completion must look like."""
    thought_only: bool = False
    """Whether the completion ends with its thought."""


def options_of(sampling: Sampling) -> str:
    """What a chat template reads beside the turns, as a text: an object in JSON, or nothing."""
    return json.dumps(sampling.chat_template_kwargs, sort_keys=True) if sampling.chat_template_kwargs else ""


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who listens while a request is answered. A backend says what it can as it happens, and nothing where it cannot.

    Nothing depends on it: what is said here is in the completions, too.
    """

    done: Callable[[int, str, bool], None]
    """A sample is complete: its number in the request, its text, and whether it is whole, not cut."""
    grew: Callable[[str, str], None] | None = None
    """The thought and the text so far of the only sample; `None` where nobody reads them."""

    def after(self, first: int) -> "Hearing":
        """For a part of a request that begins with sample `first`."""
        return replace(self, done=lambda number, text, whole: self.done(first + number, text, whole))


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for `n` independent completions of one prompt.

    `prompt` is the text of the user's turn. `partial` is the beginning of the reply, already written, and `thought`
    what was thought before it; `tokens` are the ids of both if this very model made them, and then the reply is
    continued from them without tokenising again.
    """

    problem: str
    """The id of the problem this serves; with `draw`, it finds a recorded sample."""
    prompt: str
    partial: str = ""
    tokens: tuple[int, ...] = ()
    n: int = 1
    draw: int = 0
    """The number of its first sample among those that this problem has drawn of equal requests, from 0."""
    seed: int | None = None
    """Sample i of this request is drawn with `seed + i`; `None` leaves the engine's own randomness."""
    sampling: Sampling = Sampling()
    room: int | None = None
    """The most tokens per sample that the budget leaves; `None` if no budget limits tokens."""
    before: Turns = ()
    """The turns of the conversation before the prompt."""
    after: Turns = ()
    """The turns after it, of tools that were called."""
    thought: str = ""
    open: bool = False
    """Whether the completion begins inside the thought."""
    passing: bool = field(default=False, compare=False)
    """Whether it may be cancelled before it is done: then a backend should learn as it goes what there is to count."""
    deadline: float | None = field(default=None, compare=False)
    """The moment, by `clock`, after which it must not be sent any more."""
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    hearing: Hearing | None = field(default=None, compare=False, repr=False)
    """Who is told how far it is; `None` where nobody listens."""
    waited: Callable[[float], None] | None = field(default=None, compare=False, repr=False)
    """Who is told how many seconds it waited before a model took it; `None` where nobody asks."""
    session: str = field(default="", compare=False)
    """The same for all requests of a problem, which share prefixes, and another for each other problem."""

    @property
    def turns(self) -> Turns:
        """The whole conversation, without the reply."""
        return (*self.before, Message("user", self.prompt), *self.after)

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The turns as they are written down; empty where the prompt stands alone."""
        return [turn.fields() for turn in self.turns] if self.before or self.after else []

    @property
    def reply(self) -> str:
        """The reply so far, with the usual marks around its thought; nothing where none is written."""
        return USUAL.written(self.thought, self.partial, is_open=self.open)

    def limit(self, context: int) -> int:
        """The longest completion, in tokens, where the context leaves room for `context` tokens."""
        most, own = self.sampling.max_tokens, self.room
        if most is not None and most < context:
            context = most
        return context if own is None or own > context else own

    def check_time(self) -> None:
        """Raise `BudgetExceeded` if it is too late to send this; for backends that let requests wait."""
        _check_time(self.deadline, self.clock)

    def report_wait(self, seconds: float) -> None:
        """Say that this request waited; for backends that let requests wait."""
        if self.waited:
            self.waited(seconds)

    def part(self, first: int, n: int) -> "Request":
        """The request for `n` of these samples, from number `first` on."""
        seed = None if self.seed is None else self.seed + first
        hearing = self.hearing.after(first) if self.hearing else None
        return changed(self, n=n, draw=self.draw + first, seed=seed, hearing=hearing)


changed = copier(Request)
"""A request with other fields."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation, without the partial reply it continues."""

    text: str
    """What is said, without what was thought before."""
    tokens: tuple[int, ...] = ()
    """The ids of all that was written; empty where the backend does not tell, or where they decode to more."""
    end: Literal["eos", "stop", "length"] = "eos"
    """Ended by the model itself, by a stop string, or by a length limit."""
    stop: str = ""
    """The stop string, if one ended it."""
    logprobs: tuple[float, ...] = ()
    length: int = 0
    """In tokens; counted also where the ids are left out."""
    confidences: tuple[float, ...] = ()
    """For each token −1/k Σ log p over the k most probable ones at its place, where `top_logprobs` asked for k."""
    first: tuple[tuple[str, float], ...] = ()
    """The most probable first tokens and their log-probabilities, where `top_logprobs` asked for them."""
    thought: str = ""
    open: bool = False
    """Whether the thought has not ended."""
    thought_tokens: int = 0
    """How many tokens the thought has, without the mark that ends it."""
    recorded: Score | None = None
    """The verdict that a pool holds beside it."""

    def __post_init__(self) -> None:
        if not self.length:
            object.__setattr__(self, "length", len(self.tokens))


completed = maker(Completion)
"""A completion of which all fields are given."""
amended = copier(Completion)
"""A completion with other fields; its length is not counted again."""
Outcome = Completion | SampleError
"""What came of one sample: a completion, or the error that lost it, which costs no other sample."""


def all_written(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Completion]]:
    """Whether no sample is lost, as is usual."""
    return {*map(type, outcomes)} == {Completion}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reward model reads: a question and an answer to it, whole or not, in steps."""

    problem: str
    """The id of the problem this serves."""
    prompt: str
    steps: tuple[str, ...]
    deadline: float | None = field(default=None, compare=False)
    """The moment, by `clock`, after which it must not be sent any more."""
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)

    def check_time(self) -> None:
        """Raise `BudgetExceeded` if it is too late to send this."""
        _check_time(self.deadline, self.clock)


class Card(Protocol):
    """What a model costs to run; `metagen.card.ModelCard` is one."""

    def flops(self, prompt: int, generated: int, cached: int = 0, *, samples: int = 1) -> int:
        """FLOPs of a request that writes so many tokens in all, in several samples of one prompt, equally long."""


class Served(Protocol):
    """What all backends have. Those who derive from it inherit what is here; the rest they write themselves."""

    @property
    def name(self) -> str:
        """Which model this is; token ids belong to it."""

    @property
    def named(self) -> bool:
        """Whether its `name` is known before it is open."""
        return True

    @property
    def context(self) -> int:
        """The most tokens that a request and its reply can have together."""

    @property
    def card(self) -> Card | None:
        """What its model costs to run, where it is known: then FLOPs are counted and can be limited."""
        return None

    @property
    def price(self) -> Price | None:
        """What its tokens cost, where it is known: then money is counted and can be limited."""
        return None

    @property
    def always_sent(self) -> Mapping[str, Any] | None:
        """What it adds to every request, whatever the request's own settings are; `None` where it never does."""
        return None

    @property
    def missing(self) -> tuple[str, ...]:
        """What it cannot do, in words for the user, once it is open."""
        return ()

    @property
    def waits(self) -> str:
        """What it waits for just now, in words for the user; empty where it works."""
        return ""

    @property
    def thinking(self) -> Family | None:
        """How its model marks what it thinks, once it is open; `None` where it is not known to think."""
        return None

    async def forget(self) -> None:
        """Drop what it keeps of earlier requests, such as a prefix cache: so that a measurement begins cold."""
        return None  # noqa: RET501 (a body: those who keep nothing inherit it)

    async def probe(self) -> None:
        """Return soon if requests can be answered at all; raise `TransientError` if not."""
        return None  # noqa: RET501 (a model in this process answers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None


class Backend(Served, Protocol):
    """Serves one model that writes. Opened with `async with`, in the event loop that uses it.

    Guaranteed: `generate` returns one outcome for each of the `request.n` samples, in the order of their numbers: a
    completion, or the error that lost this one sample. It raises if nothing came at all: `GenerationError` if this
    request fails (`UnfitRequest` if it would fail again), `BackendGone` if no other can succeed either. It reports to
    `spend` all that was used, exactly once, also when it raises or is cancelled; after cancellation nothing of the
    request keeps running.
    Not guaranteed: that equal requests give equal completions, even with a seed.

        class Echo(Backend):
            name, context = "echo", 4096

            async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
                spend(Usage(calls=1, prompt_tokens=len(request.prompt)))
                return [Completion(request.prompt)] * request.n
    """

    @property
    def singly(self) -> bool:
        """Whether its model draws one sample per request, so that it reads the prompt once per sample."""
        return False

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]: ...

    async def count(self, request: Request) -> int:
        """How many prompt tokens `generate` would read (partial reply included)."""

    def longest(self, request: Request, prompt: int) -> int:
        """How many tokens each sample of `generate` may write at most, if `count` gives `prompt` for the request."""
        return request.limit(self.context - prompt)

    async def encode(self, text: str) -> tuple[int, ...]:  # noqa: ARG002
        """The ids of a text inside a reply, in which the marks of its thought are marks.

        Raises `UnfitRequest` where ids cannot be had, so that nothing can be forced into a reply.
        """
        raise UnfitRequest(f"{self.name} tells no token ids, so nothing can be written into a reply")

    def refuses(self, sampling: Sampling) -> str:  # noqa: ARG002
        """Which of these settings it cannot follow, and what to do, as the rest of a sentence; empty if it can all."""
        return ""


class RewardBackend(Served, Protocol):
    """Serves one reward model. Opened with `async with`, in the event loop that uses it.

    It reports to `spend` all that was used, exactly once, also when it raises or is cancelled.
    """

    @property
    def process(self) -> bool:
        """Whether it scores each step; else there is one score, of the whole."""

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        """One score per step, a probability; or the one score of the whole, a logit."""

    async def count(self, reading: Reading) -> int:
        """How many tokens `rate` would read at most."""


AnyBackend = Backend | RewardBackend


@asynccontextmanager
async def opened(models: Mapping[str, AnyBackend]) -> AsyncIterator[None]:
    """Open all models, each once, or none; inside they are open."""
    async with AsyncExitStack() as stack:
        for backend in {id(each): each for each in models.values()}.values():
            await stack.enter_async_context(backend)
        yield


def generates(backend: AnyBackend) -> TypeGuard[Backend]:
    """Whether it is a model that writes."""
    return hasattr(backend, "generate")


def scores(backend: AnyBackend) -> TypeGuard[RewardBackend]:
    """Whether it is a reward model."""
    return hasattr(backend, "rate")


def is_backend(value: object) -> TypeGuard[AnyBackend]:
    """Whether it is a model of either kind, and not the class of one."""
    return not isinstance(value, type) and (hasattr(value, "generate") or hasattr(value, "rate"))


def _check_time(deadline: float | None, clock: Callable[[], float]) -> None:
    if deadline is not None and clock() > deadline:
        raise BudgetExceeded("the deadline passed while the request waited, so it was not sent")


def seconds_left(subject: Request | Reading) -> float:
    """Until the moment after which it must not be sent any more; infinite where there is none."""
    return inf if subject.deadline is None else subject.deadline - subject.clock()


def refusal(backend: Backend, sampling: Sampling) -> str:
    """What a backend refuses of settings; one of one's own may leave that out."""
    refuses = getattr(backend, "refuses", None)
    return refuses(sampling) if refuses else ""


def longest_of(backend: Backend, request: Request, prompt: int) -> int:
    """How many tokens each sample may write at most; a backend of one's own may leave that to its context."""
    longest = getattr(backend, "longest", None)
    return longest(request, prompt) if longest else request.limit(backend.context - prompt)


def draws_singly(backend: AnyBackend) -> bool:
    """Whether it reads the prompt once per sample; a backend of one's own may leave that out."""
    return bool(getattr(backend, "singly", False))


def thinking_of(backend: AnyBackend) -> Family | None:
    """How its model marks what it thinks; a backend of one's own may leave that out."""
    family: Family | None = getattr(backend, "thinking", None)
    return family


def is_named(backend: AnyBackend) -> bool:
    """Whether its name is known before it is open; a backend of one's own may leave that out."""
    return bool(getattr(backend, "named", True))


def extra_of(backend: AnyBackend) -> Mapping[str, Any] | None:
    """What it adds to every request, secrets left out; a backend of one's own may leave that out."""
    extra: Mapping[str, Any] | None = getattr(backend, "always_sent", None)
    return extra and without_secrets(extra)


def without_secrets(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of requests as they are written down: without secrets, at any depth, and without `BESIDE`."""
    return {name: _open(value) for name, value in extra.items() if name not in BESIDE and not _hides(name, value)}


def _open(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _open(each) for name, each in value.items() if not _hides(name, each)}
    return list(map(_open, value)) if isinstance(value, list | tuple) else value


def secrets_in(fields: object) -> Iterator[tuple[str, str]]:
    """The secrets in headers, or in the fields of requests at any depth, with their names."""
    if isinstance(fields, Mapping):
        for name, value in fields.items():
            if _hides(name, value):
                yield name, value
            else:
                yield from secrets_in(value)
    elif isinstance(fields, list | tuple):
        for each in fields:
            yield from secrets_in(each)


def _hides(name: object, value: object) -> bool:
    """Whether it is a secret, by its name; in a schema the same name may be that of an object."""
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    words = [word.lower() for word in WORD.findall(name)]
    if not SECRET.isdisjoint(words):
        return True
    *before, last = words or [""]
    return last.endswith(("key", "token", "secret", "password")) and not (before and before[-1] in OF_TEXT)


def card_of(backend: AnyBackend) -> Card | None:
    """What is known of the cost of its model; a backend of one's own may leave that out."""
    card: Card | None = getattr(backend, "card", None)
    return card


def price_of(backend: AnyBackend) -> Price | None:
    """What its tokens cost; a backend of one's own may leave that out."""
    price: Price | None = getattr(backend, "price", None)
    return price
