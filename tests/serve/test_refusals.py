"""What clients are told."""

import pytest

from metagen.serve.refusals import unfit


@pytest.mark.parametrize(
    "said",
    [
        "the prompt has 9000 tokens, and small takes 1 to 8191: prompt and answer share a context of 8192",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "The input (9000 tokens) is longer than the model's context length (4096 tokens).",
        "the request exceeds the available context size",
        "Your input exceeds the context window of this model.",
        "The decoder prompt (length 9000) is longer than the maximum model length of 4096.",
        "context_length_exceeded",
    ],
)
def test_a_prompt_that_is_too_long_has_the_code_that_clients_know(said: str) -> None:
    refusal = unfit(f"UnfitRequest: localhost:8000 answered 400: {said}")
    assert (refusal.status, refusal.code) == (400, "context_length_exceeded")


def test_another_mistake_has_another_code() -> None:
    refusal = unfit("UnfitRequest: the chat template refuses this conversation: roles must alternate")
    assert (refusal.status, refusal.code) == (400, "invalid_value")
