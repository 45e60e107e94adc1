"""The shipped model gives the same log-probabilities in torch and served by vLLM, both in float32."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metagen import Request, Sampling, VLLMEngine
from metagen.models import SMALL
from tests.support.outcomes import completed

QUESTION = "Tom has 12 apples. Ann gives Tom 7 apples. How many apples does Tom have now?"


def in_torch(ids: list[int]) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(SMALL, dtype=torch.float32).eval()
    tokens = torch.tensor(ids)
    with torch.no_grad():
        logprobs = model(input_ids=tokens[None]).logits[0, :-1].log_softmax(-1)
    values: list[float] = logprobs.gather(1, tokens[1:, None])[:, 0].tolist()
    return values


@pytest.mark.engine
async def test_torch_and_vllm_agree(engine: VLLMEngine) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=60, logprobs=True)
    (served,) = completed(await engine.generate(Request("p", QUESTION, sampling=sampling), lambda _: None))
    turn = [{"role": "user", "content": QUESTION}]
    prompt = AutoTokenizer.from_pretrained(SMALL).apply_chat_template(
        turn, add_generation_prompt=True, return_dict=False
    )
    assert len(served.tokens) > 10
    assert served.logprobs == pytest.approx(in_torch([*prompt, *served.tokens])[-len(served.tokens) :], abs=1e-4)
