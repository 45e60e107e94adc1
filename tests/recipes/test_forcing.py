"""Thoughts are cut and continued at the right tokens."""

from collections.abc import Sequence

from recipes.forcing import Ids, Markers, Reply, capped, waited

CLOSE, WAIT, FORCED, OPENED = 9, [7], [9, 8], [1, 2]
MARKERS = Markers(CLOSE, WAIT, FORCED, OPENED)
PROMPT = [100]
SHORT, LONG, OPEN = (Reply(PROMPT, ids) for ids in ([1, 2, 9, 5], [1, 2, 3, 4, 9, 5], [1, 2, 3]))


class Engine:
    """Continues everything with the same token, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Ids] = []

    def __call__(self, prompts: Sequence[Ids], most: int) -> list[Ids]:
        self.asked.extend(prompts)
        return [[6]] * len(prompts)


def test_only_long_thoughts_are_cut() -> None:
    engine = Engine()
    made = capped([SHORT, LONG, OPEN], 2, MARKERS, engine)
    assert [reply.ids for reply in made] == [SHORT.ids, [1, 2, 9, 8, 6], [1, 2, 9, 8, 6]]
    assert engine.asked == [[100, 1, 2, 9, 8]] * 2


def test_a_cap_of_nothing_opens_and_closes_the_thought() -> None:
    assert capped([SHORT], 0, MARKERS, Engine())[0].ids == [1, 2, 9, 8, 6]


def test_the_end_of_a_thought_becomes_wait() -> None:
    engine = Engine()
    made = waited([SHORT, OPEN], MARKERS, engine)
    assert engine.asked == [[100, 1, 2, 7], [100, 1, 2, 3]]
    assert [reply.ids for reply in made] == [[1, 2, 7, 6], [1, 2, 3, 6]]
