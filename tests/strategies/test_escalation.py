from collections.abc import Hashable, Sequence
from typing import Any

import pytest

from metagen import BetaStop, Candidate, Escalate, GenerationError, InputError, Model, Request, Scripted, parse, solve
from tests.support.scripts import length, silent

SPECS = [
    "Escalate((Model(), CoT()), until=BetaStop(0.9), n=3)",
    "Escalate((CoT(), Model()), until=length, threshold=999)",
]
WRAPPERS = ["Escalate(({}, Model()), until=length)"]
BOTH = (Model("small"), Model("large"))


def models(*small: str, large: str = "The answer is 9.") -> dict[str, Scripted]:
    def reply(text: str) -> str:
        if text == "lost":
            raise GenerationError("too long")
        return text

    return {
        "small": Scripted(lambda request: reply(small[request.draw % len(small)])),
        "large": Scripted(lambda _: reply(large)),
    }


@pytest.mark.parametrize(
    ("small", "answer", "calls"),
    [(("The answer is 4.",), "4", 1), (("The answer is 4.", "The answer is 5."), "9", 2), (("Hm.",), "9", 2)],
)
async def test_the_large_model_is_asked_where_the_vote_is_not_settled(
    small: tuple[str, ...], answer: str, calls: int
) -> None:
    solution = await solve("?", Escalate(BOTH, until=BetaStop(0.9), n=4), models(*small))
    assert (solution.answer, solution.usage.calls) == (answer, calls)


@pytest.mark.parametrize(("threshold", "answer"), [(17, "4"), (18, "9")])
async def test_a_verdict_of_the_threshold_accepts(threshold: float, answer: str) -> None:
    strategy = Escalate(BOTH, until=length, threshold=threshold, n=2)
    assert (await solve("?", strategy, models("The answer is 4.", " The answer is 4."))).answer == answer


async def test_a_model_without_a_verdict_is_not_accepted() -> None:
    async def silent(problem: object, candidates: list[object], run: object) -> list[None]:
        return [None] * len(candidates)

    assert (await solve("?", Escalate(BOTH, until=silent, threshold=-9), models("The answer is 4."))).answer == "9"  # type: ignore[arg-type]


async def test_a_lost_model_is_passed_over_and_the_best_so_far_stands_for_the_last() -> None:
    strategy = Escalate((Model("small"), *BOTH), until=length, threshold=99)
    solution = await solve("?", strategy, models("4", "The answer is 5.", large="lost"))
    assert solution.text == "The answer is 5."
    assert "the best so far is returned" in solution.notes[0]
    assert (await solve("?", strategy, models("lost"))).answer == "9"
    assert "too long" in (await solve("?", strategy, models("lost", large="lost"))).error


@pytest.mark.parametrize("names", [("small", "mid"), ("mid", "small")])
async def test_where_the_last_model_is_lost_the_larger_majority_decides(names: tuple[str, str]) -> None:
    given = models(*(f"The answer is {number}." for number in (4, 4, 5, 6)), large="lost")
    given["mid"] = Scripted(lambda request: f"The answer is {(7, 7, 7, 8)[request.draw]}.")
    strategy = Escalate((*map(Model, names), Model("large")), until=BetaStop(0.99), n=4)
    solution = await solve("?", strategy, given)
    assert (solution.answer, solution.lost) == ("7", 4)
    given["small"] = Scripted("No idea.")  # a model without an answer has no share of the votes
    assert (await solve("?", strategy, given)).answer == "7"
    given["small"] = models("lost", "lost", *["The answer is 4."] * 2)["small"]  # 2 of 2 are more than 3 of 4
    assert (await solve("?", strategy, given)).answer == "4"


async def test_one_model_with_a_verdict_is_enough_to_choose_by_it() -> None:
    async def fives(_problem: object, candidates: Sequence[Candidate], _run: object) -> list[float | None]:
        return [0.5 if "5" in each.text else None for each in candidates]

    strategy = Escalate((Model("small"), Model("mid"), Model("large")), until=fives)
    given = models("The answer is 4.", large="lost") | {"mid": Scripted("The answer is 5.")}
    solution = await solve("?", strategy, given)
    assert solution.answer == "5"
    assert not any("no answer has a verdict" in note for note in solution.notes)


async def test_what_the_last_model_gives_is_not_judged() -> None:
    judged: list[str] = []

    async def refuses(problem: object, candidates: list[object], run: object) -> list[float]:
        judged.append("once")
        return [0.0] * len(candidates)

    await solve("?", Escalate(BOTH, until=refuses), models("The answer is 4."))  # type: ignore[arg-type]
    assert judged == ["once"]


async def down(problem: object, candidates: Sequence[Candidate], run: object) -> list[float]:
    raise RuntimeError("server down")


def odd(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
    if keys != ["a", "b"]:  # as it is tried when the strategy is built
        raise RuntimeError("server down")
    return False


@pytest.mark.parametrize(("until", "n"), [(down, 1), (down, 2), (odd, 2)])
async def test_where_the_verdict_fails_the_model_is_not_lost(until: Any, n: int) -> None:
    strategy = Escalate(BOTH, until=until, n=n)
    solution = await solve("?", strategy, models("The answer is 4."))
    assert solution.answer == "9"
    said = f'no verdict on Model("small") ({until.__name__} raised RuntimeError: server down (test_escalation.py, line '
    assert solution.notes[0].startswith(said)
    lost = await solve("?", strategy, models("The answer is 4.", large="lost"))
    assert (lost.answer, lost.error, lost.notes[0]) == ("4", "", solution.notes[0])
    assert lost.notes[1].endswith("the best so far is returned")


async def test_where_the_verdict_fails_the_majority_of_the_samples_is_kept() -> None:
    small = ("The answer is 4.", "The answer is 5.", "The answer is 5.")
    solution = await solve("?", Escalate(BOTH, until=down, n=3), models(*small, large="lost"))
    assert solution.answer == "5"


async def test_what_has_a_verdict_is_better_than_what_has_none() -> None:
    async def judges(problem: object, candidates: Sequence[Candidate], run: object) -> list[float]:
        if "4" in candidates[0].text:
            raise RuntimeError("server down")
        return [-3.0] * len(candidates)

    texts = iter(("The answer is 4.", "The answer is 5."))
    both = {**models("lost", large="lost"), "small": Scripted(lambda _: next(texts))}
    strategy = Escalate((Model("small"), *BOTH), until=judges)
    assert (await solve("?", strategy, both)).answer == "5"


@pytest.mark.parametrize(("n", "calls"), [(1, 1), (2, 2)])
async def test_the_best_of_the_last_models_samples_is_returned(n: int, calls: int) -> None:
    judged: list[int] = []

    async def longest(problem: object, candidates: Sequence[Candidate], run: object) -> list[float]:
        judged.append(len(candidates))
        return [float(len(each.text)) for each in candidates]

    def large(request: Request) -> str:
        return ["The answer is 8.", "So, the answer is 9."][request.draw]

    both = {**models("The answer is 4."), "large": Scripted(large)}
    solution = await solve("?", Escalate(BOTH, until=longest, threshold=99, n=n), both)
    assert (solution.answer, judged) == ("89"[n - 1], [n] * calls)


async def test_no_rule_is_asked_about_the_last_model() -> None:
    asked: list[int] = []

    def never(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
        asked.append(len(keys))
        return False

    strategy = Escalate(BOTH, until=never, n=3)
    asked.clear()
    assert (await solve("?", strategy, models("The answer is 4."))).answer == "9"
    assert asked == [3]


async def test_samples_of_which_none_has_a_verdict_are_noted() -> None:
    async def silent(problem: object, candidates: Sequence[Candidate], run: object) -> list[None]:
        return [None] * len(candidates)

    solution = await solve("?", Escalate(BOTH, until=silent, n=2), models("The answer is 4."))
    assert solution.notes == ("no sample has a verdict: the first is taken",) * 2
    assert (await solve("?", Escalate(BOTH, until=silent), models("The answer is 4."))).notes == ()
    assert (await solve("?", Escalate(BOTH, until=length, n=2), models("The answer is 4."))).notes == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Escalate((Model(),), until=length)", "two generators or more"),
        ("Escalate((Model(), 3), until=length)", "of=3 is not a strategy"),
        ("Escalate((Model(), Model()))", "needs until"),
        ("Escalate((Model(), Model()), until=BetaStop(0.9))", "one sample is no vote"),
        ("Escalate((Model(), Model()), until=PredictiveStop(0.9), n=4)", "accepts a tie"),
        ("Escalate((Model(), Model()), until=3)", "is not a rule"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec, {"length": length})


async def test_where_no_model_has_a_verdict_the_first_stands_for_the_last() -> None:
    strategy = Escalate((Model("small"), *BOTH), until=silent)
    solution = await solve("?", strategy, models("The answer is 4.", large="lost"))
    assert (solution.answer, solution.notes[-1]) == ("4", "no answer has a verdict: the first is returned")


@pytest.mark.parametrize(("until", "n"), [(silent, 1), (length, 2), (BetaStop(0.99), 2)])
@pytest.mark.parametrize("large", ["Let me think about it, step by step.", "<think>\nLet me see."])
async def test_a_last_model_that_breaks_off_leaves_the_best_so_far(until: Any, n: int, large: str) -> None:
    strategy = Escalate((Model("small"), Model("large", max_tokens=20)), until=until, n=n, threshold=99)
    solution = await solve("?", strategy, models("The answer is 4.", large=large))
    assert solution.answer == "4"
    assert any("cut off before its answer: the best so far is returned" in note for note in solution.notes)
