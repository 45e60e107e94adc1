"""The shipped model gives the same log-probabilities in torch and served by vLLM, both in float32."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metagen.models import SMALL

TURNS = [
    {"role": "user", "content": "Tom has 12 apples. Ann gives Tom 7 apples. How many apples does Tom have now?"},
    {"role": "assistant", "content": "Tom has 12 + 7 = 19 apples.\nThe answer is 19."},
]
SERVED = """
import json, sys
from vllm import LLM, SamplingParams

model, ids, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
engine = LLM(model, dtype="float32", enforce_eager=True, block_size=32, max_model_len=256, max_num_seqs=4)
settings = SamplingParams(max_tokens=1, prompt_logprobs=0)
(output,) = engine.generate([{"prompt_token_ids": ids}], settings, use_tqdm=False)
values = [found[token].logprob for token, found in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]
with open(out, "w") as file:
    json.dump(values, file)
"""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def in_torch(ids: list[int]) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(SMALL, dtype=torch.float32).eval()
    tokens = torch.tensor(ids)
    with torch.no_grad():
        logprobs = model(input_ids=tokens[None]).logits[0, :-1].log_softmax(-1)
    values: list[float] = logprobs.gather(1, tokens[1:, None])[:, 0].tolist()
    return values


def in_vllm(ids: list[int], out: Path) -> list[float]:
    settings = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    command = [sys.executable, "-c", SERVED, str(SMALL), json.dumps(ids), str(out)]
    subprocess.run(["env", *settings, *command], check=True, capture_output=True, timeout=240)
    values: list[float] = json.loads(out.read_text())
    return values


@pytest.mark.engine
def test_torch_and_vllm_agree(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SMALL)
    ids = tokenizer.apply_chat_template(TURNS, return_dict=False)
    assert in_vllm(ids, tmp_path / "logprobs.json") == pytest.approx(in_torch(ids), abs=1e-4)
