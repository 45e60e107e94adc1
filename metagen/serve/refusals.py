"""What a client is told when its request cannot be answered: OpenAI's statuses and bodies."""

import re
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A request that is refused, or failed, with the status and the body of the reply."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""OpenAI's names for kinds of errors, where a status has one of its own."""


def unknown_model(name: str) -> Refusal:
    shown = name[:80]
    return Refusal(404, f"The model {shown!r} does not exist, or this key may not use it", param="model", code=NO_MODEL)


NO_MODEL = "model_not_found"


def busy(seconds: int, why: str) -> Refusal:
    """Too much is asked at once: the client may ask again."""
    return Refusal(429, why, code="rate_limit_exceeded", headers={"Retry-After": str(seconds)})


def spent(why: str) -> Refusal:
    """A key's or the server's budget is spent: asking again soon does not help."""
    return Refusal(429, why, code="insufficient_quota")


PAUSE = 30
"""Seconds after which to ask again what a busy model did not answer; it was asked often by then."""


def overloaded(why: str) -> Refusal:
    """The model itself takes no more requests at the moment."""
    return busy(PAUSE, f"The model takes no more requests at the moment: {why}")


def failed(why: str) -> Refusal:
    """The model failed every sample."""
    return Refusal(502, f"The model gave no answer: {why}", code="model_failed")


TOO_LONG = re.compile(r"context[ _](length|size|window|of)|maximum model length", re.IGNORECASE)
"""How models and servers say that a prompt is too long."""


def unfit(why: str) -> Refusal:
    """No model can take this request: asking again does not help."""
    code = "context_length_exceeded" if TOO_LONG.search(why) else "invalid_value"
    return Refusal(400, f"The model cannot take this request: {why}", code=code)
