import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from metagen import Completion, GenerationError, InputError, Request, Sampling, Scripted, Usage
from tests.support.outcomes import completed


async def generate(backend: Scripted, request: Request) -> tuple[list[Completion], list[Usage]]:
    spent: list[Usage] = []
    return completed(await backend.generate(request, spent.append)), spent


def asking(prompt: str = "hi?", *, n: int = 1, **sampling: Any) -> Request:
    return Request("p", prompt, n=n, sampling=Sampling(**sampling))


@pytest.mark.parametrize(
    ("sampling", "text", "end", "stop"),
    [
        ({}, "one. two. three", "eos", ""),
        ({"stop": ("none",)}, "one. two. three", "eos", ""),
        ({"stop": (". ",)}, "one", "stop", ". "),
        ({"stop": (". ",), "keep_stop": True}, "one. ", "stop", ". "),
        ({"stop": ("three", "two")}, "one. ", "stop", "two"),
        ({"stop": ("one",)}, "", "stop", "one"),
        ({"max_tokens": 5}, "one. ", "length", ""),
        ({"max_tokens": 15}, "one. two. three", "eos", ""),
        ({"max_tokens": 4, "stop": (". ",)}, "one.", "length", ""),
        ({"max_tokens": 5, "stop": (". ",)}, "one", "stop", ". "),
    ],
)
async def test_stop_strings_and_limits_are_honoured(sampling: dict[str, Any], text: str, end: str, stop: str) -> None:
    (completion,), _ = await generate(Scripted("one. two. three"), asking(**sampling))
    assert (completion.text, completion.end, completion.stop) == (text, end, stop)
    assert "".join(map(chr, completion.tokens)) == text


async def test_a_context_cuts_what_is_too_long_and_refuses_a_prompt_that_fills_it() -> None:
    (completion,), _ = await generate(Scripted("x" * 99, context=10), asking("12345678"))
    assert (completion.text, completion.end) == ("xx", "length")
    with pytest.raises(GenerationError, match="the prompt has 10 tokens, and small has a context of 10"):
        await generate(Scripted("x", name="small", context=10), asking("1234567890"))


async def test_a_token_is_a_character() -> None:
    completions, spent = await generate(Scripted("日本"), asking("hi?", n=3, logprobs=True))
    assert [completion.tokens for completion in completions] == [(ord("日"), ord("本"))] * 3
    assert completions[0].logprobs == (0.0, 0.0)
    assert spent == [Usage(calls=1, prompt_tokens=3, completion_tokens=6)]
    assert await Scripted("").count(Request("p", "hi?", partial="Well")) == 7


async def test_a_script_may_say_how_sure_it_was() -> None:
    sure = Completion("yes", logprobs=(-1.0, -2.0, -3.0), confidences=(3.0, 2.0, 1.0), first=(("y", -1.0), ("n", -2.0)))
    (asked,), _ = await generate(Scripted(lambda _: sure), asking(top_logprobs=1, max_tokens=2))
    assert (asked.text, asked.end) == ("ye", "length")
    assert (asked.logprobs, asked.confidences, asked.first) == ((-1.0, -2.0), (3.0, 2.0), (("y", -1.0),))
    (bare,), _ = await generate(Scripted(lambda _: sure), asking())
    assert bare == Completion("yes", tuple(map(ord, "yes")))
    (plain,), _ = await generate(Scripted("ab"), asking(top_logprobs=9))
    assert (plain.confidences, plain.first) == ((1.0, 1.0), (("a", 0.0),))


async def test_a_script_is_called_once_a_sample_with_its_own_seed_and_draw() -> None:
    seen: list[Request] = []

    def script(request: Request) -> str:
        seen.append(request)
        return str(request.draw)

    request = Request("p", "hi?", "Well", n=3, draw=4, seed=10)
    completions, _ = await generate(Scripted(script), request)
    assert [completion.text for completion in completions] == ["4", "5", "6"]
    assert [(each.n, each.draw, each.seed, each.partial) for each in seen] == [
        (1, 4 + i, 10 + i, "Well") for i in range(3)
    ]


async def test_samples_of_an_async_script_run_at_once_and_keep_their_order() -> None:
    gate = asyncio.Barrier(3)

    async def script(request: Request) -> str:
        await gate.wait()
        for _ in range(3 - request.draw):
            await asyncio.sleep(0)
        return str(request.draw)

    completions, _ = await generate(Scripted(script), asking(n=3))
    assert [completion.text for completion in completions] == ["0", "1", "2"]


async def test_what_is_cancelled_has_spent_its_prompt_and_what_was_done() -> None:
    never, spent = asyncio.Event(), list[Usage]()

    async def script(request: Request) -> str:
        if request.draw:
            await never.wait()
        return "done"

    task = asyncio.create_task(Scripted(script).generate(asking(n=4), spent.append))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spent == [Usage(calls=1, prompt_tokens=3, completion_tokens=4)]


async def test_a_sample_error_of_a_script_loses_that_sample_alone() -> None:
    lost = GenerationError("no")
    spent: list[Usage] = []

    def script(request: Request) -> str:
        if request.draw:
            raise lost
        return "done"

    first, second = await Scripted(script).generate(asking(n=2), spent.append)
    assert completed([first])[0].text == "done"
    assert second is lost
    assert spent == [Usage(calls=1, prompt_tokens=3, completion_tokens=4)]


@pytest.mark.parametrize(("error", "n"), [(GenerationError("no"), 1), (KeyError("a bug"), 2)])
async def test_what_a_script_raises_is_raised_and_counted(error: Exception, n: int) -> None:
    def script(request: Request) -> str:
        if request.draw or n == 1:
            raise error
        return "done"

    spent: list[Usage] = []
    with pytest.raises(type(error)) as caught:
        await Scripted(script).generate(asking(n=n), spent.append)
    assert caught.value is error
    assert spent == [Usage(calls=1, prompt_tokens=3, completion_tokens=4 * (n - 1))]


@pytest.mark.parametrize("script", ["same", lambda request: "same"])
async def test_a_script_may_be_a_text(script: str | Callable[[Request], str]) -> None:
    async with Scripted(script) as backend:
        completions, _ = await generate(backend, asking(n=2))
    assert [completion.text for completion in completions] == ["same", "same"]


@pytest.mark.parametrize("reply", [7, None])
async def test_a_script_returns_a_text_or_a_completion(reply: Any) -> None:
    with pytest.raises(InputError, match=f"the script of scripted returned {reply}: return a text, or a Completion"):
        await generate(Scripted(lambda _: reply), asking())


def test_a_list_is_no_script() -> None:
    with pytest.raises(InputError, match="Scripted: needs a text or a function of the request"):
        Scripted(["7", "8"])  # type: ignore[arg-type]
