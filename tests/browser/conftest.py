"""Chromium without a window, and pages of small runs in it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from metagen.view.page import write_page
from tests.support.viewed import make_run


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: `make pages` installs it where it may")
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        await opened.close()


class Watched:
    """A page that remembers what it should not do: errors on its console, and requests that leave it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "http://127.0.0.1:", "about:")):
            self.faults.append(f"request: {url}")

    async def open(self, path: Path, state: str = "") -> Page:
        """The page of this file, when it has read its runs."""
        await self.page.goto(f"{path.as_uri()}#{state}")
        await self.page.wait_for_selector("html[data-ready]")
        return self.page


@pytest.fixture
async def watched(browser: Browser) -> AsyncIterator[Watched]:
    """A page; the test fails if an error was on its console, or a request left it."""
    page = await browser.new_page()
    page.set_default_timeout(300_000)  # milliseconds: ends a test that hangs, on a busy machine too
    seen = Watched(page)
    yield seen
    await page.close()
    assert seen.faults == [], "\n".join(seen.faults)


@pytest.fixture(scope="session")
async def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page for each strategy, and `two.html` of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {name: await make_run(folder, name) for name in ("vote", "best", "beam", "refine")}
    for name, run in runs.items():
        write_page([run], folder / f"{name}.html")
    write_page([runs["vote"], runs["best"]], folder / "two.html")
    return folder
