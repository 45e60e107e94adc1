import json
import re
import shutil
from dataclasses import replace
from typing import Any, cast

import pytest

from metagen import BestOf, Candidate, InputError, Problem, Proves, Run, Sandbox, Score, ToolError, VerifierError, parse
from metagen.execution import coq as formal
from metagen.execution.coq import Refused, read_statement
from metagen.execution.processes import Finished
from metagen.verifiers import proof as module
from metagen.verifiers.proof import allow, assumptions, statement_of
from tests.support.confined import needs_coq
from tests.support.proofs import CHEATS, FALSE, SHARED, SUM

NO_RUN = cast("Run", None)
PROVED = Score(1.0, reason="proved")
PATIENT = 120.0
"""Seconds of work, for what must come out on a busy machine too."""

DECIDE = """
Theorem decide : forall P : nat -> Prop,
  (forall n, {P n} + {~ P n}) -> {n | ~ P n} + {forall n, P n}.
Proof.
Admitted.
"""


def problem(statement: str | None) -> Problem:
    return Problem("p", "?", answer=statement)


async def judged(statement: str | None, *texts: str, **settings: Any) -> list[Score | None]:
    verifier = Proves(**{"seconds": PATIENT} | settings)
    return await verifier(problem(statement), [Candidate((text,)) for text in texts], NO_RUN)


def test_the_statement_is_the_answer_or_the_beginning_or_in_the_question() -> None:
    statement = read_statement(SUM)
    assert statement_of(problem(SUM)) == statement
    assert statement_of(Problem("p", "?", partial=Candidate((SUM,)))) == statement
    assert statement_of(Problem("p", f"Prove it.\n```coq\n{SUM}```")) == statement
    assert statement_of(Problem("p", SUM)) == statement


@pytest.mark.parametrize("text", [None, "", "Theorem a : True."])
def test_a_problem_without_a_statement_is_refused(text: str | None) -> None:
    with pytest.raises(InputError, match=r"'p': its statement does not end with a theorem.*question"):
        statement_of(problem(text))


FAIL = {
    "nothing": "",
    "an incomplete proof": "idtac.",
    "a false step": "reflexivity.",
    "shelving": "shelve.",
    "no check": "exact_no_check (eq_refl 1).",
    "no check by the machine": "vm_cast_no_check (eq_refl 1).",
    "a fixpoint that does not end": "exact ((fix f (n : nat) : 1 = 2 := f n) 0).",
    "a fix that does not end": "generalize 0. fix f 1. intro n. exact (f n).",
    "a hole": "refine _.",
    "abstract": "abstract idtac.",
    "a name that is not there": "exact cheat.",
    "itself": "exact wrong.",
    "saying so": "idtac; exact I.",
    "closing brackets": "}",
    "what closes a definition": "exact I). Check (1.",
    "an endless loop": "repeat (pose proof I).",
}
"""What Coq refuses."""


@pytest.mark.parametrize(
    ("printed", "names"),
    [
        ("Closed under the global context\n", []),
        ("Axioms:\nA.b : forall x,\n  x = x\nc\n  : True\n", ["A.b", "c"]),
    ],
)
def test_assumptions(printed: str, names: list[str]) -> None:
    assert assumptions(printed) == names


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "Axioms:\n",
        "Axioms:\nf is assumed to be guarded.\n",
        "Axioms:\na : True\nf relies on definitional UIP.\n",
        "Section Variables:\na : True\n",
        "a : True\nClosed under the global context\n",
    ],
)
def test_other_assumptions_are_refused(printed: str) -> None:
    with pytest.raises(Refused, match="refused: "):
        assumptions(printed)


def test_axioms_come_with_the_statement_or_not_at_all() -> None:
    libraries = ["Coq.Init.Logic", "Coq.Reals.ClassicalDedekindReals"]
    statement = read_statement(f"Axiom mine : 1 = 1.\nModule M. Axiom inner : 1 = 1. End M.\n{FALSE}")
    own = ["Candidate.mine", "Candidate.M.inner"]
    allow(["ClassicalDedekindReals.sig_forall_dec", "Reals.ClassicalDedekindReals.x", *own], libraries, statement)
    for name in (
        "Classical_Prop.classic",
        "DedekindReals.x",
        "Candidate.wrong",
        "Candidate.other",
        "Candidate.M.other",
        "Candidates.mine",
        "classic",
        "Real.x",
    ):
        with pytest.raises(Refused, match=f"it rests on {name}"):
            allow([name], libraries, statement)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seconds": 0}, "Proves: seconds"),
        ({"memory": 1}, "Proves: memory"),
        ({"sandbox": 1}, "Proves: sandbox"),
        ({"libraries": "Lia"}, "Proves: libraries"),
    ],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Proves(**settings)


def test_it_can_be_written_in_a_spec() -> None:
    strategy = BestOf(4, by=Proves(seconds=5.0, libraries=("Lia",)))
    assert repr(strategy) == 'BestOf(4, by=Proves(seconds=5.0, libraries=("Lia",)))'
    assert parse(repr(strategy)) == strategy


async def test_without_coq_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="apt-get install coq"):
        await judged(SUM, "auto.")


async def test_a_sandbox_that_fails_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Noting:
        note = said.append

    async def fails(*_: object, **__: object) -> Finished:
        raise ToolError("no room")

    monkeypatch.setattr(Sandbox, "run", fails)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/coqc")
    candidates = [Candidate(("auto.",))] * 2
    assert await Proves()(problem(SUM), candidates, cast("Run", Noting)) == [None, None]
    assert said == ["not verified: no room"]


async def test_a_statement_that_coq_accepted_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []

    async def coq(given: dict[str, str], *_: object) -> Finished:
        files.extend(given)
        refuses = "Given.v" in given and len(files) == 1
        return Finished(int(refuses), b"Coq.Init.Logic\n", b"Error: no", 1.0, "exit")

    monkeypatch.setattr(module, "run_coq", coq)
    statement = "Theorem once : True. Proof. Admitted."
    with pytest.raises(VerifierError):
        await judged(statement)
    for _ in range(3):
        assert await judged(statement) == []
    assert files == ["Given.v", "Given.v"]


@needs_coq
class TestWithCoq:
    async def test_proofs_are_judged(self) -> None:
        scores = await judged(
            SUM,
            "intros. apply Nat.add_comm.",
            "By commutativity.\n```coq\nRequire Import Lia.\nProof.\n  intros. lia.\nQed.\n```",
            SUM.replace("Admitted.", "intros. ring. Qed."),
            "intros. apply Nat.mul_comm.",
        )
        assert scores[:3] == [PROVED] * 3
        assert scores[3] is not None
        assert scores[3].value == 0
        assert "Unable to unify" in scores[3].reason

    async def test_what_cheats_costs_one_verdict(self) -> None:
        scores = await judged(FALSE, *CHEATS.values(), *FAIL.values(), seconds=5.0)
        values = [score and score.value for score in scores]
        assert values == [0.0] * (len(CHEATS) + len(FAIL))
        assert all(score and score.reason for score in scores)
        assert await judged(FALSE.replace("2", "1"), CHEATS["Axiom"], "reflexivity.") == [
            Score(0.0, reason="refused: Axiom"),
            PROVED,
        ]

    async def test_an_axiom_must_come_with_the_statement(self) -> None:
        text = "Require Import Reals. exact ClassicalDedekindReals.sig_forall_dec."
        (score,) = await judged(DECIDE, text)
        assert score == Score(0.0, reason="refused: it rests on ClassicalDedekindReals.sig_forall_dec")
        assert await judged(f"Require Import Reals.\n{DECIDE}", text) == [PROVED]
        assert await judged(f"Axiom mine : 1 = 2.\n{FALSE}", "exact mine.") == [PROVED]

    async def test_statements_and_proofs_may_be_written_in_many_ways(self) -> None:
        module = "Module M. Axiom mine : 1 = 2. End M.\nTheorem a : 1 = 2. Proof. Admitted."
        assert await judged(module, "exact M.mine.") == [PROVED]
        assert await judged("Theorem a@{u} : True. Proof. Admitted.", "exact I.") == [PROVED]
        proofs = ["Proof using. auto. Qed.", "Proof with auto. split... Qed.", "Proof using with auto. split..."]
        assert await judged("Theorem a : True /\\ True. Proof. Admitted.", *proofs) == [PROVED] * 3

    async def test_a_statement_whose_name_is_not_found_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        statement = replace(read_statement("Theorem named : True. Proof. Admitted."), name="misread")
        monkeypatch.setattr(module, "read_statement", lambda _: statement)
        with pytest.raises(VerifierError, match=r"fails: .*misread"):
            await judged("?", "exact I.")

    async def test_what_the_text_lets_pass_the_assumptions_do_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(formal, "check_sentence", lambda *_: None)
        monkeypatch.setattr(formal, "GIVES_UP", re.compile("(nothing)"))
        cheats = (
            "Axiom before the proof",
            "Axiom",
            "Parameter",
            "Unset",
            "Require of what is not allowed",
            "Conjecture",
        )
        scores = await judged(FALSE, *(CHEATS[name] for name in cheats), "Abort. Axiom wrong : 1 = 2. Goal True. auto.")
        assert [score and score.value for score in scores] == [0.0] * 7

    async def test_a_statement_that_fails_is_nobodys_fault(self) -> None:
        with pytest.raises(VerifierError, match=r"statement of problem 'p' fails: .*nonesuch"):
            await judged("Theorem a : nonesuch. Proof. Admitted.", "auto.")

    async def test_problems_of_minif2f(self) -> None:
        if not SHARED.exists():
            pytest.skip("the shared statements are not here")
        rows = [json.loads(line) for line in SHARED.read_text().splitlines()]
        proof = "Require Import Lia Lra Psatz.\nintros; first [ solve [auto] | lia | lra | nia | nra | ring | field ]."
        for row in [row for row in rows if row["hammer"]][7:8]:
            scores = await judged(row["statement"], proof, "intros.")
            assert [score and score.value for score in scores] == [1.0, 0.0], row["id"]
