import asyncio
import json
from collections import Counter
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metagen import (
    Account,
    BestOf,
    Budget,
    Candidate,
    CoT,
    GenerationError,
    MatchesReference,
    Model,
    Panel,
    Problem,
    ProblemFile,
    Recorded,
    RecordedScore,
    Run,
    Score,
    Scripted,
    Shortest,
    Text,
    VerifierError,
    Vote,
    Within,
)
from metagen.analysis.reading import LIKELIHOOD, SCORE, VERIFIER, gather, read
from metagen.analysis.tables import remarks
from metagen.analysis.tally import silence
from metagen.budget import Price
from metagen.card.card import ModelCard
from metagen.disk.runs import RunDirectory, read_solutions
from metagen.errors import InputError
from metagen.models import SMALL
from metagen.request import Backend, Request
from metagen.run import Generator
from metagen.solve import solve, solve_all
from metagen.thinking import FAMILIES
from tests.strategies.test_thinking import Thinker

PUBLISHED = Path(__file__).parents[3] / "shared/data/pools/gsm8k_200x16.jsonl"
Row = dict[str, Any]
PROBLEMS: list[Row] = [
    {"id": "a", "prompt": "1 + 1?", "answer": "2", "level": 1, "subject": "Sums"},
    {"id": "b", "prompt": "2 + 2?", "answer": "4", "level": 2},
    {"id": "c", "prompt": "3 + 3?", "answer": "6"},
    {"id": "d", "prompt": "Why?"},
]


def lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def problems(tmp_path: Path) -> ProblemFile:
    return ProblemFile(lines(tmp_path / "problems.jsonl", PROBLEMS))


def sample(problem: str, draw: int, answer: str, **more: Any) -> Row:
    return {"problem": problem, "prompt": "?", "draw": draw, "text": f"The answer is {answer}."} | more


def thought(problem: str, draw: int, text: str, *, is_open: bool = False, limit: int = 9, tokens: int = 5) -> Row:
    drawn = {"sampling": {"max_tokens": limit, "thought_only": True}, "tokens": tokens, "prompt_tokens": 4}
    return sample(problem, draw, "") | drawn | {"text": "", "thought": text, "open": is_open, "end": "length"}


def answered(problem: str, draw: int, text: str, answer: str, prompt_tokens: int = 0) -> Row:
    written = {"before": f"<think>\n{text}\n</think>\n\n", "tokens": 2, "prompt_tokens": prompt_tokens}
    return sample(problem, draw, answer, **written)


POOL = [
    sample("b", 1, "5", tokens=7),
    sample("b", 0, "4.0", tokens=5),
    sample("a", 0, "2", tokens=3),
    sample("a", 1, "2", tokens=4, end="length"),
    sample("d", 0, "because"),
    sample("d", 1, "because"),
]


def test_a_pool_is_read_in_the_order_of_the_problems_and_draws(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(lines(tmp_path / "pool.jsonl", POOL), problems)
    assert source.ids == ("a", "b")
    assert source.curves["coverage"].values.tolist() == [[0.5, 1.0], [0.5, 1.0]]
    assert source.curves["majority"].values.tolist() == [[0.5, 1.0], [0.5, 0.5]]
    assert source.curves["majority"].costs == pytest.approx(np.array([[3.5, 7], [6, 12]]))
    assert source.labels == {"level": ["1", "2"], "subject": ["Sums", ""]}
    assert source.notes == (
        "left out for lack of samples: 1 of 4 problems",
        "left out for lack of a reference answer: 1 problem",
    )
    assert source.silence == "1 of 4, of them 1 cut: raise max_tokens"
    assert next(remarks(source)) == "no answer: 1 of 4, of them 1 cut: raise max_tokens"
    assert source.correct is None
    assert list(source.curves) == ["coverage", "majority"]


async def test_answers_of_several_problems_are_compared_symbolically_at_once(
    tmp_path: Path, problems: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, most = 0, 0

    async def compare(reference: str, answer: str, seconds: float) -> bool | None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        for _ in range(9):  # turns for the others to begin
            await asyncio.sleep(0)
        together -= 1
        return next((right for figure, right in (("2", True), ("4", False)) if figure in answer), None)

    monkeypatch.setattr("metagen.answers.grade.compare", compare)
    rows = [sample("a", 0, "$2x$"), sample("a", 1, "2"), sample("b", 0, "$4x$"), sample("b", 1, "$5x$")]
    source = await asyncio.to_thread(read, lines(tmp_path / "pool.jsonl", rows), problems)
    assert most == 3
    assert source.curves["coverage"].values.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert "counted as wrong for lack of a grader's verdict: 1 sample" in source.notes


def test_with_a_card_flops_are_counted_and_the_prompt_is_read_once(tmp_path: Path, problems: ProblemFile) -> None:
    card = ModelCard.read(SMALL)
    rows = [sample("a", draw, "2", tokens=10 * (draw + 1), prompt_tokens=30) for draw in range(2)]
    curve = read(lines(tmp_path / "pool.jsonl", rows), problems, card=card).curves["coverage"]
    assert curve.flops is not None
    (flops,) = curve.flops
    whole = card.flops_prompt(30) + card.flops_generated(30, 10) + card.flops_generated(30, 20)
    assert flops[1] == pytest.approx(whole)
    assert flops[0] == pytest.approx((whole + card.flops_prompt(30)) / 2)
    silent = read(lines(tmp_path / "silent.jsonl", POOL), problems, card=card)
    assert "the lengths of prompts are not known, so the cost of reading them is not counted" in silent.notes


def test_with_a_price_money_is_counted_and_the_prompt_is_paid_once(tmp_path: Path, problems: ProblemFile) -> None:
    rows = [sample("a", draw, "2", tokens=10 * (draw + 1), prompt_tokens=30) for draw in range(2)]
    curve = read(lines(tmp_path / "pool.jsonl", rows), problems, price=Price(1, 4)).curves["coverage"]
    assert curve.money == pytest.approx(np.array([[(30 + 4 * 15) / 1e6, (30 + 4 * 30) / 1e6]]))
    silent = read(lines(tmp_path / "silent.jsonl", POOL), problems, price=Price(1, 4))
    assert "the lengths of prompts are not known, so the cost of reading them is not counted" in silent.notes


def test_log_probabilities_score_a_pool(tmp_path: Path, problems: ProblemFile) -> None:
    pool = [
        sample("a", 0, "3", logprobs=[-1.0, -3.0]),
        sample("a", 1, "2", logprobs=[-1.0]),
        sample("a", 2, "3", logprobs=[-2.0]),
    ]
    source = read(lines(tmp_path / "pool.jsonl", pool), problems)
    assert source.scored_by == LIKELIHOOD
    assert source.curves["best-of"].at(3) == pytest.approx([1.0])
    assert 2 * exp(-2) < exp(-1)
    assert source.curves["weighted vote"].at(3) == pytest.approx([1.0])
    assert source.curves["majority"].at(3) == pytest.approx([0.0])


def test_a_sample_without_a_score_costs_no_other(tmp_path: Path, problems: ProblemFile) -> None:
    pool = [sample("a", 0, "3"), sample("a", 1, "2", score=0.9), sample("a", 2, "3", score=0.2)]
    source = read(lines(tmp_path / "pool.jsonl", pool), problems)
    assert source.scored_by == SCORE
    assert source.curves["best-of"].at(3) == pytest.approx([1.0])
    assert source.curves["best-of"].at(2) == pytest.approx([2 / 3])
    assert source.curves["weighted vote"].at(3) == pytest.approx([1.0])
    assert source.notes[-1] == "no verdict: 1 of 3"


def test_scores_are_not_mixed_with_log_probabilities(tmp_path: Path, problems: ProblemFile) -> None:
    pool = [
        sample("a", 0, "3", logprobs=[-0.1]),
        sample("a", 1, "2", score=0.5, logprobs=[-9.0]),
        sample("a", 2, "3", score=0.2),
        sample("b", 0, "4", logprobs=[-0.1]),
        sample("b", 1, "4"),
        sample("b", 2, "4"),
    ]
    source = read(lines(tmp_path / "pool.jsonl", pool), problems)
    assert source.scored_by == SCORE
    assert source.curves["best-of"].at(3) == pytest.approx([1.0, 1.0])
    assert source.notes[-1] == "no verdict: 4 of 6"
    unscored = [{name: value for name, value in row.items() if name != "score"} for row in pool]
    source = read(lines(tmp_path / "unscored.jsonl", unscored), problems)
    assert source.scored_by == LIKELIHOOD
    assert source.curves["best-of"].at(3) == pytest.approx([0.0, 1.0])
    assert source.notes[-1] == "no verdict: 3 of 6"


def test_the_first_n_samples_are_taken(tmp_path: Path, problems: ProblemFile) -> None:
    path = lines(tmp_path / "pool.jsonl", [*POOL, sample("a", 2, "2")])
    with pytest.raises(InputError, match=r"problem 'b' has 2 samples, and 3 are needed.*with --n 2"):
        read(path, problems)
    with pytest.raises(InputError, match="problem 'b' has 2 samples, and 3 are needed"):
        read(path, problems, 3)
    assert read(path, problems, 2).curves["coverage"].ks == (1, 2)
    assert read(path, problems, 1).curves["coverage"].values.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "holds no samples"),
        ([sample("z", 0, "2")], "problem 'z' is not in .*problems.jsonl"),
        ([sample("d", 0, "2")], "none of its problems has a reference answer"),
        ([{"problem": "a"}], r"pool.jsonl, line 1: field 'text': Field required"),
        ([sample("a", 0, "2", partial="So")], "line 1: continues a partial reply"),
        ([sample("a", 0, "2"), sample("a", 1, "2", prompt="!")], "line 2: problem 'a' has samples of two prompts"),
        ([sample("a", 0, "2"), sample("a", 1, "2", model="m")], "of two prompts, models or settings"),
        ([sample("a", 0, "2"), sample("a", 1, "2", sampling={"top_k": 1})], "of two prompts, models or settings"),
        (
            [sample("a", 0, "2"), sample("a", 0, "3", before="<think>\nhm")],
            "line 2: continues a partial reply, and a report needs whole samples: compare .* with `metagen sweep`$",
        ),
        (
            [thought("a", 0, "hm", is_open=True), thought("a", 1, "so", is_open=True, limit=8)],
            "of two prompts, models or settings",
        ),
        (
            [thought("a", 0, "hm"), answered("a", 0, "hm", "2"), answered("a", 1, "hm", "2")],
            "line 3: continues a partial reply",
        ),
        ([sample("a", 0, "2"), sample("a", 0, "3")], "line 2: sample 0 of problem 'a' is here for the second time"),
    ],
)
def test_what_is_no_pool_of_these_problems_is_refused(
    tmp_path: Path, problems: ProblemFile, rows: list[Row], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(lines(tmp_path / "pool.jsonl", rows), problems)


def test_a_pool_whose_last_line_was_cut_short_is_refused(tmp_path: Path, problems: ProblemFile) -> None:
    path = lines(tmp_path / "pool.jsonl", [sample("a", 0, "2"), sample("a", 1, "3")])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"pool\.jsonl, line 2: was cut short: run the command"):
        read(path, problems)


SPLIT = [
    thought("a", 0, "hm"),
    thought("a", 1, "so", is_open=True, tokens=9),
    thought("a", 2, "hm"),
    thought("a", 3, "well", is_open=True),
    answered("a", 0, "hm", "2", prompt_tokens=11),
    answered("a", 0, "so", "3", prompt_tokens=13),
    answered("a", 1, "hm", "3", prompt_tokens=11),
]


def test_a_thought_and_its_answer_are_one_sample(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(lines(tmp_path / "pool.jsonl", SPLIT), problems, price=Price(1, 2))
    coverage = source.curves["coverage"]
    assert coverage.values.tolist() == [[0.25, 0.5, 1.0]]
    assert coverage.costs is not None
    assert coverage.costs[0].tolist() == [7.5, 15.0, 30.0]  # 9 + 2, twice 5 + 2, and one of 5 that was cut
    assert coverage.money is not None
    again = (11 + 13 + 11) / 4
    assert coverage.money[0].tolist() == pytest.approx([(4 + again * k + 15 * k) / 1e6 for k in (1, 2, 4)])
    assert source.silence.startswith("1 of 4, of them 1 cut")


def test_where_samples_hold_thoughts_the_shortest_has_a_curve(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(lines(tmp_path / "pool.jsonl", SPLIT), problems)
    assert source.curves["shortest"].values[0] == pytest.approx([1 / 4, 2.5 / 6, 1 / 2]), "one that was cut is last"
    said = "shortest is Shortest(1, n=k), which gives up the others when one is done: it writes 30 tokens per problem"
    assert f"{said} at k = 4" in remarks(source)
    for more in ({"thought": "hm"}, {"text": "<think>hm</think>2"}):
        row = sample("a", 0, "2") | more
        assert "shortest" in read(lines(tmp_path / "pool.jsonl", [row | {"tokens": 5}]), problems).curves
        assert "shortest" not in read(lines(tmp_path / "pool.jsonl", [row]), problems).curves


def test_the_lines_of_thoughts_and_answers_may_be_in_any_order(tmp_path: Path, problems: ProblemFile) -> None:
    one, other = (read(lines(tmp_path / "pool.jsonl", rows), problems) for rows in (SPLIT, SPLIT[::-1]))
    assert one.curves["coverage"].values.tolist() == other.curves["coverage"].values.tolist()
    assert one.silence == other.silence


def test_thoughts_alone_are_no_samples(tmp_path: Path, problems: ProblemFile) -> None:
    with pytest.raises(InputError, match="holds thoughts without their answers"):
        read(lines(tmp_path / "pool.jsonl", SPLIT[:1]), problems)


@pytest.mark.parametrize("missing", [-1, -2])
def test_an_answer_that_is_still_to_be_drawn_is_no_wrong_one(
    tmp_path: Path, problems: ProblemFile, missing: int
) -> None:
    """Neither behind a thought that ended, nor behind one that was ended where others have been."""
    other = [row | {"problem": "b"} for row in SPLIT]
    pool = lines(tmp_path / "pool.jsonl", [*(row for row in SPLIT if row is not SPLIT[missing]), *other])
    with pytest.raises(InputError, match="problem 'a' has 3 samples, and 4 are needed: draw the rest"):
        read(pool, problems)


@pytest.mark.parametrize("family", ["qwen3", "gpt-oss", "deepseek-r1"])
def test_the_pool_and_the_run_of_a_model_whose_thoughts_are_limited_give_the_same_curves(
    tmp_path: Path, problems: ProblemFile, family: str
) -> None:
    replies = [FAMILIES[family].written("Hm. " * n, f"The answer is {n}.", is_open=False) for n in (1, 2, 3, 4)]

    def thinks(request: Request) -> str:
        written = "".join(map(chr, request.tokens))
        whole = replies[request.draw % 4]
        return (
            whole.removeprefix(written)
            if written and whole.startswith(written)
            else whole
            if not written
            else "The answer is 4."
        )

    path, pool = tmp_path / "run", tmp_path / "pool.jsonl"
    model = Recorded(pool, of=Scripted(thinks, thinking=family))
    asyncio.run(ran(path, Vote(8, of=Model(thinking=10)), problems, model=model))
    found, played = (read(each, problems, price=Price(1, 2)) for each in (path, pool))
    spent = [row.usage.prompt_tokens + 2 * row.usage.completion_tokens for row in read_solutions(path)]
    for curve, other in zip(found.curves.values(), played.curves.values(), strict=True):
        assert curve.values.tolist() == other.values.tolist()
        assert curve.money is not None
        assert other.money is not None
        assert curve.money.tolist() == other.money.tolist()
        assert curve.money[:, -1].tolist() == pytest.approx([each / 1e6 for each in spent])
    assert found.curves["coverage"].ks == (1, 2, 4, 8)
    assert 0 < found.curves["coverage"].means[0] < 1


@pytest.mark.parametrize("tokens", [20, 30, 40, 2000])
@pytest.mark.parametrize("of", [Model(thinking=12), Model(stop=(" is",)), Model(thinking=12, max_tokens=40)])
def test_a_run_and_its_report_have_the_same_samples_where_an_answer_finds_no_room(
    tmp_path: Path, problems: ProblemFile, tokens: int, of: Model
) -> None:
    path, strategy = tmp_path / "run", Vote(3, of=Within(tokens=tokens, of=of))
    asyncio.run(ran(path, strategy, problems, model=Thinker(12)))
    rows = list(read_solutions(path))
    assert sum(row.lost for row in rows) == 0
    found = gather(path, problems)
    assert found.samples.n == 3
    unanswered, cut = (sum(getattr(row, name) for row in rows) for name in ("unanswered", "cut"))
    assert found.silence == silence(unanswered, 6, cut)


def test_a_thought_whose_answer_was_lost_is_no_sample(tmp_path: Path, problems: ProblemFile) -> None:
    class Failing(Thinker):
        def _go_on(self, request: Request) -> str:
            if request.draw % 3 == 1 and not request.sampling.thought_only:
                raise GenerationError("it broke")
            return super()._go_on(request)

    path = asyncio.run(ran(tmp_path / "run", Vote(3, of=Model(thinking=12)), problems, model=Failing(12)))
    assert [row.lost for row in read_solutions(path)] == [1, 1]
    assert gather(path, problems).samples.n == 2


def test_a_verdict_that_the_grader_does_not_reach_counts_as_wrong_and_is_said(
    tmp_path: Path, problems: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def undecided(answer: str, reference: str, seconds: float) -> bool | None:
        return None if answer == "5" else True

    monkeypatch.setattr("metagen.answers.kinds.graded", lambda *_: None)
    monkeypatch.setattr("metagen.answers.kinds.grade", undecided)
    source = read(lines(tmp_path / "pool.jsonl", POOL), problems)
    assert source.curves["coverage"].at(1).tolist() == [0.5, 0.5]
    assert "counted as wrong for lack of a grader's verdict: 1 sample" in source.notes


async def shorter(problem: Problem, candidates: Any, run: Run) -> list[Score | None]:
    """Asks the model too, as a judge does, which draws no sample."""
    await run.ask(Model(), problem.asking("Is it so?"))
    return [None if "none" in candidate.text else Score(-float(len(candidate.text))) for candidate in candidates]


async def stepwise(problem: Problem, run: Run) -> Candidate:
    first = await run.ask(None, problem)
    return await run.ask(None, problem.asking(f"Check: {first.text}"))


REPLIES = ["The answer is 2, since 1 + 1 is 2.", "The answer is 3.", "none", "The answer is 2."]


async def ran(
    path: Path,
    strategy: Generator,
    problems: ProblemFile,
    *,
    account: Account | None = None,
    model: Backend | None = None,
    **settings: Any,
) -> Path:
    backend = model or Scripted(lambda request: REPLIES[request.draw % 4], **settings)
    with RunDirectory(path, {"problems": f"problems.jsonl ({problems.check().digest})"}) as run:
        async with backend:
            async for solution in solve_all(list(problems)[:2], strategy, backend, concurrency=1, account=account):
                run.add(solution)
    return path


@pytest.mark.parametrize(
    ("strategy", "right"),
    [(Vote(4), True), (BestOf(4, by=shorter), False), (Vote(2, of=BestOf(2, by=shorter)), False), (CoT(), True)],
)
def test_the_samples_of_a_run_are_those_drawn_at_the_bottom(
    tmp_path: Path, problems: ProblemFile, strategy: Generator, right: bool
) -> None:
    source = read(asyncio.run(ran(tmp_path / "run", strategy, problems)), problems)
    n = 1 if isinstance(strategy, CoT) else 4
    assert source.ids == ("a", "b")
    assert source.curves["coverage"].at(1).tolist() == [[0.5, 1.0][n == 1], 0.0]
    assert source.correct == {"a": right, "b": False}
    assert source.scored_by == (VERIFIER if "by" in repr(strategy) else "")
    costs = source.curves["coverage"].costs
    assert costs is not None
    assert costs[0, 0] == pytest.approx(np.mean([len(reply) for reply in REPLIES[:n]]))


def test_a_run_that_was_killed_is_reported_on_up_to_where_it_came(tmp_path: Path, problems: ProblemFile) -> None:
    path = asyncio.run(ran(tmp_path / "run", Vote(4), problems))
    with (path / "solutions.jsonl").open("a") as file:
        file.write('{"problem": "c", "ans')
    source = read(path, problems)
    assert (source.ids, source.correct) == (("a", "b"), {"a": True, "b": False})
    note = "the last line of solutions.jsonl was cut short and is left out: the command that made the run continues it"
    assert note in source.notes
    with (path / "solutions.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match=r"solutions.jsonl, line 3: is not JSON"):
        read(path, problems)


def test_samples_that_a_budget_had_drawn_one_by_one_are_in_the_report(tmp_path: Path, problems: ProblemFile) -> None:
    account = Account(Budget(tokens=1000))  # which has no room for the longest replies of all four
    path = asyncio.run(ran(tmp_path / "run", Vote(4), problems, account=account))
    assert ".single." in (path / "trace.jsonl").read_text()
    free = asyncio.run(ran(tmp_path / "free", Vote(4), problems))
    source, whole = read(path, problems), read(free, problems)
    for rule in whole.curves:
        assert source.curves[rule].values.tolist() == whole.curves[rule].values.tolist()


def test_what_a_budget_left_unfinished_is_in_no_report(tmp_path: Path, problems: ProblemFile) -> None:
    path = asyncio.run(ran(tmp_path / "run", Vote(4), problems))
    rows = [json.loads(line) for line in (path / "solutions.jsonl").read_text().splitlines()]
    lines(path / "solutions.jsonl", [rows[0], rows[1] | {"unfinished": True}])
    source = read(path, problems)
    assert (source.ids, source.correct) == (("a",), {"a": rows[0]["correct"]})


async def test_at_all_samples_a_report_and_a_run_agree_but_on_ties(tmp_path: Path) -> None:
    """As the foot of a report says: a tie counts by its share of right samples, and a run takes what came first."""
    rng = np.random.default_rng(0)
    rows = [{"id": f"p{number}", "prompt": f"{number}?", "answer": "2"} for number in range(200)]
    said = {(row["id"], draw): int(rng.integers(1, 4)) for row in rows for draw in range(5)}
    problems = ProblemFile(lines(tmp_path / "problems.jsonl", rows))
    backend = Scripted(lambda request: f"The answer is {said[request.problem, request.draw]}.")
    with RunDirectory(tmp_path / "run", {"problems": f"problems.jsonl ({problems.check().digest})"}) as run:
        async for solution in solve_all(problems, Vote(5), backend):
            run.add(solution)
    source = await asyncio.to_thread(read, tmp_path / "run", problems)
    assert source.correct is not None
    ties = 0
    for place, value in enumerate(source.curves["majority"].at(5).tolist()):
        votes = Counter(said[source.ids[place], draw] for draw in range(5))
        best = [answer for answer, count in votes.items() if count == max(votes.values())]
        assert value == pytest.approx((2 in best) / len(best))
        ties += len(best) > 1
        assert len(best) > 1 or value == source.correct[source.ids[place]]
    assert ties > 20


def test_verdicts_of_a_run_choose_the_best_of_its_samples(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(asyncio.run(ran(tmp_path / "run", BestOf(4, by=shorter), problems)), problems)
    # By length: "… is 3.", "… is 2." are equal, the long one is last but for that without a verdict.
    assert source.curves["best-of"].at(4) == pytest.approx([0.5, 0.0])
    assert "weighted vote" not in source.curves
    assert source.notes[-1] == "scores are negative or infinite, so they weigh no votes"


def test_a_reply_of_a_run_that_was_cut_off_has_no_answer_at_its_end(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(asyncio.run(ran(tmp_path / "run", Vote(4, of=Model(max_tokens=15)), problems)), problems)
    assert source.curves["coverage"].at(1).tolist() == [0.0, 0.0]


def test_the_oracle_of_a_run_is_a_verifier_that_reaches_coverage(tmp_path: Path, problems: ProblemFile) -> None:
    source = read(asyncio.run(ran(tmp_path / "run", BestOf(4, by=MatchesReference()), problems)), problems)
    assert source.curves["best-of"].values == pytest.approx(source.curves["coverage"].values)


def test_a_run_whose_samples_cannot_be_told_apart_is_refused(tmp_path: Path, problems: ProblemFile) -> None:
    path = asyncio.run(ran(tmp_path / "run", Vote(2, of=stepwise), problems))
    with pytest.raises(
        InputError, match=r"problem 'a': its strategy sends more than one prompt, .* `metagen sample --of`$"
    ):
        read(path, problems)
    path = asyncio.run(ran(tmp_path / "parts", Shortest(1, n=2, every=9), problems))
    with pytest.raises(InputError, match=r": compare strategies that write a reply in parts with `metagen sweep`$"):
        read(path, problems)


@pytest.mark.parametrize("names", [("small", "large"), ("same", "same")])
def test_a_run_that_asks_several_models_is_refused(
    names: tuple[str, str], tmp_path: Path, problems: ProblemFile
) -> None:
    small, large = (Scripted("The answer is 2.", name=name) for name in names)
    strategy = Vote(4, of=Panel((Model("small"), Model("large"))))

    async def run() -> None:
        with RunDirectory(tmp_path / "run", {"problems": f"problems.jsonl ({problems.check().digest})"}) as run:
            async for solution in solve_all(list(problems)[:2], strategy, {"small": small, "large": large}):
                run.add(solution)

    asyncio.run(run())
    with pytest.raises(InputError, match=r"problem '[ab]': its strategy asks more than one model"):
        read(tmp_path / "run", problems)


def test_a_folder_that_is_no_run_of_these_problems_is_refused(tmp_path: Path, problems: ProblemFile) -> None:
    with pytest.raises(InputError, match="is neither a pool of samples nor a run's folder"):
        read(tmp_path, problems)
    path = asyncio.run(ran(tmp_path / "run", Vote(4), problems))
    others = ProblemFile(lines(tmp_path / "others.jsonl", PROBLEMS[:3]))
    with pytest.raises(InputError, match=r"went over problems.jsonl \(\w+\), and .*others.jsonl is another file"):
        read(path, others)


def test_a_published_pool_gives_its_published_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PUBLISHED.exists():
        pytest.skip("needs the published pool")

    async def never(*_: object) -> bool:
        return False

    # All references are whole numbers, so what is no number is wrong: no symbolic check, with a limit by the clock.
    monkeypatch.setattr("metagen.answers.grade.compare", never)
    published = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    names = [{"id": str(row["i"]), "prompt": row["question"], "answer": row["gold"]} for row in published]
    pool = [
        {"problem": str(row["i"]), "prompt": row["question"], "draw": draw, "text": drawn["text"]}
        | {"end": "length" if drawn["finish_reason"] == "length" else "eos", "tokens": drawn["n_tokens"]}
        for row in published
        for draw, drawn in enumerate(row["trajectories"])
    ]
    source = read(lines(tmp_path / "pool.jsonl", pool), ProblemFile(lines(tmp_path / "problems.jsonl", names)))
    curves = source.curves
    assert 100 * curves["coverage"].means == pytest.approx([36.1, 47.2, 57.3, 66.8, 74.5], abs=0.3)
    assert 100 * curves["majority"].means == pytest.approx([36.1, 40.6, 47.1, 52.8, 54.8], abs=1.0)
    costs = curves["majority"].costs
    assert costs is not None
    assert costs[:, -1].sum() == pytest.approx(985_545)


def test_a_pool_is_read_by_the_answers_of_its_problems(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "a", "prompt": "How?", "answer": "Positive"},
        {"id": "b", "prompt": "How?", "answer": "negative"},
    ]
    file = ProblemFile(lines(tmp_path / "labels.jsonl", rows), answers='Label("positive", "negative")')
    texts = {"a": ["positive", "It is positive.", "negative"], "b": ["hm", "negative", "Negative!"]}
    pool = [
        {"problem": name, "prompt": "How?", "draw": draw, "text": text}
        for name in texts
        for draw, text in enumerate(texts[name])
    ]
    source = read(lines(tmp_path / "pool.jsonl", pool), file)
    assert source.curves["majority"].at(1).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert source.silence.startswith("1 of 6, of them 0 cut")


def test_a_run_is_read_as_it_was_solved(tmp_path: Path) -> None:
    path = lines(tmp_path / "labels.jsonl", [{"id": "a", "prompt": "How?", "answer": "positive"}])
    file = ProblemFile(path, answers='Label("positive", "negative")')
    configuration = {"problems": f"labels.jsonl ({file.check().digest})", "answers": file.kind}
    solution = asyncio.run(solve(next(iter(file)), Vote(2), Scripted("positive")))
    with RunDirectory(tmp_path / "run", configuration) as run:
        run.add(solution)
    assert read(tmp_path / "run", file).curves["coverage"].at(1).tolist() == [1.0]
    with pytest.raises(InputError, match=r"its answers were read as Label.*: give --answers"):
        read(tmp_path / "run", ProblemFile(path))


def last_number(text: str) -> str | None:
    """A function of the user's, which fails on some texts."""
    return str(int(text.rsplit(maxsplit=1)[-1]))


class Fussy(Text):
    """A kind of the user's, whose keys and comparisons fail on some answers."""

    def key(self, answer: str) -> str:
        if answer == "bad key":
            raise KeyError(answer)
        return answer

    async def equal(self, answer: str, reference: str) -> bool | None:
        if answer == "bad answer":
            raise OSError(answer)
        return answer == reference


OWN: dict[str, Any] = {"last_number": last_number, "fussy": Fussy()}


@pytest.mark.parametrize("source", ["pool", "run"])
def test_a_sample_that_its_kind_cannot_read_costs_no_other(tmp_path: Path, source: str) -> None:
    path = lines(tmp_path / "p.jsonl", [{"id": "a", "prompt": "?", "answer": "2"}])
    file = ProblemFile(path, answers="last_number").reading(OWN)
    texts = ["It is 2", "It is 3", "It is two", "It is 2"]
    if source == "pool":
        place = lines(tmp_path / "pool.jsonl", [{"problem": "a", "text": text} for text in texts])
    else:
        configuration = {"problems": f"p.jsonl ({file.check().digest})", "answers": file.kind}
        solution = asyncio.run(solve(next(iter(file)), Vote(4), Scripted(lambda request: texts[request.draw])))
        with RunDirectory(place := tmp_path / "run", configuration) as run:
            run.add(solution)
    found = read(place, file)
    assert found.curves["coverage"].at(1).tolist() == [0.5]
    assert found.curves["majority"].at(4).tolist() == [1.0]
    why = "last_number: ValueError: invalid literal for int() with base 10: 'two'"
    assert f"counted as wrong for lack of a grader's verdict: 1 sample ({why})" in found.notes
    assert found.silence == ""


@pytest.mark.parametrize(
    ("text", "unjudged", "why"),
    [
        ("bad key", 1, "Fussy: KeyError: 'bad key'"),
        ("bad answer", 1, "Fussy: OSError: bad answer"),
    ],
)
def test_a_kind_that_cannot_compare_gives_no_verdict(tmp_path: Path, text: str, unjudged: int, why: str) -> None:
    rows = [{"id": name, "prompt": "?", "answer": "2"} for name in "ab"]
    file = ProblemFile(lines(tmp_path / "p.jsonl", rows), answers="Own()").reading({"Own": Fussy})
    texts = {"a": ["2", text, "3"], "b": ["2", "3", "2"]}
    pool = [{"problem": name, "text": each} for name in texts for each in texts[name]]
    found = read(lines(tmp_path / "pool.jsonl", pool), file)
    assert found.curves["coverage"].at(1)[1] == pytest.approx(2 / 3)
    assert (
        f"counted as wrong for lack of a grader's verdict: {unjudged} sample{'' if unjudged == 1 else 's'} ({why})"
        in found.notes
    )


async def failing(problem: Problem, candidates: Any, run: Run) -> list[Score | None]:
    raise VerifierError("the judge is asleep")


def test_a_grade_that_fails_is_no_verdict(tmp_path: Path, problems: ProblemFile) -> None:
    found = read(lines(tmp_path / "pool.jsonl", POOL[:4]), problems, grade=failing)
    assert found.curves["coverage"].at(1).tolist() == [0.0, 0.0]
    assert "counted as wrong for lack of a grader's verdict: 4 samples (the judge is asleep)" in found.notes


def test_a_grade_by_the_reference_keeps_its_limit(
    tmp_path: Path, problems: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: set[float] = set()

    async def compare(reference: str, answer: str, seconds: float) -> bool | None:
        limits.add(seconds)
        return False

    monkeypatch.setattr("metagen.answers.grade.compare", compare)
    path = lines(tmp_path / "pool.jsonl", [sample("a", 0, "$2x$"), sample("d", 0, "$2x$")])
    source = read(path, problems, grade=MatchesReference(seconds=60))
    assert limits == {60}
    assert source.ids == ("a",)
    assert "left out for lack of a reference answer: 1 problem" in source.notes
    limits.clear()
    assert read(path, problems, grade=MatchesReference()).ids == ("a",)
    assert limits == {5}


def test_a_grade_reads_the_score_that_a_pool_holds(tmp_path: Path, problems: ProblemFile) -> None:
    scored = [sample("a", draw, "9", score=float(draw == 0)) for draw in range(4)]
    found = read(lines(tmp_path / "pool.jsonl", scored), problems, grade=RecordedScore())
    assert found.curves["coverage"].at(1).tolist() == [0.25]


def test_a_grade_without_any_verdict_is_no_table_of_zeros(tmp_path: Path, problems: ProblemFile) -> None:
    pool = lines(tmp_path / "pool.jsonl", [sample("a", draw, "2") for draw in range(4)])
    with pytest.raises(InputError, match=r"pool.jsonl: RecordedScore\(\) has no verdict on any sample"):
        read(pool, problems, grade=RecordedScore())


def test_samples_that_count_no_tokens_are_noted(tmp_path: Path, problems: ProblemFile) -> None:
    some = [sample("a", 0, "2", tokens=9), sample("b", 0, "4")]
    notes = read(lines(tmp_path / "some.jsonl", some), problems).notes
    assert "the samples of 1 problem count no tokens, so costs are not compared" in notes
    pool = lines(tmp_path / "none.jsonl", [sample("a", 0, "2")])
    assert "the samples count no tokens, so their costs are not known" in read(pool, problems, price=Price(1, 1)).notes
    assert not any("count no tokens" in note for note in read(pool, problems).notes)
