import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import BestOf, Candidate, InputError, Problem, Proves, Run, Sandbox, Score, ToolError, VerifierError, parse
from metagen.processes import Finished
from metagen.verifiers import proof as module
from metagen.verifiers.proof import Refused, allow, assumptions, proof_of, read_statement, sentences, uncommented
from tests.confined import needs_coq

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "proofs" / "minif2f_rocq.jsonl"
NO_RUN = cast("Run", None)
PROVED = Score(1.0, reason="proved")
PATIENT = 120.0
"""Seconds of work, for what must come out on a busy machine too."""

SUM = """Require Import Arith.

(* Addition. *)
Theorem sum : forall n m : nat, n + m = m + n.
Proof.
Admitted.
"""
FALSE = "Theorem wrong : 1 = 2.\nProof.\nAdmitted.\n"
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


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("auto.", "auto."),
        ("a (* b (* c *) *) e", "a   e"),
        ("(* auto. *)", " "),
        ("(*)*)auto.", " auto."),
        ("(* it's \" *) auto.", "  auto."),
        ("auto.(**)Axiom x : False.", "auto. Axiom x : False."),
        ("((* *)* x", "( * x"),
        ("x *) y", "x *) y"),
    ],
)
def test_uncommented(text: str, bare: str) -> None:
    assert uncommented(text) == bare


@pytest.mark.parametrize("text", ["(*", "auto. (* (* *)", "(*)"])
def test_a_comment_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not closed"):
        uncommented(text)


@given(st.lists(st.sampled_from(["(", "*", ")", "(*", "*)", "x", " ", '"', "."]), max_size=20).map("".join))
def test_no_comment_is_left_or_made(text: str) -> None:
    try:
        assert "(*" not in uncommented(text)
    except Refused:
        assert text.count("(*")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("auto.", ["auto."]),
        ("intros. rewrite Nat.add_comm.\nring.\n", ["intros.", " rewrite Nat.add_comm.", "\nring."]),
        ("auto... lia.", ["auto...", " lia."]),
        ("{ auto. }", ["{ auto.", " }"]),
        ("auto.\u00a0Axiom x.", ["auto.", "\u00a0Axiom x."]),
        (" ", []),
        ("", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


@given(st.text(alphabet="aA. \n{}-:\t\u00a0"))
def test_sentences_join_to_the_text(text: str) -> None:
    assert "".join(sentences(text)).rstrip() == text.rstrip()


def test_a_statement_is_read() -> None:
    statement = read_statement(problem(SUM))
    assert (statement.name, statement.theorem.strip()) == ("sum", "Theorem sum : forall n m : nat, n + m = m + n.")
    assert statement.given.strip() == "Require Import Arith."
    assert read_statement(Problem("p", "?", partial=Candidate((SUM,)))) == statement
    assert read_statement(problem("Lemma a: True. Admitted.")).name == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "'p' has no statement"),
        ("", "'p' has no statement"),
        ("Theorem a : True.", "must end with a theorem"),
        ("Admitted.", "must end with a theorem"),
        ("Proof. Admitted.", "must end with a theorem"),
        ("Theorem a : True. Proof. auto. Qed.", "must end with a theorem"),
        ("Definition a := 1. Proof. Admitted.", "must end with a theorem"),
        ("(* Theorem a : True. Admitted.", "comment that is not closed"),
    ],
)
def test_what_is_no_statement_is_refused(text: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_statement(problem(text))


@pytest.mark.parametrize(
    ("text", "proof"),
    [
        ("auto.", "auto."),
        ("Proof.\n  intros. lia.\nQed.\n", "intros. lia."),
        ("Theorem sum : forall n m : nat,\n  n + m = m + n.\nProof. auto. Qed.", "auto."),
        (SUM.replace("Admitted.", "auto. Defined."), "auto."),
        ("Require Import Lia. From Coq Require Import Psatz ZArith. lia.", None),
        ("Require Import Coq.micromega.Lia. lia.", None),
        ("- { 1: lia. } all: [> auto | (* b *) auto ]. 2-3: (idtac; auto). }", None),
        ("assert (H: 1 = 1). { reflexivity. } Unshelve. { Require Import Lia. lia. }", None),
    ],
)
def test_a_proof_is_found(text: str, proof: str | None) -> None:
    found = proof_of(read_statement(problem(SUM)), text)
    assert " ".join(found.split()) == " ".join((uncommented(text) if proof is None else proof).split())


CHEATS = {
    "Admitted": "Admitted.",
    "admit": "intros. admit.",
    "give_up": "give_up.",
    "admit in a term": "exact (ltac:(admit)).",
    "Axiom": "Axiom f : False. destruct f.",
    "Axiom before the proof": "Axiom f : False. Proof. destruct f. Qed.",
    "Axiom in braces": "assert True. { Axiom f : False. destruct f. }",
    "Axiom behind braces": "assert True. { auto. } Axiom f : False. destruct f.",
    "Axiom behind a bullet": "- Axiom f : False. destruct f.",
    "Axiom for a goal": "all: Axiom f : False.",
    "Axiom behind a comment": "auto.(* *)Axiom f : False. destruct f.",
    "Axiom behind strange space": "auto.\u00a0Axiom f : False. destruct f.",
    "Axiom behind a comment of quotes": '(* " *) Axiom f : False. (* " *) destruct f.',
    "Local Axiom": "Local Axiom f : False. destruct f.",
    "Time Axiom": "Time Axiom f : False. destruct f.",
    "attribute": "#[local] Axiom f : False. destruct f.",
    "Parameter": "Parameter f : False. destruct f.",
    "Hypothesis": "Hypothesis f : False. destruct f.",
    "Conjecture": "Conjecture f : False. destruct f.",
    "Variable": "Variable f : False. destruct f.",
    "Declare": 'Declare ML Module "ltac_plugin". auto.',
    "Declare Instance": "Declare Instance f : False. auto.",
    "Load": "Load Other. auto.",
    "Require of what is not allowed": "Require Import Classical. tauto.",
    "Require from elsewhere": "From Other Require Import Lia. lia.",
    "Require with a selection": "Require Import(notations) Classical. tauto.",
    "Import": "Import Nat. auto.",
    "Unset": "Unset Guard Checking. exact ((fix f (n : nat) : 1 = 2 := f n) 0).",
    "Set": "Set Universe Checking. auto.",
    "bypass_check": "#[bypass_check(guard)] Fixpoint f (n : nat) : False := f n. destruct (f 0).",
    "Redirect": 'Redirect "x" Print nat. auto.',
    "Extraction": "Extraction nat. auto.",
    "Notation": "Notation x := 1. auto.",
    "Ltac": "Ltac lia := admit. lia.",
    "Hint": "Hint Resolve f_equal : core. auto.",
    "Abort": "Abort. Theorem wrong : 1 = 1. Proof. auto. Qed.",
    "another statement": "Theorem wrong : 1 = 1. Proof. auto. Qed.",
    "a lemma of the name": "Lemma wrong : True. Proof. auto. Qed.",
    "after the end": "auto. Qed. Theorem more : 1 = 1. Proof. auto. Qed.",
    "Goal": "Goal True. auto. Qed.",
    "Reset": "Reset Initial. auto.",
    "no end of a sentence": "auto",
    "no end of a comment": "auto. (* Qed.",
}
"""What is refused before Coq sees it."""

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


@pytest.mark.parametrize("text", CHEATS.values(), ids=CHEATS.keys())
def test_what_is_no_proof_is_refused_unread(text: str) -> None:
    with pytest.raises(Refused):
        proof_of(read_statement(problem(FALSE)), text)


def test_the_reason_names_what_was_refused() -> None:
    def reason(text: str) -> str:
        with pytest.raises(Refused) as refused:
            proof_of(read_statement(problem(FALSE)), text)
        return str(refused.value)

    assert reason(CHEATS["Admitted"]) == "refused: Admitted"
    assert reason(CHEATS["Axiom in braces"]) == "refused: Axiom"
    assert reason(CHEATS["Require of what is not allowed"]) == "refused: Require of Classical"
    assert reason(CHEATS["another statement"]) == "refused: Theorem, and not the statement as it was given"
    assert reason(CHEATS["after the end"]) == "refused: text after Qed."
    assert reason(CHEATS["Redirect"]) == "refused: a string, which no proof needs"


def test_the_statement_may_load_what_it_likes_and_the_proof_again() -> None:
    statement = read_statement(problem(f"Require Import Classical_Pred_Type.\n{FALSE}"))
    assert proof_of(statement, "From Coq Require Import Classical_Pred_Type. auto.").endswith("auto.")


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
    statement = read_statement(problem(f"Axiom mine : 1 = 1.\n{FALSE}"))
    allow(
        ["ClassicalDedekindReals.sig_forall_dec", "Reals.ClassicalDedekindReals.x", "Candidate.mine"],
        libraries,
        statement,
    )
    for name in (
        "Classical_Prop.classic",
        "DedekindReals.x",
        "Candidate.wrong",
        "Candidate.other",
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
        scores = await judged(FALSE, *CHEATS.values(), *FAIL.values(), seconds=3.0)
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

    async def test_what_the_text_lets_pass_the_assumptions_do_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_check", lambda *_: None)
        monkeypatch.setattr(module, "_GIVES_UP", re.compile("(nothing)"))
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
        if not DATA.exists():
            pytest.skip("the shared statements are not here")
        rows = [json.loads(line) for line in DATA.read_text().splitlines()]
        proof = "Require Import Lia Lra Psatz.\nintros; first [ solve [auto] | lia | lra | nia | nra | ring | field ]."
        for row in [row for row in rows if row["hammer"]][:2]:
            scores = await judged(row["statement"], proof, "intros.")
            assert [score and score.value for score in scores] == [1.0, 0.0], row["id"]


def test_every_statement_of_minif2f_is_read() -> None:
    if not DATA.exists():
        pytest.skip("the shared statements are not here")
    for line in DATA.read_text().splitlines():
        row = json.loads(line)
        assert read_statement(problem(row["statement"])).name
