"""What an OpenAI-compatible server is asked and what it replies, as plain data. Pure."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from metagen.budget import Usage
from metagen.confidence import of_token
from metagen.errors import GenerationError, TransientError
from metagen.request import Completion, Request


class Cached(BaseModel):
    cached_tokens: int | None = None


class Counts(BaseModel):
    """The `usage` of a reply, or of the part of it that has come."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: Cached | None = None

    def usage(self) -> Usage:
        return Usage(
            calls=1,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=(self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0,
            completion_tokens=self.completion_tokens or 0,
        )


class Message(BaseModel):
    content: str | None = None


class Logprobs(BaseModel):
    """Of completions (`token_logprobs`) or of chats (`content`)."""

    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None
    content: list[dict[str, Any]] | None = None

    def values(self) -> tuple[float, ...]:
        if self.content is not None:
            return tuple(float(token["logprob"]) for token in self.content)
        return tuple(value or 0.0 for value in self.token_logprobs or ())

    def tops(self) -> list[dict[str, float]]:
        """The most probable tokens at each place, if they were asked for."""
        if self.content is None:
            return [top or {} for top in self.top_logprobs or ()]
        return [
            {top["token"]: float(top["logprob"]) for top in token.get("top_logprobs") or ()} for token in self.content
        ]


class Choice(BaseModel):
    """One sample, or a piece of one in a stream."""

    index: int = 0
    text: str | None = None
    message: Message | None = None
    delta: Message | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None

    @property
    def written(self) -> str:
        said = self.message or self.delta
        return (said.content if said else self.text) or ""


class Reply(BaseModel):
    choices: list[Choice] = Field(default_factory=list)
    usage: Counts | None = None


def read(reply: object, host: str) -> Reply:
    """Raises `TransientError` if that is no reply of such a server, or tells of an error on its side."""
    if isinstance(reply, dict) and reply.get("error"):
        raise TransientError(f"{host} broke off: {error_text(reply['error'])}", sent=True)
    try:
        return Reply.model_validate(reply)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise TransientError(f"{host} sent a reply that cannot be read (field {field!r})", sent=True) from None


def error_text(error: Any) -> str:
    """What an error says, in a server's words."""
    return str(error.get("message", error) if isinstance(error, dict) else error)


def counted(chunks: Sequence[bytes]) -> Counts | None:
    """The latest count in the pieces of a stream."""
    for chunk in reversed(chunks):
        with suppress(ValueError):  # a piece that cannot be read counts nothing
            if (reply := Reply.model_validate_json(chunk)).usage:
                return reply.usage
    return None


def joined(chunks: Iterable[bytes], host: str) -> Reply:
    """The whole reply, from the pieces of a stream."""
    whole: dict[int, Choice] = {}
    usage: Counts | None = None
    for chunk in chunks:
        try:
            reply = read(json.loads(chunk), host)
        except ValueError:
            raise TransientError(f"{host} sent a piece that is not JSON", sent=True) from None
        usage = reply.usage or usage
        for piece in reply.choices:
            _add(whole.setdefault(piece.index, Choice(index=piece.index, text="")), piece)
    return Reply(choices=list(whole.values()), usage=usage)


def _add(choice: Choice, piece: Choice) -> None:
    choice.text = (choice.text or "") + piece.written
    choice.finish_reason = piece.finish_reason or choice.finish_reason
    choice.stop_reason = piece.stop_reason if piece.stop_reason is not None else choice.stop_reason
    choice.token_ids = [*(choice.token_ids or ()), *piece.token_ids] if piece.token_ids else choice.token_ids
    if piece.logprobs:
        before = choice.logprobs or Logprobs()
        choice.logprobs = Logprobs(
            token_logprobs=[*before.values(), *piece.logprobs.values()],
            top_logprobs=[*before.tops(), *piece.logprobs.tops()],
        )


def asked(request: Request, model: str, limit: int | None) -> dict[str, Any]:
    """The settings of a request in the words of OpenAI's API; what was not set is left out."""
    sampling = request.sampling
    settings = {
        "model": model,
        "n": request.n if request.n > 1 else None,
        "max_tokens": limit,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "stop": list(sampling.stop) or None,
        "include_stop_str_in_output": sampling.keep_stop or None,
        "seed": request.seed,
    }
    return {name: value for name, value in settings.items() if value is not None}


def ended(choice: Choice) -> bool:
    """Whether a sample came to an end of its own; else the server gave it up, and may be asked for it again."""
    return choice.finish_reason not in {None, "abort", "error"}


def completion(choice: Choice, top: int | None = None) -> Completion:
    """One sample. Its ids are left out where a stop string ended it: they may spell more than the text."""
    end, stop = _ending(choice)
    ids = tuple(choice.token_ids or ())
    logprobs = choice.logprobs or Logprobs()
    tops = [_most_probable(each, top) for each in logprobs.tops()] if top else []
    return Completion(
        text=choice.written,
        tokens=() if stop else ids,
        end=end,
        stop=stop,
        logprobs=logprobs.values(),
        confidences=tuple(of_token([logprob for _, logprob in each]) for each in tops) if all(tops) else (),
        first=tops[0] if tops else (),
        length=len(ids),
    )


def _most_probable(tokens: dict[str, float], k: int) -> tuple[tuple[str, float], ...]:
    """The k most probable; a server may add the token that was drawn, or give it in place of the last."""
    return tuple(sorted(tokens.items(), key=lambda token: -token[1])[:k])


def _ending(choice: Choice) -> tuple[Literal["eos", "stop", "length"], str]:
    match choice.finish_reason, choice.stop_reason:
        case "stop", str(stop):
            return "stop", stop
        case "stop", _:
            return "eos", ""
        case "length", _:
            return "length", ""
        case reason, _:
            raise GenerationError(f"the server ended a sample early: {reason}")
