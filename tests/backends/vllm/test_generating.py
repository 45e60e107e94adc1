"""The engine in process: what it answers, what it counts, and what it leaves behind."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from metagen.backends.vllm import arguments as _engine_args
from metagen.backends.vllm import warden as _warden
from metagen.backends.vllm.generating import VLLMEngine
from metagen.backends.vllm.prompts import Prompts
from metagen.budget import Usage
from metagen.errors import BackendGone, GenerationError, InputError
from metagen.models import SMALL
from metagen.request import Completion, Request, Sampling
from tests.support.needs import needs_vllm
from tests.support.outcomes import completed
from tests.support.timing import turns, until

engine_test = pytest.mark.engine

PROMPT = "Count from one to a hundred, in words, and say after each number whether it is prime. " * 4


class Books:
    """A meter that counts how often it was called."""

    def __init__(self) -> None:
        self.entries: list[Usage] = []

    def __call__(self, usage: Usage) -> None:
        self.entries.append(usage)

    @property
    def written(self) -> int:
        return sum(entry.completion_tokens for entry in self.entries)

    @property
    def only(self) -> Usage:
        (entry,) = self.entries
        return entry


def asking(prompt: str = PROMPT, *, n: int = 1, seed: int | None = None, **sampling: object) -> Request:
    settings = replace(Sampling(temperature=1.0, max_tokens=24), **sampling)  # type: ignore[arg-type]
    return Request("p", prompt, n=n, seed=seed, sampling=settings)


def endless(*, n: int) -> Request:
    """What runs until it is stopped, or to the end of the context."""
    return asking(n=n, max_tokens=None, ignore_eos=True)


async def ask(engine: VLLMEngine, request: Request) -> list[Completion]:
    return completed(await engine.generate(request, Books()))


def at_rest(engine: VLLMEngine) -> bool:
    """Whether nothing is running, waiting or expected."""
    load = engine.load()
    return load.running == load.waiting == load.unfinished == 0


@engine_test
async def test_samples_come_in_order_and_are_counted(engine: VLLMEngine) -> None:
    books = Books()
    samples = completed(await engine.generate(asking(n=5, seed=3), books))
    assert len(samples) == 5
    assert len({sample.tokens for sample in samples}) > 1
    assert books.only.calls == 1
    assert books.only.prompt_tokens == await engine.count(asking())
    assert books.only.completion_tokens == sum(len(sample.tokens) for sample in samples)


@engine_test
async def test_metrics_of_vllm_are_not_kept_where_nobody_asked_for_them(engine: VLLMEngine) -> None:
    from prometheus_client import REGISTRY

    await ask(engine, asking(n=2))
    assert engine.load().written
    assert not [each.name for each in REGISTRY.collect() if each.name.startswith("vllm")]


@engine_test
async def test_sample_i_is_drawn_with_seed_plus_i(engine: VLLMEngine) -> None:
    three = await ask(engine, asking(n=3, seed=40))
    alone = [(await ask(engine, asking(seed=40 + i)))[0] for i in range(3)]
    assert [sample.tokens for sample in three] == [sample.tokens for sample in alone]


@engine_test
async def test_seeds_hold_for_long_prompts_side_by_side(engine: VLLMEngine) -> None:
    size = await engine.count(asking())
    prompts = [f"{i} {PROMPT * (engine.context * 3 // 4 // size)}" for i in range(4)]
    answers = await asyncio.gather(*(ask(engine, asking(prompt, seed=1, max_tokens=4)) for prompt in prompts))
    assert all(answers)


@engine_test
async def test_own_tokens_continue_exactly_and_from_the_cache(engine: VLLMEngine) -> None:
    whole = asking("Go on. " * 60, temperature=0.0, max_tokens=70)
    (first,) = await ask(engine, replace(whole, sampling=replace(whole.sampling, max_tokens=64)))
    books = Books()
    more = replace(whole, partial=first.text, tokens=first.tokens, sampling=replace(whole.sampling, max_tokens=6))
    await engine.generate(more, books)
    assert await engine.count(more) == await engine.count(whole) + len(first.tokens) == books.only.prompt_tokens
    block = 128
    assert books.only.cached_tokens >= books.only.prompt_tokens - block
    assert books.only.cached_tokens > await engine.count(whole)


@engine_test
async def test_samples_of_one_request_do_not_count_each_other_as_cached(engine: VLLMEngine) -> None:
    books = Books()
    await engine.generate(asking(f"{random.random()} {PROMPT}", n=8), books)
    assert books.only.cached_tokens < 64


@engine_test
async def test_a_partial_reply_as_text_continues_the_turn(engine: VLLMEngine) -> None:
    request = asking("Say A.")
    assert await engine.count(replace(request, partial="A B C")) > await engine.count(request)


@engine_test
@pytest.mark.parametrize("keep", [True, False])
async def test_a_stop_string_ends_a_sample(engine: VLLMEngine, keep: bool) -> None:
    (free,) = await ask(engine, asking(seed=5, max_tokens=40))
    stop = free.text[len(free.text) // 2 :][:2]
    (cut,) = await ask(engine, asking(seed=5, max_tokens=40, stop=(stop,), keep_stop=keep))
    until = free.text.index(stop)
    assert (cut.end, cut.stop) == ("stop", stop)
    assert cut.text == free.text[: until + len(stop) * keep]
    assert not cut.tokens or keep


@engine_test
async def test_ids_of_a_stopped_sample_spell_its_text_or_are_left_out(engine: VLLMEngine) -> None:
    (free,) = await ask(engine, asking(seed=6, max_tokens=40))
    for width in (1, 2, 3):
        stop = free.text[8 : 8 + width]
        (cut,) = await ask(engine, asking(seed=6, max_tokens=40, stop=(stop,), keep_stop=True))
        assert cut.text.endswith(stop)
        assert cut.tokens in ((), free.tokens[: len(cut.tokens)])


@engine_test
async def test_logprobs_are_those_of_the_chosen_tokens(engine: VLLMEngine) -> None:
    (sample,) = await ask(engine, asking(logprobs=True))
    assert len(sample.logprobs) == len(sample.tokens)
    assert all(logprob <= 0 for logprob in sample.logprobs)
    (bare,) = await ask(engine, asking())
    assert bare.logprobs == ()


@engine_test
async def test_how_sure_the_model_was_is_the_mean_over_the_most_probable_tokens(engine: VLLMEngine) -> None:
    (sample,) = await ask(engine, asking(seed=3, top_logprobs=5))
    (most,) = await ask(engine, asking(seed=3, temperature=0.0, top_logprobs=1))
    assert len(sample.confidences) == len(sample.logprobs) == len(sample.tokens)
    assert [logprob for _, logprob in sample.first] == sorted((logprob for _, logprob in sample.first), reverse=True)
    assert len(sample.first) == 5
    assert sample.confidences[0] == pytest.approx(-sum(logprob for _, logprob in sample.first) / 5)
    assert most.confidences == pytest.approx([-logprob for logprob in most.logprobs]), "the most probable alone"
    assert most.text.startswith(most.first[0][0])
    with pytest.raises(InputError, match="top_logprobs=21: this engine gives 20 at most: open it with max_logprobs=21"):
        await ask(engine, asking(top_logprobs=21))


@engine_test
async def test_the_length_limit_is_kept_and_told(engine: VLLMEngine) -> None:
    samples = await ask(engine, asking(n=8, max_tokens=3))
    assert all(len(sample.tokens) <= 3 for sample in samples)
    assert any(sample.end == "length" for sample in samples)


@engine_test
async def test_without_a_limit_the_context_is_the_limit(engine: VLLMEngine) -> None:
    size = await engine.count(asking())
    long = asking(PROMPT * ((engine.context - 8) // size), max_tokens=None)
    (sample,) = await ask(engine, long)
    assert len(sample.tokens) <= engine.context - await engine.count(long)


@engine_test
async def test_a_prompt_longer_than_the_context_is_refused_in_numbers(engine: VLLMEngine) -> None:
    request = asking("word " * engine.context)
    books = Books()
    with pytest.raises(GenerationError, match=f"has {await engine.count(request)} tokens"):
        await engine.generate(request, books)
    assert books.only == Usage(calls=1)


@engine_test
async def test_settings_that_vllm_refuses_cost_one_sample(engine: VLLMEngine) -> None:
    books = Books()
    with pytest.raises(GenerationError, match="temperature"):
        await engine.generate(asking(temperature=-1.0), books)
    assert books.only == Usage(calls=1)


@engine_test
async def test_cancelled_requests_are_counted_to_the_token_and_leave_nothing(engine: VLLMEngine) -> None:
    chance = random.Random(0)
    books, before = Books(), engine.load().written

    async def one(i: int, moment: int) -> bool:
        task = asyncio.create_task(engine.generate(asking(f"{i % 9} {PROMPT}", n=chance.choice([1, 1, 3, 8])), books))
        await turns(1)
        await until(lambda: task.done() or engine.load().written >= before + moment)
        finished = task.done()
        task.cancel()
        task.get_loop().call_soon(task.cancel)
        with suppress(asyncio.CancelledError):
            await task
        return finished

    moments = [chance.choice([0, chance.randrange(1000), chance.randrange(4000)]) for _ in range(160)]
    finished = await asyncio.gather(*(one(i, moment) for i, moment in enumerate(moments)))
    assert finished.count(False) >= 40
    assert len(books.entries) == 160
    await until(lambda: at_rest(engine))
    assert books.written == engine.load().written - before
    assert await ask(engine, asking())


@engine_test
async def test_a_cancelled_request_has_stopped_when_the_cancellation_returns(engine: VLLMEngine) -> None:
    before = engine.load().written
    task = asyncio.create_task(engine.generate(endless(n=4), books := Books()))
    await until(lambda: engine.load().running > 0 and engine.load().written > before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.load().unfinished == 0
    assert books.only.completion_tokens > 0
    assert books.only.prompt_tokens > 0
    written = engine.load().written
    (other,) = await ask(engine, asking(max_tokens=8))  # by then, the engine has taken many more steps
    assert engine.load().written == written + other.length


@needs_vllm
def test_an_unknown_engine_argument_names_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tensor_paralel_size.*tensor_parallel_size"):
        VLLMEngine("some/model", tensor_paralel_size=2)


@needs_vllm
def test_a_folder_without_a_model_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        VLLMEngine(tmp_path)
    with pytest.raises(InputError, match="no model at"):
        VLLMEngine(tmp_path / "nowhere")


@engine_test
async def test_the_known_arguments_are_those_of_vllm(engine: VLLMEngine) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs

    assert _engine_args.known_names() == {field.name for field in fields(AsyncEngineArgs)}


@engine_test
async def test_the_options_for_large_models_reach_vllms_configuration(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.engine.async_llm import AsyncLLM

    built = []

    def build(args: Any, **_: Any) -> None:
        built.append((args, args.create_engine_config()))
        raise ValueError("far enough")

    monkeypatch.setattr(AsyncLLM, "from_engine_args", build)
    options: dict[str, Any] = {
        "tensor_parallel_size": 2,
        "enable_expert_parallel": True,
        "max_model_len": 1024,
        "max_num_seqs": 64,
    }
    with pytest.raises(InputError, match="far enough"):
        async with VLLMEngine(SMALL, quantization=None, gpu_memory_utilization=0.6, **options):
            pass
    ((args, config),) = built
    assert (args.quantization, args.gpu_memory_utilization) == (None, 0.6)
    assert (config.parallel_config.tensor_parallel_size, config.parallel_config.enable_expert_parallel) == (2, True)
    assert (config.model_config.max_model_len, config.scheduler_config.max_num_seqs) == (1024, 64)
    assert config.cache_config.enable_prefix_caching


def test_importing_the_backend_imports_no_vllm() -> None:
    check = "import sys, metagen.backends.vllm.generating; sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@engine_test
async def test_a_value_that_vllm_refuses_is_told_in_one_line(engine: VLLMEngine) -> None:
    with pytest.raises(InputError, match="max_model_len") as refusal:
        async with VLLMEngine(SMALL, max_model_len=10**9):
            pass
    assert "\n" not in str(refusal.value)


PROGRAM = """
import asyncio
import signal
from metagen import Request, Sampling, VLLMEngine

async def main():
    async with VLLMEngine({model!r}, kv_cache_memory_bytes=1 << 28, max_num_seqs=4) as engine:
        spent = []
        await engine.generate(Request("p", "hello", sampling=Sampling(max_tokens=4)), spent.append)
        print("ready", flush=True)
        await asyncio.sleep(1000)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background inherits that it is ignored
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted")
"""


class Program:
    """A program of its own that opens an engine; `with` it, nothing of it is left at the end."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "program.py"
        self._file.write_text(PROGRAM.format(model=str(SMALL)))
        self._process: subprocess.Popen[str]

    def __enter__(self) -> "Program":
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
        self._process = subprocess.Popen(
            [sys.executable, str(self._file)], stdout=pipe, stderr=pipe, text=True, env=environment, process_group=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def output(self) -> tuple[str, str]:
        return self._process.communicate()

    def start(self) -> None:
        """Wait until the engine has answered."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n", self.output()

    def descendants(self) -> list[psutil.Process]:
        assert self._process.poll() is None, self.output()
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def kill(self) -> None:
        self._process.kill()

    def press_ctrl_c(self) -> None:
        """As a terminal does: the signal goes to the whole foreground group."""
        os.killpg(self._process.pid, signal.SIGINT)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@engine_test
async def test_not_a_word_of_the_engine_reaches_the_screen(engine: VLLMEngine, tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        await asyncio.to_thread(program.start)
        program.press_ctrl_c()
        assert await asyncio.to_thread(program.output) == ("interrupted\n", "")


@engine_test
async def test_killed_outright_while_it_loads_we_leave_no_process(engine: VLLMEngine, tmp_path: Path) -> None:
    """Killed while it runs, in `tests/test_resume.py`."""
    with Program(tmp_path) as program:
        await until(lambda: any(_is_engine(child) for child in program.descendants()))
        family = program.descendants()
        assert len(family) >= 2
        program.kill()
        await until(lambda: all_gone(family))


def _is_engine(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return _warden.VARIABLE in process.environ()
    return False


@asynccontextmanager
async def doomed(engine: VLLMEngine) -> AsyncIterator[VLLMEngine]:
    """A second engine beside the first, to be killed."""
    async with VLLMEngine(SMALL, kv_cache_memory_bytes=1 << 28, max_num_seqs=4) as second:
        yield second
    assert second.processes() == []


@engine_test
async def test_the_engines_sudden_death_is_an_error_and_no_hang(engine: VLLMEngine) -> None:
    books = Books()
    async with doomed(engine) as second:
        waiting = asyncio.create_task(second.generate(endless(n=2), books))
        await until(lambda: second.load().running == 2 and second.load().written)
        for pid in second.processes():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendGone, match=r"its log is .*engine\.log"):
            await waiting
        with pytest.raises(BackendGone):
            await second.generate(asking(), books)
    first, after = books.entries
    assert first.completion_tokens > 0
    assert after == Usage(calls=1)
    assert await ask(engine, asking())


@pytest.mark.parametrize(
    ("given", "cores", "one"),
    [
        ({}, 1, True),
        ({}, 2, True),
        ({"max_num_seqs": 8}, 2, True),
        ({"tensor_parallel_size": 2}, 2, False),
        ({"data_parallel_size": 2}, 2, False),
        ({}, 3, False),
        ({}, 64, False),
    ],
)
def test_on_few_cores_an_engine_schedules_where_it_computes(given: dict[str, Any], cores: int, one: bool) -> None:
    assert ("distributed_executor_backend" in _engine_args.one_process(given, cores)) == one


@engine_test
@pytest.mark.skipif(len(os.sched_getaffinity(0)) > 2, reason="with more cores, vLLM says how many processes there are")
async def test_on_few_cores_an_engine_is_one_process_with_one_thread(engine: VLLMEngine) -> None:
    (pid,) = {each.pid for each in map(psutil.Process, engine.processes()) if each.name().startswith("VLLM")}
    assert psutil.Process(pid).environ()["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ


@engine_test
@pytest.mark.parametrize("given", [{"distributed_executor_backend": _engine_args.ONE_PROCESS}, {}])
async def test_threads_are_set_only_with_our_own_choice_of_processes(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    from vllm.v1.engine.async_llm import AsyncLLM

    threads: list[str | None] = []

    def build(_: Any, **__: Any) -> None:
        threads.append(os.environ.get("OMP_NUM_THREADS"))
        raise ValueError("far enough")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(AsyncLLM, "from_engine_args", build)
    with pytest.raises(InputError, match="far enough"):
        async with VLLMEngine(SMALL, **given):
            pass
    assert threads == [None if given else "1"]


@engine_test
async def test_a_token_that_holds_a_stop_string_ends_a_sample_in_the_engine(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the engine has to be told, which costs it a token more."""
    from transformers import AutoTokenizer
    from vllm.v1.engine.core_client import AsyncMPClient

    told: list[list[str]] = []
    monkeypatch.setattr(AsyncMPClient, "abort_requests_async", recording(told, AsyncMPClient.abort_requests_async))
    tokenizer = AutoTokenizer.from_pretrained(SMALL)
    (free,) = await ask(engine, asking(seed=6, max_tokens=40))
    one = tokenizer.decode(free.tokens[8:9])
    (cut,) = await ask(engine, asking(seed=6, max_tokens=40, stop=(one,), keep_stop=True))
    assert cut.stop == one
    assert not told
    two = tokenizer.decode(free.tokens[8:10])
    assert two != one
    assert not Prompts(tokenizer).enders((two,))
    (cut,) = await ask(engine, asking(seed=6, max_tokens=40, stop=(two,), keep_stop=True))
    assert cut.stop == two
    assert len(told) == 1


def recording(told: list[list[str]], real: Callable[..., Any]) -> Callable[..., Any]:
    async def told_too(core: Any, names: list[str]) -> Any:
        if names:
            told.append(names)
        return await real(core, names)

    return told_too
