"""One self-contained page for runs: no request leaves it, and nothing that a model wrote becomes markup or script."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from metagen.disk.files import check_ours, replace_file
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow
from metagen.errors import InputError
from metagen.view.packing import encoded, pack
from metagen.view.problems import Place, problem, summary
from metagen.view.reading import RunRows

SCRIPTS = ("dom", "text", "diff", "data", "table", "candidates", "tree", "trace", "problem", "ask", "app")
"""The parts of the page's script, in order."""
CHUNK = 1 << 19
"""Bytes of problems that are compressed together. A problem is unpacked with its chunk, when it is opened."""
OURS = re.compile(rb'<meta name="generator" content="metagen view">')


def refuse_twins(paths: Sequence[Path]) -> None:
    """Raise `InputError` if a run is named twice."""
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise InputError(f"{twice} is given twice: name each run once")


def write_page(paths: Sequence[Path], out: Path) -> None:
    """Write the page of one run or several.

    Raises `InputError` for what is no run, names of runs that are given twice, runs that mean different problems by an
    id, and a file at `out` that is no such page; `StorageError` if the disk takes no more.
    """
    refuse_twins(paths)
    check_ours(out, OURS)
    runs = RunRows.read_all(paths)

    def write(new: Path) -> None:
        with new.open("wb") as file:
            file.writelines(_parts(runs))

    replace_file(out, write)


def live_page() -> bytes:
    """The page that asks its server for runs as they grow."""
    return b"".join((_head("'self'"), _block("live", b"true"), _foot()))


def asking_page(*, locked: bool) -> bytes:
    """The page of a server: a place to ask, and the latest requests; `locked` if both need a key."""
    lock = _block("locked", b"true") if locked else b""
    return b"".join((_head("'self'"), _block("live", b"true"), _block("asking", b"true"), lock, _foot()))


def _parts(runs: Sequence[RunRows]) -> Iterator[bytes]:
    yield _head("'none'")
    summaries = []
    for number, run in enumerate(runs):
        places: dict[str, Place] = {}
        for chunk, data in enumerate(_chunks(run.traces(), places)):
            yield _block(f"run-{number}-{chunk}", pack(data))
        summaries.append(summary(run, places))
    yield _block("summary", pack(encoded(summaries)))
    yield _foot()


def _chunks(traces: Iterator[tuple[SolutionRow, list[SpanRow]]], places: dict[str, Place]) -> Iterator[bytes]:
    """Problems as lists of JSON, each of about `CHUNK` bytes; where each is, is noted in `places`."""
    waiting: list[bytes] = []
    size = number = 0
    for row, spans in traces:
        places[row.problem] = number, len(waiting)
        waiting.append(encoded(problem(row, spans)))
        size += len(waiting[-1])
        if size >= CHUNK:
            yield b"[" + b",".join(waiting) + b"]"
            waiting.clear()
            size, number = 0, number + 1
    if waiting:
        yield b"[" + b",".join(waiting) + b"]"


def _block(name: str, data: bytes) -> bytes:
    return b'<script type="application/octet-stream" id="%s">%s</script>\n' % (name.encode(), data)


def _head(connect: str) -> bytes:
    policy = (
        f"default-src 'none'; script-src {_digest(_math())} {_digest(_script())}; style-src {_digest(_style())}; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="generator" content="metagen view">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>metagen</title>\n<style>{_style()}</style>\n</head>\n'
        f'<body>\n<main id="page"><p>Reading the runs &hellip;</p></main>\n'
        f"<noscript>This page needs JavaScript. All of it is in this file.</noscript>\n"
    ).encode()


def _foot() -> bytes:
    return f"<script>{_math()}</script>\n<script>{_script()}</script>\n</body>\n</html>\n".encode()


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _style() -> str:
    return _asset("style.css")


def _math() -> str:
    """KaTeX, which writes MathML; its licence stands before it."""
    return f"/*\n{_asset('katex/LICENSE')}*/\n{_asset('katex/katex.min.js')}"


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def _asset(name: str) -> str:
    return (files("metagen.view") / "page" / name).read_text(encoding="utf-8")
