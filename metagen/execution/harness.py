"""The program that tests a candidate's code, inside the sandbox: it is run as a file and imports nothing of metagen.

The code is a module, so its part for `__main__` is not run; the tests are the main program and see its names. Standard
input holds a word, which goes out at the end if nothing was raised, and the name of what runs the tests that are
defined and not called: unittest or pytest, or nothing.
"""

import builtins
import importlib
import os
import sys
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

TESTS = "test_code.py"
CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x200
"""As `inspect` has them, which takes long to import."""

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True


def main() -> None:
    """Test the code; let what it raises end this process, with an exit code that is not 0."""
    word, _, runner = os.read(0, 64).partition(b" ")
    output = os.dup(1)
    try:
        tests = as_main(importlib.import_module("candidate"))
    except SystemExit as end:
        raise SystemExit(f"SystemExit: {end.code}") from end
    if runner:
        {b"unittest": run_unittest, b"pytest": run_pytest}[runner](tests)
    os.write(output, word)


class Names(dict[str, Any]):
    """The builtins of the tests: what the code holds now comes first, as after a function has set a global name."""

    def __init__(self, code: ModuleType) -> None:
        super().__init__(vars(builtins))
        self._code = vars(code)

    def __getitem__(self, name: str) -> Any:
        if name in self._code and not name.startswith("__"):
            return self._code[name]
        return super().__getitem__(name)

    def attribute(self, name: str) -> Any:
        """What `from __main__ import ...` finds beside the names of the tests."""
        if name in self._code and not name.startswith("__"):
            return self._code[name]
        raise AttributeError(name)


def as_main(code: ModuleType) -> ModuleType:
    """Run the file of tests as the main program, which sees the names of `code`; it may leave by `unittest.main()`."""
    loader = SourceFileLoader("__main__", os.path.abspath(TESTS))
    spec = spec_from_loader("__main__", loader)
    if spec is None:
        raise ImportError(TESTS)
    module = module_from_spec(spec)
    names = Names(code)
    vars(module).update(_called(vars(code)), __builtins__=names, __getattr__=names.attribute)
    sys.modules["__main__"] = sys.modules["test_code"] = module
    try:
        loader.exec_module(module)
    except SystemExit as end:
        if end.code or _came_through_the_code(end):
            raise
    return module


def _called(names: Mapping[str, Any]) -> dict[str, Any]:
    """The functions, classes and modules, which also `globals()` of the tests holds: they stay what they are."""
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("__") and (callable(value) or isinstance(value, ModuleType))
    }


def run_unittest(tests: ModuleType) -> None:
    """Run the classes of unittest and the functions `test...` that take nothing."""
    suite, result = unittest.TestSuite(_collected(tests)), Ran()
    suite.run(result)
    failed = [text for _, text in result.failures + result.errors]
    failed += [f"{test} passed, and was to fail" for test in result.unexpectedSuccesses]
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


def _collected(tests: ModuleType) -> Iterator[unittest.TestSuite | unittest.TestCase]:
    for name, value in list(vars(tests).items()):
        if getattr(value, "__module__", None) != "__main__":
            continue
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            if not issubclass(value, unittest.IsolatedAsyncioTestCase):
                for method, function in list(vars(value).items()):
                    if method.startswith("test") and _is_later(function):
                        setattr(value, method, _at_once(function))
            yield unittest.defaultTestLoader.loadTestsFromTestCase(value)
        elif name.startswith("test") and callable(value):
            yield unittest.FunctionTestCase(_at_once(value) if _is_later(value) else value)


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

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool | None:
        """Run a coroutine function, which pytest itself does not."""
        if not _is_later(pyfuncitem.obj):
            return None
        named = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        _at_once(pyfuncitem.obj)(**named)
        return True

    def pytest_pycollect_makeitem(self, obj: Any) -> list[Any] | None:
        """Leave out the code's own tests."""
        return [] if getattr(obj, "__module__", None) == "candidate" else None

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """Call it a failure if the code itself skips a test, or calls one an expected failure."""
        for info in (call.excinfo, *(getattr(item, "_excinfo", None) or ())):
            if info and _is_skip(info.value) and any(map(_came_through_the_code, _skips(info.value))):
                self.failed.append(f"the code skips: {info.value}")

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Call it a failure if the rest of the tests is left out."""
        self.failed.append(excinfo.exconly())

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.passed += report.when == "call" and report.passed
        if report.failed:
            self.failed.append(getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr)))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(str(report.longrepr))


def run_pytest(_tests: ModuleType) -> None:
    """Run the tests as pytest does; it finds the module that is loaded already."""
    reports = Reports()
    pytest = importlib.import_module("pytest")
    pytest.hookimpl(tryfirst=True)(Reports.pytest_runtest_makereport)  # pytest makes other errors of those of unittest
    without = [option for name in ("cacheprovider", *_broken_plugins()) for option in ("-p", f"no:{name}")]
    code = pytest.main(["-q", *without, "--noconftest", "-c", os.devnull, TESTS], plugins=[reports])
    _end(reports.failed or ([f"pytest ended with code {int(code)}"] if code and reports.passed else []), reports.passed)


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
