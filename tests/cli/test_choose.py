"""`metagen choose`: what it says of a pool, and what it refuses."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metagen import InputError, parse
from metagen.analysis.arms import arms, pool_of
from metagen.analysis.curve import Samples
from metagen.cli.choose import Amount, find, sentences
from metagen.models import SMALL
from tests import test_cli
from tests.test_cli import ANSWERS, PROBLEMS, Command, lines

folder, metagen = test_cli.folder, test_cli.metagen
CHOOSE = ("choose", "pool.jsonl", "--problems", "problems.jsonl")


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1000 tokens", 1000, "tokens"),
        ("2e9 FLOPs", 2e9, "FLOPs"),
        ("$0.01", 0.01, "money"),
        ("5 s", 5, "seconds"),
        ("1,000 samples", 1000, "samples"),
    ],
)
def test_a_budget_is_an_amount_of_something(text: str, value: float, unit: str) -> None:
    assert Amount.parse(text) == Amount(value, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["1000", "0 tokens", "tokens", "$", "-1 s", "5 apples", "nan s", "inf tokens"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write an amount per problem, such as '1000 tokens'"):
        Amount.parse(text)


@pytest.mark.parametrize(
    ("rivals", "said"),
    [
        ((), "no other is within chance of it."),
        ((0,), "one other is within chance of it, Model() at 25 % of its cost."),
        ((0, 1), "2 others are within chance of it, the cheapest Model() at 25 % of its cost."),
    ],
)
def test_rivals_of_a_choice_are_counted_in_words(rivals: tuple[int, ...], said: str) -> None:
    right = np.array([[True, False, True, True], [True, True, False, True]])
    found = find("title", arms(pool_of(Samples(np.where(right, 0, 1), right))), lambda _: (), None)
    costs = np.tile([1.0, 2.0, 4.0], (2, 1))
    found = replace(found, costs=costs, choice=replace(found.choice, cost=4.0, rivals=rivals))
    assert found.arms[0].spec == "Model()"
    assert said in " ".join(sentences(found))


def test_a_pool_says_what_to_use(metagen: Command, folder: Path) -> None:
    code, out, err = metagen(*CHOOSE, "--budget", "50 tokens", "--out", "made")
    assert (code, err) == (0, "")
    assert "For 50 tokens per problem: " in out
    rows = json.loads((folder / "made/choice.json").read_text())
    (chosen,) = [row for row in rows if row["chosen"]]
    assert f"metagen solve problems.jsonl --model MODEL --strategy '{chosen['strategy']}'" in out
    assert all(repr(parse(row["strategy"])) == row["strategy"] for row in rows)
    assert chosen["tokens"] <= 50
    assert not chosen["bound"]
    # p1 is always right; of p2 half, of p3 a quarter, of p4 none.
    assert next(row["right"] for row in rows if row["strategy"] == "Model()") == pytest.approx(7 / 16)
    assert (folder / "made/choice.png").stat().st_size > 1000
    assert metagen(*CHOOSE, "--out", "made").code == 0


def test_samples_without_an_answer_are_counted_as_such(metagen: Command, folder: Path) -> None:
    pool = (folder / "pool.jsonl").read_text().splitlines()
    silent = [json.dumps(json.loads(line) | {"text": "No idea."}) for line in pool[:2]]
    (folder / "pool.jsonl").write_text("\n".join([*silent, *pool[2:]]) + "\n")
    code, _, err = metagen(*CHOOSE)
    assert code == 0
    assert f"pool.jsonl: no answer: 2 of {len(pool)}, of them 0 cut" in " ".join(err.split())


def test_the_command_reads_and_grades_as_the_choice_did(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    named = [{"q": row.pop("prompt"), "a": row.pop("answer"), **row} for row in rows]
    (folder / "named.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in named))
    fields = ("--prompt-field", "q", "--answer-field", "a", "--answers", "Number()")
    code, out, _ = metagen("choose", "pool.jsonl", "--problems", "named.jsonl", *fields, "--out", "named")
    assert code == 0
    said = " ".join(out.split())
    assert "--prompt-field q --answer-field a --answers 'Number()'" in said


def test_a_verifier_is_asked_about_every_sample(metagen: Command) -> None:
    code, out, _ = metagen(*CHOOSE, "--by", "MatchesReference()", "--load", "own.py", "--by", "length")
    assert code == 0
    # Four samples hold a right one for three problems of four, and a check that finds it costs fewer than four.
    assert "Until(MatchesReference(), limit=4)" in out


def test_a_verifier_is_asked_about_the_samples_alone_and_whatever_their_numbers(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    some = [row | {"draw": 2 * row["draw"] + 1} for row in rows if row["problem"] in ("p1", "p3")]
    (folder / "pool.jsonl").write_text(lines(*some))
    code, out, err = metagen(*CHOOSE, "--by", "MatchesReference()")
    assert (code, "Failed" in err) == (0, False), err
    assert "Until(MatchesReference(), limit=" in out


def test_a_verifier_is_asked_about_the_samples_of_pools_alone(metagen: Command) -> None:
    solve = ("solve", "problems.jsonl", "--model", "pool.jsonl", "--strategy", "Vote(4)", "--out", "run")
    assert metagen(*solve).code == 0
    code, _, err = metagen("choose", "run", *CHOOSE[2:], "--by", "MatchesReference()")
    assert (code, "--by asks about the samples of a pool, and run is the folder of a run" in err) == (2, True), err
    assert metagen("choose", "run", *CHOOSE[2:]).code == 0


def test_two_pools_make_a_cascade(metagen: Command, folder: Path) -> None:
    rows = [
        {"problem": row["id"], "draw": draw, "text": f"The answer is {row['answer']}.", "tokens": 100, "model": "big"}
        for row in PROBLEMS[1:]
        for draw in range(len(ANSWERS["p1"]))
    ]
    (folder / "large.jsonl").write_text(lines(*rows))
    call = ("choose", "small=pool.jsonl", "large=large.jsonl", "--problems", "problems.jsonl", "--out", "made")
    code, out, err = metagen(*call, "--card", str(SMALL))
    assert code == 0
    assert "large.jsonl: left out for lack of samples: 1 of 4 problems\n" in err
    assert out.startswith("3 problems, 4 samples each of pool.jsonl, 4 samples each of large.jsonl: ")
    assert "metagen solve problems.jsonl --model large=big --strategy 'Model(\"large\")'" in out
    specs = [row["strategy"] for row in json.loads((folder / "made/choice.json").read_text())]
    assert 'Escalate((Model("small"), Model("large")), until=BetaStop(0.8), n=4)' in specs


JUDGE = """
import re
from metagen import Scripted

def grade(request):
    number, answer = re.search(r"What is (\\d)", request.prompt), re.search(r"answer is (\\d)", request.prompt)
    return "Yes" if int(answer[1]) == 2 * int(number[1]) else "No"

def judge():
    return Scripted(grade)

def writer():
    return Scripted("The answer is 2.")
"""
BY = ("--model", "judge", "--load", "judge.py", "--by", 'Judge(of=Model("model"))')


def command_of(said: str) -> list[str]:
    """The words of the command that a choice prints."""
    (line,) = [line for line in said.splitlines() if line.startswith("metagen solve")]
    return shlex.split(line)[1:]


@pytest.mark.parametrize(
    ("budget", "models"), [(("--budget", "20 tokens"), ["writer"]), ((), ["pool=writer", "judge"])]
)
def test_the_command_opens_the_models_that_the_strategy_asks(
    metagen: Command, folder: Path, budget: tuple[str, ...], models: list[str]
) -> None:
    (folder / "judge.py").write_text(JUDGE)
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"model": "writer"} for row in rows)))
    code, out, err = metagen(*CHOOSE, *BY, *budget)
    assert code == 0, err
    chosen = command_of(out)
    assert [word for at, word in enumerate(chosen) if chosen[at - 1] == "--model"] == models
    assert metagen(*chosen, "--out", "solved").code == 0


def test_the_command_keeps_the_model_of_the_only_pool(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"model": "writer"} for row in rows)))
    code, out, err = metagen("choose", "small=pool.jsonl", *CHOOSE[2:])
    assert code == 0, err
    assert "small=writer" in command_of(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*CHOOSE, "--model", "judge"), "--model is for the models that a verifier asks: name it with --by"),
        ((*CHOOSE, "--engine", "x=1"), "--engine is for the models that a verifier asks: name it with --by"),
        (
            ("choose", "a=pool.jsonl", *CHOOSE[2:], "--model", "a=Scripted:7", "--by", "MatchesReference()"),
            "--model a=...: is the name of a source: give one of them another name",
        ),
        (
            ("choose", "pool.jsonl"),
            "pool.jsonl: is a pool of samples: name the problems that it was drawn for with --problems",
        ),
        ((*CHOOSE, "--budget", "5"), "--budget '5': write an amount per problem"),
        (
            (*CHOOSE, "--budget", "5 s"),
            "--budget in seconds: give the tokens of one sample that are written per second",
        ),
        ((*CHOOSE, "--budget", "1e9 FLOPs"), "--budget in FLOPs: give the model's config.json with --card"),
        ((*CHOOSE, "--budget", "1 tokens"), "--budget of 1 tokens: the cheapest strategy costs 15 tokens"),
        ((*CHOOSE, "--by", "Vote(3)"), "'Vote(3)' is not a verifier"),
        ((*CHOOSE, "--by", "Arithmetic()"), "Arithmetic() is a critic, which says what is wrong"),
        ((*CHOOSE, "--by", "ExactStop()"), "--by: by=ExactStop() is a rule that ends a vote"),
        ((*CHOOSE, "--by", "Cached(Pairwise())"), "--by Cached(Pairwise()): compares samples with each other"),
        ((*CHOOSE, "--by", "Judge()"), "--by Judge(): names no model, and samples that are there cannot judge"),
        (
            (*CHOOSE, "--grade", "Judge()"),
            "--grade Judge(): asks a model, and samples that are there are graded without",
        ),
        (
            ("report", *CHOOSE[1:], "--grade", 'ProcessReward("prm")'),
            "asks a model, and samples that are there are graded",
        ),
        ((*CHOOSE, "--out", "own.py"), "own.py: a report cannot be written there"),
        ((*CHOOSE, "other.jsonl"), "of several sources each needs a name, such as small="),
        ((*CHOOSE, "--price", "1/2", "--price", "1/2"), "--price is given 2 times for 1 source"),
    ],
)
def test_what_cannot_be_chosen_from_is_one_line(metagen: Command, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = metagen(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err


NOTED = """
from pathlib import Path

async def noted(problem, candidates, run):
    Path("asked.txt").write_text(problem.id)
    return [1.0 for _ in candidates]
"""


@pytest.mark.parametrize("more", [("--budget", "$1"), ("--budget", "5 s"), ("--budget", "1e9 FLOPs"), ()])
def test_no_verifier_is_asked_for_a_choice_that_cannot_be(
    metagen: Command, folder: Path, more: tuple[str, ...]
) -> None:
    (folder / "noted.py").write_text(NOTED)
    if not more:
        first = (folder / "pool.jsonl").read_text().splitlines()[:4]
        (folder / "pool.jsonl").write_text("\n".join(first))
    code, out, err = metagen(*CHOOSE, "--load", "noted.py", "--by", "noted", *more)
    assert (code, out) == (2, "")
    assert "--budget in " in err if more else "a choice needs two problems or more" in err
    assert not (folder / "asked.txt").exists()
    assert more or "for lack of samples: 3 of 4 problems" in err


@pytest.mark.parametrize("by", ["Judge({})", "Mean(Judge({}), Judge({}))", "Cascade(Judge({}), Judge({}), low=0.2)"])
def test_a_judge_without_a_name_asks_the_model_that_is_given(metagen: Command, folder: Path, by: str) -> None:
    (folder / "judge.py").write_text(JUDGE)
    call = ("--model", "judge", "--load", "judge.py", "--by", by.replace("{}", ""), "--out", "made")
    code, _, err = metagen(*CHOOSE, *call)
    assert code == 0, err
    rows = {row["strategy"]: row for row in json.loads((folder / "made/choice.json").read_text())}
    # Three problems of four have a right sample, which a judge that knows what is right finds.
    named = by.replace("{}", 'of=Model("model")')
    assert rows[f"BestOf(4, by={named})"]["right"] == 0.75


ASKS = """
async def asks(problem, candidates, run):
    said = await run.ask(None, problem.apart("Is it right?"))
    return [1.0 for _ in candidates]
"""


def test_samples_answer_no_other_question_than_their_own(metagen: Command, folder: Path) -> None:
    (folder / "asks.py").write_text(ASKS)
    code, _, err = metagen(*CHOOSE, "--load", "asks.py", "--by", "asks")
    assert code == 2
    assert "--by asks: fails on 4 of 4 problems of pool.jsonl: " in err


SOME = """
async def none(problem, candidates, run):
    return [None for _ in candidates]

async def some(problem, candidates, run):
    return [None if problem.id == "p1" else 1.0 for _ in candidates]

async def fails(problem, candidates, run):
    if problem.id == "p1":
        raise ValueError("boom")
    return [1.0 for _ in candidates]
"""


@pytest.mark.parametrize(
    ("by", "code", "said"),
    [
        ("none", 2, "--by none: judges no sample of pool.jsonl, so it cannot be estimated: none: it does not say why"),
        ("some", 0, "pool.jsonl, some: no verdict: 4 of 16 (some: it does not say why)"),
        (
            "fails",
            2,
            "--by fails: fails on 1 of 4 problems of pool.jsonl: VerifierError: fails raised ValueError: boom",
        ),
    ],
)
def test_verdicts_that_are_missing_are_mentioned(metagen: Command, folder: Path, by: str, code: int, said: str) -> None:
    (folder / "some.py").write_text(SOME)
    result = metagen(*CHOOSE, "--load", "some.py", "--by", by)
    assert (result.code, said in result.err) == (code, True), result.err


def test_the_verdicts_of_a_run_are_those_of_its_verifier_and_cost_what_they_cost(
    metagen: Command, folder: Path
) -> None:
    (folder / "judge.py").write_text(JUDGE)
    models = ("--model", "pool=pool.jsonl", "--model", "j=judge", "--load", "judge.py")
    strategy = 'BestOf(4, by=Judge(of=Model("j")))'
    assert metagen("solve", "problems.jsonl", *models, "--strategy", strategy, "--out", "run").code == 0
    code, out, err = metagen("choose", "run", *CHOOSE[2:], "--out", "made")
    assert (code, err) == (0, "")
    rows = {row["strategy"]: row for row in json.loads((folder / "made/choice.json").read_text())}
    usages = [json.loads(line)["usage"] for line in (folder / "run/solutions.jsonl").read_text().splitlines()]
    judged = sum(each["verifier_tokens"] for each in usages) / 4
    assert rows[strategy]["tokens"] == pytest.approx(rows["Vote(4)"]["tokens"] + judged)
    assert [word for word in command_of(out) if "MODEL" in word] == ["model=MODEL", "j=MODEL"]


def test_what_a_run_does_not_say_is_left_out_with_a_note(metagen: Command, folder: Path) -> None:
    models = ("--model", "pool.jsonl", "--load", "own.py")
    assert metagen("solve", "problems.jsonl", *models, "--strategy", "BestOf(4, by=length)", "--out", "run").code == 0
    code, _, err = metagen("choose", "run", *CHOOSE[2:], "--out", "made")
    assert (code, "run: its verdicts are left out: its strategy does not say" in err) == (0, True), err
    assert "BestOf" not in (folder / "made/choice.json").read_text()


def test_verdicts_that_a_pool_holds_are_said_to_be_free(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"score": 1.0} for row in rows)))
    assert "pool.jsonl: the verdicts that it holds are counted as free" in metagen(*CHOOSE).err


@pytest.mark.parametrize(
    ("sampling", "of", "said"),
    [
        ({"temperature": 0.7, "keep_stop": True}, "Model(temperature=0.7)", ""),
        ({"logit_bias": {"5": 1.0}}, "Model(logit_bias={5: 1.0})", ""),
        ({"form": {"schema": None, "regex": "[0-9]+"}}, 'Model(form={"regex": "[0-9]+"})', ""),
        ({"form": {"choices": ["a", "b"]}}, 'Model(form={"choice": ("a", "b")})', ""),
        ({"temperature": 0.7, "foo": 1}, "Model()", "its sampling settings are left out (Model has no foo)"),
        ({"top_p": 7}, "Model()", "its sampling settings are left out (Model: top_p must be a number from 0 to 1"),
    ],
)
def test_the_settings_of_a_pool_are_those_of_the_strategies(
    metagen: Command, folder: Path, sampling: dict[str, object], of: str, said: str
) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"sampling": sampling} for row in rows)))
    code, _, err = metagen(*CHOOSE, "--out", "made")
    assert (code, said in err, bool(err)) == (0, True, bool(said)), err
    specs = [row["strategy"] for row in json.loads((folder / "made/choice.json").read_text())]
    assert specs[0] == of


def test_another_prompt_is_noted_and_what_was_sent_with_it_goes_into_the_command(
    metagen: Command, folder: Path
) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    turns = [{"role": "system", "content": "Be brief."}]
    sent = [row | {"messages": [*turns, {"role": "user", "content": row["prompt"]}]} for row in rows]
    (folder / "pool.jsonl").write_text(lines(*sent))
    assert "pool.jsonl: its samples were drawn with another prompt" in metagen(*CHOOSE).err
    code, out, err = metagen(*CHOOSE, "--system", "Be brief.")
    assert (code, err) == (0, "")
    assert command_of(out)[-4:-2] == ["--system", "Be brief."]


@pytest.mark.parametrize(
    ("strategy", "of", "said"),
    [
        ("Vote(4, of=Model(temperature=0.5))", "Model(temperature=0.5)", ""),
        ("Model()", "Model()", ""),
        ("Vote(2, of=Vote(2))", "Model()", "its samples come from Vote(2)"),
    ],
)
def test_the_settings_of_a_run_are_those_of_the_strategies(
    metagen: Command, folder: Path, strategy: str, of: str, said: str
) -> None:
    solve = ("solve", "problems.jsonl", "--model", "pool.jsonl", "--strategy", strategy, "--out", "run")
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"sampling": None} for row in rows)))
    assert metagen(*solve).code == 0
    code, _, err = metagen("choose", "run", *CHOOSE[2:], "--out", "made")
    assert (code, said in err, bool(err)) == (0, True, bool(said)), err
    assert json.loads((folder / "made/choice.json").read_text())[0]["strategy"] == of


def test_a_pool_of_logits_weighs_votes_without_a_warning(
    metagen: Command, folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"score": -800.0 * row["draw"]} for row in rows)))
    assert metagen(*CHOOSE).code == 0
    assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)]


def test_a_grade_that_reads_the_pool_hinders_no_verifier(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"score": float(row["draw"] == 0)} for row in rows)))
    call = (*CHOOSE, "--grade", "RecordedScore()", "--load", "own.py", "--by", "length", "--out", "made")
    code, _, err = metagen(*call)
    assert (code, "no verdict" in err) == (0, False), err
    right = {row["strategy"]: row["right"] for row in json.loads((folder / "made/choice.json").read_text())}
    assert right["Model()"] == right["BestOf(4, by=length)"] == 0.25


def test_the_verdicts_of_a_run_that_compared_its_samples_are_left_out(metagen: Command, folder: Path) -> None:
    models = ("--model", "pool=pool.jsonl", "--model", "j=Scripted:A")
    strategy = 'BestOf(4, by=Pairwise(of=Model("j")))'
    assert metagen("solve", "problems.jsonl", *models, "--strategy", strategy, "--out", "run").code == 0
    code, _, err = metagen("choose", "run", *CHOOSE[2:], "--out", "made")
    said = 'run: its verdicts are left out: Pairwise(of=Model("j")) compares samples with each other'
    assert (code, said in err) == (0, True), err
    assert "its verdicts compare all 4 samples" in metagen("report", "run", *CHOOSE[2:]).out


def test_the_verdicts_of_a_run_that_knew_the_answers_are_left_out(metagen: Command, folder: Path) -> None:
    strategy = "BestOf(4, by=MatchesReference())"
    assert metagen("solve", "problems.jsonl", "--model", "pool.jsonl", "--strategy", strategy, "--out", "run").code == 0
    code, _, err = metagen("choose", "run", *CHOOSE[2:], "--out", "made")
    assert (code, "run: its verdicts are left out: MatchesReference() knows the answers" in err) == (0, True), err
    rows = json.loads((folder / "made/choice.json").read_text())
    assert all(row["bound"] for row in rows if "MatchesReference" in row["strategy"])


@pytest.mark.parametrize(
    ("turns", "kept", "noted"),
    [
        ([], ("prompt",), False),
        ([], ("prompt", "messages"), False),
        ([], ("messages",), False),
        ([{"role": "system", "content": "Be brief."}], ("messages",), True),
    ],
)
def test_a_prompt_is_another_one_only_if_its_turns_are(
    metagen: Command, folder: Path, turns: list[dict[str, str]], kept: tuple[str, ...], noted: bool
) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for row in rows:
        prompt = row.pop("prompt")
        sent = {"prompt": prompt, "messages": [*turns, {"role": "user", "content": prompt}]}
        row |= {name: sent[name] for name in kept}
    (folder / "pool.jsonl").write_text(lines(*rows))
    assert ("drawn with another prompt" in metagen(*CHOOSE).err) == noted


def test_the_only_source_has_the_name_that_its_strategy_asks(metagen: Command, folder: Path) -> None:
    code, out, _ = metagen(*CHOOSE, "--of", 'Model("x")')
    words = command_of(out)
    assert (code, [word for at, word in enumerate(words) if words[at - 1] == "--model"]) == (0, ["x=MODEL"])
    judged = ("--load", "judge.py", "--model", "x=judge", "--by", 'Judge(of=Model("x"))')
    (folder / "judge.py").write_text(JUDGE)
    assert metagen(*CHOOSE, "--of", 'Model("x")', *judged).code == 0


def test_a_judge_of_a_run_that_asks_the_first_model_asks_no_other_one(metagen: Command, folder: Path) -> None:
    (folder / "judge.py").write_text(JUDGE)
    models = ("--model", "j=judge", "--model", "pool=pool.jsonl", "--load", "judge.py")
    strategy = 'BestOf(4, by=Judge(), of=Model("pool"))'
    assert metagen("solve", "problems.jsonl", *models, "--strategy", strategy, "--out", "run").code == 0
    code, out, err = metagen("choose", "run", *CHOOSE[2:])
    assert (code, [word for word in command_of(out) if "MODEL" in word]) == (0, ["model=MODEL", "pool=MODEL"]), err


@pytest.mark.parametrize("model", ["mine", "made:7"])
def test_the_command_names_the_model_of_a_loaded_file_and_the_file(metagen: Command, folder: Path, model: str) -> None:
    (folder / "my models.py").write_text(
        "from metagen import Scripted\n\nmine = Scripted('The answer is 7.')\n\n"
        "def made(answer):\n    return Scripted(f'The answer is {answer}.', name='big')\n"
    )
    drawn = ("--load", "my models.py", "--model", model, "--out", "drawn.jsonl")
    assert metagen("sample", "problems.jsonl", "-n", "2", *drawn).code == 0
    words = ["solve", "problems.jsonl", "--model", model, "--load", "my models.py"]
    for load in ((), ("--load", "my models.py")):
        code, out, err = metagen("choose", "drawn.jsonl", *CHOOSE[2:], *load)
        assert (code, command_of(out)[:6], err) == (0, words, "")
    assert metagen(*command_of(out), "--out", "run").code == 0
    (folder / "my models.py").rename(folder / "moved.py")
    code, out, err = metagen("choose", "drawn.jsonl", *CHOOSE[2:])
    assert (code, command_of(out)[:4]) == (0, [*words[:3], "MODEL"])
    assert err == (
        "drawn.jsonl: was drawn by a model of my models.py: load it, and write its name there in the place of MODEL\n"
    )
    code, out, err = metagen("choose", "drawn.jsonl", *CHOOSE[2:], "--load", "moved.py")
    assert (code, command_of(out)[:6], err) == (0, [*words[:5], "moved.py"], "")


def test_the_command_names_a_model_as_it_was_given(metagen: Command, folder: Path) -> None:
    given = "Scripted:The answer is 7."
    assert metagen("sample", "problems.jsonl", "-n", "2", "--model", given, "--out", "drawn.jsonl").code == 0
    code, out, _ = metagen("choose", "drawn.jsonl", *CHOOSE[2:])
    assert (code, command_of(out)[2:4]) == (0, ["--model", given])
    for damaged in ('{"model": 7, "load": []}', '{"model": "m", "load": [7]}', "7", '{"load": []}'):
        (folder / "drawn.jsonl.model").write_text('\n{"asked": {"given": ' + damaged + "}}\n")
        code, out, _ = metagen("choose", "drawn.jsonl", *CHOOSE[2:])
        assert (code, command_of(out)[2:4]) == (0, ["--model", "scripted"])


def test_the_command_opens_the_folder_of_the_model_that_drew_a_pool(metagen: Command, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    (folder / "pool.jsonl").write_text(lines(*(row | {"model": "tuned"} for row in rows)))
    (folder / "tuned").mkdir()
    (folder / "pool.jsonl.model").write_text(f"{folder / 'tuned'}\n")
    _, out, _ = metagen(*CHOOSE)
    assert str(folder / "tuned") in command_of(out)
    (folder / "tuned").rmdir()
    _, out, _ = metagen(*CHOOSE)
    assert "tuned" in command_of(out)
