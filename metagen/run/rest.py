"""Replies that are written in several requests: what is there of one is kept where there is no room for the rest."""

from collections.abc import Awaitable

from metagen.candidate import Candidate, changed
from metagen.errors import BudgetExceeded, SampleError, UnfitRequest
from metagen.run.run import Run

NO_ROOM: tuple[type[SampleError], ...] = (BudgetExceeded, UnfitRequest)
"""What a budget raises that has no room for a request, and a model whose context has none."""


async def or_cut(
    written: Candidate, rest: Awaitable[Candidate], run: Run, *, refusals: tuple[type[SampleError], ...] = NO_ROOM
) -> Candidate:
    """The whole reply; where there is no room for the rest of it, what is written, cut there, which a note says."""
    try:
        return await rest
    except refusals as refused:
        return cut(written, refused, run)


def cut(written: Candidate, refused: SampleError, run: Run) -> Candidate:
    """What is written of a reply, cut there, since there was no room for the call that was just lost."""
    run.keep_begun()
    run.note(f"a sample is cut: {refused}")
    return changed(written, finished=False, cut=True)
