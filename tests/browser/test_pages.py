"""The pages of runs in Chromium: what a reader does, and that nothing of a run can do anything."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from metagen import (
    Feedback,
    GenerationError,
    Model,
    Panel,
    Price,
    Priced,
    Problem,
    Request,
    Scripted,
    Vote,
    solve_all,
)
from metagen.disk.runs import RunDirectory
from metagen.trace import Asked, Call, Child, Expansion, Span, Written
from metagen.view.page import write_page
from tests.browser.conftest import Watched
from tests.support.injections import PAGE_INJECTIONS
from tests.support.viewed import PROBLEMS, make_run
from tests.view.test_live import serving

pytestmark = pytest.mark.browser
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


async def ids(page: Page) -> list[str]:
    return await page.locator("tbody a").all_inner_texts()


async def test_a_table_is_sorted_filtered_and_searched(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "vote.html")
    assert await ids(page) == ["a", "b", "c"]
    await page.get_by_role("button", name="Reference").click()
    await page.get_by_role("button", name="Reference").click()
    assert await ids(page) == ["c", "b", "a"]
    assert await page.locator("th[aria-sort=descending]").inner_text() == "Reference"
    await page.get_by_role("button", name="found by a sample").click()
    assert await ids(page) == ["b"]
    await page.get_by_role("button", name="All (3)").click()
    await page.get_by_label("level").select_option("2")
    await page.get_by_label("Search problems").fill("5 + 4")
    assert await ids(page) == ["c"]
    assert await page.get_by_role("status").inner_text() == "1 of 3 problems"


async def test_a_link_leads_to_what_was_looked_at(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "vote.html", "show=wrong&sort=-id")
    assert await ids(page) == ["c", "b"]
    await page.get_by_role("link", name="b", exact=True).click()
    await page.get_by_role("heading", name="Problem b").wait_for()
    again = await watched.open(pages / "vote.html", page.url.partition("#")[2])
    assert await again.locator("h1").inner_text() == "Problem b"
    await again.keyboard.press("ArrowLeft")
    await again.get_by_role("heading", name="Problem c").wait_for()
    await again.keyboard.press("Escape")
    await again.get_by_role("status").wait_for()


async def test_the_keyboard_opens_a_problem(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "vote.html")
    await page.keyboard.press("/")
    await page.keyboard.type("8")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Problem b").wait_for()


async def test_candidates_are_shown_by_answer_with_thoughts_and_steps(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "best.html", "problem=a")
    assert await page.locator(".group b").all_inner_texts() == ["7", "no answer", "8"]
    await page.get_by_text("2 of 4").click()
    await page.get_by_text("Thought, 3 characters").click()
    assert await page.locator(".thought").inner_text() == "Hm."
    assert await page.locator(".steps li").nth(0).inner_text() == "0.50\nIt is odd."


async def test_a_tree_folds_and_its_nodes_are_read(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "beam.html", "problem=a")
    nodes = page.locator(".tree .node")
    before = await nodes.count()
    assert before > 3
    tree = page.get_by_role("group", name="Search tree")
    await tree.focus()
    await page.keyboard.press("ArrowRight")
    assert "We add." in await page.locator(".said").inner_text()
    await page.keyboard.press("Enter")
    assert await nodes.count() == 2
    await page.get_by_role("button", name="Unfold all").click()
    assert await nodes.count() == before
    await page.get_by_role("button", name="Zoom in").click()


TOLD = """
  window.told = new Set();
  for (const [name, act] of [["addEventListener", "add"], ["removeEventListener", "delete"]]) {
    const given = window[name];
    window[name] = function (kind, listener, how) {
      if (kind === "pointerup" && !(how && how.once)) window.told[act](listener);
      return given.call(this, kind, listener, how);
    };
  }
"""


async def test_a_tree_is_dragged_and_a_page_that_was_left_hears_of_no_pointer(watched: Watched, pages: Path) -> None:
    await watched.page.add_init_script(TOLD)
    page = await watched.open(pages / "beam.html", "problem=a")
    before = await page.evaluate("window.told.size")
    for key, name in (("ArrowRight", "b"), ("ArrowRight", "c"), ("ArrowLeft", "b")):
        await page.keyboard.press(key)
        await page.get_by_role("heading", name=f"Problem {name}").wait_for()
    assert await page.evaluate("window.told.size") == before
    place, box = page.locator(".tree svg > g"), await page.locator(".tree svg").bounding_box()
    assert box
    await page.mouse.move(box["x"] + 100, box["y"] + box["height"] - 5)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 140, box["y"] + box["height"] - 15)
    await page.mouse.up()
    await page.mouse.move(box["x"] + 300, box["y"] + 20)
    assert await place.get_attribute("transform") == "translate(56 18) scale(1)"


async def test_refinements_and_times_are_shown(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "refine.html", "problem=b")
    assert await page.locator("section h2").all_inner_texts() == [
        "Candidates",
        "Refinement",
        "Prompt as sent",
        "What happened, and when",
        "Cost",
    ]
    await page.locator(".waterfall summary").nth(1).click()
    assert await page.locator(".waterfall .name").nth(1).inner_text() == "Vote"


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "I have 3 coins."},
    {"role": "assistant", "content": "Good."},
    {"role": "user", "content": "And twice that?"},
]


async def test_a_conversation_is_shown_with_the_model_that_was_asked(watched: Watched, tmp_path: Path) -> None:
    problems = [Problem("a", messages=TURNS, answer="6"), Problem("b", "What is 3 + 3?", "6")]
    models = {"small": Scripted("6", name="org/small"), "large": Scripted("6", name="org/large")}
    with RunDirectory(tmp_path / "run", {}) as run:
        async for solution in solve_all(problems, Vote(2, of=Panel((Model("small"), Model("large")))), models, seed=1):
            run.add(solution)
    write_page([tmp_path / "run"], out := tmp_path / "page.html")
    page = await watched.open(out, "problem=a")
    sent = page.locator("section", has=page.get_by_role("heading", name="Prompt as sent"))
    assert "I have 3 coins." in await sent.inner_text()
    assert re.search("Request to org/(small|large) for 1 sample", await sent.inner_text())
    await page.get_by_role("link", name="Next").click()
    await page.get_by_role("heading", name="Problem b").wait_for()
    assert await sent.locator("details[open]").count() == 0


async def test_a_long_word_widens_no_page(watched: Watched, tmp_path: Path) -> None:
    word = "x" * 2000

    def fails(_: Request) -> str:
        raise GenerationError(word)

    problem = Problem(f"a {word}", f"? {word}", word, tags={word: word})
    for name, model in (("failed", Scripted(fails)), ("solved", Scripted(f"The answer is {word}."))):
        with RunDirectory(tmp_path / name, {}) as run:
            async for solution in solve_all([problem], Vote(2), model):
                solution.trace.children.append(Span(word, (97,), status="ok", notes=[word], error=word))
                run.add(replace(solution, notes=(word,), why_unscored=word, unscored=1, scored=2))
    write_page([tmp_path / "failed", tmp_path / "solved"], out := tmp_path / "page.html")
    page = await watched.open(out, f"problem={problem.id}")
    await page.locator("details").evaluate_all("every => every.forEach((each) => { each.open = true; })")
    await page.locator("details").evaluate_all("every => every.forEach((each) => { each.open = true; })")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_what_it_cost_in_money_and_what_waited_is_shown(watched: Watched, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "priced", {}) as run:
        async for solution in solve_all(PROBLEMS[:1], Vote(2), Priced(Scripted("7"), Price(250, 1000))):
            solution.trace.children.append(Span("Model", (97,), 1.0, 4.0, "ok", request=Asked("?"), waited=1.0))
            run.add(solution)
    write_page([tmp_path / "priced"], out := tmp_path / "page.html")
    page = await watched.open(out)
    assert await page.locator("th", has_text="Money").count() == 1
    assert await page.locator(".about div", has_text="money").locator("dd").inner_text() == "0.0055"
    await page.get_by_role("link", name="a", exact=True).click()
    assert "0.0055 of money" in await page.locator("section", has=page.get_by_text("Cost", exact=True)).inner_text()
    assert await page.locator(".line", has=page.locator(".wait")).locator(".time").inner_text() == "4 s, waited 1 s"
    bar, wait = [await page.locator(each).bounding_box() for each in (".span:has(.wait)", ".span .wait")]
    assert bar
    assert wait
    assert round(bar["width"] / wait["width"]) == 4


async def test_two_runs_are_compared(watched: Watched, pages: Path) -> None:
    page = await watched.open(pages / "two.html")
    await page.get_by_role("button", name="vote right, best not (1)").click()
    assert await ids(page) == ["a"]
    await page.get_by_role("link", name="a", exact=True).click()
    await page.get_by_role("heading", name="best").wait_for()
    assert await page.locator(".run h2").all_inner_texts() == ["vote", "best"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["", "problem=a"])
async def test_axe_finds_nothing(watched: Watched, pages: Path, scheme: Any, state: str) -> None:
    await watched.page.emulate_media(color_scheme=scheme)
    for name in ("two.html", "beam.html", "refine.html"):
        page = await watched.open(pages / name, state)
        session = await page.context.new_cdp_session(page)
        found = await session.send(
            "Runtime.evaluate",
            {"expression": f"{AXE};axe.run().then(found => JSON.stringify(found.violations.map(each => "
             "[each.id, each.nodes.map(node => node.html + node.failureSummary)])))", "awaitPromise": True,
             "returnByValue": True},
        )  # fmt: skip
        assert found["result"]["value"] == "[]", name
        await page.goto("about:blank")


def spans_of(text: str) -> list[Span]:
    """Spans that hold a text wherever a span can hold one: a chain with a tool, feedback, and a search."""
    drawn = Span(
        "Model", (98, "/", 0), status="ok", request=Asked(text, text), completions=[Written(text, thought=text)]
    )
    return [
        Span(text, (97,), status="ok", error=text, notes=[text], feedback=Feedback(text), call=Call(text, text)),
        Span(text, (98,), status="ok", children=[
            Span(text, (98, "/"), status="ok", expansion=Expansion(1, (Child(1, 0.5, text, text),)), children=[drawn])
        ]),
    ]  # fmt: skip


async def hostile_run(folder: Path) -> Path:
    """A run in which every text that is not metagen's own is an injection."""
    every = PAGE_INJECTIONS
    problems = [
        Problem(f"{number} {text}", f"{text} ?", answer=text, tags={text or "tag": text})
        for number, text in enumerate(every)
    ]
    by_prompt = {problem.prompt: text for problem, text in zip(problems, every, strict=True)}
    script = Scripted(lambda request: f"<think>{by_prompt[request.prompt]}</think>{by_prompt[request.prompt]}")
    with RunDirectory(folder / "hostile <b>", {"strategy": every[0], "models": {every[1]: every[2]}}) as run:
        async for solution in solve_all(problems, Vote(2), script, concurrency=1):
            solution.trace.children += spans_of(by_prompt[solution.prompt])
            run.add(solution)
    return folder / "hostile <b>"


LOOK = """async () => {
  const strange = ["img", "iframe", "object", "embed", "link", "base", "foreignObject", "animate", "set", "use"];
  const bad = () => [...document.querySelectorAll("*")].filter((each) =>
    strange.includes(each.localName) ||
    (["script", "style"].includes(each.localName) && !known.has(each)) ||
    [...each.attributes].some((one) => one.name.startsWith("on") || /javascript:|data:/i.test(one.value)) ||
    (each.localName === "a" && !each.getAttribute("href").startsWith("#"))).map((each) => each.outerHTML);
  const known = new Set(document.querySelectorAll("script, style"));
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const links = new Set();
  const box = document.querySelector(".rows");
  for (let top = 0; top <= box.scrollHeight; top += 200) {
    box.scrollTop = top;
    await frame();
    box.querySelectorAll("tbody a").forEach((link) => links.add(link.getAttribute("href")));
  }
  const found = bad();
  for (const link of links) {
    const before = document.querySelector("h1");
    location.hash = link;
    while (document.querySelector("h1") === before) await frame();
    document.querySelectorAll("details").forEach((each) => { each.open = true; });
    await frame();
    found.push(...bad());
  }
  return [links.size, found, window.pwned === undefined];
}"""


async def test_what_a_run_holds_becomes_no_markup_and_runs_nowhere(watched: Watched, tmp_path: Path) -> None:
    write_page([await hostile_run(tmp_path)], out := tmp_path / "page.html")
    page = await watched.open(out)
    assert len(PAGE_INJECTIONS) >= 300
    assert await page.evaluate(LOOK) == [len(PAGE_INJECTIONS), [], True]


async def test_what_is_missing_comes_last_in_both_directions(watched: Watched, tmp_path: Path) -> None:
    problems = [replace(PROBLEMS[0], id="a", answer=None), *PROBLEMS[1:]]
    write_page([await make_run(tmp_path, problems=problems)], out := tmp_path / "page.html")
    assert await ids(await watched.open(out, "sort=reference")) == ["b", "c", "a"]
    await watched.page.goto("about:blank")
    assert await ids(await watched.open(out, "sort=-reference")) == ["c", "b", "a"]


async def test_the_share_with_a_right_sample_is_of_the_problems_with_samples(watched: Watched, tmp_path: Path) -> None:
    """A run may hold problems whose samples were judged and whose answer was not."""
    folder = await make_run(tmp_path, problems=PROBLEMS[:2])
    rows = [json.loads(line) for line in (folder / "solutions.jsonl").read_text().splitlines()]
    del rows[1]["correct"]
    (folder / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_page([folder], out := tmp_path / "page.html")
    page = await watched.open(out)
    assert "some sample right\n100.0%" in await page.locator(".about").inner_text()


JOINED = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f469\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525",
    "می\u200cخواهم",  # Persian
    "क्\u200dष",  # Hindi
)
HIDING = (
    "a\u202eb \U000e0041 \u180e \u034f \u115f \u3164 \uffa0 \u206a \ufe0f \ufff9 \u2800 \u200b \u2065 \ufff0 \U000e0080"
)
SEEN = (
    r"a\u202eb \u{e0041} \u180e \u034f \u115f \u3164 \uffa0 \u206a \ufe0f \ufff9 \u2800 \u200b \u2065 \ufff0 \u{e0080}"
)


async def test_hidden_characters_are_shown_in_texts_and_equations(watched: Watched, tmp_path: Path) -> None:
    told = {
        HIDING: SEEN,
        "1\ufe0f\u20e3 \u2764\ufe0f": "1\ufe0f\u20e3 \u2764\ufe0f",
        **{joined: joined for joined in JOINED},
        "a\u200db\u200cc 1\u200d2 \u200d\u2764": "a\\u200db\\u200cc 1\\u200d2 \\u200d\u2764",
        "$\\text{a\u202edcba}$": r"$\text{a\u202edcba}$",
        '$\\text{a\\char"202E dcba}$': '$\\text{a\\char"202E dcba}$',
        "$$x\U000e0041$$": r"$$x\u{e0041}$$",
        r"$\bad{$": r"$\bad{$",
    }
    equations = [
        r"$\sin x + \log_2 \frac{a}{b}$",
        "\\begin{align*}\nx &= 1 \\\\ y &= 2\n\\end{align*}",
        r"$$\left. \sum_{i=1}^n x_i \right|_0 \quad \sqrt{2}$$",
    ]
    problems = [Problem(f"{number}", text) for number, text in enumerate([*told, *equations])]
    write_page([await make_run(tmp_path, problems=problems)], out := tmp_path / "page.html")
    for problem in problems:
        await watched.page.goto("about:blank")
        question = (await watched.open(out, f"problem={problem.id}")).locator(".question")
        if problem.prompt in told:
            assert await question.text_content() == told[problem.prompt]
        else:
            assert await question.locator("math").count() == 1


async def test_a_narrow_page_scrolls_down_alone(watched: Watched, pages: Path) -> None:
    await watched.page.set_viewport_size({"width": 420, "height": 900})
    page = await watched.open(pages / "two.html")
    assert await page.evaluate("document.documentElement.scrollWidth") == 420


async def test_boxes_are_drawn_and_each_line_has_its_own_direction(watched: Watched, tmp_path: Path) -> None:
    problem = Problem("a", "$\\boxed{7}$\nשלום.")
    write_page([await make_run(tmp_path, problems=[problem])], out := tmp_path / "page.html")
    page = await watched.open(out, "problem=a")
    box = page.locator(".question menclose")
    assert await box.evaluate("box => getComputedStyle(box).borderTopWidth") == "1px"
    ends = """question => {
      const range = document.createRange();
      const text = question.lastChild;
      range.setStart(text, text.length - 1);
      range.setEnd(text, text.length);
      return range.getBoundingClientRect().left > question.getBoundingClientRect().width / 2;
    }"""
    assert await page.locator(".question").evaluate(ends), "the full stop of a line from the right is at its left end"
    assert (await box.bounding_box() or {"x": 1000})["x"] < 100


async def test_what_cannot_be_read_is_said(watched: Watched, tmp_path: Path) -> None:
    folder = await make_run(tmp_path)
    trace, solutions = folder / "trace.jsonl", folder / "solutions.jsonl"
    trace.write_text("7\n" + trace.read_text())
    with serving(folder) as server:
        await watched.page.goto(f"{server.address}#problem=a")
        await watched.page.get_by_role("alert").wait_for()
        assert "trace.jsonl, line 1: must be a JSON object" in await watched.page.get_by_role("alert").inner_text()
        await watched.page.get_by_role("link", name="All problems").click()
        await watched.page.get_by_role("link", name="b", exact=True).wait_for()
        whole = solutions.read_text()
        solutions.write_text(f"7\n{whole}")
        await watched.page.get_by_text("not up to date: ").wait_for()
        await watched.page.goto("about:blank")
        await watched.page.goto(server.address)
        await watched.page.get_by_role("alert").wait_for()
        solutions.write_text(whole)
        await watched.page.get_by_role("link", name="b", exact=True).wait_for()
        await watched.page.goto("about:blank")
    assert all("500" in fault for fault in watched.faults)
    watched.faults.clear()


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", "<html><h1>502</h1></html>", "Bad Gateway"),
        ("application/json", '{"error": {"message": "the disk is away"}}', "the disk is away"),
        ("application/json", "[]", "Bad Gateway"),
        ("text/plain; charset=utf-8", "the run is damaged", "the run is damaged"),
    ],
)
async def test_an_error_is_a_sentence(watched: Watched, tmp_path: Path, kind: str, body: str, said: str) -> None:
    with serving(await make_run(tmp_path)) as server:
        await watched.page.route("**/runs", lambda route: route.fulfill(status=502, content_type=kind, body=body))
        await watched.page.goto(server.address)
        await watched.page.get_by_role("alert").wait_for()
        shown = await watched.page.get_by_role("alert").inner_text()
        assert said in shown
        assert "<" not in shown
        await watched.page.goto("about:blank")
    assert all("502" in fault for fault in watched.faults)
    watched.faults.clear()


async def test_all_rows_are_printed(watched: Watched, tmp_path: Path) -> None:
    problems = [Problem(f"{number}", "What is 3 + 4?", answer="7") for number in range(200)]
    write_page([await make_run(tmp_path, problems=problems)], out := tmp_path / "page.html")
    page = await watched.open(out)
    assert len(await ids(page)) < 100
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert await ids(page) == [f"{number}" for number in range(200)]
    await page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(await ids(page)) < 100
    await page.emulate_media(media="print", color_scheme="dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_button_turns_light_into_dark_and_back(watched: Watched, pages: Path, scheme: Any) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    page = await watched.open(pages / "vote.html")
    await page.emulate_media(color_scheme=scheme)
    seen = [await page.evaluate(back)]
    for _ in range(2):
        await page.get_by_role("button", name="Dark or light").click()
        seen.append(await page.evaluate(back))
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
    other = colours["dark" if scheme == "light" else "light"]
    assert seen == [colours[scheme], other, colours[scheme]]


async def test_a_live_page_grows_with_its_run(watched: Watched, tmp_path: Path) -> None:
    folder = await make_run(tmp_path, problems=PROBLEMS[:1])
    with serving(folder) as server:
        await watched.page.goto(server.address)
        await watched.page.get_by_role("link", name="a", exact=True).wait_for()
        await make_run(tmp_path, problems=PROBLEMS[1:])
        await watched.page.get_by_role("link", name="c", exact=True).click()
        await watched.page.get_by_role("heading", name="Problem c").wait_for()
        await watched.page.goto(server.address)
        await watched.page.get_by_role("link", name="c", exact=True).wait_for()
        async with watched.page.expect_response(lambda reply: "runs" in reply.url):
            pass  # reading again makes new rows
        await watched.page.get_by_role("link", name="c", exact=True).click()
        await watched.page.get_by_role("link", name="Previous").click()
        await watched.page.get_by_role("heading", name="Problem b").wait_for()
        await watched.page.goto("about:blank")


async def test_a_live_page_shows_what_changes_in_its_rows(watched: Watched, tmp_path: Path) -> None:
    """A problem that one run has solved is solved by the other too."""
    done = await make_run(tmp_path / "done")
    grows = await make_run(tmp_path / "grows", problems=PROBLEMS[:1])
    with serving(done, grows) as server:
        await watched.page.goto(server.address)
        await watched.page.get_by_role("link", name="c", exact=True).wait_for()
        assert await watched.page.get_by_text("not solved").count() == 2
        await make_run(tmp_path / "grows", problems=PROBLEMS[1:])
        await watched.page.get_by_text("not solved").first.wait_for(state="detached")
        assert await ids(watched.page) == ["a", "b", "c"]
        await watched.page.goto("about:blank")
