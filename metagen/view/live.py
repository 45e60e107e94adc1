"""The page of runs that are still under way: a server for one reader on this machine."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from metagen.errors import InputError
from metagen.view.packing import encoded
from metagen.view.page import live_page, refuse_twins
from metagen.view.problems import problem, summary
from metagen.view.reading import RunRows

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}
"""How a reader on this machine may call it. A page elsewhere whose name leads here is refused."""
HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"


class LiveServer(ThreadingHTTPServer):
    """Serves the page of runs, and their rows as they are when they are asked for.

    Raises `InputError` for what is no run, for one that is named twice, and for a port that is in use. Port 0 takes any
    free one.
    """

    daemon_threads = True

    def __init__(self, paths: Sequence[Path], port: int = 0) -> None:
        refuse_twins(paths)
        self.paths = paths
        self._tables: dict[tuple[int, ...], bytes] = {}
        """The last answer of `runs`, by the sizes of what it was made of."""
        RunRows.read_all(paths)
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise InputError(f"port {port}: cannot be served: {error.strerror}; name another with --port") from None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def runs(self) -> bytes:
        """The table of each run."""
        sizes = tuple(path.stat().st_size for each in self.paths if (path := each / "solutions.jsonl").exists())
        if sizes not in self._tables:
            self._tables = {sizes: encoded([summary(run, {}) for run in RunRows.read_all(self.paths)])}
        return self._tables[sizes]

    def problem(self, number: int, name: str) -> bytes:
        """All of one problem of a run; null if it is not solved."""
        run = RunRows.read(self.paths[number])
        return encoded(next((problem(row, spans) for row, spans in run.traces({name})), None))


class Handler(BaseHTTPRequestHandler):
    """Answers a reader: the page, its runs, a problem."""

    server: LiveServer
    server_version, sys_version = "metagen", ""

    def handle(self) -> None:
        """Answer the requests of a connection, as long as there is a reader."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer one request."""
        if host_of(self.headers.get("Host") or "") not in NAMES:
            self._refuse("Only requests to this machine by its own name are answered", 403)
            return
        asked = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(asked.query).items()}
        answers: dict[str, tuple[str, Callable[[], bytes]]] = {
            "/": (HTML, live_page),
            "/runs": (JSON, self.server.runs),
            "/problem": (JSON, lambda: self.server.problem(int(fields["run"]), fields["id"])),
        }
        if asked.path not in answers:
            self._refuse("There is no such page", 404)
            return
        kind, answer = answers[asked.path]
        try:
            self._send(kind, answer())
        except InputError as error:  # a file of the run is damaged
            self._refuse(str(error), 500)
        except (KeyError, ValueError, IndexError):
            self._refuse("There is no such run: give its number and the id of a problem", 404)

    def _refuse(self, why: str, status: int) -> None:
        """Answer with a sentence, which the page shows as it is."""
        self._send(TEXT, why.encode(errors="backslashreplace"), status)

    def _send(self, kind: str, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged: ids and searches are the reader's own."""


def host_of(header: str) -> str:
    """The name in a `Host`, whose port a browser leaves out where it is the usual one."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # such as a bracket that is not closed
        return ""
