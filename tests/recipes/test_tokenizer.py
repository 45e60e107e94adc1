"""The tokenizer: no text is unknown, and a step can be stopped at its newline."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from recipes.batches import encode
from recipes.formats import Exchange
from recipes.tokenizer import SPECIAL, train_tokenizer

TEXTS = ["Tom has 12 + 7 = 19 apples.\nThe answer is 19.", "Ann gives Tom 7 apples."] * 3

PATIENT = settings(deadline=None)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 320, 2048)


@PATIENT
@given(text=st.text())
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    if not any(token in text for token in SPECIAL):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@PATIENT
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_newline_is_one_token_of_its_own(tokenizer: PreTrainedTokenizerFast, before: str, after: str) -> None:
    (newline,) = tokenizer.encode("\n")
    text = f"{before}\n{after}"
    assert tokenizer.encode(text).count(newline) == text.count("\n")


def test_digits_are_not_merged(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer.encode("1912")) == 4


def test_training_sees_the_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    (encoded,) = encode(tokenizer, [Exchange("Ann has 7 apples.", "The answer is 7.")])
    turns = [{"role": "user", "content": "Ann has 7 apples."}, {"role": "assistant", "content": "The answer is 7."}]
    asked = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_dict=False)
    assert tokenizer.apply_chat_template(turns, return_dict=False) == encoded.ids
    assert encoded.ids[: encoded.reply] == asked
