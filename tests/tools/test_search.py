import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metagen import InputError, Search
from metagen.distribution import how_to_install
from metagen.tools import search
from metagen.tools.search import Passage, read_passages

PASSAGES = [
    {"title": "Ada Lovelace", "text": "Ada Lovelace wrote the first published program,\nfor the Analytical Engine."},
    {"title": "Charles Babbage", "text": "Charles Babbage designed the Analytical Engine in London."},
    {"title": "London", "text": "London is the capital of England."},
]


@pytest.fixture(autouse=True)
def fresh() -> None:
    search.open_index.cache_clear()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "passages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PASSAGES))
    return path


def searching(corpus: Path, **settings: Any) -> Search:
    return Search(str(corpus), cache=str(corpus.parent / "cache"), **settings)


async def test_the_best_come_first_each_on_a_line(corpus: Path) -> None:
    assert await searching(corpus, k=2)("Who wrote a program for the Analytical Engine?") == (
        "[Ada Lovelace] Ada Lovelace wrote the first published program, for the Analytical Engine.\n"
        "[Charles Babbage] Charles Babbage designed the Analytical Engine in London."
    )


async def test_titles_are_searched_too(corpus: Path) -> None:
    assert (await searching(corpus, k=1)("Babbage")).startswith("[Charles Babbage]")


@pytest.mark.parametrize("query", ["", "the of in", "xylophone", "?!", "\ud800"])
async def test_what_shares_no_word_is_not_found(corpus: Path, query: str) -> None:
    assert await searching(corpus)(query) == ""


async def test_fewer_passages_than_asked_for_are_all(corpus: Path) -> None:
    assert len((await searching(corpus, k=99)("London capital")).splitlines()) == 2


async def test_equals_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "passages.jsonl").write_text("".join(f'{{"text": "same words", "title": "{n}"}}\n' for n in range(50)))
    found = searching(tmp_path / "passages.jsonl", k=50).index().best("words", 50)
    assert [passage.title for passage in found] == [str(n) for n in range(50)]


async def test_a_folder_holds_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cats.md").write_text("# Cats\n\nCats purr.\n\n\n\n")
    (tmp_path / "dogs.txt").write_text("Dogs bark.")
    (tmp_path / "image.png").write_bytes(b"\xff")
    assert read_passages(tmp_path) == [
        Passage("dogs", "Dogs bark."),
        Passage("in/cats", "# Cats"),
        Passage("in/cats", "Cats purr."),
    ]
    assert await searching(tmp_path / "in", k=1)("Who purrs? purr") == "[cats] Cats purr."


async def test_an_index_is_built_once_and_kept(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = searching(corpus).index()
    assert searching(corpus, k=9).index() is first, "one corpus, one index"
    search.open_index.cache_clear()
    monkeypatch.setattr(search, "build_index", None)
    assert (await searching(corpus)("Babbage")).startswith("[Charles Babbage]"), "read, and not built again"


def test_a_changed_corpus_has_an_index_of_its_own(corpus: Path) -> None:
    assert not searching(corpus).index().best("zebra", 1)
    corpus.write_text('{"text": "A zebra."}\n')
    search.open_index.cache_clear()
    assert searching(corpus).index().best("zebra", 1) == [Passage("1", "A zebra.", titled=False)]


async def test_a_passage_without_a_title_is_shown_by_its_line_and_not_found_by_it(tmp_path: Path) -> None:
    (tmp_path / "passages.jsonl").write_text('{"text": "A zebra."}\n{"text": "A horse.", "title": null}\n')
    assert await searching(tmp_path / "passages.jsonl")("2 horses: horse") == "[2] A horse."
    assert await searching(tmp_path / "passages.jsonl")("line 1 and 2") == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.index.json", "{"),
        ("vocab.index.json", ""),
        ("params.index.json", ""),
        ("data.csc.index.npy", ""),
        ("indptr.csc.index.npy", "x"),
    ],
)
async def test_a_broken_index_is_built_again(corpus: Path, name: str, content: str) -> None:
    searching(corpus).index()
    (kept,) = (corpus.parent / "cache").iterdir()
    (kept / name).write_text(content)
    search.open_index.cache_clear()
    assert await searching(corpus, k=1)("capital") == "[London] London is the capital of England."
    assert [path.name for path in (corpus.parent / "cache").iterdir()] == [kept.name]


def test_without_a_setting_it_is_kept_in_the_users_cache(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAGEN_CACHE", str(corpus.parent / "mine"))
    Search(str(corpus)).index()
    assert len(list((corpus.parent / "mine/search").iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no passages; it needs lines"),
        ("[]", "must be a JSON object"),
        ('{"title": "x"}', "line 1: a passage needs a text in 'text' or 'passage' or 'contents'"),
        ('{"text": 3}', "line 1: 'text' must be a text, not 3"),
        ('{"text": "x", "title": 3}', "line 1: 'title' must be a text, not 3"),
        ('{"text": "x"}\n{"passage": []}', r"line 2: 'passage' must be a text, not \[\]"),
        ('{"text": null}', "line 1: a passage needs a text"),
        ('{"text": "the"}\n{"text": "a"}', r"passages.jsonl: its passages hold no words"),
    ],
)
async def test_what_is_no_corpus_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "passages.jsonl").write_text(content)
    with pytest.raises(InputError, match=said):
        await searching(tmp_path / "passages.jsonl")("x")
    with pytest.raises(InputError, match=said):
        searching(tmp_path / "passages.jsonl").check_host()


async def test_a_missing_corpus_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file or folder"):
        await searching(tmp_path / "none")("x")
    with pytest.raises(InputError, match=r"needs \.md and \.txt files"):
        await searching(tmp_path)("x")
    (tmp_path / "x.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        await searching(tmp_path)("x")


async def test_a_cache_that_cannot_be_written_is_named(corpus: Path) -> None:
    with pytest.raises(InputError, match="the index cannot be kept there"):
        await Search(str(corpus), cache=str(corpus))("x")
    with pytest.raises(InputError, match="the index cannot be kept there"):
        Search(str(corpus), cache=str(corpus)).check_host()


async def test_two_processes_may_build_one_index(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus.parent / "cache"
    searching(corpus).index()
    (kept,) = folder.iterdir()
    search.open_index.cache_clear()
    monkeypatch.setattr(search, "_read", lambda _: None)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if the other were faster
    assert await searching(corpus, k=1)("capital") == "[London] London is the capital of England."
    monkeypatch.undo()
    assert kept in folder.iterdir()


async def test_an_index_that_cannot_be_saved_leaves_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bm25s.BM25.save", full)
    with pytest.raises(InputError, match="No space left on device"):
        await searching(corpus)("x")
    assert list((corpus.parent / "cache").iterdir()) == []


def test_it_prints_as_its_spec() -> None:
    assert repr(Search("a.jsonl", k=5)) == 'Search("a.jsonl", k=5)'


@pytest.mark.parametrize("settings", [{"k": 0}, {"k": True}, {"cache": 3}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Search: "):
        Search("x", **settings)
    with pytest.raises(InputError, match="Search: corpus"):
        Search(3)  # type: ignore[arg-type]


def test_without_bm25s_it_says_what_to_install(corpus: Path) -> None:
    program = f"""
import sys; sys.modules["bm25s"] = None
from metagen import Search, InputError
try: Search({str(corpus)!r}).index()
except InputError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == f"Search needs bm25s: {how_to_install('search')}"
