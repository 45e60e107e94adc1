import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from metagen import InputError
from metagen.view.live import LiveServer
from metagen.view.page import SCRIPTS, live_page, write_page
from tests.support.viewed import PROBLEMS, make_run

PAGE = Path(__file__).parents[2] / "metagen/view/page"


async def test_a_page_is_one_file_whose_policy_names_its_own_scripts_alone(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    write_page([await make_run(tmp_path), await make_run(tmp_path, "beam")], out)
    text = out.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digests = {f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in scripts + styles}
    assert set(re.findall(r"'sha256-[^']*'", policy)) == digests
    assert not re.findall(r"""\b(?:src|href)=["']""", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


async def test_nothing_of_a_run_stands_in_the_page_as_it_is(tmp_path: Path) -> None:
    hostile = [type(each)("</script><b>", "</script><i>", answer="</script><u>") for each in PROBLEMS[:1]]
    out = tmp_path / "page.html"
    write_page([await make_run(tmp_path, problems=hostile)], out)
    assert not re.search(r"</script><[biu]>", out.read_text())


def test_the_page_builds_no_markup_from_text() -> None:
    """What would is not used at all: so no text has a way to become an element or a script."""
    script = "".join((PAGE / f"{name}.js").read_text() for name in SCRIPTS)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert word not in script
    assert {path.stem for path in PAGE.glob("*.js")} == set(SCRIPTS)


async def test_only_pages_are_replaced(tmp_path: Path) -> None:
    run, other = await make_run(tmp_path), tmp_path / "mine.html"
    other.write_text("mine")
    with pytest.raises(InputError, match=r"mine\.html: was not written by metagen"):
        write_page([run], other)
    write_page([run], tmp_path / "page.html")
    write_page([run], tmp_path / "page.html")
    with pytest.raises(InputError, match="is given twice"):
        write_page([run, run], tmp_path / "page.html")
    with pytest.raises(InputError, match=r"has no run\.json, but holds 1 run"):
        write_page([tmp_path], tmp_path / "page.html")


@pytest.mark.parametrize("field", ["prompt", "reference"])
async def test_runs_that_mean_different_problems_by_an_id_are_refused(tmp_path: Path, field: str) -> None:
    first, second = await make_run(tmp_path), await make_run(tmp_path, "best")
    rows = [json.loads(line) for line in (second / "solutions.jsonl").read_text().splitlines()]
    (second / "solutions.jsonl").write_text("".join(json.dumps(row | {field: "another"}) + "\n" for row in rows))
    write_page([first, second], tmp_path / "page.html")  # of one file, under two templates
    record = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps(record | {"problems": "others.jsonl (1)"}))
    with pytest.raises(
        InputError, match=r"problems\.jsonl \(0\) and others\.jsonl \(1\), where problem 'a' is not the same"
    ):
        write_page([first, second], tmp_path / "page.html")
    with pytest.raises(InputError, match="where problem 'a' is not the same"):
        LiveServer([first, second])
    fewer = await make_run(tmp_path / "fewer", problems=PROBLEMS[:1])
    (fewer / "run.json").write_text(json.dumps(record | {"problems": "fewer.jsonl (2)"}))
    write_page([first, fewer], tmp_path / "page.html")


def test_a_live_page_may_ask_its_own_server_alone() -> None:
    assert b"connect-src 'self'" in live_page()
