"""Verdicts on disk: what was compared once is not compared again, in no process.

A file of SQLite holds them, since several processes may read and write one at a time. It holds no answers, only their
digests. Whatever is wrong with it costs time and no verdict: a file that cannot be opened, read or written is no longer
used by this process, a broken one is removed, and a row counts only if it is whole.
"""

import sqlite3
from contextlib import suppress
from hashlib import blake2b
from threading import Lock
from weakref import finalize

from metagen.system import cache_folder

WAIT = 1.0
"""Seconds for another process to finish its row; far more than it takes."""
MOST = 1 << 16
"""Pages of 4 KiB: a file of 256 MiB takes no more, about three million verdicts."""

_TABLE = "CREATE TABLE IF NOT EXISTS verdicts (question BLOB PRIMARY KEY, seal BLOB) WITHOUT ROWID"
_BROKEN = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class Remembered:
    """Verdicts by what was asked. May be used by several threads; after a fork, each process opens its own."""

    def __init__(self, name: str) -> None:
        """Nothing is opened before the first question. `name` is that of the file in the folder of caches."""
        self._name, self._lock, self._opened = name, Lock(), False
        self._file: sqlite3.Connection | None = None

    def find(self, question: bytes) -> bool | None:
        """The verdict that was kept; `None` if there is none."""
        key = _digest(question)
        row = self._run("SELECT seal FROM verdicts WHERE question = ?", key)
        return next((verdict for verdict in (True, False) if row == (_seal(key, verdict),)), None)

    def keep(self, question: bytes, verdict: bool) -> None:
        key = _digest(question)
        self._run("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", key, _seal(key, verdict))

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            if self._file:
                self._file.close()
            self._file, self._opened = None, True

    def _run(self, statement: str, *values: bytes) -> tuple[bytes] | None:
        """One row, if there is one; an error ends the use of the file."""
        try:
            with self._lock:
                if not self._opened:
                    self._opened = True
                    self._open()
                row: tuple[bytes] | None = self._file.execute(statement, values).fetchone() if self._file else None
                return row
        except (sqlite3.Error, OSError, RuntimeError) as error:  # the last where nobody has a home
            self.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
                with suppress(OSError):
                    (cache_folder() / self._name).unlink()
            return None

    def _open(self) -> None:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(folder / self._name, timeout=WAIT, isolation_level=None, check_same_thread=False)
        finalize(self, self._file.close)  # at the end of this object, or of the process
        self._file.execute("PRAGMA synchronous = OFF")  # a machine that stops may break it, which costs only time
        self._file.execute(f"PRAGMA max_page_count = {MOST}")
        self._file.execute(_TABLE)


def _digest(question: bytes) -> bytes:
    return blake2b(question, digest_size=16).digest()


def _seal(key: bytes, verdict: bool) -> bytes:
    """What a row holds for a verdict: a bit that flips must not turn right into wrong."""
    return blake2b(key + bytes([verdict]), digest_size=8).digest()
