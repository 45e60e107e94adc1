"""Random replies and random files: they are read, or refused by an error of ours, and nothing hangs."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from metagen import parse
from tests.support.fuzz import REPLIES, Asked, Reply, files, listings, read_problems

SOME = settings(max_examples=100, deadline=None)


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with asyncio.Runner() as runner, Asked(runner).open() as opened:
        yield opened


@pytest.mark.parametrize("spec", REPLIES)
def test_no_reply_of_a_server_is_a_bug(asked: Asked, spec: str) -> None:
    @SOME
    @given(reply=REPLIES[spec])
    def ask(reply: Reply) -> None:
        asked.ask(reply, parse(spec))

    ask()


def test_no_server_that_is_opened_is_a_bug(asked: Asked) -> None:
    @SOME
    @given(reply=listings)
    def open_another(reply: Reply) -> None:
        asked.open_another(reply)

    open_another()


@SOME
@given(file=files())
def test_no_file_of_problems_is_a_bug(tmp_path_factory: pytest.TempPathFactory, file: tuple[str, bytes]) -> None:
    read_problems(tmp_path_factory.getbasetemp(), file)
