import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.execution.coq import (
    Refused,
    count_holes,
    filled,
    goals_left,
    open_hole,
    proof_of,
    read_file,
    read_statement,
    sentences,
    uncommented,
)
from tests.support.proofs import CHEATS, FALSE, SHARED, SUM


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
    statement = read_statement(SUM)
    assert (statement.name, statement.theorem.strip()) == ("sum", "Theorem sum : forall n m : nat, n + m = m + n.")
    assert statement.given.strip() == "Require Import Arith."
    for text in ("Lemma a: True", "Lemma a@{u v} : True", "Lemma a@{} : True", "Lemma a(n : nat) : True"):
        assert read_statement(f"{text}. Admitted.").name == "a"
    assert read_statement(statement.file("", "Admitted.")) == statement


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not end with a theorem"),
        ("Theorem a : True.", "does not end with a theorem"),
        ("Admitted.", "does not end with a theorem"),
        ("Proof. Admitted.", "does not end with a theorem"),
        ("Theorem a : True. Proof. auto. Qed.", "does not end with a theorem"),
        ("Definition a := 1. Proof. Admitted.", "does not end with a theorem"),
        ("(* Theorem a : True. Admitted.", "comment that is not closed"),
    ],
)
def test_what_is_no_statement_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read_statement(text)


GIVEN = "Lemma a : True.\nProof. intros. admit. Admitted.\nLemma b : 1 = 1.\nProof. auto. Qed.\n"
LAST = "Theorem c : 2 = 2."


@pytest.mark.parametrize(
    "text",
    [
        "Proof. intros. auto. Qed.",
        f"{LAST} Proof. intros. auto. Qed.",
        f"{GIVEN}{LAST}\nProof. intros. auto. Qed.",
    ],
)
def test_tactics_of_given_proofs_are_no_restatement(text: str) -> None:
    statement = read_statement(f"{GIVEN}{LAST} Admitted.")
    assert proof_of(statement, text).split() == ["intros.", "auto."]
    sketch = text.replace("auto.", "admit.") if "Lemma" not in text else f"{GIVEN}{LAST}\nintros. admit. Admitted."
    assert proof_of(statement, sketch, sketch=True).split() == ["intros.", "admit."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{GIVEN}Proof. auto. Qed.", "refused: admit"),
        (f"Lemma z : False. Admitted. {LAST} auto. Qed.", "Lemma, and not the statement"),
        (f"{LAST} admit. Admitted.", "refused: admit"),
        (f"{LAST} auto. Qed. {LAST} auto. Qed.", "text after Qed"),
    ],
)
def test_before_the_restated_theorem_stands_what_is_given_and_nothing_else(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        proof_of(read_statement(f"{GIVEN}{LAST} Admitted."), text)


def test_a_file_is_its_last_theorem_and_what_follows() -> None:
    statement, rest = read_file("Lemma a : True. Proof. auto. Qed. Theorem b : 1 = 1. Proof. (* . *) admit. Qed.")
    assert (statement.name, statement.given.strip()) == ("b", "Lemma a : True. Proof. auto. Qed.")
    assert rest.split() == ["Proof.", "admit.", "Qed."]
    with pytest.raises(Refused, match="states no theorem"):
        read_file("auto.")


@pytest.mark.parametrize(
    ("text", "proof"),
    [
        ("auto.", "auto."),
        ("Proof.\n  intros. lia.\nQed.\n", "intros. lia."),
        ("Theorem sum : forall n m : nat,\n  n + m = m + n.\nProof. auto. Qed.", "auto."),
        (SUM.replace("Admitted.", "auto. Defined."), "auto."),
        ("assert (1 = 1). { auto. } { auto. }\nQed.", "assert (1 = 1). { auto. } { auto. }"),
        ("Proof using. auto. Qed.", "auto."),
        ("Proof using n m. auto. Qed.", "auto."),
        ("Proof with auto. intros... Qed.", "Proof with auto. intros..."),
        ("Proof using Type with (idtac; auto). intros...", "Proof with (idtac; auto). intros..."),
        ("Require Import Lia. From Coq Require Import Psatz ZArith. lia.", None),
        ("Require Import Coq.micromega.Lia. lia.", None),
        ("- { 1: lia. } all: [> auto | (* b *) auto ]. 2-3: (idtac; auto). }", None),
        ("assert (H: 1 = 1). { reflexivity. } Unshelve. { Require Import Lia. lia. }", None),
    ],
)
def test_a_proof_is_found(text: str, proof: str | None) -> None:
    found = proof_of(read_statement(SUM), text)
    assert " ".join(found.split()) == " ".join((uncommented(text) if proof is None else proof).split())


@pytest.mark.parametrize(
    "theorem",
    [
        "Theorem sum: forall n m: nat, n + m = m + n.",
        "Theorem sum :\n  forall (n m:nat), n+m=m+n .",
        "Lemma sum : forall n m : nat, (n + m) = (m + n).",
    ],
)
def test_a_theorem_is_restated_whatever_its_spaces_and_its_command(theorem: str) -> None:
    given = "Definition two:=2."
    statement = read_statement(f"Definition two := 2.\n{SUM}")
    assert proof_of(statement, f"{given}\n{theorem}\nProof. auto. Qed.").split() == ["auto."]
    assert proof_of(statement, f"Proof. auto. {given} Qed.").split() == ["auto."]
    with pytest.raises(Refused, match="not the statement as it was given"):
        proof_of(statement, f"{theorem.replace('+', '*')}\nProof. auto. Qed.")


@pytest.mark.parametrize("text", CHEATS.values(), ids=CHEATS.keys())
def test_what_is_no_proof_is_refused_unread(text: str) -> None:
    with pytest.raises(Refused):
        proof_of(read_statement(FALSE), text)


def test_the_reason_names_what_was_refused() -> None:
    def reason(text: str) -> str:
        with pytest.raises(Refused) as refused:
            proof_of(read_statement(FALSE), text)
        return str(refused.value)

    assert reason(CHEATS["Admitted"]) == "refused: Admitted"
    assert reason(CHEATS["Axiom in braces"]) == "refused: Axiom"
    assert reason(CHEATS["Require of what is not allowed"]) == "refused: Require of Classical"
    assert reason(CHEATS["another statement"]) == "refused: Theorem, and not the statement as it was given"
    assert reason(CHEATS["after the end"]) == "refused: text after Qed."
    assert reason(CHEATS["Redirect"]) == "refused: a string, which no proof needs"


@pytest.mark.parametrize("names", ["a" * 5000, "a " * 5000, "a.b " * 5000, "a.b" * 5000])
def test_a_long_sentence_that_loads_nothing_is_refused_at_once(names: str) -> None:
    with pytest.raises(Refused, match="Require"):
        proof_of(read_statement(FALSE), f"Require Import {names}!.")


def test_the_statement_may_load_what_it_likes_and_the_proof_again() -> None:
    statement = read_statement(f"Require Import Classical_Pred_Type.\n{FALSE}")
    assert proof_of(statement, "From Coq Require Import Classical_Pred_Type. auto.").endswith("auto.")


SKETCH = "intros. assert (n = n) by admit. - { admit. } 2: admit. assert (m = m) by (admit). auto."


def test_a_sketch_has_holes_that_are_sentences() -> None:
    sketch = proof_of(read_statement(SUM), f"Proof. {SKETCH} Admitted.", sketch=True)
    assert count_holes(sketch) == 4
    assert " ".join(filled(sketch, {hole: f"tactic{hole}." for hole in range(4)}).split()) == (
        "intros. assert (n = n). { tactic0. } - { tactic1. } 2: tactic2. assert (m = m). { tactic3. } auto."
    )


@pytest.mark.parametrize("text", ["intros; admit.", "exact (ltac:(admit)).", "give_up.", "auto. Admitted. auto."])
def test_a_hole_inside_a_sentence_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        proof_of(read_statement(SUM), text, sketch=True)


@pytest.mark.parametrize("text", [text for name, text in CHEATS.items() if "dmit" not in name], ids=repr)
def test_a_sketch_may_have_holes_and_nothing_else(text: str) -> None:
    with pytest.raises(Refused):
        proof_of(read_statement(FALSE), f"admit. {text}", sketch=True)


def test_goals_stand_in_comments_before_their_holes() -> None:
    goals = ["x : nat\n|- x = x", "|- (fun y => y (*)) = 2"]
    file = f"intros. {{ {open_hole(goals[0])} }}\n- {open_hole(goals[1])} auto."
    assert goals_left(file) == [goals[0], "|- (fun y => y ( * )) = 2"]
    assert count_holes(uncommented(file)) == 2


def test_every_statement_of_minif2f_is_read() -> None:
    if not SHARED.exists():
        pytest.skip("the shared statements are not here")
    for line in SHARED.read_text().splitlines():
        assert read_statement(json.loads(line)["statement"]).name
