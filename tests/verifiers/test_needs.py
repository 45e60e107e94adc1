"""What a run lacks is said before a model is loaded."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    InputError,
    MatchesReference,
    Problem,
    Proves,
    Request,
    Scripted,
    Until,
    parse,
    solve,
    solve_all,
    stream,
)
from metagen.cluster import Workers
from metagen.execution.sandbox import Sandbox
from metagen.jobs.job import prepare
from tests.jobs.test_job import order
from tests.support.confined import needs_coq, needs_sandbox


def refused(folder: Path, *rows: dict[str, Any], **more: Any) -> str:
    with pytest.raises(InputError) as found:
        prepare(order(folder, *rows, **more))
    return str(found.value)


THEOREM = "Theorem t : True. Proof. Admitted."


@pytest.mark.parametrize("more", [{"grade": "MatchesReference()"}, {"strategy": "Until(MatchesReference())"}])
def test_a_row_without_the_reference_that_the_run_needs_is_named(tmp_path: Path, more: dict[str, str]) -> None:
    rows: list[dict[str, Any]] = [{"answer": 7}, {}]
    assert "p.jsonl, line 2: problem '2' has no reference answer" in refused(tmp_path, *rows, **more)
    assert prepare(order(tmp_path, *rows, **more, limit=1)).judged == 1


def test_problems_that_are_not_to_be_solved_need_not_fit(tmp_path: Path) -> None:
    given = order(tmp_path, {"answer": 7}, {}, grade="MatchesReference()")
    assert prepare(given, frozenset({"1"})).judged == 1
    with pytest.raises(InputError, match="problem '2' has no reference answer"):
        prepare(given, frozenset({"1", "2"}))


@needs_sandbox
@pytest.mark.parametrize(
    ("row", "said"),
    [({"answer": "7"}, "line 2: problem '2': its tests run nothing"), ({}, "line 2: problem '2' has no tests")],
)
def test_a_row_without_the_tests_that_the_grade_needs_is_named(tmp_path: Path, row: dict[str, str], said: str) -> None:
    assert said in refused(tmp_path, {"tests": "assert f() == 1"}, row, grade="PassesTests()")


@needs_sandbox
def test_theorems_without_coq_are_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "there is no command coqc" in refused(tmp_path, {"answer": THEOREM})
    assert "there is no command coqc" in refused(tmp_path, {"answer": 7}, strategy="Until(Proves())")
    assert prepare(order(tmp_path, {"answer": THEOREM}, grade="MatchesReference()")).judged == 1


def test_workers_may_have_what_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert prepare(order(tmp_path, {"answer": THEOREM}, elsewhere=True)).judged == 1


@needs_coq
def test_a_theorem_that_is_no_statement_is_named(tmp_path: Path) -> None:
    assert "line 1: problem '1': its statement does not end" in refused(tmp_path, {"answer": "Lia. Admitted."})


def test_a_corpus_that_is_not_there_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    strategy = 'Vote(2, of=ReAct((("s", Search("nope.jsonl")),)))'
    assert refused(tmp_path, {"answer": 7}, strategy=strategy).startswith("nope.jsonl: there is no such file")


def test_a_model_of_the_wrong_kind_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    models = {"model": "Scripted:7", "prm": "prm"}
    load = [tmp_path / "own.py"]
    load[0].write_text("from metagen import ScriptedReward\n\ndef prm():\n    return ScriptedReward(lambda _: [1.0])\n")
    row = {"answer": 7}
    said = refused(tmp_path, row, models=models, load=load, grade='Judge(of=Model("prm"))')
    assert said == "the model 'prm' scores and cannot generate: name one that can"
    said = refused(tmp_path, row, models=models, load=load, strategy='BestOf(2, by=OutcomeReward("model"))')
    assert said == "the model 'model' generates and cannot score: name a reward model"
    assert refused(tmp_path, row, strategy="BestOf(2, by=ProcessReward())").startswith("this run has no reward model")


def test_a_corpus_that_cannot_be_searched_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAGEN_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "A moon."}\n{"txt": 1}\n')
    strategy = f'SelfAsk(Search("{corpus}"))'
    assert f"{corpus}, line 2: a passage needs a text" in refused(tmp_path, {"answer": 7}, strategy=strategy)
    corpus.write_text('{"text": "A moon."}\n')
    (tmp_path / "cache").write_text("")
    assert "the index cannot be kept there" in refused(tmp_path, {"answer": 7}, strategy=strategy)


@pytest.mark.parametrize(
    "strategy", ["Vote(2, by=SelfCertainty())", "BestOf(2, of=Model(logprobs=True), by=SelfCertainty())"]
)
def test_samples_that_a_verifier_cannot_judge_are_refused_before_a_model_is_loaded(
    tmp_path: Path, strategy: str
) -> None:
    said = refused(tmp_path, {"answer": 7}, strategy=strategy)
    assert said.startswith("SelfCertainty() reads what the model returns beside its tokens")


@needs_sandbox
def test_tests_that_cannot_run_in_the_sandbox_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metagen_near.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows: list[dict[str, Any]] = [{"tests": f"import {name}\nassert f() == 1"} for name in ("math", "metagen_near")]
    assert "line 2: problem '2': its tests import 'metagen_near', which is not" in refused(tmp_path, *rows)


@pytest.mark.parametrize("more", [{}, {"grade": "PassesTests()"}])
def test_tests_may_import_what_only_the_machines_that_run_them_have(tmp_path: Path, more: dict[str, str]) -> None:
    tests = "import only_there\nassert f() == 1"
    assert prepare(order(tmp_path, {"tests": tests}, elsewhere=True, **more)).judged == 1
    assert "its tests run nothing" in refused(tmp_path, {"tests": "x = 1"}, elsewhere=True, **more)


def test_problems_with_tests_and_no_sandbox_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Sandbox) -> None:
        raise InputError("no sandbox here")

    monkeypatch.setattr(Sandbox, "check", none)
    assert refused(tmp_path, {"answer": 7}, {"tests": "assert f() == 1"}).endswith("no sandbox here")


@pytest.mark.parametrize(
    "more",
    [{"strategy": "CodeVote(4)"}, {"strategy": 'ReAct((("py", Python()),))'}, {"grade": 'PassesTests("assert f()")'}],
)
def test_programs_without_a_sandbox_are_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    def none(_: Sandbox) -> None:
        raise InputError("no sandbox here")

    monkeypatch.setattr(Sandbox, "check", none)
    assert refused(tmp_path, {"answer": 7}, **more) == "no sandbox here"


UNFIT = [Problem("1", "What is 3 + 4?", "7"), Problem("2", "What is 4 + 4?")]
REFERENCE = "problem '2' has no reference answer"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Until(MatchesReference())", REFERENCE),
        ("Vote(2, of=Until(MatchesReference()))", REFERENCE),
        ("Tournament(2, by=MatchesReference())", REFERENCE),
        ("BestOf(2, by=PassesTests())", "problem '1': its tests run nothing"),
        ("Chain(CoT(), Until(Proves()))", "problem '1': its statement does not end"),
    ],
)
async def test_in_python_too_a_problem_that_a_verifier_cannot_judge_is_named_before_anything_is_drawn(
    spec: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metagen.verifiers.needs._check_host", lambda _: None)
    drawn: list[str] = []

    def script(request: Request) -> str:
        drawn.append(request.prompt)
        return "7"

    model, strategy = Scripted(script), parse(spec)
    with pytest.raises(InputError, match=said):
        [each async for each in solve_all(UNFIT, strategy, model)]
    place = int(said[9]) - 1
    with pytest.raises(InputError, match=said):
        await solve(UNFIT[place], strategy, model)
    with pytest.raises(InputError, match=said):
        [each async for each in stream(UNFIT[place], strategy, model)]
    with pytest.raises(InputError, match=said):
        [each async for each in Workers(1, "Scripted:7").solve_all(UNFIT, strategy)]
    assert not drawn


async def test_of_problems_that_are_read_one_by_one_those_before_are_solved() -> None:
    model = Scripted("The answer is 7.")
    solutions = solve_all(iter(UNFIT), Until(MatchesReference()), model, concurrency=1)
    assert (await anext(solutions)).correct
    with pytest.raises(InputError, match=REFERENCE):
        await anext(solutions)


@needs_sandbox
async def test_in_python_too_what_this_machine_lacks_is_said_before_anything_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="there is no command coqc"):
        await solve(Problem("1", "?", THEOREM), Until(Proves()), Scripted("7"))
