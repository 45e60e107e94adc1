"""Batches: what is real, what is learned, and that a stream can be taken up again."""

from itertools import islice

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from recipes.batches import Encoded, batches, collate
from recipes.formats import Recipe
from recipes.mixture import Shape, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(Shape().vocabulary, Recipe())


def test_the_loss_is_over_the_reply_only() -> None:
    batch = collate([Encoded([5, 6, 7, 8], reply=2), Encoded([5, 6], reply=1)], pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 8], [5, 6, 0, 0]]
    assert batch.real.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.learned.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch.ids.roll(-1, 1)[batch.learned].tolist() == [7, 8, 6]


def test_parts_hold_every_sequence_once() -> None:
    batch = collate([Encoded([number, 9], reply=1) for number in range(5)], pad=0)
    parts = batch.parts(2)
    assert sorted(int(first) for part in parts for first in part.ids[:, 0]) == list(range(5))
    assert len(collate([Encoded([1, 2], reply=1)], pad=0).parts(2)) == 1


def test_a_stream_fits_its_limit_and_is_taken_up_where_it_stopped(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = list(islice(batches(tokenizer, Recipe(), 0, 4096, 1024), 5))
    rest = list(islice(batches(tokenizer, Recipe(), 0, 4096, 1024, skip=3), 2))
    assert all(batch.ids.numel() <= 4096 for batch in whole)
    for batch, again in zip(whole[3:], rest, strict=True):
        assert torch.equal(batch.ids, again.ids)
