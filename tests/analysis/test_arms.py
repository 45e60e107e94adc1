"""Which strategies a pool stands for, and what each costs."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from metagen import Candidate, Price, Problem, Request, Run, Score, Scripted, parse, solve
from metagen.analysis.arms import Arm, Verdicts, arms, cascades, numbers, pool_of
from metagen.analysis.curve import Samples

GROUPS = np.array([[0, 0, 1, 0], [1, 1, 0, 2], [0, 1, 0, 1]])
SAMPLES = Samples(
    GROUPS, GROUPS == 0, tokens=np.array([[10, 20, 30, 40]] * 3), prompts=np.array([5, 5, 5]),
    flops=np.array([[100.0, 200, 300, 400]] * 3), prompt_flops=np.array([7.0, 7, 7]),
)  # fmt: skip


def named(found: list[Arm]) -> dict[str, Arm]:
    return {arm.spec: arm for arm in found}


def test_numbers_of_samples_go_up_to_all() -> None:
    assert numbers(1) == ()
    assert numbers(10) == (2, 3, 4, 6, 8, 10)


def test_every_strategy_that_can_be_used_is_a_spec() -> None:
    verdicts = Verdicts("RecordedScore()", np.where(GROUPS == 0, 1.0, 0.0))
    found = arms(pool_of(SAMPLES, [verdicts], of="CoT()"))
    wide = Samples(np.tile(GROUPS, 4), np.tile(GROUPS == 0, 4))
    assert [arm.spec for arm in found + arms(pool_of(wide))] == [
        repr(parse(arm.spec)) for arm in found + arms(pool_of(wide))
    ]
    assert [arm.spec for arm in found if arm.is_bound] == [
        f"Until(MatchesReference(), of=CoT(), limit={k})" for k in (2, 3, 4)
    ]
    assert {arm.spec.partition("(")[0] for arm in found} == {"CoT", "Vote", "BestOf", "Until"}


def test_costs_are_counted_in_every_unit_that_is_known() -> None:
    found = named(arms(pool_of(SAMPLES, price=Price(1, 2), pace=10)))
    costs = {unit: cost.tolist() for unit, cost in found["Vote(4)"].costs.items()}
    assert costs == {
        "samples": [4, 4, 4],
        "tokens": [105, 105, 105],
        "money": pytest.approx([205e-6] * 3),
        "FLOPs": [1007, 1007, 1007],
        "seconds": [4, 4, 4],
    }
    assert "Vote(4, until=PredictiveStop(0.8))" not in found  # it stops after one sample, whatever that says
    stopped = found["Vote(4, until=PredictiveStop(0.95))"]
    assert (stopped.costs["tokens"] == 5 * stopped.played.requests + stopped.played.written).all()
    assert stopped.costs["FLOPs"] == pytest.approx(7 + 10 * stopped.played.written)  # the cache holds the prompt


def test_a_second_request_per_sample_reads_again() -> None:
    costs = named(arms(pool_of(replace(SAMPLES, again=np.array([3.0, 3, 3])), price=Price(1, 2))))["Vote(2)"].costs
    assert costs["tokens"].tolist() == [5 + 2 * 3 + 50] * 3
    assert costs["money"] == pytest.approx([(5 + 2 * 3 + 2 * 50) / 1e6] * 3)
    assert costs["FLOPs"] == pytest.approx([7 + 10 * 50] * 3)


def test_what_verdicts_cost_is_known_in_some_units_only() -> None:
    verdicts = Verdicts("V()", np.ones((3, 4)), {"tokens": np.array([2.0, 2, 2])})
    costs = named(arms(pool_of(SAMPLES, [verdicts], price=Price(1, 2), pace=10)))["BestOf(2, by=V())"].costs
    assert set(costs) == {"samples", "tokens", "seconds"}
    assert costs["tokens"].tolist() == [5 + 50 + 2 * 2] * 3


def test_a_check_that_is_always_right_is_worth_what_the_oracle_is() -> None:
    verdicts = Verdicts("PassesTests()", (GROUPS == 0).astype(float), {"tokens": np.array([3.0, 3, 3])})
    found = named(arms(pool_of(SAMPLES, [verdicts])))
    ours, oracle = found["Until(PassesTests(), limit=4)"], found["Until(MatchesReference(), limit=4)"]
    assert ours.played.right.tolist() == oracle.played.right.tolist() == [1, 1, 1]
    assert ours.costs["tokens"] == pytest.approx(oracle.costs["tokens"] + 3 * oracle.played.samples)
    assert found["BestOf(4, by=PassesTests())"].played.right.tolist() == [1, 1, 1]


NAN = float("nan")


@pytest.mark.parametrize(
    ("keys", "scores", "kinds"),
    [
        ([0, 1, 0, 2], [0.0, 1.0, 0.0, 1.0], ""),
        ([0, 1, 1, -1], [1.0, 0.0, 1.0, 1.0], ""),
        ([-1, 0, 1, 0], [NAN, 0.25, 0.5, NAN], ""),
        ([1, 0, 1, 0, 0], [0.5] * 5, "Rounds"),
    ],
)
async def test_an_arm_gives_and_costs_what_its_strategy_does(
    keys: list[int], scores: list[float], kinds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all orders of the samples, which are all that a pool may have been drawn in."""
    orders = list(permutations(range(len(keys))))
    monkeypatch.setattr("metagen.analysis.replay._orders", lambda *_: np.array([orders]))
    texts = [
        f"{place}{'z' * 7 * (place + 1)}\n" + f"The answer is {key}." * (key >= 0) for place, key in enumerate(keys)
    ]

    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        values = [scores[texts.index(each.text)] for each in candidates]
        return [None if np.isnan(value) else Score(value) for value in values]

    tokens, groups = np.array([[len(text) for text in texts]]), np.array([keys])
    samples = Samples(groups, groups == 0, tokens=tokens, prompts=np.array([len("What?")]))
    found = arms(pool_of(samples, [Verdicts("judge", np.array([scores]))]))
    for arm in [arm for arm in found if arm.spec.startswith(kinds)]:
        strategy, solutions = parse(arm.spec, {"judge": judge}), []
        for order in orders:

            def script(request: Request, order: Sequence[int] = order) -> str:
                return texts[order[request.draw]]

            solutions.append(await solve(Problem("p", "What?", "0"), strategy, Scripted(script)))
        assert arm.played.right[0] == pytest.approx(np.mean([each.correct is True for each in solutions])), arm.spec
        if "window" not in arm.spec:  # else some are in flight, and how far they came is up to the clock
            assert arm.costs["tokens"][0] == pytest.approx(np.mean([each.usage.tokens for each in solutions])), arm.spec
            assert arm.played.requests[0] == pytest.approx(np.mean([each.usage.calls for each in solutions])), arm.spec


def test_logits_choose_and_do_not_weigh() -> None:
    specs = named(arms(pool_of(SAMPLES, [Verdicts("V()", -np.ones((3, 4)))])))
    assert "BestOf(4, by=V())" in specs
    assert "Vote(4, by=V())" not in specs


def test_a_cascade_asks_the_second_model_where_the_first_is_in_doubt() -> None:
    sure = Samples(np.zeros((3, 4), int), np.ones((3, 4), bool), tokens=np.full((3, 4), 100))
    small, large = pool_of(SAMPLES, of='Model("small")'), pool_of(sure, of='Model("large")')
    found = named(cascades([small, large]))
    arm = found['Escalate((Model("small"), Model("large")), until=BetaStop(0.8), n=4)']
    # 3 of 4 is settled, 2 of 4 is not: the first and the third problem as all orders have it.
    assert arm.played.right.tolist() == [1, 1, 1]
    assert arm.costs["tokens"].tolist() == [105, 505, 505]
    back = found['Escalate((Model("large"), Model("small")), until=BetaStop(0.8), n=4)']
    assert back.costs["samples"].tolist() == [4, 4, 4]
