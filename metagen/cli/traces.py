"""Traces of OpenTelemetry: of a run that is there, and of one as it is made."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from metagen.cli.console import err, out
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.settings import counted
from metagen.solution import Solution
from metagen.view.reading import RunRows


def send_run(run: RunRows, url: str | None) -> None:
    """Send the traces of a run. Raises `InputError` for what is no collector, `MetagenError` if none takes them."""
    otlp = _otlp()
    count = otlp.export_run(run, otlp.exporter_to(url), content=otlp.shows_content())
    say_untraced(run)
    out.print(f"Sent {counted(count, 'span')} of {counted(len(run.traced), 'problem')}.", soft_wrap=True)


def say_untraced(run: RunRows) -> None:
    """Say how many problems are left out of what was made of a run's traces."""
    if missing := len(run.rows) - len(run.traced):
        err.print(f"Problems left out: {missing:,} of {len(run.rows):,} (no trace is written of them).", soft_wrap=True)


@contextmanager
def sending(url: str | None, run: Path, strategy: str) -> Iterator[Callable[[Solution], None] | None]:
    """What sends solutions as they come; `None` without a URL. If no more can be sent, that is said at the end."""
    if url is None:
        yield None
        return
    otlp = _otlp()
    sender = otlp.LiveSender(otlp.exporter_to(url), run.name, strategy, content=otlp.shows_content())
    try:
        yield sender.add
    finally:
        sender.close()
        if sender.error:
            err.print(
                f"Traces are missing: {sender.error} `metagen export {run} --to otlp` sends them all.", soft_wrap=True
            )


def _otlp() -> ModuleType:
    try:
        from metagen.adapters import otlp  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise InputError(f"traces need {error.name}: {how_to_install('otlp')}") from None
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # what fails is said here, once
    return otlp
