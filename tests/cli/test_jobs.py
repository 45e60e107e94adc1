"""What a run shows while it works and at its end."""

from rich.console import Console

from metagen import Account, Usage
from metagen.analysis.tally import Tally
from metagen.cli import jobs
from metagen.solution import Solution
from tests.support.timing import Clock


def shown(usage: Usage, seconds: float) -> str:
    clock, tally = Clock(), Tally()
    account = Account(clock=clock)
    account.spend(usage)
    clock.now = seconds
    tally.add(Solution("p", "7", usage=usage))
    console = Console(width=100, record=True, quiet=False)
    with console.capture() as capture:
        console.print(jobs.summary(tally, "title", account))
    return capture.get()


def test_estimates_are_beside_the_count_and_in_no_speed() -> None:
    text = shown(Usage(calls=1, prompt_tokens=10, completion_tokens=300, estimated_tokens=100), seconds=10)
    assert "100 of the tokens: no count came back for them" in text
    assert "20 completion tokens/s" in text


def test_without_estimates_nothing_is_said_of_them() -> None:
    text = shown(Usage(calls=1, prompt_tokens=10, completion_tokens=300), seconds=10)
    assert "estimated" not in text
    assert "30 completion tokens/s" in text
