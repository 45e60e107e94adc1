"""`metagen view`: the page of runs."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from metagen.cli.console import out
from metagen.view.live import LiveServer
from metagen.view.page import write_page

NAME = "page.html"
"""Of the page, in the folder of the first run."""


def view_runs(runs: Sequence[Path], page: Path | None) -> None:
    """Write the page of runs and say where it is."""
    page = page or runs[0] / NAME
    write_page(runs, page)
    out.print(f"Open {page} in a browser ({page.stat().st_size / 1e6:.1f} MB).", soft_wrap=True)


def serve_runs(runs: Sequence[Path], port: int) -> None:
    """Serve the page of runs, as they grow, until Ctrl-C, which is how it ends."""
    with LiveServer(runs, port) as server, suppress(KeyboardInterrupt):
        out.print(f"Open {server.address} in a browser on this machine; Ctrl-C ends it.", soft_wrap=True)
        server.serve_forever()
    sys.exit(0)  # else the signal would count as an interruption
