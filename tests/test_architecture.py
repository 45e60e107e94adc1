"""The shape of the package: imports point inward, one module prints, nothing runs text as code, tests mirror it all."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "metagen"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""By name, without `metagen.` before it; the package itself is `__init__`."""

ORDER = [
    "errors", "copies", "lazy", "notebook", "distribution", "system", "thinking", "candidate", "confidence", "data",
    "models", "prompts", "settings", "calls", "tasks",
    "execution", "answers", "budget", "messages", "problem",
    "card", "request", "trace", "solution", "events",
    "run",
    "disk", "model", "leaves", "strategies", "verifiers",
    "backends", "solve", "sync", "tools",
    "analysis", "bootstrap", "learning", "spec", "train", "view",
    "__init__", "jobs", "cluster", "serve", "adapters", "cli", "__main__",
]  # fmt: skip
"""Every module of the root and every room, from what all may use to what nobody imports. Each imports from those
before it alone."""

PRINT = {"cli"}
"""The command line."""

TESTED_ELSEWHERE = {
    "__init__": "tests/test_exported_names.py",
    "__main__": "tests/test_cli.py runs it",
    "adapters.dspy.sections": "tests/adapters/test_dspy.py",
    "adapters.inspect_ai.active": "tests/adapters/test_inspect_ai.py",
    "adapters.inspect_ai.logs": "tests/adapters/test_inspect_ai.py",
    "adapters.inspect_ai.messages": "tests/adapters/test_inspect_ai.py",
    "adapters.inspect_ai.provider": "tests/adapters/test_inspect_ai.py",
    "analysis.columns": "tests/analysis/test_reading.py",
    "analysis.curve": "tests/analysis/test_rules.py",
    "analysis.intervals": "tests/analysis/test_rules.py and test_tally.py",
    "analysis.part_program": "tests/analysis/test_parts.py",
    "analysis.share": "tests/analysis/test_tally.py",
    "analysis.sheet": "tests/test_notebook.py and tests/analysis/test_formats.py",
    "analysis.votes": "tests/analysis/test_rules.py",
    "answers.arithmetic": "tests/tools/test_calculator.py",
    "answers.by_key": "tests/answers/test_answers.py",
    "answers.checker_program": "tests/verifiers/test_oracles.py",
    "answers.checkers": "tests/verifiers/test_oracles.py",
    "answers.choices": "tests/answers/test_answers.py",
    "answers.grade": "tests/verifiers/test_oracles.py",
    "answers.kinds": "tests/answers/test_answers.py",
    "answers.protocol": "tests/answers/test_answers.py",
    "answers.rows": "tests/disk/test_problems.py",
    "answers.spec": "tests/answers/test_answers.py",
    "answers.structured": "tests/answers/test_answers.py",
    "answers.numbers": "tests/answers/test_answers.py",
    "answers.numerals": "tests/answers/test_decide.py",
    "answers.spelling": "tests/answers/test_decide.py",
    "answers.units": "tests/answers/test_decide.py",
    "calls": "tests/spec/test_parse.py",
    "backends.http.books": "tests/backends/http/test_server.py",
    "backends.http.connection": "tests/backends/http/test_server.py",
    "backends.http.openai": "tests/backends/http/test_server.py",
    "backends.http.tokens": "tests/backends/http/test_server.py",
    "backends.rewards.readings": "tests/backends/rewards/test_torch.py",
    "backends.rewards.scorer": "tests/backends/rewards/test_torch.py",
    "backends.vllm.enclosure": "tests/backends/vllm/test_generating.py",
    "backends.vllm.engine": "tests/backends/vllm/test_generating.py",
    "backends.vllm.flight": "tests/backends/vllm/test_generating.py",
    "backends.vllm.warden": "tests/backends/vllm/test_generating.py",
    "candidate": "plain data, in every test",
    "card.layouts": "tests/card/test_card.py",
    "card.parts": "tests/card/test_card.py",
    "cli.commands": "tests/test_cli.py",
    "cli.jobs": "tests/test_cli.py",
    "cli.options": "tests/test_cli.py",
    "cli.orders": "tests/test_cli.py",
    "cli.pools": "tests/cli/test_choose.py",
    "cli.reports": "tests/test_cli.py",
    "cli.visible": "tests/cli/test_console.py",
    "cli.server": "tests/cli/test_serving.py",
    "cli.stopping": "tests/test_stopped.py",
    "cli.sweeps": "tests/jobs/test_plans.py",
    "cli.training": "tests/train/test_command.py",
    "cluster.parcels": "tests/cluster/test_workers.py",
    "cluster.places": "tests/cluster/test_workers.py",
    "cluster.slots": "tests/cluster/test_workers.py",
    "cluster.work": "tests/cluster/test_workers.py",
    "cluster.worker": "tests/cluster/test_workers.py",
    "disk.facts": "tests/disk/test_runs.py",
    "disk.files": "tests/disk/test_lines.py, test_runs.py and tests/test_cli.py",
    "disk.pool": "tests/backends/test_recorded.py",
    "disk.records": "tests/cluster/test_workers.py",
    "disk.rows": "tests/disk/test_runs.py",
    "disk.values": "tests/disk/test_fields.py and tests/verifiers/test_execution.py",
    "disk.samples": "tests/backends/test_recorded.py",
    "errors": "tests/test_exported_names.py and every test of a refusal",
    "execution.bubblewrap": "tests/execution/test_sandbox.py and test_attacks.py",
    "execution.harness": "tests/verifiers/test_execution.py",
    "execution.prober": "tests/strategies/parallel/test_behaviour.py",
    "execution.probes": "tests/strategies/parallel/test_behaviour.py",
    "execution.limits": "tests/execution/test_sandbox.py",
    "execution.processes": "tests/execution/test_sandbox.py",
    "learning": "tests/verifiers/test_learned.py",
    "leaves": "tests/test_model.py and tests/jobs/test_remarks.py",
    "lazy": "tests/test_exported_names.py",
    "jobs.loading": "tests/test_cli.py",
    "jobs.opening": "tests/jobs/test_job.py",
    "verifiers.recorded": "tests/test_elsewhere.py",
    "request": "plain data, in tests/test_model.py and tests/backends",
    "run.telling": "tests/test_events.py",
    "run.contracts": "tests/run/test_run.py and tests/tools/test_calls.py",
    "run.node": "tests/run/test_run.py",
    "run.sending": "tests/run/test_run.py",
    "serve.application": "tests/serve/test_serve.py",
    "serve.keys": "tests/serve/test_serve.py and test_limits.py",
    "serve.metrics": "tests/serve/test_limits.py",
    "serve.names": "tests/serve/test_parameters.py",
    "serve.progress": "tests/serve/test_serve.py",
    "serve.refusals": "every test of a refusal in tests/serve",
    "serve.replies": "tests/serve/test_serve.py",
    "serve.service": "tests/serve/test_limits.py",
    "serve.streaming": "tests/serve/test_serve.py",
    "serve.tools": "tests/serve/test_tools.py",
    "solve": "tests/run/test_run.py and tests/test_laws.py",
    "tasks": "tests/run/test_run.py",
    "train.checkpoints": "tests/train/test_finetune.py",
    "train.experts": "tests/recipes/test_routing.py",
    "train.learn": "tests/train/test_command.py",
    "train.optimizer": "tests/recipes/test_trainer.py",
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """All that a module imports, inside functions too: metagen's own as names of `MODULES`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            source = node.module or ""
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name.removeprefix("metagen.") in MODULES else source


def own(module: str) -> set[str]:
    """The modules of metagen that a module imports from."""
    return {name.removeprefix("metagen.") for name in imported(module) if name.startswith("metagen.")}


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_room_and_module_of_the_root_stands_in_the_order_once() -> None:
    assert sorted(ORDER) == sorted({room(module) for module in MODULES})


def test_imports_point_inward() -> None:
    for module in MODULES:
        before = ORDER[: ORDER.index(room(module)) + 1]
        assert {room(other) for other in own(module)} <= set(before), module


def test_no_module_of_a_room_imports_in_a_circle() -> None:
    def at_run_time(module: str) -> set[str]:
        return own(module) & set(MODULES) - {module} if module not in ANNOTATED else own(module) - {"run.run"}

    TopologicalSorter({module: at_run_time(module) for module in MODULES}).prepare()


ANNOTATED = {"run.contracts", "run.protocols"}
"""They name `Run` in annotations alone: it is made of them."""


def test_no_private_name_is_used_outside_its_folder() -> None:
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("metagen"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{module} imports {private} from {node.module}"


def test_only_run_knows_spans_and_accounts() -> None:
    for module in (each for each in MODULES if room(each) in {"strategies", "verifiers", "tools"}):
        names = {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}
        used = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
        assert not {"Span", "Account"} & names, module
        assert not {"span", "account", "_span", "_account"} & used, module


def test_the_package_itself_only_hands_on_names() -> None:
    docstring, *rest, load = tree("__init__").body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(load) == "load_lazily(__name__)"
    parts = [each for node in rest for each in (node.body if isinstance(node, ast.If) else [node])]
    assert all(isinstance(node, ast.ImportFrom | ast.Assign | ast.AugAssign) for node in parts)
    targets = {
        ast.unparse(node) for node in ast.walk(tree("__init__")) if isinstance(getattr(node, "ctx", None), ast.Store)
    }
    assert targets == {"__all__"}


def loaded(program: str) -> set[str]:
    """The modules that Python has loaded once a program has run."""
    program = f"import sys\n{program}\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


ROOMS = {"metagen", "metagen.backends", "metagen.lazy", "metagen.strategies", "metagen.tools", "metagen.verifiers"}
"""What `import metagen` loads: lists of names."""
HELP = ROOMS | {
    "metagen.cli",
    *(f"metagen.cli.{name}" for name in ("commands", "options", "serving", "stopping", "training", "visible")),
    *("metagen.errors", "metagen.settings", "metagen.system", "metagen.train"),
}
CALL = """
from metagen.cli import main
sys.argv = ["metagen", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def test_import_loads_lists_of_names_alone() -> None:
    names = loaded("import metagen")
    assert {name for name in names if name.partition(".")[0] == "metagen"} == ROOMS
    assert not {"asyncio", "numpy", "pydantic", "msgspec", "rich", "typer"} & names


@pytest.mark.parametrize("arguments", [["--help"], ["solve", "--help"], ["train", "orm", "--help"]])
def test_help_loads_the_options_alone(arguments: list[str]) -> None:
    names = loaded(CALL.format(arguments=arguments))
    assert {name for name in names if name.partition(".")[0] == "metagen"} == HELP
    assert not {"asyncio", "numpy", "msgspec", "rich"} & names


def test_a_run_starts_without_numpy() -> None:
    assert "numpy" not in loaded("import metagen.cli.jobs, metagen.cli.orders; from metagen import OpenAIServer, Vote")


def test_metagen_imports_without_the_heavy_libraries() -> None:
    heavy = {
        "torch",
        "vllm",
        "transformers",
        "math_verify",
        "sympy",
        "bm25s",
        "tokenizers",
        "typer",
        "rich",
        "matplotlib",
    }
    assert heavy & {name.partition(".")[0] for name in loaded("from metagen import *")} == set()


def calls(module: str) -> Iterator[str]:
    """The bare names that a module calls."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def test_only_the_command_line_prints() -> None:
    for module in (each for each in MODULES if room(each) not in PRINT):
        assert "print" not in calls(module), module
        assert not {"rich", "typer"} & {name.split(".")[0] for name in imported(module)}, module


COMPILE = {"execution.suites"}
"""Those that ask whether a text is a program, and run nothing of it."""


def test_no_text_is_run_as_code() -> None:
    for module in MODULES:
        refused = {"eval", "exec", "compile", "__import__"} - ({"compile"} if module in COMPILE else set())
        loading = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
        assert not refused & set(calls(module)), module
        assert not loading & {name.split(".")[0] for name in imported(module)}, module


def test_no_error_is_swallowed_unseen() -> None:
    handlers = [
        (f"{module}, line {node.lineno}", node)
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
    ]
    for place, node in handlers:
        assert node.type is not None, f"{place}: a bare except"
        if isinstance(node.type, ast.Name) and node.type.id in {"BaseException", "Exception"}:
            raises = [inner for inner in ast.walk(node) if isinstance(inner, ast.Raise)]
            assert raises, f"{place} catches {node.type.id} and does not raise"


def test_every_module_has_its_tests() -> None:
    for module in (each for each in MODULES if not each.split(".")[-1].startswith("_")):
        *folders, name = module.split(".")
        is_package = MODULES[module].name == "__init__.py"
        mirrored = ROOT / "tests" / Path(*folders) / f"test_{name}.py"
        assert is_package or mirrored.exists() or module in TESTED_ELSEWHERE, f"there is no {mirrored}"


def test_every_exception_from_the_mirror_is_a_module() -> None:
    assert set(TESTED_ELSEWHERE) <= set(MODULES)


TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
WAITS = {
    "tests/support/timing.py": "the one place where tests look again and again at what another process does",
    "tests/execution/test_sandbox.py": "cancels at any moment of a program's start, and lets programs overlap",
}
"""The files of tests that let time pass, each with its reason."""
LEAST_SECONDS = 60
"""A wait for an event may end a test that hangs, but must not be what a busy machine fails by."""
SLEEP_IN_PROGRAM = re.compile(r"\bsleep[( ]([\d.]+)")
LIMITED_WAITS = {"timeout", "wait", "wait_for", "wait_procs", "communicate", "join", "urlopen"}


CLOCKS = {"process_time", "thread_time", "perf_counter", "monotonic", "process_time_ns", "perf_counter_ns"}


def name_called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def seconds_slept(tree: ast.Module) -> Iterator[str]:
    """The sleeps that are not a bare turn of the event loop, those in programs of a test too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_called(node) == "sleep":
            if [ast.unparse(argument) for argument in node.args] != ["0"]:
                yield f"line {node.lineno} sleeps"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for seconds in SLEEP_IN_PROGRAM.findall(node.value):
                if 0 < float(seconds) < LEAST_SECONDS:
                    yield f"a program in line {node.lineno} sleeps for {seconds} seconds"


def short_waits(tree: ast.Module) -> Iterator[str]:
    """The waits for an event that end after a few seconds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_called(node) in LIMITED_WAITS:
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "timeout")]
            for limit in (each.value for each in given if isinstance(each, ast.Constant)):
                if isinstance(limit, int | float) and 0 < limit < LEAST_SECONDS:
                    yield f"line {node.lineno} waits for {limit} seconds"


def clocks_read(tree: ast.Module) -> Iterator[str]:
    """The calls that measure how long something took."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_called(node) in CLOCKS:
            yield f"line {node.lineno} reads a clock"


def test_no_test_depends_on_how_fast_the_machine_is() -> None:
    for path in TESTS:
        name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))
        assert [*short_waits(tree), *clocks_read(tree)] == [], name
        assert name in WAITS or list(seconds_slept(tree)) == [], name


def test_every_file_that_lets_time_pass_does() -> None:
    for name in WAITS:
        assert list(seconds_slept(ast.parse((ROOT / name).read_text(encoding="utf-8")))), name


@pytest.mark.parametrize(
    "program",
    [
        "await asyncio.sleep(0.4)",
        "time.sleep(PAUSE)",
        "sleep(random())",
        "code = 'import time; time.sleep(0.05)'",
        "run(['sh', '-c', 'sleep 5'])",
        "await asyncio.wait_for(task, 20)",
        "async with asyncio.timeout(0.02): pass",
        "process.communicate(timeout=5)",
        "await asyncio.wait([task], timeout=0.5)",
        "up.wait(10)",
        "start = time.process_time()",
    ],
)
def test_a_bet_on_the_speed_of_the_machine_is_found(program: str) -> None:
    tree = ast.parse(f"async def test() -> None:\n    {program}")
    assert [*seconds_slept(tree), *short_waits(tree), *clocks_read(tree)]


def test_no_script_has_the_name_of_a_standard_module() -> None:
    """The folder of a script comes first where Python looks for modules, so `http.py` would hide the standard one."""
    scripts = [path for folder in ("benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in scripts if path.stem in sys.stdlib_module_names] == []


def test_a_script_finds_what_it_imports() -> None:
    """Python looks in the script's own folder: another folder of the repository must be made known to it."""
    for path in (ROOT / "benchmarks").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        from_root = re.search(r"^\s*(?:from|import) (?:recipes|tests)\b", text, re.MULTILINE)
        assert from_root is None or "sys.path.insert" in text[: from_root.start()], path
