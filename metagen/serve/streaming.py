"""Replies that go out while they are made, as server-sent events."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from metagen.events import Event, SampleDone, TextAdded
from metagen.serve.progress import Progress
from metagen.serve.refusals import Refusal
from metagen.serve.replies import (
    Asked,
    Fields,
    answered,
    finish_reason,
    message_item,
    own_fields,
    reasoning_item,
    response_body,
    response_items,
    response_reply,
    text_of,
    text_part,
    tool_calls,
    usage_of,
)
from metagen.solution import Solution
from metagen.solve import cancel
from metagen.view.packing import encoded

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
LEFT = 499
"""The status that is counted where the client did not wait for one."""
Result = TypeVar("Result")


class Left(Exception):
    """The client left before its reply was done."""


class Outlet:
    """Where a stream's events are put, as they happen."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, fields: Fields, event: str = "") -> None:
        name = f"event: {event}\n".encode() if event else b""
        self._waiting.put_nowait(name + b"data: " + encoded(fields) + b"\n\n")

    def end(self, last: bytes = b"") -> None:
        """Nothing more comes, but `last`."""
        if last:
            self._waiting.put_nowait(last)
        self._waiting.put_nowait(None)

    async def take(self, patience: float) -> tuple[bytes, bool]:
        """What has come, a ping if nothing did for so many seconds, and whether more may come."""
        try:
            async with asyncio.timeout(patience):
                pieces = [await self._waiting.get()]
        except TimeoutError:
            return PING, True
        while not self._waiting.empty():
            pieces.append(self._waiting.get_nowait())
        return b"".join(piece for piece in pieces if piece), None not in pieces


class EventStream:
    """A reply that `work` writes into an outlet. When the client leaves, the work is cancelled at once."""

    def __init__(self, work: Callable[[Outlet], Awaitable[int]], headers: Mapping[str, str], ping: float) -> None:
        self._work = work
        self._headers = [(name.lower().encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
        self._ping = ping
        self.ended: Callable[[int], None] = _unheard
        """Called with the status, or with `LEFT`, when nothing more is sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        outlet, status = Outlet(), LEFT
        working = asyncio.ensure_future(self._work(outlet))
        working.add_done_callback(lambda _: outlet.end())  # whatever became of it, the stream has an end
        try:
            await unless_left(receive, self._sent(outlet, send))
            status = await working
        except (Left, OSError):
            return
        finally:
            await cancel([working])
            self.ended(status)

    async def _sent(self, outlet: Outlet, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        more = True
        while more:
            body, more = await outlet.take(self._ping)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _unheard(_status: int) -> None:
    return


async def unless_left(receive: Receive, work: Awaitable[Result]) -> Result:
    """The result of some work, which is cancelled when the client leaves. Raises `Left` then."""
    leaving, working = asyncio.ensure_future(_left(receive)), True
    try:
        async with asyncio.timeout(None) as limit:

            def leave(_: object) -> None:
                if working:  # the client may leave in the turn of the loop in which the work ends
                    limit.reschedule(0)

            leaving.add_done_callback(leave)
            try:
                return await work
            finally:
                working = False
    except TimeoutError:
        if limit.expired():
            raise Left from None
        raise
    finally:
        await cancel([leaving])


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Teller:
    """Tells one reply in chunks of its interface. What was sent of a text is its beginning, or the reply fails."""

    def __init__(self, asked: Asked, outlet: Outlet) -> None:
        self.asked = asked
        self.out = outlet
        self._progress: list[Progress] = [Progress() for _ in range(asked.call.choices)]
        self._sent = [""] * asked.call.choices
        self.reply: Fields | None = None
        """The whole reply, where it can be fetched again."""

    def begin(self) -> None:
        """Say that the request was taken."""
        raise NotImplementedError

    def heard(self, index: int, event: Event) -> None:
        """Tell what matters of an event."""
        if isinstance(event, SampleDone) and event.wanted == 1 and len(event.path) == 1:
            return  # it is the answer
        if not isinstance(event, TextAdded):
            line = self._progress[index].line(event)
            if line.strip() not in ("", self._sent[index].strip()):
                self.think(index, line)
            return
        if event.thought:
            self.think(index, event.thought)
        if event.text and not self.asked.call.calls:
            self._sent[index] += event.text
            self.say(index, event.text)

    def rest(self, index: int, solution: Solution) -> str:
        """What of an answer was not sent yet. Raises `Refusal` if what was sent is not its beginning."""
        text = text_of(self.asked, solution)
        if not text.startswith(self._sent[index]):
            raise Refusal(
                502, "The model broke off in the middle of its reply and was asked again", code="broken_reply"
            )
        return text[len(self._sent[index]) :]

    def think(self, index: int, text: str) -> None:
        raise NotImplementedError

    def say(self, index: int, text: str) -> None:
        raise NotImplementedError

    def end(self, solutions: list[Solution], spent: Any) -> None:
        """Send what is left, and how it ended."""
        raise NotImplementedError

    def fail(self, refusal: Refusal) -> None:
        """Say why there is no reply."""
        self.out.put(refusal.body())
        self.out.end(DONE)


class ChatTeller(Teller):
    """Chunks of `/v1/chat/completions`."""

    def __init__(self, asked: Asked, outlet: Outlet) -> None:
        super().__init__(asked, outlet)
        self._begun: set[int] = set()

    def begin(self) -> None:
        if self.asked.call.choices == 1:
            self._open(0)

    def think(self, index: int, text: str) -> None:
        self._open(index)
        self._delta(index, {"reasoning": text, "reasoning_content": text})

    def say(self, index: int, text: str) -> None:
        self._open(index)
        self._delta(index, {"content": text})

    def heard(self, index: int, event: Event) -> None:
        """The same, and the event itself where it is asked for."""
        super().heard(index, event)
        if self.asked.call.events:
            told = {"choice": index, "event": type(event).__name__, **msgspec.to_builtins(event)}
            self.out.put(self._head() | {"choices": [], "metagen": told})

    def end(self, solutions: list[Solution], spent: Any) -> None:
        for index, solution in answered(solutions):
            self._open(index)
            if rest := self.rest(index, solution):
                self.say(index, rest)
            for number, call in enumerate(tool_calls(self.asked, solution)):
                self._delta(index, {"tool_calls": [{"index": number, **call}]})
            self._delta(index, {}, finish_reason(self.asked, solution))
        own = {"metagen": own_fields(self.asked, solutions)}
        if self.asked.call.usage_in_stream:
            self.out.put(self._head() | {"choices": [], "usage": usage_of(spent)} | own)
        elif any(solution.failed for solution in solutions):
            self.out.put(self._head() | {"choices": []} | own)  # a choice that failed stays open: this says why
        self.out.end(DONE)

    def _open(self, index: int) -> None:
        """Begin a choice, if it is not begun yet: one that fails at once is missing."""
        if index not in self._begun:
            self._begun.add(index)
            self._delta(index, {"role": "assistant", "content": ""})

    def _delta(self, index: int, delta: Fields, reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        self.out.put(self._head() | {"choices": [choice]})

    def _head(self) -> Fields:
        return self.asked.head("chat.completion.chunk")


class CompletionTeller(ChatTeller):
    """Chunks of `/v1/completions`, in which progress has no place."""

    def think(self, index: int, text: str) -> None:  # noqa: ARG002
        return

    def _open(self, index: int) -> None:  # noqa: ARG002
        return

    def _delta(self, index: int, delta: Fields, reason: str | None = None) -> None:
        choice = {"index": index, "text": delta.get("content", ""), "logprobs": None, "finish_reason": reason}
        self.out.put(self._head() | {"choices": [choice]})

    def _head(self) -> Fields:
        return self.asked.head("text_completion")


class ResponseTeller(Teller):
    """Events of `/v1/responses`: an item of reasoning with the progress, then the message."""

    def __init__(self, asked: Asked, outlet: Outlet) -> None:
        super().__init__(asked, outlet)
        self._number = 0
        self._thoughts = ""
        self._output: list[Fields] = []
        self._saying = False

    def begin(self) -> None:
        self._put("response.created", response=response_body(self.asked, "in_progress"))
        self._put("response.in_progress", response=response_body(self.asked, "in_progress"))

    def think(self, index: int, text: str) -> None:  # noqa: ARG002
        if self._saying:
            return
        if not self._thoughts:
            self._put("response.output_item.added", output_index=0, item=self._reasoning("in_progress"))
        self._thoughts += text
        where = {"item_id": self._reasoning()["id"], "output_index": 0, "content_index": 0}
        self._put("response.reasoning_text.delta", **where, delta=text)

    def say(self, index: int, text: str) -> None:  # noqa: ARG002
        self._begin_message()
        self._put("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def end(self, solutions: list[Solution], spent: Any) -> None:
        (solution,) = solutions
        items = [each for each in response_items(self.asked, solution) if each["type"] != "reasoning"]
        if rest := self.rest(0, solution):
            self.say(0, rest)
        self._end_thoughts()
        for item in items:
            self._end_item(item)
        self.reply = response_reply(self.asked, solution, spent) | {"output": self._output}
        self._put(f"response.{self.reply['status']}", response=self.reply)
        self.out.end()

    def fail(self, refusal: Refusal) -> None:
        error = {"code": refusal.code or "server_error", "message": str(refusal)}
        self.reply = response_body(self.asked, "failed", self._output, error=error)
        self._put("response.failed", response=self.reply)
        self.out.end()

    def _end_item(self, item: Fields) -> None:
        if item["type"] != "message":
            self._put("response.output_item.added", output_index=len(self._output), item=item | {"arguments": ""})
            where = {"item_id": item["id"], "output_index": len(self._output)}
            self._put("response.function_call_arguments.delta", **where, delta=item["arguments"])
            done = {"name": item["name"], "arguments": item["arguments"]}
            self._put("response.function_call_arguments.done", **where, **done)
        else:
            self._begin_message()  # its text may be empty
            (part,) = item["content"]
            self._put("response.output_text.done", **self._place, text=part["text"], logprobs=[])
            self._put("response.content_part.done", **self._place, part=part)
        self._put("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _begin_message(self) -> None:
        if not self._saying:
            self._end_thoughts()
            self._saying = True
            item = message_item(self.asked, "") | {"status": "in_progress", "content": []}
            self._put("response.output_item.added", output_index=len(self._output), item=item)
            self._put("response.content_part.added", **self._place, part=text_part(""))

    def _end_thoughts(self) -> None:
        if self._thoughts and not self._output:
            item = self._reasoning("completed")
            self._put(
                "response.reasoning_text.done", item_id=item["id"], output_index=0, content_index=0, text=self._thoughts
            )
            self._put("response.output_item.done", output_index=0, item=item)
            self._output.append(item)

    @property
    def _place(self) -> Fields:
        return {"item_id": message_item(self.asked, "")["id"], "output_index": len(self._output), "content_index": 0}

    def _reasoning(self, status: str = "") -> Fields:
        return reasoning_item(self.asked, self._thoughts, status)

    def _put(self, kind: str, **fields: Any) -> None:
        self.out.put({"type": kind, "sequence_number": self._number, **fields}, kind)
        self._number += 1


TELLERS: dict[str, type[Teller]] = {"chat": ChatTeller, "completion": CompletionTeller, "response": ResponseTeller}
