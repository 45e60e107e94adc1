"""The synchronous front door: `metagen.sync.solve(...)` in scripts without asyncio, and in notebooks.

The work runs in an event loop of its own, in a thread of its own, so it may be called where a loop is running already.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Self, TypeVar

from metagen.budget import Account, Budget
from metagen.errors import InputError
from metagen.model import Model
from metagen.problem import Problem
from metagen.request import opened
from metagen.run import Generator, Verifier
from metagen.settings import CONCURRENCY
from metagen.solution import Solution
from metagen.solve import Models, cancel, check_strategy, name_models
from metagen.solve import solve as solve_async
from metagen.solve import solve_all as solve_all_async

Result = TypeVar("Result")


def solve(
    problem: Problem | str,
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    grade: Verifier | None = None,
    seed: int | None = None,
    budget: Budget | None = None,
) -> Solution:
    """`metagen.solve`, which returns when the problem is solved.

    `model` is a backend that is not open, or several by name: it is opened and closed inside. To solve several
    problems over one engine, use `solve_all`, or a `Session`, which keeps it open. Ctrl-C cancels what is under way.
    """
    check_strategy("solve", strategy)
    with Session(name_models(model, strategy, grade)) as session:
        return session.solve(problem, strategy, grade=grade, seed=seed, budget=budget)


def solve_all(
    problems: Iterable[Problem | str],
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    grade: Verifier | None = None,
    seed: int | None = None,
    account: Account | None = None,
    concurrency: int = CONCURRENCY,
) -> Iterator[Solution]:
    """`metagen.solve_all` as an iterator, in the order in which the problems are done; `list(...)` waits for all.

    `model` is a backend that is not open, or several by name: it is opened with the first solution and closed after
    the last. Closing the iterator, or Ctrl-C, cancels what is under way.
    """
    check_strategy("solve_all", strategy)
    with Session(name_models(model, strategy, grade)) as session:
        yield from session.solve_all(
            problems, strategy, grade=grade, seed=seed, account=account, concurrency=concurrency
        )


class Session:
    """Models that stay open between calls.

        with Session(VLLMEngine("small-moe")) as session:
            print(session.solve("What is 3 + 4?", Vote(8)).answer)

    They are not open when they are passed in: entering opens them, in the event loop that will use them.
    """

    def __init__(self, model: Models | None = None) -> None:
        self._models = name_models(model)
        self._thread = ThreadPoolExecutor(1, "metagen.sync")
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()
        self._ready: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._entered = self._stopping = False

    def __enter__(self) -> Self:
        if self._entered:
            raise InputError("a Session is entered once: make another")
        self._entered = True
        try:
            self._thread.submit(self._work)
            wait([self._ready, self._ended], return_when=FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        failure = self._ended.exception()
        if failure and not isinstance(failure, asyncio.CancelledError):
            raise failure

    def solve(
        self,
        problem: Problem | str,
        strategy: Generator | None = None,
        *,
        grade: Verifier | None = None,
        seed: int | None = None,
        budget: Budget | None = None,
    ) -> Solution:
        """As `metagen.solve`."""
        return self._call(solve_async(problem, strategy, self._models, grade=grade, seed=seed, budget=budget))

    def solve_all(
        self,
        problems: Iterable[Problem | str],
        strategy: Generator | None = None,
        *,
        grade: Verifier | None = None,
        seed: int | None = None,
        account: Account | None = None,
        concurrency: int = CONCURRENCY,
        default: Model | None = None,
    ) -> Iterator[Solution]:
        """As `metagen.solve_all`."""
        solutions = solve_all_async(
            problems,
            strategy,
            self._models,
            grade=grade,
            seed=seed,
            account=account,
            concurrency=concurrency,
            default=default,
        )

        async def take() -> Solution | None:
            async for solution in solutions:
                return solution
            return None

        try:
            while solution := self._call(take()):
                yield solution
        finally:
            if self._open():
                self._call(solutions.aclose())

    def _call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the session's loop and wait for it; an interrupted wait cancels it, and waits for that."""
        if not self._open():
            coroutine.close()
            raise InputError("a Session solves inside its `with` block")
        loop, _ = self._begun.result()
        done: Future[asyncio.Task[Result]] = Future()
        tasks: list[asyncio.Task[Result]] = []

        def begin() -> None:
            tasks.append(loop.create_task(coroutine))
            tasks[0].add_done_callback(done.set_result)

        def stop() -> None:
            if not tasks:
                begin()
            tasks[0].cancel()

        try:  # around the handing over too: an interrupt may come in the middle of it, with the work begun or not
            loop.call_soon_threadsafe(begin)
            return done.result().result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(stop)
            wait([done])
            raise

    def _open(self) -> bool:
        return self._ready.done() and not self._ended.done()

    def _work(self) -> None:
        try:
            self._ended.set_result(asyncio.run(self._serve()))
        except BaseException as error:
            self._ended.set_exception(error)
            raise

    async def _serve(self) -> None:
        """Open the models, and keep them open until this is cancelled."""
        self._begun.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        if self._stopping:
            return
        async with opened(self._models):
            self._ready.set_result(None)
            try:
                await asyncio.Event().wait()
            finally:
                await cancel(asyncio.all_tasks() - {asyncio.current_task()})

    def _stop(self) -> None:
        """Cancel all work, close the models and wait for that. A thread that has not begun yet ends by itself."""
        self._stopping = True
        if self._begun.done():
            loop, serving = self._begun.result()
            if serving and not self._ended.done():
                with suppress(RuntimeError):  # the loop has just closed by itself
                    loop.call_soon_threadsafe(serving.cancel)
            wait([self._ended])
        self._thread.shutdown(cancel_futures=True)
