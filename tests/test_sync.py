import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from metagen import Budget, GenerationError, InputError, Model, Problem, Request, Scripted, Vote, sync
from tests.support.timing import forever

PROBLEMS = [Problem(str(number), f"What is {number} + 4?", number + 4) for number in range(5)]  # type: ignore[arg-type]


class Tracked(Scripted):
    """Knows how often it was opened and closed, in which thread, and what was cancelled."""

    opened = closed = cancelled = 0
    thread = ""

    async def __aenter__(self) -> "Tracked":
        self.opened += 1
        self.thread = threading.current_thread().name
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed += 1


def answer(request: Request) -> str:
    return f"The answer is {int(request.prompt.split()[2]) + 4}."


def test_one_problem_is_solved_without_asyncio() -> None:
    backend = Tracked(answer)
    solution = sync.solve(PROBLEMS[3], Vote(4), backend, seed=1, budget=Budget(tokens=1000))
    assert (solution.answer, solution.correct, solution.samples) == ("7", True, 4)
    assert (backend.opened, backend.closed) == (1, 1)
    assert backend.thread != threading.current_thread().name


async def test_it_works_inside_a_running_loop() -> None:
    assert asyncio.get_running_loop().is_running()
    assert sync.solve(PROBLEMS[3], None, Tracked(answer)).correct
    assert {solution.answer for solution in sync.solve_all(PROBLEMS, None, Tracked(answer))} == set("45678")


def test_all_problems_are_solved_over_one_opening() -> None:
    backend = Tracked(answer)
    solutions = list(sync.solve_all([*PROBLEMS, "What is 9 + 4?"], Vote(2), {"own": backend}, concurrency=2))
    assert sorted(solution.problem for solution in solutions) == ["0", "1", "2", "3", "4", "6"]
    assert all(solution.correct for solution in solutions if solution.problem != "6")
    assert (backend.opened, backend.closed) == (1, 1)


def test_an_iterator_that_is_closed_early_cancels_the_rest() -> None:
    backend = Tracked(lambda request: "x" if request.prompt == "first" else hang(backend))
    solutions = sync.solve_all(["first", "second"], None, backend)
    assert next(solutions).text == "x"
    solutions.close()  # type: ignore[attr-defined]
    assert (backend.cancelled, backend.closed) == (1, 1)


async def hang(backend: Tracked, begun: Any = lambda: None) -> str:
    try:
        begun()
        await forever()
    finally:
        backend.cancelled += 1
    return ""


def interrupt() -> None:
    """Ctrl-C, as the terminal sends it to the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where the tests run in the background of a shell, which lets it be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def join_threads() -> None:
    """Wait until no thread of a session is left; one that never ends hangs here."""
    for thread in threading.enumerate():
        if thread.name.startswith("metagen.sync"):
            thread.join()


def solve_in_session(backend: Tracked) -> None:
    with sync.Session(backend) as session:
        session.solve("?")


@pytest.mark.parametrize("front", ["solve", "solve_all", "session"])
def test_an_interrupt_cancels_what_is_under_way_and_closes_the_models(front: str) -> None:
    backend = Tracked(lambda request: hang(backend, interrupt))
    calls: dict[str, Callable[[], object]] = {
        "solve": lambda: sync.solve("?", Model(), backend),
        "solve_all": lambda: list(sync.solve_all(["?"], Model(), backend)),
        "session": lambda: solve_in_session(backend),
    }
    with pytest.raises(KeyboardInterrupt):
        calls[front]()
    assert (backend.cancelled, backend.closed) == (1, 1)
    join_threads()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("front", ["solve", "solve_all", "session"])
def test_an_interrupt_while_the_work_is_handed_over_leaves_nothing_behind(
    front: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C comes inside of `call_soon_threadsafe`, on either side of its effect."""
    backend = Tracked(lambda request: hang(backend))
    handed = asyncio.BaseEventLoop.call_soon_threadsafe

    def interrupted(loop: Any, call: Callable[..., object], *given: Any, **options: Any) -> object:
        if getattr(call, "__name__", "") != "begin":
            return handed(loop, call, *given, **options)
        monkeypatch.undo()
        if not before:
            handed(loop, call, *given, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_soon_threadsafe", interrupted)
    calls: dict[str, Callable[[], object]] = {
        "solve": lambda: sync.solve("?", Model(), backend),
        "solve_all": lambda: list(sync.solve_all(["?"], Model(), backend)),
        "session": lambda: solve_in_session(backend),
    }
    with pytest.raises(KeyboardInterrupt):
        calls[front]()
    assert backend.closed == 1
    join_threads()


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_while_the_thread_is_begun_leaves_none(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = ThreadPoolExecutor.submit

    def interrupted(pool: Any, work: Callable[..., object]) -> object:
        if not before:
            submit(pool, work)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    backend = Tracked(answer)
    with pytest.raises(KeyboardInterrupt):
        sync.solve(PROBLEMS[3], None, backend)
    assert backend.opened == backend.closed
    join_threads()


def test_a_session_keeps_its_models_open_between_calls() -> None:
    backend = Tracked(answer)
    with sync.Session({"a": backend, "b": backend}) as session:
        assert session.solve(PROBLEMS[3]).correct
        assert len(list(session.solve_all(PROBLEMS))) == 5
        assert (backend.opened, backend.closed) == (1, 0)
    assert (backend.opened, backend.closed) == (1, 1)
    with pytest.raises(InputError, match="a Session solves inside its `with` block"):
        session.solve("?")
    with pytest.raises(InputError, match="a Session is entered once"):
        session.__enter__()


def test_a_model_that_does_not_open_is_the_error_of_the_call() -> None:
    class Broken(Tracked):
        async def __aenter__(self) -> "Broken":
            raise InputError("no such model")

    opened = Tracked("x")
    with pytest.raises(InputError, match=r"^no such model$"):
        sync.solve("?", None, {"a": opened, "b": Broken("x")})
    assert (opened.opened, opened.closed) == (1, 1)


def test_an_interrupt_while_models_open_closes_those_that_are_open() -> None:
    class Slow(Tracked):
        async def __aenter__(self) -> "Slow":
            interrupt()
            await forever()
            return self

    opened = Tracked("x")
    with pytest.raises(KeyboardInterrupt):
        sync.solve("?", None, {"a": opened, "b": Slow("x")})
    assert (opened.opened, opened.closed) == (1, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [((7,), "problem 1 must be"), (("?", "Vote(4)"), "is not a strategy"), (("?", None, "m"), "must be a backend")],
)
def test_wrong_types_are_one_line(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sync.solve(*given)
    with pytest.raises(InputError, match=said.replace("problem 1", "problems")):
        list(sync.solve_all(*(given if isinstance(given[0], int) else ([given[0]], *given[1:]))))


def test_a_lost_sample_is_said_in_the_solution() -> None:
    def lost(request: Request) -> str:
        raise GenerationError("no")

    assert sync.solve("?", None, Scripted(lost)).error == "GenerationError: no"
