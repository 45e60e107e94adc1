"""What servers can do and how each is asked: one small object for each kind of server.

A dialect says what differs from OpenAI's interface; everything else is the same for all. A new kind of server is one
more object here, and one more line in `DIALECTS`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from metagen.errors import GenerationError, UnfitRequest
from metagen.request import Sampling

Post = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Sends a body to a path below the server's root, and returns what came back."""
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Chat:
    """What is put into a chat template: the turns, a reply that is begun, and what the template reads beside them."""

    messages: Messages
    partial: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The turns and the template's settings, as a server is given them."""
        options = dict(self.options)
        tools = {"tools": options.pop("tools")} if "tools" in options else {}
        return {"messages": self.messages} | tools | ({"chat_template_kwargs": options} if options else {})


@dataclass(frozen=True, slots=True)
class Dialect:
    """OpenAI's own interface: chats and completions by text. Ids are unknown, and no reply can be continued."""

    name: str = "openai"
    owner: str = ""
    """What `owned_by` says of its models in `/v1/models`, by which such a server is found."""
    tells_ids: bool = False
    """Whether it tells the ids of a prompt in the model's chat template, so that prompts are counted exactly."""
    returns_ids: bool = False
    """Whether replies hold the ids of their tokens, so that they are continued from them."""
    continues: Literal["", "ids", "text"] = ""
    """How it is given a reply to continue: the ids of prompt and reply, or the reply as the last turn of the chat."""
    counts_as_it_goes: bool = False
    """Whether each piece of a stream holds the count so far."""
    keep_stop: str = ""
    """The setting that keeps a stop string in the text; without one there are no steps."""
    lacks: frozenset[str] = frozenset(
        {"min_tokens", "bad_words", "stop_token_ids", "ignore_eos", "repetition_penalty", "form"}
    )
    """Sampling settings that such servers do not have."""
    calls: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Sampling settings that they have under another name."""

    async def tokenize(self, post: Post, model: str, chat: Chat) -> tuple[int, ...]:  # noqa: ARG002
        """The ids of a chat in the model's template."""
        raise GenerationError(f"{model} tells no token ids")

    async def encode(self, post: Post, model: str, text: str) -> tuple[int, ...]:  # noqa: ARG002
        """The ids of a text, in which special tokens are special."""
        raise UnfitRequest(f"{model} tells no token ids, so nothing can be written into a reply")

    async def detokenize(self, post: Post, model: str, ids: list[int]) -> str:  # noqa: ARG002
        """The text of token ids."""
        raise GenerationError(f"{model} spells no token ids")

    def settings(self, sampling: Sampling) -> dict[str, Any]:
        """The settings that are this dialect's own words."""
        own = {word: value for name, word in self.calls.items() if (value := getattr(sampling, name)) is not None}
        return own | ({self.keep_stop: True} if self.keep_stop and sampling.keep_stop else {})

    def extras(self, *, partial: bool) -> dict[str, Any]:  # noqa: ARG002
        """What a chat asks for beside its messages and settings."""
        return {"return_token_ids": True} if self.returns_ids else {}


@dataclass(frozen=True, slots=True)
class VLLM(Dialect):
    """vLLM's server: token ids in and out, exact counts, replies continued from their ids."""

    name: str = "vllm"
    owner: str = "vllm"
    tells_ids: bool = True
    returns_ids: bool = True
    continues: Literal["", "ids", "text"] = "ids"
    counts_as_it_goes: bool = True
    keep_stop: str = "include_stop_str_in_output"
    lacks: frozenset[str] = frozenset()

    async def tokenize(self, post: Post, model: str, chat: Chat) -> tuple[int, ...]:
        body = chat.body() | {"model": model, "add_generation_prompt": not chat.partial}
        if chat.partial:
            body["messages"] = [*chat.messages, {"role": "assistant", "content": chat.partial}]
            body["continue_final_message"] = True
        return read_ids(await post("/tokenize", body), model)

    async def encode(self, post: Post, model: str, text: str) -> tuple[int, ...]:
        return read_ids(await post("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}), model)

    async def detokenize(self, post: Post, model: str, ids: list[int]) -> str:
        reply = await post("/detokenize", {"model": model, "tokens": ids})
        return str(reply.get("prompt") if isinstance(reply, Mapping) else "")


@dataclass(frozen=True, slots=True)
class SGLang(Dialect):
    """SGLang's server: a reply is continued as the last turn of a chat, by its text."""

    name: str = "sglang"
    owner: str = "sglang"
    continues: Literal["", "ids", "text"] = "text"
    keep_stop: str = "no_stop_trim"
    lacks: frozenset[str] = frozenset({"bad_words", "form"})

    def extras(self, *, partial: bool) -> dict[str, Any]:
        return {"continue_final_message": True} if partial else {}


@dataclass(frozen=True, slots=True)
class LlamaCpp(Dialect):
    """llama.cpp's `llama-server`: it renders and tokenises, so prompts are counted exactly."""

    name: str = "llama.cpp"
    owner: str = "llamacpp"
    tells_ids: bool = True
    continues: Literal["", "ids", "text"] = "ids"
    lacks: frozenset[str] = frozenset({"min_tokens", "bad_words", "stop_token_ids", "form"})
    calls: Mapping[str, str] = field(default_factory=lambda: {"repetition_penalty": "repeat_penalty"}, hash=False)

    async def tokenize(self, post: Post, model: str, chat: Chat) -> tuple[int, ...]:
        rendered = await post("/apply-template", chat.body())
        text = rendered.get("prompt") if isinstance(rendered, Mapping) else None
        if not isinstance(text, str):
            raise GenerationError(f"{model} renders no prompt")
        body = {"content": text + chat.partial, "add_special": True, "parse_special": True}
        return read_ids(await post("/tokenize", body), model)

    async def encode(self, post: Post, model: str, text: str) -> tuple[int, ...]:
        body = {"content": text, "add_special": False, "parse_special": True}
        return read_ids(await post("/tokenize", body), model)


DIALECTS: dict[str, Dialect] = {each.name: each for each in (VLLM(), SGLang(), LlamaCpp(), Dialect())}
"""By name. The last is what a server speaks that says nothing of itself."""


def of_owner(card: Mapping[str, Any]) -> Dialect | None:
    """The dialect of the server that describes a model so in `/v1/models`; `None` if it does not say."""
    owner = str(card.get("owned_by", "")).lower()
    return next((each for each in DIALECTS.values() if each.owner and each.owner == owner), None)


CONTEXTS = ("max_model_len", "loaded_context_length", "context_length", "context_window", "max_context_length")
"""How servers call the length of a model's context: vLLM and SGLang; LM Studio, as it is loaded; OpenRouter, Together
and Fireworks; Groq; Mistral."""


def lengths_of(card: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The context of the model that `/v1/models` describes so, and the most tokens of a reply, where the server tells.

    llama.cpp tells the context beside other figures, in `meta`, and OpenRouter the most of a reply in `top_provider`.
    """
    meta, provider = (card.get(name) for name in ("meta", "top_provider"))
    inner = meta.get("n_ctx") if isinstance(meta, Mapping) else None
    most = provider.get("max_completion_tokens") if isinstance(provider, Mapping) else None
    return _length(*map(card.get, CONTEXTS), inner), _length(card.get("max_completion_tokens"), most)


def _length(*told: object) -> int | None:
    """The first of what a server told that is a number of tokens."""
    return next((each for each in told if isinstance(each, int) and each > 0 and each is not True), None)


def read_ids(reply: object, model: str) -> tuple[int, ...]:
    """The ids in a server's reply. Raises `GenerationError` if there are none: the path means something else there."""
    ids = reply.get("tokens") if isinstance(reply, Mapping) else None
    if not (isinstance(ids, list) and ids and all(isinstance(each, int) and each >= 0 for each in ids)):
        raise GenerationError(f"{model} tells no token ids")
    return tuple(ids)
