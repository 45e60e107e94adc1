"""Coq as an automated prover: it fills the holes of a sketch, in a sandbox."""

import re
from dataclasses import KW_ONLY, dataclass

from metagen.errors import InputError, ToolRefusal
from metagen.execution.blocks import COQ, last_block
from metagen.execution.coq import (
    HOLE,
    LIBRARIES,
    Refused,
    Statement,
    count_holes,
    filled,
    open_hole,
    proof_of,
    read_file,
    spaced,
)
from metagen.execution.limits import MIB
from metagen.execution.processes import Finished
from metagen.execution.programs import COQ_MEMORY, checked_settings, coqs_message, find_coq, limits, run_coq, worked
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.settings import spelled
from metagen.tasks import together

TACTICS = (
    "first [solve [auto] | lia | lra | ring | field; repeat split; solve [auto | lra]]",
    "nia",
    "nra",
    "Z.div_mod_to_equations; nia",
)
"""After `intros`. The first is for what is settled at once; the last, for division with remainder."""
LOADED = "Require Import Lia Lra Psatz Ring Field."
"""What the tactics need."""

_REPORT = """Set Printing Width 1000.
Ltac metagen_reports :=
  try (match goal with H : ?T |- _ => idtac "  " H ":" T; fail end);
  match goal with |- ?G => idtac "  |-" G end."""
_REPORTED = re.compile(r"^hole (\d+)\n((?: +.*\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, repr=False)
class Coq:
    """A proof with its holes filled: the text is a Coq file whose last theorem has a sketch, with holes `admit.`.

    On each hole, after `intros`, one of `tactics` after the other is tried, in runs of Coq of at most `seconds` of work
    and `memory` in bytes. So a theorem with `Proof. Admitted.`, which is one hole, is proved if a tactic proves it.
    What comes out is the whole file, which Coq accepts. Where holes are left, each is `admit.` with a comment before it
    that says what is to be proved there, and the file ends with `Admitted.`.

    A proof may load the `libraries`, by their names (default: 23 modules of Coq's standard library, such as `Lia`,
    `Reals` and `ZArith`). Coq runs in `sandbox` (default: confined by bubblewrap; `Sandbox(readable=("/opt/coq",))`
    shows it a Coq that is installed elsewhere).

    Refuses what `Proves` refuses unread, holes aside, and what Coq does not accept, with its message.
    """

    _: KW_ONLY
    tactics: tuple[str, ...] = TACTICS
    seconds: float = 10.0
    memory: int = 4096 * MIB
    libraries: tuple[str, ...] = LIBRARIES
    sandbox: Sandbox = CONFINED

    __repr__ = spelled

    def __post_init__(self) -> None:
        checked_settings(self, self.seconds, self.memory, COQ_MEMORY, self.sandbox)
        for name, value in (("tactics", self.tactics), ("libraries", self.libraries)):
            if not isinstance(value, tuple) or not value or not all(isinstance(each, str) for each in value):
                raise InputError(f"Coq: {name} must be a tuple of texts, one or more, not {value!r}")

    def check_host(self) -> None:
        """Raises `InputError` if Coq is missing."""
        find_coq()

    async def __call__(self, text: str, /) -> str:
        try:
            statement, rest = read_file(last_block(text, COQ))
            sketch = proof_of(statement, rest, self.libraries, sketch=True).replace(LOADED, "").strip() or HOLE
        except Refused as refused:
            raise ToolRefusal(str(refused)) from None
        goals = await self._goals(statement, sketch)
        found = await together(self._proof(statement, sketch, hole) for hole in range(count_holes(sketch)))
        fillings = {hole: proof or open_hole(goals.get(hole, "")) for hole, proof in enumerate(found)}
        file = statement.file(f"{LOADED}\n{filled(sketch, fillings)}", "Admitted." if None in found else "Qed.")
        if None not in found:
            await self._accepted(file)
        return file

    async def _goals(self, statement: Statement, sketch: str) -> dict[int, str]:
        """What is to be proved at each hole of a sketch that Coq accepts."""
        reporting = {hole: f'idtac "hole {hole}"; metagen_reports; {HOLE}' for hole in range(count_holes(sketch))}
        reports = filled(sketch, reporting)
        return reported(await self._accepted(statement.file(f"{LOADED}\n{_REPORT}\n{reports}", "Admitted.")))

    async def _proof(self, statement: Statement, sketch: str, hole: int) -> str | None:
        """The sentence that proves what is to be proved at one hole, if there is one."""
        for sentence in (f"solve [intros; {tactic}]." for tactic in self.tactics):
            trial = filled(sketch, {hole: sentence})
            if worked(await self._run(statement.file(f"{LOADED}\n{trial}", "Admitted."))):
                return sentence
        return None

    async def _accepted(self, file: str) -> str:
        """What Coq prints for a file that it accepts."""
        finished = await self._run(file)
        if not worked(finished):
            raise ToolRefusal(coqs_message(finished, self.seconds))
        return finished.out.decode(errors="replace")

    async def _run(self, file: str) -> Finished:
        return await run_coq({"Sketch.v": file}, self.sandbox, limits(self.seconds, self.memory))


def reported(printed: str) -> dict[int, str]:
    """The goals that Coq printed, by hole: hypotheses, the oldest first, and what follows `|-`."""
    return {int(hole): _in_order(lines) for hole, lines in _REPORTED.findall(printed)}


def _in_order(lines: str) -> str:
    *hypotheses, conclusion = map(spaced, lines.splitlines())
    return "\n".join([*reversed(hypotheses), conclusion])
