from collections import Counter

import pytest

from metagen import GenerationError, InputError, Model, Panel, Problem, Request, Scripted, Until, Vote, parse, solve
from tests.support.scripts import length

SPECS = ["Panel((Model(), Model(temperature=0.5)))"]
AB = Panel((Model("a"), Model("b"), Model("c")))


def models(lost: str = "") -> dict[str, Scripted]:
    def named(name: str) -> Scripted:
        def script(request: Request) -> str:
            if name == lost:
                raise GenerationError("away")
            return f"{name}{request.draw}"

        return Scripted(script, name=name)

    return {name: named(name) for name in "abc"}


async def test_members_take_turns_and_each_is_asked_once() -> None:
    solution = await solve("?", Vote(7, of=AB), models(), seed=1)
    assert solution.usage.calls == 3
    texts = [each.text for span in solution.trace.walk() if span.name == "Vote" for each in span.samples]
    first = texts[0][0]
    assert [text[0] for text in texts] == list(("abcabc"["abc".index(first) :][:3] * 3)[:7])
    assert Counter(text[1] for text in texts) == {"0": 3, "1": 3, "2": 1}


async def test_who_begins_differs_from_problem_to_problem_and_follows_from_the_seed() -> None:
    begins = [(await solve(Problem(str(number), "?"), AB, models(), seed=3)).text for number in range(30)]
    assert set(begins) == {"a0", "b0", "c0"}
    assert begins == [(await solve(Problem(str(number), "?"), AB, models(), seed=3)).text for number in range(30)]


async def test_a_stream_asks_all_members() -> None:
    solution = await solve("?", Until(length, of=AB, limit=20, threshold=99), models(), seed=1)
    assert {each.text[0] for span in solution.trace.walk() for each in span.samples} == set("abc")


async def test_a_member_that_fails_loses_its_share_alone() -> None:
    solution = await solve("?", Vote(6, of=AB), models(lost="b"), seed=1)
    assert (solution.compared, solution.lost) == (4, 2)
    failed = await solve("?", Vote(2, of=Panel((Model("b"),))), models(lost="b"))
    assert "all 2 samples were lost; the first: GenerationError: away" in failed.error


@pytest.mark.parametrize(("spec", "said"), [("Panel(())", "must hold generators"), ("Panel((3,))", "of=3 is not a")])
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)
