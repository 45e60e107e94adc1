"""Who has which problem: each is solved once, whatever dies, and what kills is found."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from metagen import Problem
from metagen.cluster.dispatch import Dispatch, Entry


def problems(count: int) -> Iterator[Problem]:
    return (Problem(str(number), "?") for number in range(count))


def ids(entries: list[Entry]) -> list[str]:
    return [entry.problem.id for entry in entries]


@given(st.integers(0, 40), st.integers(1, 5), st.booleans(), st.randoms(use_true_random=False))
def test_each_problem_is_solved_or_given_up_once(count: int, workers: int, hedge: bool, chance: st.DataObject) -> None:
    dispatch, solved, given_up = Dispatch(problems(count), workers, hedge=hedge), [], []
    deaths = 3 * workers
    while not dispatch.finished:
        worker = chance.randrange(workers)  # type: ignore[attr-defined]
        dispatch.take(worker, chance.randrange(4), 0.0)  # type: ignore[attr-defined]
        held = dispatch.held(worker)
        if deaths and chance.random() < 0.2:  # type: ignore[attr-defined]
            deaths -= 1
            given_up += ids(dispatch.died(worker))
        elif held:
            entry = chance.choice(held)  # type: ignore[attr-defined]
            if dispatch.solved(entry.number, worker) is not None:
                solved.append(entry.problem.id)
    assert sorted(solved + given_up, key=int) == [str(number) for number in range(count)]


def test_what_workers_keep_dying_of_is_found_and_nothing_else() -> None:
    dispatch = Dispatch(problems(6), 1)
    given_up, solved, deaths = [], [], 0
    while not dispatch.finished:
        taken = ids(dispatch.take(0, 6, 0.0))
        assert taken
        if "3" in taken:
            given_up += ids(dispatch.died(0))
            deaths += 1
        else:
            solved += ids([entry for entry in dispatch.held(0) if dispatch.solved(entry.number, 0) == []])
    assert given_up == ["3"]
    assert sorted(solved) == ["0", "1", "2", "4", "5"]
    assert deaths <= 5


def test_a_problem_alone_on_three_workers_that_die_is_given_up() -> None:
    dispatch = Dispatch(problems(1), 2)
    for worker in (0, 1):
        dispatch.take(worker, 1, 0.0)
        assert dispatch.died(worker) == []
    dispatch.take(0, 1, 0.0)
    assert ids(dispatch.died(0)) == ["0"]
    assert dispatch.finished


def test_near_the_end_nobody_gets_more_than_a_part_of_what_is_left() -> None:
    dispatch = Dispatch(problems(16), 4)
    taken = [len(dispatch.take(worker % 4, 100, 0.0)) for worker in range(16)]
    assert taken == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]


def test_a_hedge_is_a_copy_of_the_oldest_for_an_idle_worker_and_the_slower_one_is_called_off() -> None:
    dispatch = Dispatch(problems(2), 3, hedge=True)
    assert ids(dispatch.take(0, 1, 1.0)) == ["0"]
    assert ids(dispatch.take(1, 1, 2.0)) == ["1"]
    assert ids(dispatch.take(0, 1, 3.0)) == []  # it is not idle
    assert ids(dispatch.take(2, 5, 3.0)) == ["0"]
    assert dispatch.solved(0, 2) == [0]
    assert dispatch.solved(0, 0) is None
    assert ids(dispatch.take(0, 1, 4.0)) == ["1"]
    assert dispatch.died(1) == []  # the copy goes on
    assert dispatch.solved(1, 0) == []
    assert dispatch.finished


def test_once_closed_nothing_is_handed_out_and_what_is_under_way_may_end() -> None:
    dispatch = Dispatch(problems(3), 1)
    dispatch.take(0, 1, 0.0)
    dispatch.closed = True
    assert dispatch.take(0, 1, 0.0) == []
    assert not dispatch.finished
    dispatch.died(0)
    assert dispatch.finished
