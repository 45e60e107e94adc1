import json
from typing import cast

import pytest

from metagen import (
    Candidate,
    Coq,
    DraftSketchProve,
    InputError,
    Problem,
    Proves,
    Run,
    ToolRefusal,
    Until,
    parse,
    solve,
)
from metagen.execution.coq import Refused, open_hole
from metagen.prompts import corrected_sketch, formal_sketch, informal_proof, open_goal
from metagen.strategies.chains.proof import proof, sketched, tactics_of
from tests.support.confined import needs_coq
from tests.support.proofs import CHEATS, FALSE, SHARED, SUM
from tests.support.scripts import NAMES, Counting
from tests.support.sketches import SKETCHES

SPECS = ["DraftSketchProve(prove, rounds=1)"]
WRAPPERS = ["DraftSketchProve(prove, of={})"]

NO_RUN = cast("Run", None)
QUESTION = f"Prove that addition commutes.\n```coq\n{SUM}```"
PROBLEM = Problem("p", QUESTION)
STATED = "Require Import Arith.\n\n \nTheorem sum : forall n m : nat, n + m = m + n.\nProof.\n"


def coq(text: str) -> str:
    return f"```coq\n{text}\n```"


class Prover:
    """A prover by a script: what it says, or refuses, one call after the other."""

    def __init__(self, *said: str | ToolRefusal) -> None:
        self.said, self.asked = list(said), list[str]()

    async def __call__(self, text: str, /) -> str:
        self.asked.append(text)
        said = self.said.pop(0)
        if isinstance(said, ToolRefusal):
            raise said
        return said


def model(*replies: str) -> Counting:
    left = iter(replies)
    return Counting(lambda _: next(left))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DraftSketchProve(Coq)", "Coq is a class"),
        ("DraftSketchProve(length)", "is not a tool"),
        ("DraftSketchProve(prove, rounds=True)", "rounds"),
        ("DraftSketchProve(prove, seconds=-1)", "seconds"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(text, NAMES)


@pytest.mark.parametrize(
    ("reply", "tail"),
    [
        (coq("intros. admit."), "intros. admit.\nAdmitted.\n"),
        (coq(SUM.replace("Admitted.", "intros n m. admit. Qed.")), "intros n m. admit.\nAdmitted.\n"),
        (coq("Proof. (* todo *) Admitted."), "admit.\nAdmitted.\n"),
        ("assert (A : 1 = 1) by admit. auto.", "assert (A : 1 = 1). { admit. } auto.\nAdmitted.\n"),
    ],
)
def test_a_sketch_stands_behind_the_statement_of_the_question(reply: str, tail: str) -> None:
    file = sketched(QUESTION, reply)
    assert file.split() == f"{STATED}{tail}".split()
    assert sketched(SUM, reply) == file


def test_without_a_statement_the_reply_is_the_file() -> None:
    assert sketched("Prove it.", f"So\n{coq(FALSE)}").strip() == FALSE.strip()


def test_another_statement_is_refused() -> None:
    with pytest.raises(Refused, match="not the statement as it was given"):
        sketched(QUESTION, coq(FALSE))


def test_tactics_are_read_from_a_reply() -> None:
    assert tactics_of(f"Try\n{coq('Proof. intros. admit. Qed.')}") == "intros. admit."
    with pytest.raises(ToolRefusal, match="refused: Axiom"):
        tactics_of(coq("Axiom a : False. destruct a."))


async def test_draft_then_sketch_then_proof() -> None:
    prover, backend = Prover("Theorem proved."), model("By induction.\n", coq("intros. admit."))
    solution = await solve(PROBLEM, DraftSketchProve(prover), backend)
    asked = [request.prompt for request in backend.requests]
    assert asked == [informal_proof(QUESTION), formal_sketch(QUESTION, "By induction.\n")]
    assert prover.asked == [sketched(QUESTION, "intros. admit.")]
    assert solution.text == f"By induction.\n\n{coq('Theorem proved.')}"


async def test_a_proof_may_load_what_its_prover_lets_it_load() -> None:
    class Loading(Prover):
        libraries = ("MyLib",)

    left = sketched(SUM, "intros. admit.").replace("admit.", open_hole("|- 1 = 1"))
    prover = Loading(left, "Theorem proved.")
    backend = model("Draft.", coq("Require Import MyLib. intros. admit."), coq("Require Import MyLib. auto."))
    solution = await solve(PROBLEM, DraftSketchProve(prover, rounds=1), backend)
    assert all("Require Import MyLib." in file for file in prover.asked)
    assert solution.text.endswith(coq("Theorem proved."))
    lost = await solve(PROBLEM, DraftSketchProve(Prover()), model("Draft.", coq("Require Import MyLib. auto.")))
    assert "Require of MyLib" in str(lost.trace.why_lost())


async def test_goals_that_are_left_go_back_and_their_proofs_take_the_place_of_the_holes() -> None:
    left = sketched(QUESTION, "intros. { admit. } { admit. }")
    goals = ["n : nat\n|- n = n", "|- True"]
    first, second = (left.index("admit."), left.rindex("admit."))
    file = f"{left[:first]}{open_hole(goals[0])}{left[first + 6 : second]}{open_hole(goals[1])}{left[second + 6 :]}"
    prover = Prover(file, "Theorem proved.")
    backend = model("Draft.", coq("intros. admit."), coq("Proof. reflexivity. Qed."), "I cannot.")
    solution = await solve(PROBLEM, DraftSketchProve(prover, rounds=1), backend)
    assert [request.prompt for request in backend.requests[2:]] == [open_goal(QUESTION, goal) for goal in goals]
    assert prover.asked[1].split() == left.replace("admit.", "{ reflexivity. }", 1).split()
    assert solution.text.endswith(coq("Theorem proved."))


async def test_holes_are_those_of_the_last_theorem() -> None:
    question = "Lemma a : 1 = 1.\nProof. admit. Admitted.\nTheorem b : 2 = 2.\nProof.\nAdmitted."
    left = sketched(question, "intros. admit.")
    at = left.rindex("admit.")
    prover = Prover(f"{left[:at]}{open_hole('|- 2 = 2')}{left[at + 6 :]}", "Theorem proved.")
    backend = model("Draft.", coq("intros. admit."), coq("reflexivity."))
    solution = await solve(Problem("p", question), DraftSketchProve(prover, rounds=1), backend)
    assert prover.asked[1].split() == f"{left[:at]}{{ reflexivity. }}{left[at + 6 :]}".split()
    assert solution.text.endswith(coq("Theorem proved."))


async def test_a_sketch_that_the_prover_refuses_goes_back_with_its_message() -> None:
    prover = Prover(ToolRefusal("no such lemma"), "Theorem proved.")
    backend = model("Draft.", coq("apply nonesuch."), coq("auto."))
    solution = await solve(PROBLEM, DraftSketchProve(prover, rounds=1), backend)
    asked = corrected_sketch(QUESTION, "Draft.", coq("apply nonesuch."), "no such lemma")
    assert backend.requests[-1].prompt == asked
    assert "\n> no such lemma\n" in asked
    assert not solution.failed


async def test_with_no_rounds_left_a_refusal_costs_the_sample() -> None:
    for reply, prover in (("apply x.", Prover(ToolRefusal("no such lemma"))), ("Axiom a : False.", Prover())):
        solution = await solve(PROBLEM, DraftSketchProve(prover), model("Draft.", coq(reply)))
        assert solution.failed


async def test_with_no_rounds_left_the_holes_stay() -> None:
    left = sketched(QUESTION, "admit.")
    solution = await solve(PROBLEM, DraftSketchProve(Prover(left)), model("Draft.", coq("admit.")))
    assert "admit." in solution.text


def test_the_thought_before_the_draft_is_kept() -> None:
    made = proof(Candidate(("It is so.",), thoughts=("Hm.",), thought_tokens=3, tokens=(1, 2, 3, 4)), "Qed.")
    assert (made.thought, made.thought_tokens, made.tokens, made.finished) == ("Hm.", 3, (), True)


@needs_coq
class TestWithCoq:
    async def test_a_prover_that_cheats_convinces_nobody(self) -> None:
        """What is left of a hole, an axiom, another statement: of nothing that a prover might say is there a proof."""
        files = [FALSE.replace("Admitted.", f"{cheat} Qed.") for cheat in CHEATS.values()]
        files += [*CHEATS.values(), FALSE, FALSE.replace("1 = 2", "1 = 1").replace("Admitted", "reflexivity. Qed")]
        candidates = [proof(Candidate(("It is so.",)), file) for file in files]
        scores = await Proves(seconds=60.0)(Problem("p", FALSE), candidates, NO_RUN)
        assert [score and score.value for score in scores] == [0.0] * len(files)

    async def test_a_proof_is_found_and_judged(self) -> None:
        question = "Theorem wide : forall f : nat -> nat, (forall x, f x = x * x) -> f (f 2) = 16.\nProof.\nAdmitted."
        sketch = "intros f H. assert (A : f 2 = 4). { admit. } rewrite A. rewrite H. reflexivity."
        backend = model("Compute.", coq("apply nonesuch."), coq(sketch), coq("rewrite H. admit."))
        prove = DraftSketchProve(Coq(tactics=("lia",), seconds=60.0), rounds=2)
        solution = await solve(Problem("p", question), Until(Proves(seconds=60.0), limit=1, of=prove), backend)
        assert solution.text.startswith("Compute.")
        assert "rewrite H. solve [intros; lia]." in solution.text
        assert not solution.notes, "Until says so where nothing was accepted"
        assert len(backend.requests) == 4

    @pytest.mark.parametrize("name", ["test/mathd_algebra_346"])
    async def test_a_sketch_proves_more_than_the_prover_alone(self, name: str) -> None:
        if not SHARED.exists():
            pytest.skip("the shared statements are not here")
        rows = [json.loads(line) for line in SHARED.read_text().splitlines()]
        (statement,) = [row["statement"] for row in rows if row["id"] == name]
        prover = Coq(
            tactics=("lra",), seconds=60.0
        )  # the others do no more here, as benchmarks/studies/prover.py shows
        assert (await prover(statement)).endswith("Admitted.\n")
        file = await prover(sketched(statement, SKETCHES[name]))
        (score,) = await Proves(seconds=60.0)(Problem("p", statement), [Candidate((file,))], NO_RUN)
        assert score is not None
        assert score.reason == "proved"
