from typing import Any

import pytest

from metagen import Coq, InputError, ToolRefusal
from metagen.execution.coq import goals_left
from metagen.execution.processes import Finished
from metagen.tools import coq as module
from metagen.tools.coq import reported
from tests.support.confined import needs_coq
from tests.support.proofs import FALSE, SUM

SKETCH = """Require Import ZArith.
Open Scope Z_scope.
Theorem odd : forall n : Z, n mod 2 = 1 -> (n * n) mod 2 = 1.
Proof.
  intros n H. (* n is 2 k + 1 *)
  assert (E : n = 2 * (n / 2) + 1) by admit.
  assert (S : n * n = 2 * (2 * (n / 2) * (n / 2) + 2 * (n / 2)) + 1). { admit. }
  assert (F : n = n * n). { admit. }
  rewrite S. rewrite Z.mul_comm. rewrite Z.add_comm. apply Z.mod_add. discriminate.
Qed.
"""


@pytest.mark.parametrize(
    "settings",
    [{"seconds": 0}, {"memory": 1}, {"sandbox": None}, {"tactics": ()}, {"tactics": "lia"}, {"libraries": 1}],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Coq: {next(iter(settings))}"):
        Coq(**settings)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The answer is 8.", "states no theorem"),
        (FALSE.replace("Admitted", "Axiom a : False. destruct a. Qed"), "refused: Axiom"),
        (FALSE.replace("Admitted", "exact (ltac:(admit)). Qed"), "refused: admit"),
        (f"{FALSE} (*", "has a comment that is not closed"),
    ],
)
async def test_what_is_no_sketch_is_refused_unread(text: str, reason: str) -> None:
    with pytest.raises(ToolRefusal, match=reason):
        await Coq()(text)


def test_goals_are_read_with_the_oldest_hypothesis_first() -> None:
    printed = "hole 0\n   H : (x = 1)\n   x : nat\n  |- (x = 1)\nhole 12\n  |- True\nelse\n"
    assert reported(printed) == {0: "x : nat\nH : (x = 1)\n|- (x = 1)", 12: "|- True"}


async def test_tactics_are_tried_one_after_the_other_until_one_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []

    async def coq(given: dict[str, str], *_: object) -> Finished:
        (file,) = given.values()
        files.append(file)
        fails = "solve [intros; lia]" in file and "Admitted." in file
        return Finished(int(fails), b"hole 0\n  |- True\n", b"", 1.0, "exit")

    monkeypatch.setattr(module, "run_coq", coq)
    proved = await Coq(tactics=("lia", "nia", "nra"))(SUM)
    assert "\nsolve [intros; nia].\nQed." in proved
    assert [file.count("solve") for file in files] == [0, 1, 1, 1]
    left = await Coq(tactics=("lia",))(await Coq(tactics=("lia",))(SUM))
    assert left.count("Require Import Lia") == 1
    assert left.endswith("(* |- True *)\nadmit.\nAdmitted.\n")


async def test_one_that_passes_a_limit_does_not_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    async def coq(given: dict[str, str], *_: object) -> Finished:
        (file,) = given.values()
        return Finished(0, b"", b"", 1.0, "time" if "solve" in file else "exit")

    monkeypatch.setattr(module, "run_coq", coq)
    assert goals_left(await Coq()(SUM)) == [""]


@needs_coq
class TestWithCoq:
    async def test_holes_are_filled_and_what_is_left_is_said(self) -> None:
        file = await Coq(seconds=60.0)(SKETCH)
        (goal,) = goals_left(file)
        assert goal.startswith("n : Z\nH : (n mod 2 = 1)\nE : ")
        assert goal.endswith("|- (n = n * n)")
        assert file.endswith("Admitted.\n")
        proved = await Coq(seconds=60.0)(SKETCH.replace("  assert (F : n = n * n). { admit. }\n", ""))
        assert proved.endswith("Qed.\n")
        assert "admit" not in proved

    async def test_what_coq_does_not_accept_is_refused_with_its_message(self) -> None:
        with pytest.raises(ToolRefusal, match="reference nonesuch was not found"):
            await Coq(seconds=60.0)(SUM.replace("Admitted.", "assert (H : 1 = 1) by admit. apply nonesuch."))
