"""The page of `metagen serve` in Chromium: a question is asked, votes come in, a tree grows, and stopping frees it."""

import asyncio

import pytest

from metagen import Beam, Request, Scripted, Vote
from metagen.run import Generator
from metagen.serve import Key, app
from metagen.serve.keys import hashed
from tests.browser.conftest import Watched
from tests.support.injections import PAGE_INJECTIONS
from tests.support.serving import serving
from tests.support.timing import forever, until
from tests.support.trees import spelled

pytestmark = pytest.mark.browser
KEY = "sk-of-the-test"


class Slow:
    """Replies as numbers do, or as the lines of a search do; a question that asks for it waits for ever."""

    def __init__(self) -> None:
        self.waiting = 0

    async def __call__(self, request: Request) -> str:
        if "wait" in request.prompt and request.draw:
            self.waiting += 1
            try:
                await forever()
            finally:
                self.waiting -= 1
        if "tree" in request.prompt:
            return ("0.2\n", "0.9\n")[request.draw % 2] if request.partial.count("\n") < 2 else "0.7 The answer is 7."
        return f"The answer is {(10, 10, 8, 10)[request.draw % 4]}. {PAGE_INJECTIONS[0]}"


async def test_a_tree_that_grows_stays_as_its_reader_put_it(watched: Watched) -> None:
    deeper = asyncio.Event()

    async def script(request: Request) -> str:
        if request.partial:
            await deeper.wait()
        return ("0.2\n", "0.9\n")[request.draw % 2] if request.partial.count("\n") < 2 else "0.7 The answer is 7."

    application = app(Scripted(script, name="small"), {"search": Beam(2, 2, by=spelled)})
    async with serving(application) as url:
        page = watched.page
        await page.goto(url.removesuffix("v1"))
        await page.get_by_label("Strategy or model").fill("search")
        await page.get_by_label("Question").fill("Grow.")
        await page.get_by_role("button", name="Ask").click()
        tree = page.get_by_role("group", name="Search tree of 3 nodes")
        await tree.wait_for()
        await page.get_by_role("button", name="Zoom in").click()
        await tree.focus()
        await page.keyboard.press("ArrowRight")
        before = await page.locator(".tree svg > g").get_attribute("transform")
        deeper.set()
        await page.get_by_role("link", name="Candidates, tree and times").wait_for()
        assert await page.get_by_role("group", name="Search tree of 3 nodes").count() == 0
        assert await page.locator(".tree svg > g").get_attribute("transform") == before
        assert "Step 1" in await page.locator(".said").inner_text()
        assert await page.locator(".tree").evaluate("tree => tree === document.activeElement")
        await page.goto("about:blank")


async def test_a_question_is_asked_followed_and_stopped(watched: Watched) -> None:
    slow = Slow()
    aliases: dict[str, Generator | str] = {"math": Vote(4), "search": Beam(2, 2, by=spelled)}
    application = app(Scripted(slow, name="small"), aliases, keys=[Key("me", hashed(KEY))])
    async with serving(application) as url:
        page = watched.page
        await page.goto(url.removesuffix("v1"))
        await page.get_by_label("Key", exact=True).fill(KEY)
        await page.get_by_label("Key", exact=True).press("Tab")
        await page.locator("datalist option[value=math]").wait_for(state="attached")
        await page.get_by_label("Strategy or model").fill("math")
        await page.get_by_label("Question").fill("What is 3 + 4?")
        await page.get_by_role("button", name="Ask").click()
        await page.get_by_role("link", name="Candidates, tree and times").wait_for()
        assert await page.locator(".votes p").inner_text() == "4 of 4 samples"
        assert await page.locator(".vote").all_inner_texts() == ["10\n3", "8\n1"]
        assert PAGE_INJECTIONS[0] in await page.locator(".work > .prose").inner_text()

        await page.get_by_label("Strategy or model").fill("search")
        await page.get_by_label("Question").fill("Show a tree.")
        await page.get_by_label("Question").press("Control+Enter")
        await page.get_by_role("group", name="Search tree").wait_for()
        await page.get_by_role("link", name="Candidates, tree and times").click()
        await page.get_by_role("heading", name="Search tree").wait_for()
        await page.get_by_role("link", name="All problems").click()

        await page.get_by_label("Strategy or model").fill("math")
        await page.get_by_label("Question").fill("Please wait.")
        await page.get_by_role("button", name="Ask").click()
        await until(lambda: slow.waiting == 3)
        await page.get_by_role("button", name="Stop").click()
        await until(lambda: slow.waiting == 0)
        await page.get_by_text("Stopped: the server has dropped it.").wait_for()
        await page.goto("about:blank")
        await asyncio.sleep(0)
