"""The server: an ASGI application that answers as OpenAI's interface does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from metagen import distribution
from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.budget import Budget, tightest
from metagen.errors import MetagenError, ServerBusy
from metagen.jobs.costs import check_costs
from metagen.request import AnyBackend, opened, price_of
from metagen.run import Generator
from metagen.run.sending import unpriced
from metagen.serve.keys import Key, authorise, check_keys, is_here
from metagen.serve.limits import Limits
from metagen.serve.looking import one, table
from metagen.serve.names import Served
from metagen.serve.parameters import Call, decode, read_budget, read_chat, read_completion, read_response
from metagen.serve.refusals import Refusal, unknown_model
from metagen.serve.replies import chat_reply, completion_reply, response_body, response_reply
from metagen.serve.service import Order, Service
from metagen.serve.streaming import LEFT, TELLERS, EventStream, Left, Outlet, unless_left
from metagen.solve import Models, cancel, name_models
from metagen.spec.parse import parse
from metagen.view.live import host_of
from metagen.view.packing import encoded
from metagen.view.page import asking_page

LOG = logging.getLogger("metagen.serve")
Handler = Callable[[Request], Awaitable[Response | EventStream]]
Read = Callable[[Mapping[str, Any], Answers], Call]
READ: Mapping[str, Read] = {
    "/v1/chat/completions": read_chat,
    "/v1/completions": read_completion,
    "/v1/responses": read_response,
}
JSON = "application/json"
PAGE: Mapping[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
Result = TypeVar("Result")


def app(
    model: Models,
    aliases: Mapping[str, Generator | str] | None = None,
    *,
    keys: Sequence[Key] = (),
    limits: Limits | None = None,
    out: Path | None = None,
    origins: Sequence[str] = (),
    answers: Answers = MATHS,
    local: bool = False,
) -> Starlette:
    """The ASGI application that serves strategies over models, which it opens when it starts and closes when it ends.

    `aliases` are strategies, or specs of them, by the names that clients call. With `keys` a request needs one of them.
    With `out` each answer is kept in a run's folder there. `origins` are the sites whose pages may call (CORS).
    `answers` says what counts as an answer in votes. With `local` only requests to this machine by its own name are
    answered, so that no page elsewhere whose name leads here can ask. Raises `InputError` for an alias that cannot be,
    for two keys of one name, for an empty key, and for a limit of money on a model without a price.
    """
    made = {name: parse(each) if isinstance(each, str) else each for name, each in (aliases or {}).items()}
    models, limits = name_models(model, *made.values()), limits or Limits()
    check_keys(keys)
    _check_prices(models, made.values(), [limits.server, limits.request, *(key.request for key in keys)])
    return Server(Service(models, made, limits, out), tuple(keys), answers, local=local).application(origins)


def _check_prices(models: Mapping[str, AnyBackend], strategies: Iterable[Generator], budgets: Iterable[Budget]) -> None:
    """Refuse limits of money where a model has no price, so that all requests would be refused."""
    if any(budget.money for budget in budgets):
        for backend in models.values():
            if price_of(backend) is None:
                raise unpriced(backend)
    for strategy in strategies:
        check_costs(strategy, Budget(), models)


class Server:
    """The routes of one application."""

    def __init__(self, service: Service, keys: Sequence[Key], answers: Answers, *, local: bool) -> None:
        self._service = service
        self._keys = keys
        self._local = local
        self._answers = answers
        self._background: dict[str, asyncio.Task[None]] = {}
        self._begun = int(time.time())

    def application(self, origins: Sequence[str]) -> Starlette:
        cors = Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"])
        return Starlette(
            routes=[
                Route(path, self._handled(path, handler), methods=[method]) for method, path, handler in self._routes()
            ],
            middleware=[cors] if origins else [],
            exception_handlers={HTTPException: _not_routed},
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[tuple[str, str, Handler]]:
        return [
            *(("POST", path, partial(self._generate, path)) for path in READ),
            ("GET", "/v1/models", self._models),
            ("GET", "/v1/models/{name:path}", self._model),
            ("GET", "/v1/responses/{name}", self._response),
            ("POST", "/v1/responses/{name}/cancel", self._cancel),
            ("GET", "/v1/traces/{name}", self._trace),
            ("GET", "/", self._page),
            ("GET", "/runs", self._runs),
            ("GET", "/problem", self._problem),
            ("GET", "/health", self._health),
            ("GET", "/version", self._version),
            ("GET", "/metrics", self._metrics),
        ]

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with opened(self._service.models):
            self._service.open()
            try:
                yield
            finally:
                await cancel(self._background.values())
                self._service.close()

    def _handled(self, path: str, handler: Handler) -> Callable[[Request], Awaitable[Any]]:
        """A handler whose refusals are replies, and whose mistakes say nothing of the request."""

        async def endpoint(request: Request) -> Any:
            begun = time.monotonic()

            def ended(status: int) -> None:
                if status == LEFT:
                    self._service.metrics.left()
                model = request.scope.get("metagen.model", "")
                self._service.metrics.answered(path, model, status, time.monotonic() - begun)

            try:
                self._check_host(request)
                reply = await _careful(handler(request))
            except Refusal as refused:
                reply = _json(refused.body(), refused.status, refused.headers)
            except (Left, ClientDisconnect):
                reply = Response(status_code=LEFT)
            if isinstance(reply, EventStream):
                reply.ended = ended
            else:
                ended(reply.status_code)
            return reply

        return endpoint

    def _key(self, request: Request) -> Key:
        return authorise(self._keys, request.headers.get("authorization"))

    def _check_host(self, request: Request) -> None:
        """Raise `Refusal` for another name of this machine, under which a page elsewhere may read what we reply."""
        if self._local and not is_here(host_of(request.headers.get("host", ""))):
            said = "Without keys, only requests to this machine by its own name, such as localhost, are answered"
            raise Refusal(403, said, code="wrong_host")

    def _check_kind(self, request: Request) -> None:
        """Raise `Refusal` for a body of a kind that any page may send, where no key says who asks."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self._keys and kind != JSON:
            said = f"Without keys, only bodies with Content-Type: {JSON} are read"
            raise Refusal(415, said, code="wrong_content_type")

    async def _generate(self, path: str, request: Request) -> Response | EventStream:
        key = self._key(request)
        self._check_kind(request)
        self._service.gate.check()
        call = _with_headers(READ[path](decode(await self._body(request)), self._answers), request.headers)
        order = self._service.order(call, key)
        request.scope["metagen.model"] = order.asked.served.label
        headers = {"X-Metagen-Trace": order.asked.id, "X-Metagen-Strategy": _header(order.asked.served.spec)}
        if call.background:
            return _json(self._begin(order), 200, headers)
        if call.stream:
            return EventStream(partial(self._told, order), headers, self._service.limits.ping)
        return _json(await unless_left(request.receive, self._replied(order)), 200, headers)

    async def _body(self, request: Request) -> bytes:
        """The body of a request. Raises `Refusal` if it is too long, or takes too long."""
        limits = self._service.limits
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > limits.body:
                        raise Refusal(413, f"A body may have {limits.body:,} bytes", code="body_too_large")
        except TimeoutError:
            raise Refusal(408, f"The body took longer than {limits.body_seconds:g} s", code="body_too_slow") from None
        return bytes(body)

    async def _replied(self, order: Order) -> dict[str, Any]:
        """The whole reply to a request."""
        solutions, spent = await self._service.answer(order)
        asked = order.asked
        if asked.call.kind == "response":
            reply = response_reply(asked, solutions[0], spent)
            if asked.call.kept:
                self._service.replies.keep(asked.id, order.key, reply)
            return reply
        return (chat_reply if asked.call.kind == "chat" else completion_reply)(asked, solutions, spent)

    async def _told(self, order: Order, outlet: Outlet) -> int:
        """Write the reply to a request into an outlet, as it is made; return the status."""
        teller = TELLERS[order.asked.call.kind](order.asked, outlet)
        teller.begin()

        async def answered() -> None:
            teller.end(*await self._service.answer(order, teller.heard))

        status = 200
        try:
            await _careful(answered())
        except Refusal as refused:
            teller.fail(refused)
            status = refused.status
        if teller.reply and order.asked.call.kept:
            self._service.replies.keep(order.asked.id, order.key, teller.reply)
        return status

    def _begin(self, order: Order) -> dict[str, Any]:
        """Begin a request whose reply is fetched later."""
        name = order.asked.id
        replies = self._service.replies
        replies.at_work.add(name)
        replies.keep(name, order.key, response_body(order.asked, "in_progress"))
        task = asyncio.create_task(self._worked_on(order))
        self._background[name] = task

        def ended(_: object) -> None:
            self._background.pop(name, None)
            replies.at_work.discard(name)

        task.add_done_callback(ended)
        return response_body(order.asked, "queued")

    async def _worked_on(self, order: Order) -> None:
        replies, asked = self._service.replies, order.asked
        try:
            await _careful(self._replied(order))
        except asyncio.CancelledError:
            replies.keep(asked.id, order.key, response_body(asked, "cancelled"))
            raise
        except Refusal as refused:
            error = {"code": refused.code or "server_error", "message": str(refused)}
            replies.keep(asked.id, order.key, response_body(asked, "failed", error=error))

    async def _response(self, request: Request) -> Response:
        return _json(self._kept(request, self._key(request)))

    async def _cancel(self, request: Request) -> Response:
        key, name = self._key(request), request.path_params["name"]
        self._kept(request, key)
        if task := self._background.get(name):
            await cancel([task])
        return _json(self._kept(request, key))

    def _kept(self, request: Request, key: Key) -> dict[str, Any]:
        name = request.path_params["name"]
        reply: dict[str, Any] | None = self._service.replies.find(name, key)
        if reply is None:
            raise Refusal(404, f"No response {name[:80]!r} is kept for this key", code="not_found")
        return reply

    async def _trace(self, request: Request) -> Response:
        key, name = self._key(request), request.path_params["name"]
        rows = self._service.trace(name, key)
        if rows is None:
            raise Refusal(404, f"No trace {name[:80]!r} is kept for this key", code="not_found")
        return _json({"object": "list", "data": rows})

    async def _page(self, _: Request) -> Response:
        return Response(asking_page(locked=bool(self._keys)), headers=PAGE, media_type="text/html")

    async def _runs(self, request: Request) -> Response:
        return Response(table(self._service.traces.of(self._key(request))), media_type=JSON)

    async def _problem(self, request: Request) -> Response:
        latest = self._service.traces.of(self._key(request))
        return Response(one(latest, request.query_params.get("id", "")), media_type=JSON)

    async def _models(self, request: Request) -> Response:
        key = self._key(request)
        listed = [self._shown(served) for served in self._service.catalogue.listed(key)]
        return _json({"object": "list", "data": listed})

    async def _model(self, request: Request) -> Response:
        key, name = self._key(request), request.path_params["name"]
        served = next((each for each in self._service.catalogue.listed(key) if each.name == name), None)
        if served is None:
            raise unknown_model(name)
        return _json(self._shown(served))

    def _shown(self, served: Served) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "id": served.name,
            "object": "model",
            "created": self._begun,
            "owned_by": served.owner,
        }
        if served.owner == "metagen":
            return fields | {"strategy": served.spec}
        backend = self._service.models.get(getattr(served.strategy, "name", ""))
        return fields | ({"max_model_len": backend.context} if backend else {})

    async def _health(self, _: Request) -> Response:
        try:
            for backend in self._service.models.values():
                with suppress(ServerBusy):  # which is an answer
                    await backend.probe()
        except MetagenError:
            raise Refusal(503, "A model does not answer", code="model_gone") from None
        return _json({"status": "ok"})

    async def _version(self, _: Request) -> Response:
        return _json({"version": distribution.version()})

    async def _metrics(self, _: Request) -> Response:
        return Response(self._service.metrics.text(), media_type="text/plain; version=0.0.4")


def _with_headers(call: Call, headers: Mapping[str, str]) -> Call:
    """The request with what gateways set in headers; a strategy in the body comes first, and the tightest budget."""
    if "x-metagen-strategy" not in headers and "x-metagen-budget" not in headers:
        return call
    strategy = call.strategy or headers.get("x-metagen-strategy", "")
    budget = read_budget(headers.get("x-metagen-budget", "")) if "x-metagen-budget" in headers else Budget()
    return replace(call, strategy=strategy, budget=tightest(call.budget, budget))


async def _careful(work: Awaitable[Result]) -> Result:
    """The result of some work. A bug becomes a `Refusal`; the log has its place, and nothing of the request."""
    try:
        return await work
    except (Refusal, Left, ClientDisconnect):
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, a client is told no more than that)
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
        LOG.error("%s in %s", type(error).__name__, where)  # noqa: TRY400 (a traceback may hold a prompt)
        raise Refusal(500, "The server made a mistake; its log says where", code="internal_error") from None


def _json(fields: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(fields), status, dict(headers or {}), JSON)


def _header(text: str) -> str:
    """A text as a header may hold it: in printable ASCII, and without a blank at an end."""
    plain = text[:500].encode("ascii", "backslashreplace").decode()
    return "".join(each if each.isprintable() else " " for each in plain).strip()


async def _not_routed(_: Request, error: Exception) -> Response:
    """A path or a method that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    said = "This path takes another method" if status == 405 else "There is nothing at this path"
    headers = getattr(error, "headers", None)
    code = "method_not_allowed" if status == 405 else "not_found"
    return _json(Refusal(status, said, code=code).body(), status, headers)
