"""How long the page of a large run takes to write and to open, how large it is, and how fast it answers a reader.

Needs Chromium, Playwright's Python package, and about 200 MB on the disk. Prints a table.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from shutil import which
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright

from metagen import Candidate, Solution
from metagen.budget import Usage
from metagen.disk.runs import RunDirectory
from metagen.trace import Asked, Child, Expansion, Span, Written

WORDS = [
    "Emma",
    "Paul",
    "keys",
    "shares",
    "twelve",
    "gives",
    "then",
    "has",
    "more",
    "marbles",
    "left",
    "over",
    "half",
    "of",
    "them",
    "in",
    "the",
    "morning",
]
FILTERS = "Missed by the vote", "Wrong", "Right", "All"


def voted(number: int, samples: int) -> Solution:
    """A problem with a vote over samples of about 200 characters."""
    random = Random(number)
    answers = tuple(str(random.choice((18, 19, 28, 40))) for _ in range(samples))
    texts = [
        f"{' '.join(random.choices(WORDS, k=30))}.\n{random.randint(1, 99)} + 12.\nThe answer is {a}." for a in answers
    ]
    prompt = " ".join(random.choices(WORDS, k=40))
    drawn = Span(
        "Model", (0, 0), 0.1, 2.0, "ok", "", Usage(calls=1, prompt_tokens=39), request=Asked(prompt, n=samples)
    )
    drawn.completions = [Written(text, 60) for text in texts]
    vote = Span("Vote", (0,), 0.1, 2.0, "ok", children=[drawn], samples=[Candidate((text,)) for text in texts])
    return Solution(
        f"problem-{number}", answers[0], texts[0], answers[0] == "19", samples=samples, compared=samples,
        samples_correct=answers.count("19"), prompt=prompt, reference="19", tags={"level": str(number % 5)},
        answers=answers, verdicts=tuple(a == "19" for a in answers), groups=tuple(map(answers.index, answers)),
        usage=Usage(calls=1, prompt_tokens=39, completion_tokens=960),
        trace=Span("solve", children=[vote], status="ok"),
    )  # fmt: skip


def searched(nodes: int) -> Solution:
    """A problem with a search tree of so many nodes, four children each."""
    search = Span("Beam", (0,), 0.0, 9.0, "ok")
    random, paths, count = Random(0), ["/"], 0
    for path in paths:
        texts = [f"Step {count + child}: {' '.join(random.choices(WORDS, k=12))}.\n" for child in range(4)]
        drawn = Span(
            "Model", (0, path, 0), 0.1, 0.5, "ok", request=Asked("?", "", 4), completions=[Written(t) for t in texts]
        )
        children = tuple(Child(1, random.random(), "open", "drawn") for _ in texts)
        search.children.append(
            Span("expansion", (0, path), 0.1, 0.5, "ok", expansion=Expansion(4, children), children=[drawn])
        )
        count += 4
        if count >= nodes:
            break
        paths += [f"{path.rstrip('/')}/{child}" for child in range(4)]
    return Solution("tree", None, trace=Span("solve", children=[search], status="ok"), prompt="A search")


def write_run(folder: Path, solutions: Iterator[Solution]) -> None:
    with RunDirectory(folder, {"strategy": "Vote(16)", "models": {"model": "none"}}) as run:
        for solution in solutions:
            run.add(solution)


def write_page_apart(run: Path, out: Path) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and megabytes, of a process that writes the page."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "metagen", "view", str(run), "--out", str(out)], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, processor, after.ru_maxrss / 1024


TIMED = """async (act) => {
  const begun = performance.now();
  new Function(act)();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""


def milliseconds(page: Page, act: str) -> float:
    """From an act of the reader to the next picture."""
    return float(page.evaluate(TIMED, act))


def opened(page: Page, path: Path, state: str = "") -> float:
    """Seconds until the page can be used."""
    page.goto("about:blank")
    begun = time.perf_counter()
    page.goto(f"{path.as_uri()}#{state}")
    page.wait_for_selector("html[data-ready]")
    return time.perf_counter() - begun


def press(name: str) -> str:
    return f"[...document.querySelectorAll('button')].find((each) => each.textContent.startsWith('{name}')).click()"


def measure(folder: Path, problems: int, nodes: int) -> Iterator[tuple[str, str]]:
    table, tree = folder / "table.html", folder / "tree.html"
    write_run(folder / "votes", (voted(number, 16) for number in range(problems)))
    write_run(folder / "search", iter([searched(nodes)]))
    seconds, processor, memory = write_page_apart(folder / "votes", table)
    yield f"{problems:,} x 16: writing, s", f"{seconds:.1f}"
    yield "writing, processor s", f"{processor:.1f}"
    yield "writing, MB of memory", f"{memory:.0f}"
    yield "size, MB", f"{table.stat().st_size / 1e6:.1f}"
    write_page_apart(folder / "search", tree)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(bypass_csp=True).new_page()  # for the measuring script alone
        yield "opening, s", f"{min(opened(page, table) for _ in range(3)):.2f}"
        yield "slowest filter, ms", f"{max(milliseconds(page, press(name)) for name in FILTERS):.0f}"
        scroll = "document.querySelector('.rows').scrollTop = {}"
        yield (
            "slowest scroll, ms",
            f"{max(milliseconds(page, scroll.format(at)) for at in (9000, 150_000, 300_000)):.0f}",
        )
        typed = (
            "const s = document.getElementById('search'); s.value = 'marbles 77'; s.dispatchEvent(new Event('input'))"
        )
        yield "a search, ms", f"{milliseconds(page, typed):.0f}"
        yield "opening one problem of them by its link, s", f"{opened(page, table, 'problem=problem-7'):.2f}"
        yield f"tree of {nodes:,} nodes: opening, s", f"{opened(page, tree, 'problem=tree'):.2f}"
        yield "unfolding all, ms", f"{milliseconds(page, press('Unfold all')):.0f}"
        yield "zooming to all of it, ms", f"{milliseconds(page, press('Fit')):.0f}"
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=10_000)
    given = parser.parse_args()
    if which("chromium") is None:
        print("Needs Chromium, which `make pages` installs.")
        return
    with TemporaryDirectory() as folder:
        print("| what | measured |\n|---|---|")
        for what, value in measure(Path(folder), given.problems, given.nodes):
            print(f"| {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
