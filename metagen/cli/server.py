"""Opens models once and answers requests until it is stopped."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metagen.answers.kinds import MATHS
from metagen.answers.spec import parse_answers
from metagen.budget import Budget
from metagen.cli.clusters import cluster_of, models_of
from metagen.cli.console import err, out
from metagen.cli.jobs import say_missing
from metagen.cli.orders import read_models
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.jobs.job import ModelOrder, make_models
from metagen.jobs.loading import load_all
from metagen.jobs.remarks import servers_away
from metagen.request import AnyBackend
from metagen.run import Generator
from metagen.settings import takes
from metagen.spec.parse import parse

BACKLOG = 2048
"""Connections that may wait to be accepted."""
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What a machine says of addresses of a kind that it has not, such as those of IPv6."""
GRACE_SECONDS = 5
"""For which requests that are under way may still be answered once the server is told to stop."""


def serve(
    *,
    model: list[str] | None,
    alias: list[str] | None,
    host: str,
    port: int,
    keys: Path | None,
    out_dir: Path | None,
    tokens: int | None,
    money: float | None,
    request_tokens: int | None,
    request_seconds: float,
    in_flight: int,
    queue: int,
    body: int,
    origin: list[str] | None,
    access_log: bool,
    load: list[Path] | None,
    answers: str | None,
    engine: list[str] | None,
    server: list[str] | None,
    card: list[str] | None,
    price: list[str] | None,
    workers: int | None,
    gpus_per_worker: float | None,
    ray: str | None,
) -> None:
    """Serve until it is stopped. Raises `InputError` for what cannot be served."""
    try:
        import uvicorn  # noqa: PLC0415 (optional)

        from metagen.serve import Limits, app  # noqa: PLC0415 (optional)
        from metagen.serve.keys import find_keys, is_here  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise InputError(f"metagen serve needs {error.name}: {how_to_install('serve')}") from None
    names = load_all(load or ())
    known = find_keys(keys)
    if not known and not is_here(host):
        raise InputError(f"--host {host}: without keys, only this machine may call: give --keys FILE")
    order = ModelOrder(**read_models(model, load, engine, server, card, price))
    cluster = cluster_of(workers, gpus_per_worker, ray)
    models = models_of(cluster, order) if cluster else make_models(order, names)[1]
    application = app(
        models,
        _read_aliases(alias or (), names),
        keys=known,
        limits=Limits(
            in_flight=in_flight,
            queue=queue,
            seconds=request_seconds,
            request=Budget(request_tokens),
            server=Budget(tokens, money=money),
            body=body,
        ),
        out=out_dir,
        origins=origin or (),
        answers=parse_answers(answers, names) if answers else MATHS,
        local=not known,
    )
    config = uvicorn.Config(
        application,
        host,
        port,
        lifespan="off",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        proxy_headers=access_log,  # nothing else asks who called
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    sockets = _bound(host, port)
    try:
        asyncio.run(_serve(application, models, uvicorn.Server(config), sockets))
    except KeyboardInterrupt:  # also what SIGTERM and SIGHUP become
        out.print("Stopped: what was under way is cancelled, and the models are closed.", soft_wrap=True)
        sys.exit(0)  # a server that is told to stop has done what it was asked
    finally:
        for each in sockets:
            each.close()


def _bound(host: str, port: int) -> list[socket.socket]:
    """Sockets at all addresses of a host, before models are loaded. Raises `InputError` where there is none to have."""
    bound: list[socket.socket] = []
    try:
        with ExitStack() as opened:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                try:
                    each = socket.create_server(address[:2], family=family, backlog=BACKLOG)
                except OSError as error:
                    if error.errno not in NOT_HERE:
                        raise
                    last = error
                else:
                    bound.append(opened.enter_context(each))
                    if not port:
                        break  # each would have a port of its own
            if not bound:
                raise last
            opened.pop_all()
    except OSError as error:
        said = str(error) if isinstance(error, socket.gaierror) or not error.errno else os.strerror(error.errno)
        raise InputError(f"--host {host} --port {port}: cannot be served at: {said}; name another port") from None
    return bound


async def _serve(application: Any, models: Mapping[str, AnyBackend], server: Any, sockets: list[socket.socket]) -> None:
    """Open the models, say what they lack, answer until it is stopped, and close them."""
    with err.status("Loading the models ..."):
        opening = application.router.lifespan_context(application)
        await opening.__aenter__()
    try:
        for backend in models.values():
            say_missing(backend)
        for line in servers_away(models):
            err.print(line, soft_wrap=True)
        serving = asyncio.create_task(server.serve(sockets))
        while not (server.started or serving.done()):  # noqa: ASYNC110 (uvicorn sets no event)
            await asyncio.sleep(0.01)
        if server.started:
            out.print(f"Serving at {_address(server)}", soft_wrap=True)
        await serving
    finally:
        await opening.__aexit__(None, None, None)


def _address(server: Any) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _read_aliases(texts: Sequence[str], names: Mapping[str, Any]) -> dict[str, Generator]:
    """Strategies by the names that clients call. Raises `InputError`."""
    aliases: dict[str, Generator] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or not name.strip() or "(" in name:
            raise InputError(f"--alias {text[:80]!r}: write NAME=SPEC, such as math='Vote(16)'")
        if name in aliases:
            raise InputError(f"--alias {name}=...: the name is given twice")
        strategy = parse(spec, names)
        if not takes(strategy, 2):
            raise InputError(f"--alias {name}: {spec[:80]!r} is not a strategy; write one such as Vote(16)")
        aliases[name] = strategy
    return aliases


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a line of the log is about something else than a request that was cancelled as the server stopped."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
