"""Statements, and what is no proof of one, that the tests share."""

from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared" / "data" / "proofs" / "minif2f_rocq.jsonl"

SUM = """Require Import Arith.

(* Addition. *)
Theorem sum : forall n m : nat, n + m = m + n.
Proof.
Admitted.
"""
FALSE = "Theorem wrong : 1 = 2.\nProof.\nAdmitted.\n"

CHEATS = {
    "Admitted": "Admitted.",
    "admit": "intros. admit.",
    "give_up": "give_up.",
    "admit behind each sentence": "Proof with admit. idtac... Qed.",
    "Axiom behind each sentence": "Proof with Axiom f : False. idtac... Qed.",
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
