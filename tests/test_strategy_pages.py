"""Each strategy has a page in docs/strategies, and what a page shows is what its code does."""

import re
import runpy
from pathlib import Path

import pytest

from metagen import MatchesReference, parse
from metagen.strategies import __all__ as every_strategy
from tests.support.confined import WHY_NO_COQ, WHY_NO_SANDBOX

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/strategies"
INDEX = runpy.run_path(str(ROOT / "docs/index.py"))
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
RUN = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", re.DOTALL)

WHY_NOT = {"programofthought": WHY_NO_SANDBOX, "draftsketchprove": WHY_NO_COQ, "codevote": WHY_NO_SANDBOX}
"""Why the code of a page cannot run on this machine, if so."""


def about(page: Path) -> set[str]:
    """The strategies that its headings name."""
    headings = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {name for line in re.findall(r"^#+ .*$", headings, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)}


def test_every_strategy_has_one_page() -> None:
    named = [name for page in PAGES for name in about(page) & set(every_strategy)]
    assert sorted(named) == sorted(every_strategy)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_gives_formula_prompt_cost_and_a_run(page: Path) -> None:
    text = page.read_text()
    assert "    y ~" in text or " ~ g" in text
    assert re.search(r"^(\*\*|#+ )Prompt", text, re.MULTILINE)
    assert re.search(r"^(\*\*|#+ )Cost", text, re.MULTILINE)
    assert re.search(r"^(\*\*|#+ )A run", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_index_leads_to_it(page: Path) -> None:
    assert f"]({page.name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("document", [ROOT / "docs/index.md", FOLDER / "README.md"], ids=["home", "strategies"])
def test_the_tables_follow_from_the_pages(document: Path) -> None:
    assert INDEX["texts"]()[document] == document.read_text(), "run `make tables`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_specs_in_the_readme_can_be_read(page: Path) -> None:
    for specs in INDEX["read_entry"](page).readme:
        for spec in re.findall(r"`([^`]*)`", specs):
            assert "…" in spec or parse(spec, {"verifier": MatchesReference()})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("", "has no entry for the index"),
        ("<!-- index\nchapter = \n-->", "its entry for the index cannot be read"),
        ('<!-- index\nchapter = "Chains"\n-->', "its entry for the index cannot be read: .*place"),
        ('<!-- index\nchapter = "Chain"\nplace = 1\ncalls = "1"\ny = ""\n-->', "chapter must be one of Chains, "),
    ],
)
def test_a_page_without_a_good_entry_is_named(entry: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# `CoT`\n\n{entry}\n")
    with pytest.raises(ValueError, match=rf"page\.md: {said}"):
        INDEX["read_entry"](tmp_path / "page.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_prints_what_is_shown(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if why_not := WHY_NOT.get(page.stem):
        pytest.skip(why_not)
    for code, shown in RUN.findall(page.read_text()):
        (tmp_path / "example.py").write_text(code)
        runpy.run_path(str(tmp_path / "example.py"), run_name="__main__")
        assert capsys.readouterr().out == shown
