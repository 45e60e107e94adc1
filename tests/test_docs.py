"""What the documents show is what the code does."""

import importlib.util
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import pytest

import metagen
from metagen import GenerationError, Problem, Request, Scripted, VLLMEngine, Vote, backends, solve, tools, verifiers
from metagen.cli import main
from metagen.disk.rows import SolutionRow
from metagen.verifiers import critics

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("metagen/**/*.md")]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
LINK = re.compile(r"\[[^]]*\]\(([^)#]+)[^)]*\)")


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in LINK.findall(prose):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "docs/learn.md"], ids=lambda path: path.name)
def test_the_code_shown_is_code_of_the_examples(document: Path) -> None:
    examples = [path.read_text() for path in EXAMPLES]
    for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        assert any(code.strip() in text or indent(code.strip(), "    ") in text for text in examples), code


@pytest.mark.engine
async def test_the_example_that_composes_runs(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def opened(*_: Any) -> AsyncIterator[VLLMEngine]:
        yield engine

    example = loaded(ROOT / "examples/compose.py")
    monkeypatch.setattr(example, "VLLMEngine", opened)
    await example.main()
    assert re.search(r"^\d+, after \d+ tokens$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.engine
async def test_the_tutorial_runs(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def opened(*_: Any) -> AsyncIterator[VLLMEngine]:
        yield engine

    tutorial = loaded(ROOT / "examples/tutorial.py")
    monkeypatch.setattr(tutorial, "VLLMEngine", opened)
    monkeypatch.setattr(tutorial, "MANY", 2)
    await tutorial.main()
    shown = capsys.readouterr().out
    assert all(
        re.search(rf"^{name} +\d+% +[\d,]+ tokens per problem$", shown, re.MULTILINE) for name in tutorial.STRATEGIES
    )
    assert " ProcessReward ok " in shown


@pytest.mark.parametrize("name", [*verifiers.__all__, *critics.__all__, *tools.__all__, *backends.__all__])
def test_every_verifier_critic_tool_and_backend_is_on_a_page(name: str) -> None:
    """Each strategy has a page of its own, which tests/test_strategy_pages.py sees to."""
    shown = re.compile(rf"`[^`\n]*\b{name}\b[^`\n]*`")
    assert any(shown.search(page.read_text()) for page in (ROOT / "docs").rglob("*.md"))


def test_every_public_name_is_in_the_reference() -> None:
    site = loaded(ROOT / "docs/site.py")
    pages = "\n".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    shown = {name.rpartition(".")[2] for modules in site.API.findall(pages) for name in site.public_names(modules)}
    assert set(metagen.__all__) - shown == set()


def test_every_page_is_in_the_navigation() -> None:
    """The site is built by `make docs`; here only what needs no packages is checked."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"([\w/-]+\.md)", navigation))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    inside = {page for page in pages if page.startswith(("strategies/", "decisions/"))}
    assert listed == pages - inside


def test_every_paper_that_is_cited_is_among_the_references() -> None:
    references = (ROOT / "docs/references.md").read_text()
    cited = re.compile(r"\b[A-Z][a-z]+(?: et al\.| and [A-Z][a-z]+)? (?:19|20)\d\d\b")
    texts = [path.read_text() for path in (*ROOT.glob("docs/**/*.md"), *ROOT.glob("metagen/**/*.py"))]
    keys = {key for text in texts for key in cited.findall(" ".join(text.split()))}
    assert len(keys) > 70
    assert {key for key in keys if key not in references} == set()


def test_every_message_on_the_page_of_errors_is_one_that_metagen_says() -> None:
    messages = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    source = "\n".join(path.read_text() for path in (ROOT / "metagen").rglob("*.py"))
    assert len(messages) > 15
    for message in messages:
        assert message in source, message


def test_the_page_of_files_lists_the_fields_of_a_solution_in_their_order() -> None:
    page = (ROOT / "docs/files.md").read_text().partition("`solutions.jsonl` has a line")[2]
    cells = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(SolutionRow.__struct_fields__)


def test_every_promise_names_tests_that_are_there() -> None:
    page = (ROOT / "docs/trust.md").read_text()
    rows = re.findall(r"^\| .* \| (`tests/.*`) \|$", page, re.MULTILINE)
    named = [test.strip("`").split("::") for row in rows for test in row.split(", ")]
    assert len(rows) > 10
    for file, test in named:
        assert re.search(rf"^(?:async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (file, test)


async def test_the_example_verifier_weighs_votes() -> None:
    checker = loaded(ROOT / "examples/checker.py")
    replies = ["1 + 1 = 3\nThe answer is 3.", "1 + 1 = 4\nThe answer is 3.", "1 + 1 = 2\nThe answer is 2."]
    backend = Scripted(lambda request: replies[request.draw])
    assert (await solve(Problem("p", "1 + 1?"), Vote(3, by=checker.sums), backend)).answer == "2"
    shares = {
        "6 / 2 = 3": 1,
        "7 / 2 = 3": 0,
        "5 / 0 = 3": 0,
        "0 / 0 = 3": 0,
        "5 - 7 = 2": 0,
        "2 * 3 = 6, 1 + 1 = 3": 0.5,
    }
    assert {text: checker.check(text).value for text in shares} == shares
    assert checker.check("6 and 2") is None


def one_is_lost(request: Request) -> str:
    if request.draw:
        raise GenerationError("withheld")
    return "The answer is 4."


async def test_the_example_that_escalates_asks_the_large_model_only_where_needed() -> None:
    escalate = loaded(ROOT / "examples/escalate.py").escalate
    models = {
        "small": Scripted(lambda request: f"The answer is {request.draw}."),
        "large": Scripted("The answer is 9."),
    }
    assert (await solve(Problem("p", "?"), escalate, models)).answer == "9"
    models["small"] = Scripted("The answer is 4.")
    assert (await solve(Problem("p", "?"), escalate, models)).answer == "4"
    for model in (Scripted("No idea."), Scripted(one_is_lost)):
        assert (await solve(Problem("p", "?"), escalate, models | {"small": model})).answer == "9"


def test_the_example_without_asyncio_runs() -> None:
    assert loaded(ROOT / "examples/synchronous.py").solution.answer == "7"


COMMANDS = (
    *("solve", "sample", "report", "choose", "show", "view", "export", "sweep", "serve", "doctor"),
    *("train", "train orm", "train prm", "train corrector"),
)


def test_the_help_is_the_one_that_is_documented(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = (ROOT / "docs/cli.md").read_text()
    for command in ([], *(name.split() for name in COMMANDS)):
        monkeypatch.setattr("sys.argv", ["metagen", *command, "--help"])
        with pytest.raises(SystemExit):
            main()
        assert capsys.readouterr().out.strip() in text, f"docs/cli.md: run `metagen {' '.join(command)} --help`"
