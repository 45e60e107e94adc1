import pytest

from metagen.execution.processes import Finished
from metagen.execution.programs import coqs_message, limits, why, worked


@pytest.mark.parametrize(
    ("finished", "reason"),
    [
        (Finished(1, b"", b"Traceback\n  File\nValueError: no\n\n", 1, "exit"), "ValueError: no"),
        (Finished(3, b"", b" \n", 1, "exit"), "exit code 3"),
        (Finished(139, b"", b"", 1, "signal"), "ended by signal 11"),
        (Finished(137, b"", b"", 1, "time"), "no end within 2.5 s"),
        (Finished(137, b"", b"x", 1, "memory"), "too much memory"),
        (Finished(137, b"", b"x", 1, "output"), "too much output"),
    ],
)
def test_why(finished: Finished, reason: str) -> None:
    assert why(finished, 2.5) == reason


@pytest.mark.parametrize(
    ("finished", "message"),
    [
        (Finished(1, b"", b'File "a.v"\nError: no\n  such "goal".\n', 1, "exit"), 'no such "goal".'),
        (Finished(129, b"", b"Error:\nAnomaly.\n", 1, "signal"), "Anomaly."),
        (Finished(137, b"", b"Error: no", 1, "time"), "no end within 2.5 s"),
        (Finished(1, b"", b"killed\n", 1, "exit"), "killed"),
    ],
)
def test_coqs_message(finished: Finished, message: str) -> None:
    assert coqs_message(finished, 2.5) == message


def test_what_worked_ended_by_itself_and_well() -> None:
    assert worked(Finished(0, b"", b"", 1, "exit"))
    assert not worked(Finished(1, b"", b"", 1, "exit"))
    assert not worked(Finished(0, b"", b"", 1, "output"))


def test_the_clock_is_patient() -> None:
    assert (limits(2.0, 10**9).seconds, limits(2.0, 10**9).clock) == (2.0, 8.0)
