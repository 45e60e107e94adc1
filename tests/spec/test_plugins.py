"""Parts from other packages: found by their names, imported only then, and blamed by name."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from metagen import InputError, parse
from metagen.jobs.opening import identity_of, make_backend
from metagen.spec.parse import foreign
from metagen.spec.plugins import BACKENDS, IN_SPECS, STRATEGIES, VERIFIERS, find, names, origin

ROOT = Path(__file__).parents[2]
MODEL = """
from metagen import Scripted

REPLIES = ["1 + 1 = 3. The answer is 3.", "1 + 1 = 2. The answer is 2."]

def model():
    return Scripted(lambda request: "Response 2" if "consistent" in request.prompt else REPLIES[request.draw])
"""


class Site:
    """A folder of installed packages, each one module with one entry point."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, package: str, name: str, code: str, group: str = VERIFIERS) -> None:
        module = package.replace("-", "_")
        (self._folder / f"{module}.py").write_text(code)
        info = self._folder / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{name}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path)


def test_a_verifier_is_found_by_its_name(site: Site) -> None:
    site.install("tiny-good", "tiny", "async def tiny(problem, candidates, run): return [None for _ in candidates]")
    assert repr(parse("BestOf(2, by=tiny)")) == "BestOf(2, by=tiny)"
    assert "tiny" in names(VERIFIERS)
    assert origin("tiny", *IN_SPECS) == "tiny (tiny-good 1.2)"
    with pytest.raises(InputError, match="'tinny' is not known: did you mean tiny"):
        parse("BestOf(2, by=tinny)")


def test_a_spec_tells_which_packages_it_needs(site: Site) -> None:
    site.install("tiny-good", "tiny", "async def tiny(problem, candidates, run): return [None for _ in candidates]")
    assert foreign("BestOf(2, of=CoT(), by=Mean(tiny, own, MatchesReference()))", {"own": 1}) == [
        "tiny (tiny-good 1.2)"
    ]
    assert foreign("Vote(16)") == []


def test_a_package_is_not_imported_before_it_is_named(site: Site) -> None:
    site.install("tiny-broken", "broken", "raise RuntimeError('no\\nway')")
    parse("BestOf(2, by=MatchesReference())")
    assert "tiny_broken" not in sys.modules
    with pytest.raises(InputError, match=r"^'broken' of the package tiny-broken 1\.2 cannot be loaded: .*: no way$"):
        parse("BestOf(2, by=broken)")


def test_a_package_without_what_it_promises_is_named(site: Site) -> None:
    site.install("tiny-empty", "nothing", "")
    with pytest.raises(InputError, match=r"^'nothing' of the package tiny-empty 1\.2 cannot be loaded: AttributeError"):
        find("nothing", *IN_SPECS)


def test_two_packages_cannot_claim_one_name(site: Site) -> None:
    site.install("tiny-one", "twin", "twin = 1")
    site.install("tiny-two", "twin", "twin = 2")
    with pytest.raises(
        InputError, match=r"^'twin' is claimed several times by .*, tiny-one 1\.2 and tiny-two 1\.2: remove one$"
    ):
        find("twin", *IN_SPECS)


def test_names_of_the_user_and_of_metagen_come_first(site: Site) -> None:
    site.install("tiny-thief", "MatchesReference", "raise RuntimeError")
    assert repr(parse("Until(MatchesReference())")) == "Until(MatchesReference())"


def test_a_strategy_is_found_by_its_name_and_nests(site: Site) -> None:
    site.install("tiny-plan", "plan", "async def plan(problem, run): return await run.ask(None, problem)", STRATEGIES)
    assert repr(parse("Vote(2, of=plan)")) == "Vote(2, of=plan)"
    assert foreign("Vote(2, of=plan)") == ["plan (tiny-plan 1.2)"]


def test_one_name_cannot_be_a_strategy_and_a_verifier(site: Site) -> None:
    site.install("tiny-plan", "both", "both = 1", STRATEGIES)
    site.install("tiny-good", "both", "both = 2", VERIFIERS)
    with pytest.raises(InputError, match=r"'both' is claimed several times by .*, tiny-good 1\.2 and tiny-plan 1\.2"):
        parse("Vote(2, of=both)")


BACKEND = "import metagen\nclass Tiny(metagen.Scripted):\n    pass\ndef tiny(text='?'): return Tiny(text)"


def test_a_backend_is_opened_by_its_name_and_an_argument(site: Site) -> None:
    site.install("tiny-model", "tiny", BACKEND, BACKENDS)
    assert type(make_backend("tiny:The answer is 7.", {}, {}, None, {})).__name__ == "Tiny"
    assert type(make_backend("tiny:", {}, {}, None, {})).__name__ == "Tiny"
    assert identity_of("tiny:The answer is 7.", {}) == "tiny:The answer is 7., by tiny (tiny-model 1.2)"
    with pytest.raises(InputError, match="no backend 'tinny' that a text can open: did you mean tiny"):
        make_backend("tinny:x", {}, {}, None, {})


def test_a_backend_is_no_name_in_a_spec(site: Site) -> None:
    site.install("tiny-model", "tiny", BACKEND, BACKENDS)
    with pytest.raises(InputError, match="'tiny' is not known"):
        parse("Vote(2, of=tiny)")


def test_a_backend_is_not_imported_before_it_is_named(site: Site) -> None:
    site.install("tiny-torn", "torn", "raise RuntimeError('no way')", BACKENDS)
    make_backend("Scripted:The answer is 7.", {}, {}, None, {})
    assert "tiny_torn" not in sys.modules
    with pytest.raises(InputError, match=r"^'torn' of the package tiny-torn 1\.2 cannot be loaded: .*: no way$"):
        make_backend("torn:x", {}, {}, None, {})


@pytest.mark.parametrize(
    ("package", "options", "recorded"),
    [
        (
            "equations",
            ["--load", "model.py", "--model", "model", "--strategy", "BestOf(2, by=Equations())"],
            "Equations (metagen-equations 0.1.0)",
        ),
        (
            "universal",
            ["--load", "model.py", "--model", "model", "--strategy", "UniversalVote(2, of=CoT())"],
            "UniversalVote (metagen-universal 0.1.0)",
        ),
        (
            "command",
            ["--model", "Command:echo The answer is 2.", "--strategy", "Vote(2)"],
            "Command:echo The answer is 2., by Command (metagen-command 0.1.0)",
        ),
    ],
)
def test_an_example_package_installs_and_is_found(
    package: str, options: list[str], recorded: str, tmp_path: Path
) -> None:
    source = copytree(ROOT / "examples" / package, tmp_path / package)
    target = tmp_path / "site"
    pip = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    called(tmp_path, "-m", *pip, "--target", str(target), str(source))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "problems.jsonl").write_text('{"prompt": "What is 1 + 1?", "answer": "2"}\n')
    call = ["-m", "metagen", "solve", "problems.jsonl", *options, "--out", "run"]
    assert "100.0%" in called(tmp_path, *call, path=target)
    assert recorded in (tmp_path / "run/run.json").read_text()
    called(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(source / "tests"), path=target)


def called(folder: Path, *command: str, path: Path | None = None) -> str:
    environment = {"PYTHONPATH": f"{path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
