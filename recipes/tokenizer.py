"""The small model's tokenizer: byte-level BPE, so that no text is unknown and every text comes back exactly.

Text is first cut into newlines, digits, words and single marks, each with the one space before it (newlines without).
Nothing merges across a cut: a newline is always one token of its own, so generation can stop at the end of a step,
and every digit is one token.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, END, SYSTEM, USER, ASSISTANT)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""A turn is `<|role|>text<|end|>`; the role is system, user or assistant."""

_PIECES = Regex(r"\n| ?[0-9]| ?[A-Za-z]+| ?[^\sA-Za-z0-9]|\s")


def train_tokenizer(texts: Iterable[str], size: int, longest: int) -> PreTrainedTokenizerFast:
    """Learn at most `size` tokens from texts; `longest` is the model's context in tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return wrapped(tokenizer, CHAT_TEMPLATE, longest)


def wrapped(tokenizer: Tokenizer, template: str, longest: int) -> PreTrainedTokenizerFast:
    """The tokenizer with its chat template and what its special tokens are for, as Hugging Face's interface has it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=template,
        clean_up_tokenization_spaces=False,
        model_max_length=longest,
        padding_side="left",
    )
