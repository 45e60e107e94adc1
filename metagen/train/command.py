"""`metagen train`: from a pool of samples to a reward model or a corrector.

What needs problems, graders and engines is here; what needs torch is in `metagen.train`, imported when it is used.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metagen.backends.folder import find_model, one_line
from metagen.candidate import Candidate
from metagen.disk.files import check_ours, make_folder
from metagen.disk.problems import ProblemFile
from metagen.distribution import how_to_install
from metagen.errors import InputError, MetagenError, SampleError
from metagen.leaves import require_no_model
from metagen.problem import Problem
from metagen.request import Backend
from metagen.run import Run, Verifier
from metagen.solve import map_problems
from metagen.train import ROLLOUTS
from metagen.train.labels import Labelled, by_problem, kept, label, lacking, samples_of
from metagen.verifiers.grading import grades, oracle_of
from metagen.verifiers.needs import Needs

if TYPE_CHECKING:
    from metagen.train.finetune import Schedule

Kind = Literal["orm", "prm", "corrector"]
Graded = Mapping[str, Sequence[tuple[str, bool]]]
"""From a question to its distinct samples, and whether each is right."""
KEEP = 0.25
"""The share of right candidates that a corrector is taught to leave as they are."""

LABELLED = 64
"""Problems whose samples are labelled at once."""
REPORT = re.compile(rb'\A\{\n  "base": ')
"""How `report.json` begins; it is written before the model."""
MODEL_FILES = (
    "*.safetensors.index.json",
    "model*.safetensors",
    "*config.json",
    "*token*",
    "*.jinja",
    "*.model",
    "*.txt",
)

WEIGHTS = ("*.safetensors", "*.bin")

Watch = Callable[[str, int, int, str], None]
"""Told what is being done, how much of it is done, of how much, and how it goes."""


def check(kind: Kind, base: str, out: Path) -> None:
    """Raise `InputError` before anything is spent, if the training cannot work."""
    for module in ("torch", "transformers", "safetensors"):
        if find_spec(module) is None:
            raise InputError(f"training needs {module}: {how_to_install('train')}")
    _check_base(kind, find_model(base))
    check_out(out)
    make_folder(out, "cannot be made")


def _check_base(kind: Kind, base: str) -> None:
    """Raise `InputError` for a model that this kind of training cannot begin from; its weights are not loaded."""
    if Path(base).is_dir() and not any(next(Path(base).glob(name), None) for name in WEIGHTS):
        raise InputError(f"{base} holds no model: it has no weights, such as model.safetensors")
    from transformers import (  # noqa: PLC0415 (optional, slow to import)
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        AutoConfig,
    )

    from metagen.train.rewards import check_served, tokenizer_of  # noqa: PLC0415 (optional, slow to import)

    def look(*, here: bool) -> Any:
        tokenizer_of(base, marked=False, here=here)
        return AutoConfig.from_pretrained(base, trust_remote_code=False, local_files_only=here)

    try:
        try:
            config = look(here=True)
        except OSError:  # a hub that cannot be reached takes minutes to say so, so it is asked last
            config = look(here=False)
    except MetagenError:
        raise
    except Exception as error:  # transformers raises anything for a model that it cannot read
        raise InputError(f"cannot open {base}: {one_line(error)}") from error
    if kind == "prm":
        check_served(config)
    elif kind == "orm" and type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InputError(f"{base}: transformers has no classifier over {config.model_type}")
    elif kind == "corrector" and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise InputError(f"{base}: is no causal model, and a corrector is one")


def check_out(out: Path) -> None:
    """Raise `InputError` if a model there would take the place of files that are not of an earlier training."""
    check_ours(out / "report.json", REPORT)
    if (out / "report.json").exists():
        return
    for name in MODEL_FILES:
        if there := next(iter(out.glob(name)), None):
            raise InputError(f"{there}: is not of a training that was begun there: name another --out")


def train(
    kind: Kind,
    pool: Path,
    problems: ProblemFile,
    base: str,
    out: Path,
    schedule: "Schedule",
    watch: Watch,
    *,
    generator: Backend | None = None,
    rollouts: int = ROLLOUTS,
    labels: Path | None = None,
    concurrency: int = LABELLED,
    grade: Verifier | None = None,
) -> dict[str, Any]:
    """Train on the samples of a pool, and return the report, which is also in `out/report.json`.

    A `generator` that is given labels the steps that are not in `labels` yet. Raises `InputError` for files that do not
    fit, and `BackendGone` if the generator cannot be reached; what was done by then is kept, and the same call
    continues it.
    """
    check(kind, base, out)
    from metagen.train import learn  # noqa: PLC0415 (optional, slow to import)
    from metagen.train.rewards import Example  # noqa: PLC0415

    course = learn.Course(find_model(base), out, schedule)

    def learning(step: Any) -> None:
        watch("Learning", step.step, step.steps, f"loss {step.loss:.3f}")

    if kind == "prm":
        kept_in = labels or out / "labels.jsonl"
        lines = asyncio.run(labelled(pool, problems, kept_in, generator, rollouts, watch, concurrency, grade))
        steps = [Example(line.prompt, line.steps, labels_of(line)) for line in lines]
        return learn.learn_process(steps, course, learning)
    graded = asyncio.run(graded_pool(pool, problems, grade, watch))
    if kind == "corrector":
        return learn.learn_corrector(graded, course, KEEP, learning)
    wholes = [Example(prompt, (text,), (float(right),)) for prompt, row in graded.items() for text, right in row]
    return learn.learn_outcome(wholes, course, learning)


def labels_of(line: Labelled) -> tuple[float, ...]:
    """1 for each good step, then 0."""
    return tuple(float(step < line.good) for step in range(len(line.steps)))


async def labelled(
    pool: Path,
    problems: ProblemFile,
    out: Path,
    generator: Backend | None,
    rollouts: int,
    watch: Watch,
    concurrency: int = LABELLED,
    grade: Verifier | None = None,
) -> list[Labelled]:
    """The labels of a pool: those of the file, and with a generator those that are missing there."""
    samples = samples_of(pool)
    failed: list[str] = []
    done = by_problem(kept(out))
    every = _known(problems, samples, pool, grade) if generator else []
    wanted = [each for each in every if lacking(samples[each.id], done.get(each.id, ()))]
    if generator and wanted:
        labelling = label(
            wanted, samples, generator, out, rollouts=rollouts, concurrency=concurrency, failed=failed.append,
            grade=grade,
        )  # fmt: skip
        async with generator, aclosing(_counted(labelling)) as counted:
            async for number, tokens in counted:
                lost = f", {_lost(failed)}" if failed else ""
                watch("Labelling", number, len(wanted), f"{tokens:,} tokens{lost}")
    if not (lines := kept(out)):
        if failed:
            raise InputError(f"{out}: no sample could be labelled; {failed[0]}")
        raise InputError(f"{out}: there are no labels yet: name the model that wrote the pool with --generator")
    return lines


def _lost(failed: Sequence[str]) -> str:
    """What could not be labelled or graded, to be shown."""
    return f"{len(failed):,} lost, the first: {failed[0]}" if failed else ""


async def _counted(spending: AsyncIterator[Any]) -> AsyncGenerator[tuple[int, int], None]:
    number = 0
    async for usage in spending:
        number += 1
        yield number, usage.tokens


async def graded_pool(
    pool: Path, problems: ProblemFile, grade: Verifier | None = None, watch: Watch | None = None
) -> Graded:
    """Every distinct sample of a pool beside whether it is right; without a verdict it is left out."""
    samples = samples_of(pool)
    wanted = _known(problems, samples, pool, grade)
    found: dict[str, list[bool | None]] = {}
    failed: list[str] = []

    async def judged(problem: Problem, run: Run) -> list[bool | None]:
        return await grades(grade, problem, [Candidate((text,)) for text in dict.fromkeys(samples[problem.id])], run)

    async with aclosing(map_problems(judged, wanted, {}, concurrency=LABELLED)) as done:
        number = 0
        async for problem, right in done:
            number += 1
            if isinstance(right, SampleError):
                failed.append(f"problem {problem.id!r}: {type(right).__name__}: {right}")
            else:
                found[problem.id] = right
                failed += [f"a sample of problem {problem.id!r}: the grader has no verdict on it"] * right.count(None)
            if watch:
                watch("Grading", number, len(wanted), _lost(failed))
    if all(verdict is None for row in found.values() for verdict in row):
        raise InputError(f"{pool}: no sample could be graded; {failed[0]}")
    graded: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for problem in (each for each in wanted if each.id in found):
        texts = zip(dict.fromkeys(samples[problem.id]), found[problem.id], strict=True)
        graded[problem.prompt] += [(text, right) for text, right in texts if right is not None]
    return graded


def _known(problems: ProblemFile, samples: Mapping[str, object], pool: Path, grade: Verifier | None) -> list[Problem]:
    """The problems of a pool, in its order, once it is sure that each of them can be graded."""
    if not samples:
        raise InputError(f"{pool}: holds no whole samples")
    require_no_model(grade, "training opens none: take one that asks none")
    needs, known = Needs(None, grade, None), dict[str, Problem]()

    def look(problem: Problem) -> None:
        if problem.id in samples and (grade or oracle_of(problem)) is not None:
            needs(problem)
            known[problem.id] = problem

    problems.check(look)
    if unknown := next((name for name in samples if name not in known), None):
        raise InputError(f"{pool}: problem {unknown!r} has no reference answer in {problems.path}")
    return [known[name] for name in samples]
