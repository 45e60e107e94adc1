"""`metagen choose` without a pool: it draws one, and runs what no pool can stand for."""

import json
from pathlib import Path

import pytest

from metagen.cli.race import SHARE
from metagen.disk.runs import read_solutions
from tests import test_cli
from tests.test_cli import Command, lines

folder, metagen = test_cli.folder, test_cli.metagen
MODEL = """
from metagen import Candidate, Scripted
from random import Random


def model():
    def script(request):
        return f"The answer is {7 if Random(f'{request.problem} {request.draw}').random() < 0.4 else request.draw}."

    return Scripted(script, name="half")


async def cheat(problem, run):
    '''Asks once, and says what is right.'''
    await run.ask(None, problem)
    return Candidate(("The answer is 7.",))
"""


FLAKY = """
from pathlib import Path
from metagen import GenerationError, Scripted


def model():
    def script(request):
        if request.draw == 3 and request.problem == "p2" and not Path("asked.txt").exists():
            Path("asked.txt").write_text("")
            raise GenerationError("busy")
        return "The answer is 7."

    return Scripted(script)
"""


@pytest.fixture
def many(folder: Path) -> None:
    (folder / "many.jsonl").write_text(
        lines(*({"id": f"p{number}", "prompt": f"Question {number}?", "answer": 7} for number in range(40)))
    )
    (folder / "half.py").write_text(MODEL)


CHOOSE = ("choose", "many.jsonl", "--load", "half.py", "-m", "model", "--n", "8", "--also", "cheat", "--out", "made")


@pytest.mark.usefixtures("many")
def test_a_pool_is_drawn_and_other_strategies_are_run_within_a_tenth(metagen: Command, folder: Path) -> None:
    code, out, _ = metagen(*CHOOSE, "--budget", "4 samples")
    assert code == 0
    assert "40 problems, 8 samples each of made/pool.jsonl" in out
    assert "Better than the pool at equal cost, beyond chance: cheat." in out
    share = float(out.partition(" tokens, ")[2].partition(" %")[0]) / 100
    assert 0 < share <= SHARE
    assert "metagen solve many.jsonl --model model --load half.py --strategy " in out
    assert "Refine()" in (folder / "made/choice.md").read_text()
    drawn = (folder / "made/pool.jsonl").read_text()
    again = metagen(*CHOOSE, "--budget", "4 samples")
    assert again.code == 0
    assert (folder / "made/pool.jsonl").read_text() == drawn
    assert again.out.partition("This choice cost")[2] == out.partition("This choice cost")[2]


THINKER = """
from metagen import Scripted


def thinker():
    def script(request):
        if request.tokens:
            return f"The answer is {7 if request.draw % 2 else 8}."
        return "<think>\\nHm. Hm. Hm.\\n</think>\\n\\nThe answer is 8."

    return Scripted(script, thinking="think")


async def careful(problem, candidates, run):
    return [float(each.text == "The answer is 7.") for each in candidates]
"""


@pytest.mark.usefixtures("many")
def test_a_choice_counts_both_requests_of_a_thought_that_is_limited(metagen: Command, folder: Path) -> None:
    (folder / "thinker.py").write_text(THINKER)
    drawn = ("--of", "Model(thinking=12)", "--n", "4", "--by", "careful", "--out", "made")
    found = metagen("choose", "many.jsonl", "--load", "thinker.py", "-m", "thinker", *drawn)
    assert found.code == 0, found.err
    assert "Until(careful, of=Model(thinking=12), limit=4)" in (folder / "made/choice.csv").read_text()
    spec = "Vote(4, of=Model(thinking=12))"
    rows = json.loads((folder / "made/choice.json").read_text())
    (row,) = (each for each in rows if each["strategy"] == spec)
    run = ("solve", "many.jsonl", "--load", "thinker.py", "-m", "thinker", "--strategy", spec, "--out", "run")
    assert metagen(*run).code == 0
    spent = [solution.usage.tokens for solution in read_solutions(folder / "run")]
    assert row["tokens"] == pytest.approx(sum(spent) / len(spent))
    again = metagen("choose", "made/pool.jsonl", "--problems", "many.jsonl", "--load", "thinker.py", "--by", "careful")
    assert again.code == 0, again.err
    assert "its sampling settings are left out (its thoughts were drawn by themselves): name with --of" in again.err


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("choose", "many.jsonl", "many.jsonl"), "without --problems there is one file of problems"),
        (("choose", "pool.jsonl", "--problems", "problems.jsonl", "--limit", "3"), "--limit is for drawing a pool"),
        (("choose", "pool.jsonl", "--problems", "problems.jsonl", "--seed", "0"), "--seed is for drawing a pool"),
        ((*CHOOSE, "--also", "Vot(3)"), "'Vot' is not known: did you mean Vote?"),
        ((*CHOOSE, "--by", "Pairwise()"), "--by Pairwise(): compares samples with each other"),
        (("choose", "missing.jsonl"), "missing.jsonl: there is no such file"),
        ((*CHOOSE, "--budget", "$0.01"), "a budget in money needs the price of half"),
        (
            ("choose", "many.jsonl", "-m", "http://localhost:1/v1#m", "--out", "made", "--budget", "2e9 FLOPs"),
            "a budget in FLOPs needs the sizes of m",
        ),
        (
            (*CHOOSE, "--grade", "Judge()"),
            "--grade Judge(): asks a model, and samples that are there are graded without",
        ),
        ((*CHOOSE, "--answer-field", "id", "--limit", "1"), "has 1 problem with a reference answer"),
        ((*CHOOSE, "--of", 'Panel((Model(), Model("judge")))', "-m", "judge=Scripted:7"), "asks several models"),
        ((*CHOOSE, "--of", "Think(64)"), "--of Think(64): a choice is estimated from single samples"),
        ((*CHOOSE, "--of", "CoT(of=Vote(2))"), "and run other strategies beside it with --also"),
        ((*CHOOSE, "--of", "Refine()"), "a choice is estimated from single samples"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    metagen: Command, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = metagen(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert not (folder / "made").exists()


@pytest.mark.usefixtures("many")
def test_where_no_other_strategy_was_run_there_is_no_table_of_them(metagen: Command, folder: Path) -> None:
    code, out, _ = metagen("choose", "many.jsonl", "-m", "Scripted:The answer is 7.", "--n", "4", "--out", "made")
    assert code == 0
    assert "No other strategy is compared: either the choice would then cost more than 10% of running every" in out
    assert "after each lap" not in out
    assert "after each lap" not in (folder / "made/choice.md").read_text()


@pytest.mark.usefixtures("many")
def test_a_verifier_judges_the_problems_that_were_drawn_alone(metagen: Command) -> None:
    code, out, err = metagen(*CHOOSE, "--limit", "12", "--by", "MatchesReference()")
    assert code == 0
    assert "12 problems, 8 samples each" in out
    assert "Failed" not in err


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "drawn",
    [
        ("--of", "Model(temperature=0.7)"),
        ("--of", "CoT()"),
        ("--template", "asked.txt"),
        ("--system", "Be brief."),
    ],
)
def test_a_verifier_judges_samples_however_they_were_drawn(
    metagen: Command, folder: Path, drawn: tuple[str, ...]
) -> None:
    (folder / "asked.txt").write_text("Please answer: {prompt}")
    code, out, err = metagen(*CHOOSE, "--limit", "6", "--by", "MatchesReference()", *drawn)
    assert (code, "Failed" in err) == (0, False), err
    assert "Until(MatchesReference()" in out


@pytest.mark.usefixtures("many")
def test_nothing_is_chosen_where_the_drawing_left_samples_out(metagen: Command, folder: Path) -> None:
    (folder / "flaky.py").write_text(FLAKY)
    call = ("choose", "many.jsonl", "--load", "flaky.py", "-m", "model", "--n", "4", "--limit", "6", "--out", "made")
    code, _, err = metagen(*call)
    assert code == 1
    assert "Short of samples: 1 of 6 problems. Run the same command to draw the rest." in err
    assert "To choose from what is there: metagen choose made/pool.jsonl --problems many.jsonl" in err
    assert not (folder / "made/choice.md").exists()
    assert metagen(*call).code == 0


@pytest.mark.usefixtures("many")
def test_a_pool_that_counts_no_tokens_is_chosen_from_and_nothing_else_is_run(metagen: Command, folder: Path) -> None:
    rows = [{"problem": f"p{number}", "text": f"The answer is {7 + number % 2}."} for number in range(6)] * 4
    (folder / "elsewhere.jsonl").write_text(lines(*rows))
    call = ("choose", "many.jsonl", "--model", "elsewhere.jsonl", "--n", "4", "--limit", "6", "--out", "made")
    code, out, err = metagen(*call)
    assert (code, err.count("Traceback")) == (0, 0)
    assert "No other strategy was run: the samples count no tokens" in out


@pytest.mark.usefixtures("many")
def test_what_is_drawn_and_run_is_of_the_model_that_is_named(metagen: Command, folder: Path) -> None:
    models = ("-m", "a=Scripted:The answer is 3.", "-m", "b=model", "--of", 'Model("b")')
    call = ("choose", "many.jsonl", "--load", "half.py", *models, "--n", "8", "--out", "made")
    code, out, _ = metagen(*call)
    assert code == 0
    assert 'of=Model("b")' in out
    assert {json.loads(line)["model"] for line in (folder / "made/pool.jsonl").read_text().splitlines()} == {"half"}
    runs = [json.loads(path.read_text())["strategy"] for path in (folder / "made").glob("*/run.json")]
    assert runs == ['Refine(of=Model("b"))']


@pytest.mark.usefixtures("many")
def test_what_was_run_is_in_the_folder(metagen: Command, folder: Path) -> None:
    assert metagen(*CHOOSE).code == 0
    runs = [json.loads(path.read_text())["strategy"] for path in (folder / "made").glob("*/run.json")]
    assert sorted(runs) == ["Refine()", "cheat"]


@pytest.mark.usefixtures("many")
def test_a_budget_in_seconds_needs_no_pace(metagen: Command, folder: Path) -> None:
    code, out, err = metagen(*CHOOSE, "--budget", "1000 s")
    assert (code, err.count("Traceback")) == (0, 0)
    assert "One sample alone is written at " in out
    measured = json.loads((folder / "made/pace.json").read_text())
    rows = json.loads((folder / "made/choice.json").read_text())
    (vote,) = [row for row in rows if row["strategy"] == "Vote(4)"]
    assert vote["seconds"] == pytest.approx(vote["depth"] / measured["tokens_per_second"], rel=1e-4)
    again = metagen(*CHOOSE, "--budget", "1000 s")
    assert json.loads((folder / "made/pace.json").read_text()) == measured
    assert again.out.partition("This choice cost")[2] == out.partition("This choice cost")[2]


@pytest.mark.usefixtures("many")
def test_the_race_is_over_the_problems_that_have_a_reference(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "many.jsonl").read_text().splitlines()]
    for row in rows[:14]:
        del row["answer"]
    (folder / "many.jsonl").write_text(lines(*rows))
    code, _, err = metagen(*CHOOSE)
    assert code == 0
    assert "left out for lack of a verdict" not in err
    files = (folder / "made").glob("*/solutions.jsonl")
    ran = {json.loads(line)["problem"] for path in files for line in path.read_text().splitlines()}
    assert ran
    assert not ran & {f"p{number}" for number in range(14)}


@pytest.mark.usefixtures("many")
def test_a_verifier_is_checked_over_what_draws_the_pool(metagen: Command, folder: Path) -> None:
    call = (*CHOOSE[:-4], "--limit", "12", "--by", "MeanLogprob()", "--out", "made")
    code, _, err = metagen(*call)
    assert (code, (folder / "made").exists()) == (2, False)
    assert "sample with of=Model(logprobs=True)" in err
    err = metagen(*call, "--of", "Model(logprobs=True)").err
    assert "sample with of=" not in err
    drawn = [json.loads(line) for line in (folder / "made/pool.jsonl").read_text().splitlines()]
    assert len(drawn) == 12 * 8
    assert all(each["logprobs"] for each in drawn)


JUDGED = """
from random import Random
from re import search
from metagen import Scripted


def model():
    def script(request):
        if said := search(r"answer is (\\d)", request.prompt):
            return "Yes" if said[1] == "7" else "No"
        return f"The answer is {7 if Random(f'{request.problem} {request.draw}').random() < 0.4 else 3}."

    return Scripted(script)
"""


@pytest.mark.usefixtures("many")
def test_a_judge_without_a_name_asks_the_model_that_drew(metagen: Command, folder: Path) -> None:
    (folder / "half.py").write_text(JUDGED)
    code, _, err = metagen(*CHOOSE[:-4], "--limit", "12", "--by", "Judge()", "--out", "made")
    assert code == 0, err
    rows = {row["strategy"]: row for row in json.loads((folder / "made/choice.json").read_text())}
    found = rows["Until(MatchesReference(), limit=8)"]["right"]
    assert rows['BestOf(8, by=Judge(of=Model("model")))']["right"] == found > rows["Vote(8)"]["right"]
