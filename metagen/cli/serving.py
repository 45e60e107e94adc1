"""`metagen serve`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from metagen.cli.options import (
    AnswersOption,
    CardOption,
    EngineOption,
    GpusOption,
    LoadOption,
    ModelOption,
    PriceOption,
    RayOption,
    ServerOption,
    WorkersOption,
)


def serve_command(
    model: ModelOption = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            metavar="NAME=SPEC",
            help="A strategy, and the name that clients call it by, such as math='Vote(16)'. May be repeated.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Without keys, it must be of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys in TOML; METAGEN_API_KEY is a key, too. Default: none is needed."),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep each answer in the folder of a run there.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens that all requests together may spend.")] = None,
    money: Annotated[float | None, typer.Option(help="Money that all requests together may spend.")] = None,
    request_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens that one request may spend.")] = None,
    request_seconds: Annotated[float, typer.Option(min=0.001, help="End a request after so many seconds.")] = 600.0,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests at work at once.")] = 256,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to try later.")] = 1024,
    body: Annotated[int, typer.Option(min=1, help="The most bytes of a request.")] = 8 * 2**20,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A site whose pages may call (CORS). Default: none.")
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log each request: its path and its status.")
    ] = False,
    load: LoadOption = None,
    answers: AnswersOption = None,
    engine: EngineOption = None,
    server: ServerOption = None,
    card: CardOption = None,
    price: PriceOption = None,
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    ray: RayOption = None,
) -> None:
    """Serve strategies as models, by OpenAI's interface."""
    given = locals()
    from metagen.cli.server import serve  # noqa: PLC0415 (loaded when it is called)

    serve(**given)
