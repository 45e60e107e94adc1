"""The program that tests a candidate's code, inside the sandbox: it is run as a file and imports nothing of metagen.

The code is a module, so its part for `__main__` is not run; the tests are the main program and see its names. Standard
input holds `WIDTH` bytes, the name of what runs the tests that are defined and not called (unittest or pytest, or
nothing), and then a word. It is read when the tests have ended and nothing was raised, and goes out: until then no
frame and no object of this process holds it.
"""

import builtins
import importlib
import os
import re
import sys
import traceback
import unittest
from collections.abc import Callable, Iterator
from dis import get_instructions
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_loader
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType, FunctionType, ModuleType
from typing import Any

TESTS = "test_code.py"
WIDTH = 8
OF_RUNNERS = frozenset(
    (
        "setup_module",
        "teardown_module",
        "setUpModule",
        "tearDownModule",
        "setup_function",
        "teardown_function",
        "load_tests",
    )
)
"""Names by which unittest and pytest ask a module what to do with its tests."""

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True


def main() -> None:
    """Test the code; let what it raises end this process, with an exit code that is not 0."""
    runner = os.read(0, WIDTH).strip()
    unread, output = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with open(TESTS, encoding="utf-8") as file:
        text = file.read()  # before the code can change it
    try:
        code = importlib.import_module("candidate")
        tests = as_main(code, text)
    except SystemExit as end:
        raise SystemExit(f"SystemExit: {end.code}") from end
    if runner:
        {b"unittest": run_unittest, b"pytest": run_pytest}[runner](tests, code, text)
    os.write(output, os.read(unread, 64))


class Names(dict[str, Any]):
    """The builtins of the tests: first come the names that functions of the code set, as they are now."""

    def __init__(self, code: ModuleType, names: set[str]) -> None:
        super().__init__(vars(builtins))
        self._code = vars(code)
        self._names = names

    def __getitem__(self, name: str) -> Any:
        if name in self._names and name in self._code:
            return self._code[name]
        return vars(builtins)[name]  # tests may replace what is there

    def attribute(self, name: str) -> Any:
        """What `from __main__ import ...` finds beside the names of the tests."""
        if name in self._names and name in self._code:
            return self._code[name]
        raise AttributeError(name)


class Kept(SourceFileLoader):
    """Loads a text that was read before, whatever the file holds now."""

    text = ""

    def get_data(self, path: str) -> bytes:  # noqa: ARG002 (as Python calls it)
        return self.text.encode()


def as_main(code: ModuleType, text: str) -> ModuleType:
    """Run the tests as the main program, which sees the names of `code`; it may leave by `unittest.main()`."""
    loader = Kept("__main__", os.path.abspath(TESTS))
    loader.text = text
    spec = spec_from_loader("__main__", loader)
    if spec is None:
        raise ImportError(TESTS)
    module = module_from_spec(spec)
    compiled = SourceFileLoader("candidate", "candidate.py").get_code("candidate")
    later = {name for name in _set_by_functions(compiled) if not _is_hidden(name, None)}
    vars(module).update(
        {name: value for name, value in vars(code).items() if name not in later and not _is_hidden(name, value)}
    )
    if later:  # each look-up of a builtin costs a call then
        names = Names(code, later)
        vars(module).update(__builtins__=names, __getattr__=names.attribute)
    sys.modules["__main__"] = sys.modules["test_code"] = module
    try:
        loader.exec_module(module)
    except SystemExit as end:
        if end.code or _came_through_the_code(end):
            raise
    return module


def _is_hidden(name: str, value: Any) -> bool:
    """Whether the tests do not see a name of the code: with it, the code would say what becomes of its tests."""
    is_fixture = type(value).__name__ == "FixtureFunctionDefinition"
    if isinstance(value, FunctionType):
        is_fixture = hasattr(value, "_pytestfixturefunction")  # before version 8.4
    of_pytest = name.startswith("pytest") and not isinstance(value, ModuleType)
    return name.startswith("__") or name in OF_RUNNERS or of_pytest or is_fixture


def _set_by_functions(code: CodeType | None) -> Iterator[str]:
    """The global names that functions in the code set or delete."""
    for inner in code.co_consts if code else ():
        if isinstance(inner, CodeType):
            yield from _set_by_functions(inner)
            for each in get_instructions(inner):
                if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                    yield each.argval


def run_unittest(tests: ModuleType, code: ModuleType, text: str) -> None:
    """Run the classes of unittest and the functions `test...` that take nothing."""
    suite, result = unittest.TestSuite(_collected(tests, code, text)), Ran()
    suite.run(result)
    failed = [text for _, text in result.failures + result.errors]
    failed += [f"{test} passed, and was to fail" for test in result.unexpectedSuccesses]
    if "expectedFailure" not in text:
        failed += [error for _, error in result.expectedFailures]
    _end(failed, result.ran)


class Ran(unittest.TestResult):
    """Counts the tests that ran: a class that is skipped has none, and a test of which a part is skipped ran.

    What the code itself skips has failed.
    """

    ran = 0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 (as unittest calls it)
        super().startTest(test)
        self.ran += 1

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802 (as unittest calls it)
        kind, error, trace = sys.exc_info()
        if kind and error and trace and _came_through_the_code(error):
            self.addError(test, (kind, error, trace))
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase) and not hasattr(test, "test_case"):  # neither a class nor a part
            self.ran -= 1


def _collected(tests: ModuleType, code: ModuleType, text: str) -> Iterator[unittest.TestSuite | unittest.TestCase]:
    for name, value in list(vars(tests).items()):
        if _is_of(code, text, name, value) or getattr(value, "__module__", None) not in ("__main__", "candidate"):
            continue
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            if not issubclass(value, unittest.IsolatedAsyncioTestCase):
                for method, function in list(vars(value).items()):
                    if method.startswith("test") and _is_later(function):
                        setattr(value, method, _at_once(function))
            yield unittest.defaultTestLoader.loadTestsFromTestCase(value)
        elif name.startswith("test") and callable(value):
            yield unittest.FunctionTestCase(_at_once(value) if _is_later(value) else value)


def _is_of(code: ModuleType, text: str, name: str, value: Any) -> bool:
    """Whether the tests have a name from the code; what they decorate with the code's functions is theirs."""
    if name in vars(code) and vars(code)[name] is value:
        return True
    made = getattr(value, "__module__", None) == code.__name__
    return made and not re.search(rf"^[ \t]*(?:async[ \t]+def|def|class)[ \t]+{re.escape(name)}\b", text, re.MULTILINE)


def _is_later(function: Any) -> bool:
    """Whether a call of the function only makes a coroutine or a generator, and runs nothing."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return bool(flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR))


def _at_once(function: Callable[..., Any]) -> Callable[..., None]:
    """A coroutine function as a plain one that runs to its end. A test that yields is none."""

    def run(*arguments: Any, **named: Any) -> None:
        if not function.__code__.co_flags & CO_COROUTINE:
            raise TypeError("a test may not yield")
        importlib.import_module("asyncio").run(function(*arguments, **named))

    return run


class Reports:
    """What pytest says about each test."""

    def __init__(self, code: ModuleType, text: str) -> None:
        self._code, self._text = code, text
        self.passed = 0
        self.failed: list[str] = []

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool | None:
        """Run a coroutine function, which pytest itself does not."""
        if not _is_later(pyfuncitem.obj):
            return None
        named = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        _at_once(pyfuncitem.obj)(**named)
        return True

    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: Any) -> list[Any] | None:
        """Leave out the code's own tests."""
        in_class = isinstance(collector.obj, type)
        return [] if not in_class and _is_of(self._code, self._text, name, obj) else None

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """Call it a failure if the code itself skips a test, or calls one an expected failure."""
        for info in (call.excinfo, *(getattr(item, "_excinfo", None) or ())):
            if info and _is_skip(info.value) and any(map(_came_through_the_code, _skips(info.value))):
                self.failed.append(f"the code skips: {info.value}")

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Call it a failure if the rest of the tests is left out."""
        self.failed.append(excinfo.exconly())

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count what passed; a failure that only the code expects is one."""
        if hasattr(report, "wasxfail") and not any(mark in self._text for mark in ("xfail", "expectedFailure")):
            self.failed.append(f"the code expects a failure: {report.wasxfail}")
        self.passed += report.when == "call" and report.passed
        if report.failed:
            self.failed.append(getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr)))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(str(report.longrepr))


def run_pytest(_tests: ModuleType, code: ModuleType, text: str) -> None:
    """Run the tests as pytest does; it finds the module that is loaded already."""
    reports = Reports(code, text)
    pytest = importlib.import_module("pytest")
    pytest.hookimpl(tryfirst=True)(Reports.pytest_runtest_makereport)  # pytest makes other errors of those of unittest
    without = [option for name in ("cacheprovider", *_broken_plugins()) for option in ("-p", f"no:{name}")]
    ended = pytest.main(["-q", *without, "--noconftest", "-c", os.devnull, TESTS], plugins=[reports])
    odd = [f"pytest ended with code {int(ended)}"] if ended and reports.passed else []
    _end(reports.failed or odd, reports.passed)


def _broken_plugins() -> Iterator[str]:
    """The installed plug-ins that cannot be loaded here, as the sandbox hides their files; pytest would end at them."""
    for plugin in entry_points(group="pytest11"):
        try:
            plugin.load()
        except (ImportError, OSError):
            yield plugin.name


def _end(failed: list[str], ran: int) -> None:
    """Raises `SystemExit`, with the last line of the first failure, unless something ran and all of it passed."""
    if failed:
        raise SystemExit(failed[0].strip().rpartition("\n")[2] or "failed")
    if not ran:
        raise SystemExit("no test ran")


def _came_through_the_code(error: BaseException) -> bool:
    """Whether the code under test raised it, or called what did: tests may skip or leave, and the code may not."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(os.path.basename(frame.filename) == "candidate.py" for frame in frames)


def _is_skip(error: BaseException) -> bool:
    """Whether unittest or pytest counts it as a test that did not run, or was to fail."""
    pytest = importlib.import_module("pytest")
    return isinstance(error, unittest.SkipTest | pytest.skip.Exception | pytest.xfail.Exception)


def _skips(error: BaseException | None) -> Iterator[BaseException]:
    """A skip, and the one that pytest made it of."""
    while error and _is_skip(error):
        yield error
        error = error.__context__


if __name__ == "__main__":
    main()
