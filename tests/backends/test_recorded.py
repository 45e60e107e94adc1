import asyncio
import json
import tracemalloc
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    Balanced,
    Budget,
    BudgetExceeded,
    Completion,
    GenerationError,
    InputError,
    Limited,
    Model,
    ModelCard,
    Problem,
    Recorded,
    Request,
    Retrying,
    Sampling,
    Scripted,
    Solution,
    StorageError,
    Usage,
    Vote,
    solve,
    solve_all,
)
from metagen.analysis.tally import Tally
from metagen.models import SMALL
from metagen.request import Outcome
from metagen.thinking import FAMILIES
from tests.support.outcomes import completed
from tests.support.scripts import dice

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "pools" / "gsm8k_200x16.jsonl"
REQUEST = Request("p", "1 + 1?")


class Counting(Scripted):
    """A model that says which seed and draw it was asked for, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda request: f"seed {request.seed}, draw {request.draw}")
        self.requests: list[Request] = []
        self.open = False

    async def generate(self, request: Request, spend: Any) -> list[Outcome]:
        assert self.open
        self.requests.append(request)
        return await super().generate(request, spend)

    async def __aenter__(self) -> "Counting":
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False


def pool(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({"problem": "p", "prompt": "1 + 1?"} | row) + "\n" for row in rows))
    return path


def rows(*draws: int, **settings: Any) -> list[dict[str, Any]]:
    return [
        {"draw": draw, "text": f"sample {draw}", "tokens": 10 + draw, "prompt_tokens": 6} | settings for draw in draws
    ]


async def texts(backend: Recorded, request: Request, spent: list[Usage] | None = None) -> list[str]:
    completions = completed(await backend.generate(request, (spent if spent is not None else []).append))
    return [completion.text for completion in completions]


async def test_samples_are_played_by_their_numbers(tmp_path: Path) -> None:
    spent: list[Usage] = []
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(2, 0, 1))) as backend:
        assert await texts(backend, Request("p", "1 + 1?", n=3), spent) == ["sample 0", "sample 1", "sample 2"]
        assert await texts(backend, Request("p", "1 + 1?", draw=1), spent) == ["sample 1"]
        assert await backend.count(REQUEST) == 6
    assert spent == [
        Usage(calls=1, prompt_tokens=6, completion_tokens=33),
        Usage(calls=1, prompt_tokens=6, completion_tokens=11),
    ]
    assert (backend.name, backend.context) == (f"recorded:{tmp_path}/pool.jsonl", 18)


async def test_samples_of_texts_of_other_kinds_are_kept(tmp_path: Path) -> None:
    class Foreign(str):
        __slots__ = ()

    asked = Request(Foreign("p"), Foreign("1 + 1?"))
    async with Recorded(tmp_path / "pool.jsonl", Scripted(lambda _: Foreign("2"))) as backend:
        assert await texts(backend, asked) == ["2"]
    async with Recorded(tmp_path / "pool.jsonl") as backend:
        assert await texts(backend, Request("p", "1 + 1?")) == ["2"]


async def test_how_a_sample_ended_is_played_too(tmp_path: Path) -> None:
    (row,) = rows(0, end="stop", stop="\n", logprobs=[-0.5, -1.0], confidences=[2.0], first=[["Yes", -0.5]])
    async with Recorded(pool(tmp_path / "pool.jsonl", [row])) as backend:
        (completion,) = await backend.generate(REQUEST, lambda _: None)
    assert completion == Completion("sample 0", (), "stop", "\n", (-0.5, -1.0), 10, (2.0,), (("Yes", -0.5),))


async def test_of_samples_that_a_pool_lacks_the_others_are_played(tmp_path: Path) -> None:
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 2))) as backend:
        first, lost, third, beyond = await backend.generate(replace(REQUEST, n=4), lambda _: None)
    assert [one.text for one in completed([first, third])] == ["sample 0", "sample 2"]
    assert isinstance(lost, GenerationError)
    assert isinstance(beyond, GenerationError)


@pytest.mark.parametrize(
    "request_",
    [
        Request("p", "1 + 1?", draw=3),
        Request("q", "1 + 1?"),
        Request("p", "1 + 2?"),
        Request("p", "1 + 1?", partial="Well"),
    ],
)
async def test_a_sample_that_is_missing_is_never_repeated(tmp_path: Path, request_: Request) -> None:
    spent: list[Usage] = []
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 1, 2))) as backend:
        with pytest.raises(GenerationError, match=rf"pool.jsonl has [03] samples for problem '{request_.problem}'"):
            await backend.generate(request_, spent.append)
    assert spent == []


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0),
        Sampling(temperature=0.0),
        Sampling(temperature=0.7),
        Sampling(top_k=0),
        Sampling(min_p=0.0),
        Sampling(stop=("x",)),
        Sampling(keep_stop=True),
        Sampling(logprobs=True),
        Sampling(top_logprobs=20),
        Sampling(temperature=0.5, max_tokens=50),
    ],
)
async def test_samples_of_other_settings_are_other_samples(tmp_path: Path, sampling: Sampling) -> None:
    model = Counting()
    recorded = Sampling(temperature=0.5)
    async with Recorded(tmp_path / "pool.jsonl", model) as backend:
        for settings in (recorded, recorded, sampling, sampling):
            await texts(backend, Request("p", "1 + 1?", sampling=settings))
    assert [request.sampling for request in model.requests] == [recorded, sampling]
    async with Recorded(tmp_path / "pool.jsonl") as backend:
        for other in (Sampling(top_p=0.5), Sampling(temperature=0.4), Sampling(temperature=1)):
            with pytest.raises(GenerationError, match="with this prompt and these settings"):
                await texts(backend, Request("p", "1 + 1?", sampling=other))


async def test_default_samples_are_not_greedy_ones(tmp_path: Path) -> None:
    async with Recorded(tmp_path / "pool.jsonl", Counting()) as backend:
        await texts(backend, Request("p", "1 + 1?", sampling=Sampling(temperature=0)))
    async with Recorded(tmp_path / "pool.jsonl") as backend:
        with pytest.raises(GenerationError, match="has 0 samples"):
            await texts(backend, REQUEST)


async def test_samples_from_elsewhere_serve_any_settings(tmp_path: Path) -> None:
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0))) as backend:
        for sampling in (Sampling(), Sampling(temperature=0.5), Sampling(stop=("x",))):
            assert await texts(backend, Request("p", "1 + 1?", sampling=sampling)) == ["sample 0"]


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        (Sampling(temperature=1.0, top_p=1), Sampling(temperature=1, top_p=1.0)),
        (Sampling(temperature=0, logit_bias={7: -100.0}), Sampling(temperature=0.0, logit_bias={7: -100})),
        (Sampling(extra={"a": [1.0, {"b": True}]}), Sampling(extra={"a": [1, {"b": True}]})),
    ],
)
async def test_equal_settings_are_the_same_however_their_numbers_are_written(
    tmp_path: Path, recorded: Sampling, asked: Sampling
) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    async with Recorded(path, model) as backend:
        await texts(backend, replace(REQUEST, sampling=recorded))
        assert await texts(backend, replace(REQUEST, sampling=asked)) == ["seed None, draw 0"]
        await texts(backend, replace(REQUEST, sampling=asked, draw=1))
    assert len(model.requests) == 2
    first, second = map(json.loads, path.read_text().splitlines())
    assert json.dumps(first["sampling"]) == json.dumps(second["sampling"])
    assert await texts(Recorded(path), replace(REQUEST, sampling=recorded, n=2)) == [
        "seed None, draw 0",
        "seed None, draw 1",
    ]


async def test_samples_without_numbers_are_numbered_by_their_requests(tmp_path: Path) -> None:
    lines = [{"prompt": "A", "text": "x"}, {"prompt": "B", "text": "y"}, {"prompt": "A", "text": "z"}]
    backend = Recorded(pool(tmp_path / "pool.jsonl", lines))
    assert await texts(backend, Request("p", "B")) == ["y"]
    assert await texts(backend, Request("p", "A", n=2)) == ["x", "z"]


async def test_what_is_missing_is_drawn_and_recorded(tmp_path: Path) -> None:
    path, model, spent = tmp_path / "pool.jsonl", Counting(), list[Usage]()
    request = Request("p", "1 + 1?", n=2, seed=10)
    async with Recorded(path, model) as backend:
        assert await texts(backend, request, spent) == ["seed 10, draw 0", "seed 11, draw 1"]
        assert (backend.name, backend.context, await backend.count(request)) == ("scripted", 8192, 6)
    async with Recorded(path, model) as backend:
        four = await texts(backend, Request("p", "1 + 1?", n=4, seed=10), spent)
    assert four == [f"seed {10 + draw}, draw {draw}" for draw in range(4)]
    assert [(asked.n, asked.draw, asked.seed) for asked in model.requests] == [(2, 0, 10), (2, 2, 12)]
    assert sum(usage.completion_tokens for usage in spent) == sum(map(len, four[:2])) * 2 + sum(map(len, four[2:]))
    async with Recorded(path) as played:
        assert await texts(played, Request("p", "1 + 1?", n=4)) == four
    assert not model.open


async def test_samples_missing_in_the_middle_keep_their_numbers_and_seeds(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    pool(path, rows(1, 4, sampling={}))
    async with Recorded(path, model) as backend:
        drawn = await texts(backend, Request("p", "1 + 1?", n=6, seed=10))
    assert drawn == ["seed 10, draw 0", "sample 1", "seed 12, draw 2", "seed 13, draw 3", "sample 4", "seed 15, draw 5"]


async def test_of_a_model_that_draws_one_sample_per_request_only_the_missing_ones_are_asked(tmp_path: Path) -> None:
    class Singly(Counting):
        singly = True

    path, model = tmp_path / "pool.jsonl", Singly()
    pool(path, rows(1, 2, 4, sampling={}))
    async with Recorded(path, model) as backend:
        drawn = await texts(backend, Request("p", "1 + 1?", n=7, seed=10))
    assert [each.partition(" ")[0] for each in drawn] == ["seed", "sample", "sample", "seed", "sample", "seed", "seed"]
    assert [(asked.draw, asked.n, asked.seed) for asked in model.requests] == [(0, 1, 10), (3, 1, 13), (5, 2, 15)]


async def test_samples_that_are_there_are_played_where_the_missing_ones_fail(tmp_path: Path) -> None:
    def busy(_: Request) -> str:
        raise GenerationError("busy")

    spent: list[Usage] = []
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 2)), Scripted(busy)) as backend:
        found = await backend.generate(Request("p", "1 + 1?", n=4), spent.append)
        assert [each.text if isinstance(each, Completion) else str(each) for each in found] == [
            "sample 0", "busy", "sample 2", "busy",
        ]  # fmt: skip
        assert sum(each.completion_tokens for each in spent) == 22
        with pytest.raises(GenerationError, match="busy"):
            await backend.generate(Request("p", "1 + 1?", n=2, draw=3), spent.append)


async def test_no_sample_that_was_paid_for_is_lost_where_its_prompt_cannot_be_counted_again(tmp_path: Path) -> None:
    class Gone(Counting):
        async def count(self, request: Request) -> int:
            if self.requests:
                raise GenerationError("gone")
            return 5

        async def generate(self, request: Request, spend: Any) -> list[Outcome]:
            self.requests.append(request)
            spend(Usage(calls=1, prompt_tokens=5, completion_tokens=4))
            return [Completion("7", length=2), Completion("8", length=2)]

    async with Recorded(tmp_path / "pool.jsonl", Gone()) as backend:
        await backend.generate(replace(REQUEST, n=2), lambda _: None)
    rows = [json.loads(line) for line in (tmp_path / "pool.jsonl").read_text().splitlines()]
    assert [row["prompt_tokens"] for row in rows] == [5, 5]


async def test_samples_from_elsewhere_are_topped_up_once(tmp_path: Path) -> None:
    path, model = pool(tmp_path / "pool.jsonl", rows(0, 1)), Counting()
    request = Request("p", "1 + 1?", n=4)
    for _ in range(2):
        async with Recorded(path, model) as backend:
            assert (await texts(backend, request))[:2] == ["sample 0", "sample 1"]
    assert [(asked.n, asked.draw) for asked in model.requests] == [(2, 2)]


async def test_a_pool_that_is_topped_up_costs_the_flops_of_all_samples(tmp_path: Path) -> None:
    card, path = ModelCard.read(SMALL), tmp_path / "pool.jsonl"
    model = Scripted(lambda request: f"{'3 + 4 is 7. ' * (1 + request.draw)}The answer is 7.", card=card)
    usages = []
    for n in (1, 4, 4):
        async with Recorded(path, model) as backend:
            usages.append((await solve("What is 3 + 4?", Vote(n), backend)).usage)
    _, topped_up, played = usages
    whole = card.flops(played.prompt_tokens, played.completion_tokens, samples=4)
    assert (topped_up.flops, topped_up.completion_tokens) == (whole, played.completion_tokens)
    assert played.flops == whole


class Singly(Scripted):
    """Draws one sample per request."""

    singly = True

    async def generate(self, request: Request, spend: Any) -> list[Outcome]:
        parts = [request.part(index, 1) for index in range(request.n)]
        return [outcome for part in parts for outcome in await super(Singly, self).generate(part, spend)]


async def test_where_each_sample_is_a_request_each_costs_the_flops_of_its_prompt() -> None:
    card = ModelCard.read(SMALL)
    usage = (await solve("What is 3 + 4?", Vote(4), Singly("The answer is 7.", card=card))).usage
    assert usage.flops == 4 * card.flops(usage.prompt_tokens // 4, usage.completion_tokens // 4)


@pytest.mark.parametrize("known", [1, 8, 15])
async def test_a_pool_of_such_samples_that_is_topped_up_costs_about_as_much(known: int, tmp_path: Path) -> None:
    card = ModelCard.read(SMALL)
    model = Singly("3 + 4 is 7. " * 20 + "The answer is 7.", card=card)
    for n in (known, 16):
        async with Recorded(tmp_path / "pool.jsonl", model) as backend:
            usage = (await solve("What is 3 + 4?", Vote(n), backend)).usage
    prompt, written = len("What is 3 + 4?"), usage.completion_tokens // 16
    whole = 16 * card.flops(prompt, written) - known * card.flops_prompt(prompt)
    assert usage.flops == pytest.approx(whole, rel=0.03)


async def test_a_torn_last_line_is_drawn_again(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    request = Request("p", "1 + 1?", n=3)
    async with Recorded(path, model) as backend:
        before = await texts(backend, request)
    path.write_bytes(path.read_bytes()[:-9])
    async with Recorded(path, model) as backend:
        assert await texts(backend, request) == before
    assert [(asked.n, asked.draw) for asked in model.requests] == [(3, 0), (1, 2)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "line 2: field 'problem': Field required"),
        ('{"problem": "p", "prompt": "?", "draw": "x", "text": ""}', "line 2: field 'draw': "),
        ('{"problem": "p", "prompt": "?", "draw": 0, "text": "", "end": "no"}', "line 2: field 'end': "),
        ('{"problem": "p", "prompt": "?", "draw": 0, "text": "", "answer": "7"}', "line 2: field 'answer': "),
        ("[]", "line 2: must be a JSON object"),
        ("{", "line 2: is not JSON"),
    ],
)
async def test_a_bad_line_is_named_before_a_model_is_opened(tmp_path: Path, line: str, said: str) -> None:
    path, model = pool(tmp_path / "pool.jsonl", rows(0)), Counting()
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError, match=said):
        Recorded(path)
    with pytest.raises(InputError, match=said):
        async with Recorded(path, model):
            pass
    assert not model.open


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "n" * 300])
def test_a_pool_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="there is no such pool of samples"):
        Recorded(tmp_path / name)


async def test_a_pool_that_cannot_be_written_is_named_before_a_model_is_opened(tmp_path: Path) -> None:
    model = Counting()
    with pytest.raises(InputError, match="cannot be written"):
        async with Recorded(tmp_path / "no" / "pool.jsonl", model):
            pass
    assert not model.open


async def test_a_sample_over_its_limit_is_cut_off_before_it_says_anything(tmp_path: Path) -> None:
    request = Request("p", "1 + 1?", n=2, sampling=Sampling(max_tokens=10))
    spent: list[Usage] = []
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 1))) as backend:
        whole, cut = completed(await backend.generate(request, spent.append))
    assert (whole.text, whole.end) == ("sample 0", "eos")
    assert (cut.text, cut.end, cut.length) == ("", "length", 10)
    assert spent == [Usage(calls=1, prompt_tokens=6, completion_tokens=20)]


async def test_a_sample_that_a_budget_has_no_room_for_is_lost_alone(tmp_path: Path) -> None:
    spent: list[Usage] = []
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 1))) as backend:
        first, second = await backend.generate(Request("p", "1 + 1?", n=2, room=10), spent.append)
    assert isinstance(first, Completion)
    assert isinstance(second, BudgetExceeded)
    assert "leaves 10 tokens, and the recorded sample has 11" in str(second)
    assert spent == [Usage(calls=1, prompt_tokens=6, completion_tokens=10)]


async def test_a_sample_that_a_budget_cut_is_not_recorded(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    async with Recorded(path, model) as backend:
        assert await texts(backend, Request("p", "1 + 1?", room=4)) == ["seed"]
        assert await texts(backend, Request("p", "1 + 1?", room=400)) == ["seed None, draw 0"]
        assert await texts(backend, Request("p", "1 + 1?")) == ["seed None, draw 0"]
    assert len(model.requests) == 2


async def test_a_sample_that_its_own_limit_cut_is_recorded(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    async with Recorded(path, model) as backend:
        for _ in range(2):
            assert await texts(backend, Request("p", "1 + 1?", sampling=Sampling(max_tokens=4), room=9)) == ["seed"]
    assert len(model.requests) == 1


async def test_a_pool_with_several_gaps_reads_the_prompt_once_within_its_budget(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    pool(path, rows(1, 3, sampling={}))
    strategy = Vote(6, of=Model())
    async with Recorded(path, model) as backend:
        solution = await solve(Problem("p", "1 + 1?"), strategy, backend, budget=Budget(tokens=60_000))
    assert [(asked.n, asked.draw) for asked in model.requests] == [(6, 0)]
    assert solution.usage.prompt_tokens == 6
    assert solution.samples == 0
    assert path.read_text().count("\n") == 6


async def test_equal_requests_at_once_are_recorded_once(tmp_path: Path) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    async with Recorded(path, model) as backend:
        one, other = await asyncio.gather(*(texts(backend, Request("p", "1 + 1?", n=2)) for _ in range(2)))
    assert one == other
    assert len(model.requests) == 2
    async with Recorded(path) as played:
        assert await texts(played, Request("p", "1 + 1?", n=2)) == one


async def test_a_pool_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    async with Recorded(path, Scripted("a", name="small")) as backend:
        await texts(backend, REQUEST)
    with pytest.raises(InputError, match=r"pool.jsonl, line 1: was drawn from small, and this is large"):
        async with Recorded(path, Scripted("a", name="large")):
            pass
    async with Recorded(path) as played:
        assert await texts(played, REQUEST) == ["a"]


class Late(Counting):
    """A model whose name is known once it is open."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.told, self.opened = name, 0

    @property
    def named(self) -> bool:
        return False

    async def __aenter__(self) -> "Late":
        self.name = self.told
        self.opened += 1
        await super().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.name = "host:8000"
        await super().__aexit__()


WRAPS: dict[str, Any] = {
    "bare": lambda of: of,
    "retrying": Retrying,
    "limited": lambda of: Limited(of, 2),
    "balanced": Balanced,
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
async def test_a_model_that_is_named_once_it_is_open_records_again(tmp_path: Path, wrap: Any) -> None:
    path, model = tmp_path / "pool.jsonl", Late("m")
    model.name = "host:8000"
    for _ in range(3):
        async with Recorded(path, wrap(model)) as backend:
            assert await texts(backend, REQUEST) == ["seed None, draw 0"]
    assert (len(model.requests), model.opened) == (1, 3)
    assert json.loads(path.read_text())["model"] == "m"


async def test_a_pool_of_another_model_that_is_named_late_is_refused_and_the_model_closed(tmp_path: Path) -> None:
    path = pool(tmp_path / "pool.jsonl", rows(0, model="small"))
    model = Late("large")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"pool.jsonl, line 1: was drawn from small, and this is large"):
        async with Recorded(path, model):
            pass
    assert (model.opened, model.open) == (1, False)
    assert path.read_bytes() == before


async def test_a_pool_of_another_model_is_refused_before_one_with_a_name_is_opened(tmp_path: Path) -> None:
    path, model = pool(tmp_path / "pool.jsonl", rows(0, model="small")), Counting()
    with pytest.raises(InputError, match="was drawn from small"):
        async with Recorded(path, Retrying(model)):
            assert not model.open


async def test_a_pool_of_two_models_is_refused_beside_either(tmp_path: Path) -> None:
    path = pool(tmp_path / "pool.jsonl", [*rows(0, model="small"), *rows(1), *rows(2, model="large")])
    for name, line, other in (("small", 3, "large"), ("large", 1, "small")):
        with pytest.raises(InputError, match=f"line {line}: was drawn from {other}, and this is {name}"):
            async with Recorded(path, Scripted("a", name=name)):
                pass


async def test_a_pool_of_another_model_of_the_same_name_is_refused(tmp_path: Path) -> None:
    pool, record = tmp_path / "pool.jsonl", tmp_path / "pool.jsonl.model"
    request = Request("p", "?", draw=0, n=1)

    async def draw(origin: str, n: int) -> None:
        async with Recorded(pool, Scripted("7"), origin=origin) as backend:
            await backend.generate(replace(request, n=n), lambda usage: None)

    await draw("/ck1/hf", 1)
    await draw("/ck1/hf", 2)
    before = pool.read_bytes()
    with pytest.raises(InputError, match=r"was drawn from /ck1/hf, and this is /ck2/hf: .* remove .*pool.jsonl.model"):
        await draw("/ck2/hf", 3)
    assert pool.read_bytes() == before
    record.unlink()  # as pools were drawn before, or by others
    await draw("/ck2/hf", 3)
    assert not record.exists()
    pool.unlink()
    await draw("/ck2/hf", 1)
    assert record.read_text() == "/ck2/hf\n"


async def test_a_pool_that_was_asked_otherwise_is_refused(tmp_path: Path) -> None:
    pool, record = tmp_path / "pool.jsonl", tmp_path / "pool.jsonl.model"

    async def draw(n: int, origin: str = "", **asked: Any) -> None:
        async with Recorded(pool, Scripted("7"), origin=origin, asked=asked) as backend:
            await backend.generate(Request("p", "?", draw=0, n=n), lambda usage: None)

    await draw(1, "/ck1/hf", seed=0, loaded=["a.py (1)"])
    await draw(2, "/ck1/hf", seed=0, loaded=["a.py (1)"])
    await draw(2, "/ck1/hf")
    before = pool.read_bytes()
    for seed, loaded, said in ((1, ["a.py (1)"], "seed: 0 there, 1 here"), (0, [], r"loaded: \['a.py \(1\)'\] there")):
        with pytest.raises(InputError, match=f"pool.jsonl: its samples differ in {said}.*remove .*jsonl.model"):
            await draw(3, "/ck1/hf", seed=seed, loaded=loaded)
    with pytest.raises(InputError, match="was drawn from /ck1/hf"):
        await draw(3, "/ck2/hf", seed=0, loaded=["a.py (1)"])
    assert pool.read_bytes() == before
    record.write_text("/ck1/hf\n")  # as earlier releases wrote it
    await draw(3, "/ck1/hf", seed=1)
    assert record.read_text() == "/ck1/hf\n"
    pool.unlink()
    await draw(1, seed=2)
    assert record.read_text() == '\n{"asked": {"seed": 2}}\n'
    with pytest.raises(InputError, match="its samples differ in seed: 2 there, 3 here"):
        await draw(2, seed=3)


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ("/ck1/hf\n", True),
        ('/ck1/hf\n{"asked": {"seed": 1}}\n', True),
        ('\n{"asked": {"seed": 1}}\n', True),
        ('{"asked": {}}\nnotes', False),
        ("small-moe (shipped)\n", True),
        ("", True),
        ("weights\n", False),
        ("/ck1/hf\nnotes\n", False),
    ],
)
async def test_a_file_of_the_user_is_not_replaced_by_the_record_of_a_pool(
    tmp_path: Path, text: str, *, is_ours: bool
) -> None:
    pool, record = tmp_path / "pool.jsonl", tmp_path / "pool.jsonl.model"
    record.write_text(text)
    with nullcontext() if is_ours else pytest.raises(InputError, match="model: was not written by metagen"):
        async with Recorded(pool, Scripted("7"), origin="/ck2/hf"):
            pass
    assert record.read_text() == ("/ck2/hf\n" if is_ours else text)


async def test_a_pool_that_has_samples_is_taken_beside_a_file_of_the_user(tmp_path: Path) -> None:
    pool, record = tmp_path / "pool.jsonl", tmp_path / "pool.jsonl.model"
    async with Recorded(pool, Scripted("7")) as backend:
        await backend.generate(Request("p", "?", draw=0, n=1), lambda usage: None)
    record.write_text("my\nweights\n")
    async with Recorded(pool, Scripted("7"), origin="/ck2/hf"):
        pass
    assert record.read_text() == "my\nweights\n"


async def test_an_unopened_pool_that_records_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="use `async with Recorded"):
        await texts(Recorded(tmp_path / "pool.jsonl", Scripted("a")), REQUEST)


@pytest.mark.parametrize("tokens", [10, 20, 40, 60])
async def test_no_budget_is_passed_by_playing(tmp_path: Path, tokens: int) -> None:
    async with Recorded(pool(tmp_path / "pool.jsonl", rows(0, 1, 2, 3))) as backend:
        solution = await solve(Problem("p", "1 + 1?"), Vote(4), backend, budget=Budget(tokens=tokens))
    assert solution.usage.tokens <= tokens


async def test_a_recorded_run_repeats_itself(tmp_path: Path) -> None:
    problems = [Problem(str(number), f"{number} + 4?", str(number + 4)) for number in range(6)]
    strategy, path = Vote(5, of=Vote(3, of=Model(temperature=0.5))), tmp_path / "pool.jsonl"

    async def solved(backend: Recorded) -> dict[str, Solution]:
        async with backend:
            return {each.problem: each async for each in solve_all(problems, strategy, backend, seed=1)}

    first, again = await solved(Recorded(path, Scripted(dice))), await solved(Recorded(path))
    assert {key: (each.text, each.usage.tokens) for key, each in first.items()} == {
        key: (each.text, each.usage.tokens) for key, each in again.items()
    }


async def test_a_published_pool_gives_its_published_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PUBLISHED.exists():
        pytest.skip("needs the published pool")
    published = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    problems = [Problem(str(row["i"]), row["question"] + row["prompt_suffix"], row["gold"]) for row in published]
    path = pool(
        tmp_path / "pool.jsonl",
        (
            {
                "problem": problem.id,
                "prompt": problem.prompt,
                "draw": draw,
                "text": sample["text"],
                "end": "length" if sample["finish_reason"] == "length" else "eos",
                "tokens": sample["n_tokens"],
            }
            for problem, row in zip(problems, published, strict=True)
            for draw, sample in enumerate(row["trajectories"])
        ),
    )

    async def never(*_: object) -> bool:
        return False

    # All references are whole numbers, so what is no number is wrong: no symbolic check, with a limit by the clock.
    monkeypatch.setattr("metagen.answers.grade.compare", never)
    tally = Tally()
    async with Recorded(path) as backend:
        async for solution in solve_all(problems, Vote(16), backend):
            tally.add(solution)
    assert (tally.problems, tally.samples, tally.lost, tally.unjudged) == (200, 16, 0, 0)
    assert tally.usage == Usage(calls=200, completion_tokens=985_545)
    assert 100 * tally.single == pytest.approx(36.2, abs=0.3)
    assert 100 * tally.coverage.value == pytest.approx(74.5, abs=0.3)
    assert 100 * tally.accuracy.value == pytest.approx(54.8, abs=1)


def test_a_sample_that_is_not_played_is_not_in_memory(tmp_path: Path) -> None:
    samples = 5000
    path = pool(tmp_path / "pool.jsonl", ({"problem": f"p{n}", "draw": 0, "text": "x" * 5000} for n in range(samples)))
    tracemalloc.start()
    try:
        backend = Recorded(path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 800 * samples
    assert kept < 600 * samples
    assert backend.context == 0


async def test_a_pool_that_changes_while_it_is_played_is_named(tmp_path: Path) -> None:
    path = pool(tmp_path / "pool.jsonl", rows(0, 1))
    async with Recorded(path) as backend:
        path.write_text(path.read_text()[5:])
        with pytest.raises(StorageError, match=r"pool.jsonl: was changed or taken away while it was in use"):
            await texts(backend, REQUEST)
        path.unlink()
        with pytest.raises(StorageError, match="was changed or taken away"):
            await texts(backend, REQUEST)


@pytest.mark.parametrize("content", [b'[{"problem": "p"}]', b"text", b'{"a": 1}', b'{"a": 1}\n', b"\0" * 9])
async def test_a_file_that_is_no_pool_is_not_recorded_into(tmp_path: Path, content: bytes) -> None:
    path, model = tmp_path / "pool.jsonl", Counting()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"pool\.jsonl"):
        async with Recorded(path, model):
            pass
    assert path.read_bytes() == content
    assert not model.open


@pytest.mark.parametrize("family", ["qwen3", "granite", "gpt-oss", "think"])
@pytest.mark.parametrize("thinking", [True, False, 60])
async def test_what_was_drawn_with_a_switch_or_limit_of_thinking_is_played_by_the_same_strategy(
    tmp_path: Path, family: str, thinking: bool | int
) -> None:
    reply = FAMILIES[family].written("Hm. " * 50, "The answer is 2.", is_open=False)

    def thinks(request: Request) -> str:
        written = "".join(map(chr, request.tokens))
        return reply.removeprefix(written) if reply.startswith(written) else "The answer is 3."

    strategy = Vote(2, of=Model(thinking=thinking))
    async with Recorded(tmp_path / "pool.jsonl", of=Scripted(thinks, thinking=family)) as model:
        drawn = await solve("1 + 1?", strategy, model)
    async with Recorded(tmp_path / "pool.jsonl") as played:
        if family == "think" and isinstance(thinking, bool):  # which has no switch, so that no sample tells of one
            said = "to play a pool whose samples do not tell of it, leave thinking out$"
            with pytest.raises(InputError, match=said):
                await solve("1 + 1?", strategy, played)
            return
        again = await solve("1 + 1?", strategy, played)
    assert drawn.answer is not None
    assert (again.text, again.answers, again.lost) == (drawn.text, drawn.answers, 0)
