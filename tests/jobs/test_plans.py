"""Sweeps: strategies share their samples, a sweep goes on where it stopped, and a plan that cannot be is refused."""

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from metagen import InputError, Scripted, cli
from metagen.cli.sweeps import late, opening
from metagen.jobs.plans import cells, read_plan
from tests.test_cli import lines

OWN = """
from pathlib import Path
from metagen import Scripted

def model():
    def script(request):
        with Path("asked.txt").open("a") as asked:
            asked.write(f"{request.problem} {request.draw}\\n")
        return f"The answer is {7 if (request.draw + len(request.problem)) % 3 else 8}."
    return Scripted(script, name="own")
"""
PLAN = """
problems = ["problems.jsonl"]
seeds = [0, 1]
load = ["own.py"]

[models]
own = "model"

[strategies]
one = "Model()"
vote = "Vote(6)"
stopped = "Vote(6, until=ExactStop())"

[budgets]
free = {}
tight = { tokens = 60 }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.jsonl").write_text(
        lines(*({"id": "p" * n, "prompt": "3 + 4?", "answer": 7} for n in range(1, 6)))
    )
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["metagen", "sweep", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_strategies_share_samples_and_a_sweep_is_taken_up_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(monkeypatch, "plan.toml")
    said = capsys.readouterr()
    asked = (folder / "asked.txt").read_text().splitlines()
    assert len(asked) == 5 * 6 * 2, "each sample of a problem is drawn once a seed"
    assert code == 0
    assert "12 of 12: problems_own_stopped_tight_1" in said.out
    table = (folder / "runs/plan/sweep.md").read_text()
    assert "| strategy | budget | accuracy | tokens | calls |" in table
    found = {(row["strategy"], row["budget"]): row for row in json.loads((folder / "runs/plan/sweep.json").read_text())}
    assert len(found) == 6
    assert found["vote", "free"]["accuracy"] == found["stopped", "free"]["accuracy"] == 1.0
    assert found["stopped", "free"]["tokens"] < found["vote", "free"]["tokens"]
    assert found["one", "free"]["accuracy"] == pytest.approx(4 / 5)
    assert all(row["tokens"] <= 60 for key, row in found.items() if key[1] == "tight")
    assert {"sweep.csv", "sweep.png", "sweep.svg"} <= {path.name for path in (folder / "runs/plan").iterdir()}

    before = (folder / "runs/plan/problems_own_vote_free_0/solutions.jsonl").read_bytes()
    run(monkeypatch, "plan.toml")
    assert (folder / "asked.txt").read_text().splitlines() == asked, "nothing is drawn again"
    assert (folder / "runs/plan/problems_own_vote_free_0/solutions.jsonl").read_bytes() == before


def test_a_folder_of_another_run_is_refused_before_anything_is_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = 'problems = ["problems.jsonl"]\nload = ["own.py"]\nmodels = { own = "model" }\n[strategies]\n'
    (folder / "plan.toml").write_text(f'{own}last = "Vote(3)"\n')
    assert run(monkeypatch, "plan.toml") == 0
    asked = (folder / "asked.txt").read_bytes()
    (folder / "plan.toml").write_text(f'{own}first = "Vote(6)"\nlast = "Vote(4)"\n')
    assert run(monkeypatch, "plan.toml") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "holds a run that differs in strategy: Vote(3) there, Vote(4) here" in said
    assert (folder / "asked.txt").read_bytes() == asked


JUDGED = """
problems = ["problems.jsonl"]
load = ["own.py"]

[models]
own = "model"

[verifiers]
judge = "always"
rewards = "number"

[strategies]
vote = "Vote(6)"
judged = 'BestOf(6, by=Judge(of=Model("judge")))'
rewarded = 'BestOf(6, by=OutcomeReward("rewards"))'

[prices]
own = "1/2"
judge = "3/4"
rewards = "1/1"
"""
OTHERS = """

def always():
    return Scripted("Yes", name="judge")

class Rewards:
    name, context, process, card, price, missing, waits, thinking = "rewards", 8192, False, None, None, (), "", None
    async def rate(self, reading, spend):
        return (float("7" in reading.steps[-1]),)
    async def count(self, reading):
        return 1
    async def forget(self): ...
    async def probe(self): ...
    async def __aenter__(self):
        return self
    async def __aexit__(self, *_): ...

def number():
    return Rewards()
"""


def test_models_that_verifiers_ask_are_opened_beside_and_draw_nothing_for_the_pool(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(OWN + OTHERS)
    (folder / "plan.toml").write_text(JUDGED)
    assert run(monkeypatch, "plan.toml") == 0
    rows = {row["strategy"]: row for row in json.loads((folder / "runs/plan/sweep.json").read_text())}
    assert rows["vote"]["accuracy"] == rows["rewarded"]["accuracy"] == 1.0
    assert rows["judged"]["money"] > rows["vote"]["money"] > 0
    asked = {name: json.loads((folder / f"runs/plan/problems_own_{name}_0/run.json").read_text()) for name in rows}
    assert {name: [*each["models"]] for name, each in asked.items()} == {
        "vote": ["model"], "judged": ["model", "judge"], "rewarded": ["model", "rewards"]
    }  # fmt: skip
    pool = (folder / "runs/plan/pools/problems_own_0.jsonl").read_text()
    assert len(pool.splitlines()) == 5 * 6
    assert run(monkeypatch, "plan.toml") == 0


@pytest.mark.parametrize("model", ["model", "http://127.0.0.1:1/v1"])
def test_settings_of_a_verifiers_server_are_left_out_where_nothing_asks_it(folder: Path, model: str) -> None:
    (folder / "plan.toml").write_text(
        'problems = ["problems.jsonl"]\nload = ["own.py"]\n'
        f'models = {{ own = "{model}" }}\nverifiers = {{ judge = "http://127.0.0.1:2/v1", here = "model" }}\n'
        'server = { context = 900, "judge.context" = 800 }\n'
        """strategies = { vote = "Vote(6)", judged = 'BestOf(6, by=Judge(of=Model("judge")))', """
        """beside = 'BestOf(6, by=Judge(of=Model("here")))' }\n"""
    )
    vote, judged, beside = cells(folder / "plan.toml", read_plan(folder / "plan.toml"))
    assert vote.job.server == ({"context": 900} if model != "model" else {})
    assert judged.job.server == {"context": 900, "judge.context": 800}
    assert beside.job.server == vote.job.server
    assert opening([vote, judged]).order.server == judged.job.server  # type: ignore[union-attr]


def test_strategies_are_compared_on_the_problems_of_the_plan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of an earlier plan holds more problems than the limit of this one."""
    head = 'problems = ["problems.jsonl"]\nload = ["own.py"]\nlimit = {}\nmodels = {{ own = "model" }}\n[strategies]\n'
    (folder / "plan.toml").write_text(f'{head.format(5)}one = "Model()"\n')
    run(monkeypatch, "plan.toml")
    (folder / "plan.toml").write_text(f'{head.format(2)}one = "Model()"\nvote = "Vote(6)"\n')
    run(monkeypatch, "plan.toml")
    assert [row["count"] for row in json.loads((folder / "runs/plan/sweep.json").read_text())] == [2, 2]
    assert "cannot be compared" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("problems = [", "problms = ["), "field 'problms': there is no such field: did you mean problems"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "a seed is given twice"),
        (("seeds = [0, 1]", "seeds = ["), "is not TOML: "),
        (("seeds = [0, 1]", "sedes = [0]"), "field 'sedes': there is no such field: did you mean seeds\\?"),
        (
            ('vote = "Vote(6)"', 'vote = "Voet(6)"'),
            "vote on problems.jsonl with own: 'Voet' is not known: did you mean Vote",
        ),
        (('vote = "Vote(6)"', '"a/b" = "Vote(6)"'), "'a/b' cannot name a folder"),
        (("tokens = 60", "tokens = 0"), "field 'budgets.tight.tokens': Input should be greater than 0"),
        (("tokens = 60", "tokns = 60"), "field 'budgets.tight.tokns': there is no such field: did you mean tokens\\?"),
        (('"problems.jsonl"', '"problems.jsonl", "other/problems.jsonl"'), "two files are called 'problems'"),
        (('"problems.jsonl"', '"none.jsonl"'), "one on none.jsonl with own: .*there is no such file"),
        (("[models]", "[cards]\nbig = 'x'\n[models]"), "no model is called 'big'"),
        (("[models]", "[verifiers]\njudge = 'model'\n[models]"), "field 'verifiers': no strategy asks 'judge'"),
        (("[models]", "[verifiers]\nown = 'model'\n[models]"), "'own' is the name of a model that draws"),
        (("[models]", "[verifiers]\nmodel = 'model'\n[models]"), "'model' is the name of a model that draws"),
        (
            ('vote = "Vote(6)"', "vote = 'BestOf(6, by=Judge(of=Model(\"judge\")))'"),
            r"vote on problems.jsonl with own: it names a model 'judge': give it under \[verifiers\]",
        ),
        (
            ('vote = "Vote(6)"', "vote = 'Vote(6, of=Model(\"own\"))'"),
            "vote on problems.jsonl with own: it names a model 'own': .* so leave it out",
        ),
        (
            ('stopped = "Vote(6, until=ExactStop())"\n\n[budgets]', 'vote_free = "Vote(5)"\n[budgets]\nfree_free = {}'),
            "two runs would share 'problems_own_vote_free_free_0'",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(folder: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in PLAN
    (folder / "plan.toml").write_text(PLAN.replace(*change))
    with pytest.raises(InputError, match=f"plan.toml: .*{said}"):
        cells(Path("plan.toml"), read_plan(Path("plan.toml")))


@pytest.mark.parametrize("limit", ["money = 0.01", "flops = 1e9"])
def test_a_limit_of_what_is_not_known_is_refused_before_the_first_run(folder: Path, limit: str) -> None:
    plan = PLAN.replace("tokens = 60", limit).replace('own = "model"', 'own = "http://localhost:8000/v1#m"')
    (folder / "plan.toml").write_text(plan)
    with pytest.raises(InputError, match=r"plan.toml: one on problems.jsonl with own: a budget in \w+ needs the"):
        cells(Path("plan.toml"), read_plan(Path("plan.toml")))
    if "money" in limit:
        (folder / "plan.toml").write_text(f'{plan}\n[prices]\nown = "1/2"\n')
        assert len(cells(Path("plan.toml"), read_plan(Path("plan.toml")))) == 12


def test_problems_without_references_are_refused_before_the_first_run(folder: Path) -> None:
    (folder / "problems.jsonl").write_text(lines({"prompt": "3 + 4?"}))
    with pytest.raises(InputError, match=r"plan.toml: one on .*: has 0 problems with a reference answer"):
        cells(Path("plan.toml"), read_plan(Path("plan.toml")))


def test_a_plan_says_how_its_files_are_read(folder: Path) -> None:
    (folder / "data").mkdir()
    for split in ("train", "test"):
        rows = [{"name": split, "ask": "3 + 4?", "right": "7", "context": "Sums."}]
        (folder / f"data/{split}.jsonl").write_text(lines(*rows))
    (folder / "t.txt").write_text("{context} {prompt}")
    plan = PLAN.replace("problems.jsonl", "data")
    (folder / "plan.toml").write_text(plan)
    with pytest.raises(InputError, match=r"has several splits: name one as the split"):
        cells(Path("plan.toml"), read_plan(Path("plan.toml")))
    fields = 'split = "train"\nprompt_field = "ask"\nanswer_field = "right"\nid_field = "name"\n'
    (folder / "plan.toml").write_text(f'system = "Be brief."\ntemplate = "t.txt"\n{fields}{plan}')
    (problem,) = cells(Path("plan.toml"), read_plan(Path("plan.toml")))[0].job.problems
    assert (problem.id, problem.prompt, problem.answer) == ("train", "Sums. 3 + 4?", "7")
    assert problem.before[0].content == "Be brief."
    (folder / "brief.txt").write_text("Be very brief.")
    (folder / "plan.toml").write_text(f'system = "@brief.txt"\n{fields}{plan}')
    (problem,) = cells(Path("plan.toml"), read_plan(Path("plan.toml")))[0].job.problems
    assert problem.before[0].content == "Be very brief."


def test_the_engines_settings_arrive_as_they_are_written(folder: Path) -> None:
    Path("plan.toml").write_text(
        'problems = ["problems.jsonl"]\nstrategies = { one = "Model()" }\n'
        '[engine]\nenable_expert_parallel = true\nmax_model_len = 512\nquantization = "fp8"\n'
    )
    (cell,) = cells(Path("plan.toml"), read_plan(Path("plan.toml")))
    assert cell.job.engine == {"enable_expert_parallel": True, "max_model_len": 512, "quantization": "fp8"}


def test_a_plan_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no\.toml: cannot be read: No such file"):
        read_plan(Path("no.toml"))


def test_a_plan_in_another_encoding_is_named(folder: Path) -> None:
    Path("latin.toml").write_bytes("# é".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml: is not UTF-8 text"):
        read_plan(Path("latin.toml"))


async def test_each_run_of_a_sweep_begins_cold() -> None:
    class Keeping(Scripted):
        forgot = 0

        async def forget(self) -> None:
            self.forgot += 1

    model = Keeping("The answer is 7.")
    async with AsyncExitStack() as stack:
        for shared in (late(model, stack), late(Scripted("7"), stack)):
            for _ in range(3):
                async with shared:
                    pass
    assert model.forgot == 2, "the first run finds it as it was opened"
