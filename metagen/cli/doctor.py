"""`metagen doctor`: what works on this machine and with one model, as lines for a bug report."""

import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from shutil import which
from typing import cast

from metagen import distribution
from metagen.backends import Balanced, BalancedReward
from metagen.backends.wrapper import innermost
from metagen.cli.console import out
from metagen.distribution import ENGINES, installed
from metagen.errors import InputError, MetagenError, TransientError
from metagen.execution.sandbox import CONFINED
from metagen.jobs.opening import make_backend
from metagen.models import SHIPPED
from metagen.request import AnyBackend

DEVELOPMENT = "dev"
"""The extra that users do not need."""
SECONDS = 30
"""The longest that a command may take to say its version."""


async def examine(model: str | None) -> int:
    """Print what works here, and with the model if one is named; return the exit code, 1 if it cannot be opened."""
    for name, state in machine():
        say(name, state)
    return 0 if model is None else await examine_model(model)


def machine() -> Iterator[tuple[str, str]]:
    """What is installed here: names with what there is, or how to get it."""
    yield "metagen", distribution.version()
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    yield "vLLM", engine()
    yield "GPU", graphics()
    yield "bubblewrap", bubblewrap()
    yield "Coq", first_line("coqc", "--version") or "missing: apt-get install coq (proofs cannot be checked)"
    for name, packages in extras().items():
        yield f"metagen[{name}]", extra(name, packages)
    for name, folder in SHIPPED.items():
        yield name, "ships with metagen" if (folder / "config.json").is_file() else f"missing: {folder} has no config"


async def examine_model(model: str) -> int:
    """Open a model, on each of its servers if it has several, and say what it is; return the exit code."""
    try:
        backend = innermost(make_backend(model, {}, {}, None, {}))  # a server is asked once
    except MetagenError as error:
        return unusable(model, error)
    several = backend.of if isinstance(backend, Balanced | BalancedReward) else (backend,)
    return min([await examine_one(cast(AnyBackend, each), model) for each in several])


async def examine_one(backend: AnyBackend, model: str) -> int:
    """Open one model and say what it is, or why it cannot be opened; return the exit code."""
    try:
        async with backend:
            say("model", f"{backend.name}: can be used")
            say("  dialect", getattr(backend, "dialect", "none: it is no OpenAI-compatible server"))
            say("  context", f"{backend.context:,} tokens")
            for what in backend.missing or ("nothing",):
                say("  lacks", what)
    except MetagenError as error:
        return unusable(model, error)
    return 0


def unusable(model: str, error: MetagenError) -> int:
    """Say why a model cannot be used; return the exit code."""
    why = error.advice if isinstance(error, TransientError) else str(error)
    say("model", f"{model}: cannot be used: {' '.join(why.split())}")
    return 1


def engine() -> str:
    found = [f"{package} {known}" for package in ENGINES.values() if (known := installed(package))]
    return ", ".join(found) or f"missing (servers can be used without): {distribution.how_to_install('vllm')}"


def graphics() -> str:
    query = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return first_line(*query) or first_line("rocm-smi", "--showproductname") or "none is seen"


def bubblewrap() -> str:
    try:
        CONFINED.check()
    except InputError as error:
        return f"does not work: {error}"
    return f"{first_line('bwrap', '--version')}: works"


def extras() -> dict[str, list[str]]:
    """The packages of each extra that a user can install."""
    found: dict[str, list[str]] = {}
    try:
        wanted = requires(distribution.DISTRIBUTION) or ()
    except PackageNotFoundError:  # metagen runs from its sources: the line on its version says so
        return found
    for text in wanted:
        name, extra_name = re.match(r"[\w.-]+", text), re.search(r'extra == "(.+?)"', text)
        if name and extra_name and extra_name[1] not in {DEVELOPMENT, *ENGINES}:
            found.setdefault(extra_name[1], []).append(name[0])
    return found


def extra(name: str, packages: list[str]) -> str:
    if missing := [package for package in packages if not installed(package)]:
        return f"missing {', '.join(missing)}: {distribution.how_to_install(name)}"
    return ", ".join(f"{package} {installed(package)}" for package in packages)


def first_line(*command: str) -> str:
    """The first line that a command prints; empty if there is no such command, or if it prints none."""
    if which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command[0]} fails: {' '.join(str(error).split())}"
    return next(iter(done.stdout.splitlines()), "")


def say(name: str, state: str) -> None:
    out.print(f"{name:<18} {state}", soft_wrap=True)
