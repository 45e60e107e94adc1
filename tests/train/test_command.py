"""`metagen train`, from a pool to a model: with a tiny base, in seconds."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants as hub
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from metagen import (
    Candidate,
    InputError,
    Judge,
    Problem,
    ProblemFile,
    Request,
    Run,
    Score,
    Scripted,
    VerifierError,
    cli,
)
from metagen.disk.lines import Appender
from metagen.models import SMALL
from metagen.train.command import Kind, check, graded_pool, labelled, train
from metagen.train.finetune import Schedule
from tests.support.bases import write_base
from tests.support.confined import needs_coq, needs_sandbox

SCHEDULE = Schedule(epochs=2, tokens=1024)
RIGHT, WRONG = "1 + {n} = {a}\nThe answer is {a}.", "1 + {n} = {b}\nThe answer is {b}."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def problems(tmp_path: Path) -> ProblemFile:
    with Appender(tmp_path / "problems.jsonl") as file:
        file.write({"id": f"p{n}", "prompt": f"1 + {n}?", "answer": str(n + 1)} for n in range(20))
    return ProblemFile(tmp_path / "problems.jsonl")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    with Appender(tmp_path / "pool.jsonl") as file:
        for n in range(20):
            texts = [form.format(n=n, a=n + 1, b=n + 2) for form in (RIGHT, WRONG)]
            file.write(
                {"problem": f"p{n}", "prompt": f"1 + {n}?", "draw": draw, "text": text}
                for draw, text in enumerate(texts)
            )
    return tmp_path / "pool.jsonl"


def silent(*_: object) -> None:
    """Watches nothing."""


def hopeless(request: Request) -> str:
    return "The answer is 0."


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("orm", "Qwen2ForSequenceClassification"),
        ("prm", "Qwen2ForProcessRewardModel"),
        ("corrector", "Qwen2ForCausalLM"),
    ],
)
def test_from_a_pool_to_a_model_and_its_report(
    kind: Kind, architecture: str, base: Path, pool: Path, problems: ProblemFile, tmp_path: Path
) -> None:
    out = tmp_path / kind
    report = train(kind, pool, problems, str(base), out, SCHEDULE, silent, generator=Scripted(hopeless))
    assert json.loads((out / "config.json").read_text())["architectures"] == [architecture]
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["held out"]
    assert not (out / "checkpoint.safetensors").exists()


def no_model(base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    return "build/typo"


def no_weights(base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (base / "model.safetensors").unlink()
    return str(base)


def no_template(base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (base / "chat_template.jinja").unlink()
    return str(base)


def broken_tokenizer(base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (base / "tokenizer.json").write_text('{"model": 7}')
    return str(base)


def mixture(base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return str(SMALL)


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        *((kind, no_model, "cannot open build/typo: ") for kind in ("prm", "orm", "corrector")),
        *((kind, no_weights, "it has no weights") for kind in ("prm", "orm", "corrector")),
        *((kind, no_template, "has no chat template") for kind in ("prm", "orm", "corrector")),
        ("orm", broken_tokenizer, "cannot open .*base: "),
        ("prm", mixture, "over Qwen2 only, and the base is qwen3_moe"),
    ],
)
def test_a_base_that_cannot_be_trained_is_refused_before_anything_is_drawn(
    kind: Kind, spoil: Callable[[Path, pytest.MonkeyPatch], str], said: str, base: Path, pool: Path,
    problems: ProblemFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    done: list[object] = []
    model = spoil(base, monkeypatch)
    with pytest.raises(InputError, match=said):
        train(
            kind, pool, problems, model, tmp_path / "out", SCHEDULE, lambda *each: done.append(each),
            generator=Scripted(hopeless),
        )  # fmt: skip
    assert not done
    assert not (tmp_path / "out").exists()


class OwnConfig(Qwen2Config):  # type: ignore[misc]
    model_type = "own"


class OwnModel(Qwen2ForCausalLM):  # type: ignore[misc]
    config_class = OwnConfig


def test_a_model_that_a_loaded_file_registers_can_be_trained(
    base: Path, pool: Path, problems: ProblemFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mapping in (CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING):
        monkeypatch.setattr(mapping, "_extra_content", {})
    settings = json.loads((base / "config.json").read_text()) | {"model_type": "own", "architectures": ["OwnModel"]}
    (base / "config.json").write_text(json.dumps(settings))
    AutoConfig.register("own", OwnConfig)
    AutoModelForCausalLM.register(OwnConfig, OwnModel)
    train("corrector", pool, problems, str(base), out := tmp_path / "out", SCHEDULE, silent)
    assert json.loads((out / "config.json").read_text())["architectures"] == ["OwnModel"]
    with pytest.raises(InputError, match="transformers has no classifier over own"):
        train("orm", pool, problems, str(base), tmp_path / "orm", SCHEDULE, silent)


@pytest.mark.parametrize("rate", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_rate_that_learns_nothing_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="Schedule: rate must be "):
        Schedule(rate=rate)


async def test_a_pool_is_graded_by_its_problems(pool: Path, problems: ProblemFile) -> None:
    graded = await graded_pool(pool, problems)
    assert [right for _, right in graded["1 + 3?"]] == [True, False]


def test_labels_are_needed_or_someone_to_make_them(
    base: Path, pool: Path, problems: ProblemFile, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="name the model that wrote the pool with --generator"):
        train("prm", pool, problems, str(base), tmp_path / "out", SCHEDULE, silent)


def test_a_pool_of_other_problems_is_refused(base: Path, pool: Path, problems: ProblemFile, tmp_path: Path) -> None:
    with Appender(pool) as file:
        file.write([{"problem": "q", "prompt": "?", "draw": 0, "text": "a"}])
    with pytest.raises(InputError, match=r"pool.jsonl: problem 'q' has no reference answer in .*problems.jsonl"):
        train("orm", pool, problems, str(base), tmp_path / "out", SCHEDULE, silent)


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path, pool: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "metagen", "train", "orm", str(pool), "--problems", str(tmp_path / "problems.jsonl"),
            "--model", str(tmp_path / "nothing"), "--out", str(tmp_path / "out"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no model at" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_base_that_ships_is_known_by_its_name(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    call = [
        "metagen", "train", "prm", str(pool), "--problems", str(tmp_path / "problems.jsonl"), "--model", "small-moe",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "over Qwen2 only, and the base is qwen3_moe" in capsys.readouterr().err


@needs_coq
async def test_a_pool_of_proofs_is_graded_by_coq(tmp_path: Path) -> None:
    with Appender(tmp_path / "t.jsonl") as file:
        file.write([{"id": "t", "prompt": "Prove it.", "answer": "Theorem t : 1 = 1.\nProof.\nAdmitted."}])
    with Appender(tmp_path / "proofs.jsonl") as file:
        file.write({"problem": "t", "text": f"```coq\n{proof}\n```"} for proof in ("reflexivity.", "discriminate."))
    graded = await graded_pool(tmp_path / "proofs.jsonl", ProblemFile(tmp_path / "t.jsonl"))
    assert [right for _, right in graded["Prove it."]] == [True, False]


@pytest.fixture
def code(tmp_path: Path) -> tuple[Path, ProblemFile]:
    with Appender(tmp_path / "c.jsonl") as file:
        file.write([{"id": "c", "prompt": "Write f.", "tests": "assert f() == 1"}])
    with Appender(tmp_path / "programs.jsonl") as file:
        file.write(
            {"problem": "c", "text": f"```python\ndef f():\n    x = 0\n    return {number}\n```"} for number in (1, 2)
        )
    return tmp_path / "programs.jsonl", ProblemFile(tmp_path / "c.jsonl")


@needs_sandbox
async def test_a_pool_of_programs_is_graded_by_their_tests(code: tuple[Path, ProblemFile]) -> None:
    graded = await graded_pool(*code)
    assert [right for _, right in graded["Write f."]] == [True, False]


@needs_sandbox
async def test_steps_of_programs_are_labelled_by_their_tests(code: tuple[Path, ProblemFile], tmp_path: Path) -> None:
    pool, problems = code
    model = Scripted("    return 1\n```")
    lines = await labelled(pool, problems, tmp_path / "labels.jsonl", model, 1, silent)
    assert {line.good for line in lines if line.right} == {5}
    assert [line.good for line in lines if not line.right] == [3]


async def test_a_grade_decides_and_a_list_is_a_pool(problems: ProblemFile, tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(json.dumps([{"problem": "p1", "text": "2"}, {"problem": "p1", "text": "Two."}]))
    numbers = replace(problems, answers="LastNumber()")
    graded = await graded_pool(tmp_path / "pool.json", numbers)
    assert [right for _, right in graded["1 + 1?"]] == [True, False]

    async def short(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        return [Score(float(len(each.text) > 1)) for each in candidates]

    graded = await graded_pool(tmp_path / "pool.json", problems, short)
    assert [right for _, right in graded["1 + 1?"]] == [False, True]


async def test_what_no_pool_can_be_graded_with_is_refused(pool: Path, problems: ProblemFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--grade Judge\(\): asks a model, and training opens none"):
        await graded_pool(pool, problems, Judge())

    async def broken(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        raise VerifierError("not today")

    with pytest.raises(InputError, match=r"pool.jsonl: no sample could be graded; problem 'p\d+': VerifierError: not"):
        await graded_pool(pool, problems, broken)
    with Appender(tmp_path / "problems.jsonl") as file:
        file.write([{"id": "p1", "prompt": "1 + 1?", "answer": "3"}])
    with pytest.raises(InputError, match="line 21: the id 'p1' occurs twice"):
        await graded_pool(pool, problems)


async def some(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """No verdict on the problems whose number ends in 0."""
    return [None if problem.id.endswith("0") else Score(float("3" in each.text)) for each in candidates]


async def silence(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [None for _ in candidates]


async def test_samples_without_a_verdict_are_counted(pool: Path, problems: ProblemFile, tmp_path: Path) -> None:
    seen: list[tuple[object, ...]] = []
    graded = await graded_pool(pool, problems, some, lambda *each: seen.append(each))
    assert sum(map(len, graded.values())) == 36
    lost = "4 lost, the first: a sample of problem 'p{}0': the grader has no verdict on it"
    assert seen[-1][:3] == ("Grading", 20, 20)
    assert seen[-1][3] in {lost.format(""), lost.format("1")}
    with pytest.raises(InputError, match=r"no sample could be graded; a sample of .*: the grader has no verdict on it"):
        await graded_pool(pool, problems, silence)
    model = Scripted(hopeless)
    with pytest.raises(InputError, match=r"no sample could be labelled; a sample of .* has no verdict on it"):
        await labelled(pool, problems, tmp_path / "labels.jsonl", model, 1, silent, grade=silence)


def beginning(pool: Path, count: int) -> Path:
    """The first samples of a pool, as a pool."""
    part = pool.with_name("part.jsonl")
    part.write_text("".join(pool.read_text().splitlines(keepends=True)[:count]))
    return part


async def test_only_samples_without_labels_are_labelled_and_counted(
    pool: Path, problems: ProblemFile, tmp_path: Path
) -> None:
    seen: list[tuple[object, ...]] = []
    labels = tmp_path / "labels.jsonl"
    assert len(await labelled(beginning(pool, 31), problems, labels, Scripted(hopeless), 1, silent)) == 31
    lines = await labelled(pool, problems, labels, Scripted(hopeless), 1, lambda *each: seen.append(each))
    assert len(lines) == len({(line.problem, line.steps) for line in lines}) == 40
    assert [each[1:3] for each in seen] == [(number, 5) for number in range(1, 6)]

    def never(request: Request) -> str:
        raise AssertionError(request)

    assert len(await labelled(pool, problems, labels, Scripted(never), 1, silent)) == 40


def test_the_options_say_how_problems_are_read_and_graded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Appender(tmp_path / "named.jsonl") as file:
        file.write({"name": f"p{n}", "ask": f"1 + {n}?", "right": str(n + 1)} for n in range(20))
    with Appender(tmp_path / "bare.jsonl") as file:
        file.write({"problem": f"p{n}", "text": f"It is {n + wrong}."} for n in range(20) for wrong in (1, 2))
    own = tmp_path / "own.py"
    own.write_text("from metagen import LastNumber\n\nkind = LastNumber\n")
    call = [
        "metagen", "train", "orm", str(tmp_path / "bare.jsonl"), "--problems", str(tmp_path / "named.jsonl"),
        "--prompt-field", "ask", "--answer-field", "right", "--id-field", "name", "--answers", "LastNumber()",
        "--grade", "MatchesReference()", "--load", str(own), "--model", str(base), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert (tmp_path / "out/report.json").exists()


@pytest.mark.parametrize("kind", ["outcome", "corrector"])
def test_a_model_that_ships_is_a_base_by_its_name(kind: Kind, tmp_path: Path) -> None:
    check(kind, "small-moe", tmp_path / "out")
    with pytest.raises(
        InputError, match="there is no model 'smal-moe' that ships with metagen: did you mean small-moe"
    ):
        check(kind, "smal-moe", tmp_path / "out")
