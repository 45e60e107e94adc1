"""Search: the passages of a corpus that fit a query best, by BM25 (Robertson and Zaragoza 2009, section 3)."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from metagen.disk.lines import read_lines
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.settings import require_whole, spelled
from metagen.system import cache_folder

TEXT_FIELDS = ("text", "passage", "contents")
SUFFIXES = (".md", ".txt")
OPEN = 8
"""Corpora that stay in memory."""
_opening = threading.Lock()


class Passage(NamedTuple):
    """What a search finds."""

    title: str
    text: str
    titled: bool = True
    """Whether the title was given; else it is a number, by which the passage is not found."""

    @property
    def indexed(self) -> tuple[str, ...]:
        """The texts whose words find it."""
        return (self.title, self.text) if self.titled else (self.text,)

    def __str__(self) -> str:
        """One line, whatever is in it."""
        return " ".join(f"[{self.title}] {self.text}".split())


@dataclass(frozen=True, slots=True, repr=False)
class Search:
    """The passages that fit a query best, at most `k`, the best first, each on a line: `[title] text`.

    The corpus is JSON Lines with a `text` (or `passage`, `contents`) and perhaps a `title`, which is searched too;
    without one, the number of the line is shown. Or it is a folder, where each paragraph of its .txt and .md files is a
    passage, titled by the file's name. A passage that shares no word with the query, stop words aside, is not found.
    The index is built before a run or at the first call, and kept in the folder `cache` (default
    `~/.cache/metagen/search`) by what the corpus holds; a process reads a corpus once. It needs the extra `search`
    (bm25s).

    To search otherwise, write an `async def` that takes a query and returns such lines: it is a tool as well.
    """

    corpus: str
    _: KW_ONLY
    k: int = 3
    cache: str | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, k=self.k)
        if not isinstance(self.corpus, str) or not isinstance(self.cache, str | None):
            raise InputError('Search: corpus and cache must be paths, written as texts: Search("passages.jsonl")')

    def check_host(self) -> None:
        """Raises `InputError` if bm25s is not installed, and for what `index` raises it."""
        _bm25s()
        self.index()

    async def __call__(self, text: str, /) -> str:
        found = await asyncio.to_thread(lambda: self.index().best(text, self.k))
        return "\n".join(map(str, found))

    def index(self) -> "Index":
        """The corpus with its index, built or read where it is not open yet: where that takes long, call this first.

        Raises `InputError` for a corpus that cannot be read, and a cache that cannot be written.
        """
        with _opening:
            cache = Path(self.cache) if self.cache is not None else cache_folder() / "search"
            return open_index(Path(self.corpus), cache)


class Index:
    """Passages, and what BM25 knows of their words."""

    def __init__(self, passages: Sequence[Passage], bm25: Any) -> None:
        self.passages = passages
        self._bm25 = bm25

    def best(self, query: str, k: int) -> list[Passage]:
        """At most `k` passages that share a word with the query: the best first, the earlier first of equals."""
        (words,) = _words([query])
        if not words or not self._bm25.get_tokens_ids(words):
            return []
        scores = self._bm25.get_scores(words)
        found = np.flatnonzero(scores > 0)
        ranked = found[np.argsort(-scores[found], kind="stable")]
        return [self.passages[number] for number in ranked[:k]]


def require_corpus(corpus: Path) -> None:
    """Raises `InputError` if there is no such file or folder."""
    if not os.path.exists(corpus):  # unlike `Path.exists`, it takes a name of any length
        raise InputError(f"{corpus}: there is no such file or folder of passages")


def read_passages(corpus: Path) -> list[Passage]:
    """The passages of a file or folder. Raises `InputError` where there are none."""
    require_corpus(corpus)
    passages = list(_of_folder(corpus) if corpus.is_dir() else _of_lines(corpus))
    if not passages:
        wanted = f"{' and '.join(SUFFIXES)} files with text" if corpus.is_dir() else "lines"
        raise InputError(f"{corpus}: holds no passages; it needs {wanted}")
    return passages


def _of_folder(folder: Path) -> Iterator[Passage]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            try:
                paragraphs = path.read_text(encoding="utf-8").split("\n\n")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from None
            title = str(path.relative_to(folder).with_suffix(""))
            yield from (Passage(title, text) for text in paragraphs if text.strip())


def _of_lines(file: Path) -> Iterator[Passage]:
    for number, row in read_lines(file):
        given = {name: row[name] for name in ("title", *TEXT_FIELDS) if row.get(name) is not None}
        for name, value in given.items():
            if not isinstance(value, str):
                raise InputError(f"{file}, line {number}: {name!r} must be a text, not {value!r}")
        text = next((given[name] for name in TEXT_FIELDS if name in given), None)
        if text is None:
            raise InputError(f"{file}, line {number}: a passage needs a text in {' or '.join(map(repr, TEXT_FIELDS))}")
        title = given.get("title", "")
        yield Passage(title or f"{number}", text, bool(title))


@lru_cache(OPEN)
def open_index(corpus: Path, cache: Path) -> Index:
    passages = read_passages(corpus)
    kept = cache / _digest(passages)
    return Index(passages, _read(kept) or build_index(passages, kept, corpus))


def _read(kept: Path) -> Any:
    """The index of that folder; `None` if there is none that can be read."""
    try:
        return _bm25s().BM25.load(kept)
    except (OSError, EOFError, ValueError, KeyError):
        return None


def build_index(passages: Sequence[Passage], kept: Path, corpus: Path) -> Any:
    """The index, which is kept in a folder that appears whole or not at all.

    Raises `InputError` if the passages hold no words to search by, or the folder cannot be written.
    """
    words = _words([" ".join(passage.indexed) for passage in passages])
    if not any(words):
        raise InputError(f"{corpus}: its passages hold no words, stop words aside")
    bm25 = _bm25s().BM25()
    bm25.index(words, show_progress=False)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept.parent, ignore_cleanup_errors=True) as new:
            bm25.save(new, show_progress=False)
            shutil.rmtree(kept, ignore_errors=True)
            _move(Path(new), kept)
    except OSError as error:
        raise InputError(f"{kept.parent}: the index cannot be kept there ({error.strerror}): set cache=") from None
    return bm25


def _move(new: Path, kept: Path) -> None:
    try:
        new.rename(kept)
    except OSError:
        if not kept.is_dir():  # else another process has kept the same index meanwhile
            raise


def _words(texts: list[str]) -> Any:
    return _bm25s().tokenize(texts, stopwords="en", return_ids=False, show_progress=False)


def _bm25s() -> Any:
    try:
        import bm25s  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError(f"Search needs bm25s: {how_to_install('search')}") from None
    return bm25s


def _digest(passages: Sequence[Passage]) -> str:
    digest = blake2b(digest_size=12)
    for passage in passages:
        digest.update(repr(passage.indexed).encode())
    return f"{digest.hexdigest()}-bm25s-{_bm25s().__version__}"
