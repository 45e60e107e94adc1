import random
from collections import Counter
from collections.abc import Sequence
from math import isfinite

import pytest

from metagen import (
    ABMCTS,
    Candidate,
    Feedback,
    GenerationError,
    InputError,
    Model,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    WeightError,
    Within,
    parse,
    solve,
)
from metagen.prompts import REVISE
from metagen.strategies.tree.adaptive import DRAWS, Posterior, Reply, Rewards, Tree
from tests.support.scripts import late, length

SPECS = [
    "ABMCTS(2, by=length, window=2)",
    'ABMCTS(3, of=(Model(), Model(temperature=0.5)), by=length, feedback=objects, answer="majority", window=3)',
]


@pytest.mark.parametrize(
    ("rewards", "gaussian", "beta"),
    [
        ([], (0.0, 1.0, 1.0, 0.1), (0.5, 0.5)),
        ([1.0], (0.5, 2.0, 2.0, 0.3), (1.5, 0.5)),
        ([0.2, 0.6, 0.7], (0.375, 4.0, 4.0, 0.1068750), (2.0, 2.0)),
    ],
)
def test_posteriors_are_those_of_the_paper(
    rewards: list[float], gaussian: tuple[float, ...], beta: tuple[float, ...]
) -> None:
    posterior = Posterior()
    for reward in rewards:
        posterior.add(reward)
    assert posterior.gaussian() == pytest.approx(gaussian)
    assert posterior.beta() == pytest.approx(beta)


def grown(*rewards: float | None) -> Tree:
    tree = Tree(1, "gaussian")
    for place, reward in enumerate(rewards):
        tree.add(tree.root, (place,), 0, Candidate(("x",)), reward)
    return tree


@pytest.mark.parametrize(
    "rewards", [(float("-inf"), 0.5), (0.5, float("inf")), (1e308, -1e308), (1e200,), (float("-inf"),)]
)
def test_a_reward_of_which_there_is_no_mean_is_refused(rewards: tuple[float, ...]) -> None:
    with pytest.raises(WeightError, match="posteriors need finite verdicts"):
        grown(*rewards)


def test_large_rewards_have_one() -> None:
    tree = grown(1e100, -1e100, 0.0, None)
    assert isfinite(tree.root.wider.draw_gaussian(random.Random(1)))


@pytest.mark.parametrize("rewards", ["gaussian", "beta"])
def test_draws_have_the_mean_of_their_posterior(rewards: Rewards) -> None:
    posterior, chance = Posterior(), random.Random(1)
    for reward in [0.2, 0.3, 0.4] * 20:
        posterior.add(reward)
    draws = [DRAWS[rewards](posterior, chance) for _ in range(2000)]
    expected = posterior.gaussian()[0] if rewards == "gaussian" else 18.5 / 61
    assert sum(draws) / 2000 == pytest.approx(expected, abs=0.01)


def test_draws_of_a_mean_are_as_wide_as_its_posterior() -> None:
    """Student's t with ν degrees has a variance of ν / (ν − 2), in units of τ² / κ."""
    posterior, chance = Posterior(), random.Random(1)
    for reward in [0.1, 0.3, 0.5] * 3:
        posterior.add(reward)
    m, kappa, nu, tau = posterior.gaussian()
    draws = [posterior.draw_gaussian(chance) for _ in range(20_000)]
    assert sum((draw - m) ** 2 for draw in draws) / 20_000 == pytest.approx(tau / kappa * nu / (nu - 2), rel=0.05)


class High(random.Random):
    """Draws that follow the means alone."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu


def test_a_verdict_goes_to_all_that_led_to_it() -> None:
    tree = Tree(2, "gaussian")
    tree.add(tree.root, (0,), 0, Candidate(("a",)), 0.5)
    first = tree.root.children[0]
    tree.add(first, (0, 0), 1, Candidate(("b",)), 0.9)
    tree.add(first, (0, 1), 1, Candidate(("c",)), None)
    assert means(tree.root.wider, tree.root.deeper) == [(1, 0.5), (1, 0.9)]
    assert means(first.subtree, first.wider, first.deeper) == [(2, 0.7), (1, 0.9), (0, 0)]
    assert means(first.children[0].subtree, first.children[1].subtree) == [(1, 0.9), (0, 0)]
    assert tree.choose(High()) == (first, 1)


def means(*posteriors: Posterior) -> list[tuple[int, float]]:
    return [(each.n, round(each.mean, 9)) for each in posteriors]


def test_it_goes_wider_where_new_replies_are_better() -> None:
    tree = Tree(1, "gaussian")
    for number, value in enumerate([0.9, 0.9]):
        tree.add(tree.root, (number,), 0, Candidate((str(number),)), value)
    tree.add(tree.root.children[0], (0, 0), 0, Candidate(("x",)), 0.1)
    assert tree.choose(High())[0] is tree.root


def test_beta_posteriors_need_verdicts_from_0_to_1() -> None:
    with pytest.raises(Exception, match="not from 0 to 1"):
        Tree(1, "beta").add(Reply(), (0,), 0, Candidate(("a",)), 2.0)
    for value in (0.0, 1.0):
        Tree(1, "beta").add(Reply(), (0,), 0, Candidate(("a",)), value)


async def best_digit(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [Score(int(candidate.text[-1]) / 10) for candidate in candidates]


def improving(request: Request) -> str:
    """Each revision is one better; a first reply is 0 to 2."""
    if REVISE not in request.prompt:
        return f"reply {request.draw % 3}"
    before = request.prompt.split("Previous solution:\n")[1]
    return f"reply {min(9, int(before[6]) + 1)}"


async def test_it_digs_where_revisions_help_and_keeps_every_reply() -> None:
    solution = await solve("?", ABMCTS(60, by=best_digit, window=8), Scripted(improving), seed=1)
    assert solution.text >= "reply 4"
    assert (solution.compared, solution.usage.calls) == (60, 60)


async def test_the_better_model_is_asked_more() -> None:
    models = {"a": Scripted("reply 1", name="a"), "b": Scripted("reply 8", name="b")}
    asked: Counter[str] = Counter()
    strategy = ABMCTS(80, of=(Model("a"), Model("b")), by=best_digit, rewards="beta")
    solution = await solve("?", strategy, models, seed=2)
    for span in solution.trace.walk():
        asked.update(each.text for each in span.completions)
    assert asked["reply 8"] > 3 * asked["reply 1"]


async def test_decisions_do_not_depend_on_the_clock() -> None:
    paths = []
    for latency in range(3):
        backend = Scripted(late(improving, latency))
        solution = await solve("?", ABMCTS(30, by=best_digit, window=5), backend, seed=4)
        paths.append([span.path for span in solution.trace.walk() if span.name == "expansion"])
    assert paths[0] == paths[1] == paths[2]
    assert len(paths[0]) == 30


async def test_feedback_is_in_the_wish_for_a_revision() -> None:
    async def objects(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
        return Feedback(f"{candidate.text} is bad.")

    seen: list[str] = []

    def script(request: Request) -> str:
        seen.append(request.prompt)
        return improving(request)

    await solve("?", ABMCTS(20, by=best_digit, feedback=objects), Scripted(script), seed=1)
    assert any("Feedback:\nreply 2 is bad." in prompt for prompt in seen)


async def test_an_accepted_reply_ends_it() -> None:
    async def oracle(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(float(candidate.text[-1] == "3")) for candidate in candidates]

    solution = await solve("?", ABMCTS(200, by=best_digit, until=oracle), Scripted(improving), seed=1)
    assert solution.text == "reply 3"
    assert solution.usage.calls < 100
    assert solution.notes[0].startswith("accepted after")


async def test_lost_replies_are_no_rewards_and_a_budget_ends_it() -> None:
    def half(request: Request) -> str:
        if request.draw % 2:
            raise GenerationError("away")
        return improving(request)

    solution = await solve("?", ABMCTS(20, by=best_digit), Scripted(half), seed=1)
    assert (solution.compared + solution.lost, solution.failed) == (20, False)
    short = await solve("?", Within(tokens=60, of=ABMCTS(200, by=best_digit)), Scripted(improving), seed=1)
    assert short.lost <= 4
    assert short.text


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ABMCTS(0, by=length)", "expansions must be"),
        ("ABMCTS(5, by=None)", "needs a verifier"),
        ("ABMCTS(5, of=(), by=length)", "must hold generators"),
        ("ABMCTS(5, of=(3,), by=length)", "of=3 is not a strategy"),
        ('ABMCTS(5, by=length, rewards="normal")', "rewards must be one of gaussian, beta"),
        ('ABMCTS(5, by=length, answer="first")', "answer must be one of"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec, {"length": length})
