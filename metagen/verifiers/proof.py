"""The oracle for formal proofs: Coq accepts it, of the statement as it was given."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, ToolError, VerifierError
from metagen.execution.blocks import COQ, last_block
from metagen.execution.coq import LIBRARIES, Refused, Statement, proof_of, read_statement, spaced
from metagen.execution.limits import MIB
from metagen.execution.programs import COQ_MEMORY, checked_settings, coqs_message, find_coq, limits, run_coq, worked
from metagen.execution.sandbox import CONFINED, Sandbox
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import spelled
from metagen.tasks import together

REMEMBERED = 1024
"""Statements that Coq accepted."""
_ASSUMPTION = re.compile(r"^([\w'.]+)\s*(?::.*)?$")


@dataclass(frozen=True, slots=True, repr=False)
class Proves:
    """The oracle for proofs: Coq accepts the candidate's proof of the statement.

    The statement is `problem.answer`, or without one the reply's given beginning, or the question's last block of Coq:
    a file that ends with a theorem and `Admitted.`. The candidate's last fenced block of Coq, or its whole text, is the
    proof: tactics, with or without the statement before and `Qed.` after them. It may load the standard `libraries` and
    is put behind the statement, which so stays what it was; other commands are refused. At last, the theorem may rest
    on no axioms but those of the libraries that the statement loads itself, and those of its own text.

    1 if it is proved, else 0 with Coq's message. No verdict where the sandbox failed. `seconds` of work and `memory` in
    bytes are for each run of Coq.
    """

    _: KW_ONLY
    seconds: float = 60.0
    memory: int = 4096 * MIB
    libraries: tuple[str, ...] = LIBRARIES
    sandbox: Sandbox = CONFINED

    __repr__ = spelled

    def __post_init__(self) -> None:
        checked_settings(self, self.seconds, self.memory, COQ_MEMORY, self.sandbox)
        if not isinstance(self.libraries, tuple) or not all(isinstance(name, str) for name in self.libraries):
            raise InputError(f"Proves: libraries must be a tuple of names, not {self.libraries!r}")

    def check_host(self) -> None:
        """Raises `InputError` if Coq is missing."""
        find_coq()

    def check_problem(self, problem: Problem) -> None:
        """Raises `InputError` for a problem without a statement."""
        statement_of(problem)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run, /) -> list[Score | None]:
        """Judge each candidate by its proof; equal texts are checked once.

        Raises:
            InputError: the problem has no statement, Coq is missing, or no sandbox can be had here.
            VerifierError: Coq does not accept the statement.
        """
        statement = statement_of(problem)
        try:
            libraries = await self._stated(statement, problem.id)
        except ToolError as error:
            run.note(f"not verified: {error}")
            return [None] * len(candidates)
        texts = [last_block(_reply(candidate, problem), COQ) for candidate in candidates]
        distinct = list(dict.fromkeys(texts))
        judged = await together(self._judged(statement, libraries, text, run) for text in distinct)
        verdicts = dict(zip(distinct, judged, strict=True))
        return [verdicts[text] for text in texts]

    async def _stated(self, statement: Statement, problem: str) -> list[str]:
        """The full names of the libraries that are loaded before the theorem, which Coq accepts as a statement."""
        known = _known_libraries(statement, self.sandbox)
        if known:
            return known
        text = f"{statement.given}\nPrint Libraries.\n{statement.theorem}\nProof.\nAdmitted.\n"
        text += f"Definition metagen_{statement.name} := @{statement.name}.\n"  # it has the name that was read
        finished = await run_coq({"Given.v": text}, self.sandbox, limits(self.seconds, self.memory))
        if not worked(finished):
            raise VerifierError(f"the statement of problem {problem!r} fails: {coqs_message(finished, self.seconds)}")
        known += finished.out.decode(errors="replace").split()
        return known

    async def _judged(self, statement: Statement, libraries: Sequence[str], text: str, run: Run) -> Score | None:
        try:
            names = await self._assumed(statement, proof_of(statement, text, self.libraries))
            allow(names, libraries, statement)
        except Refused as refused:
            return Score(0.0, reason=str(refused))
        except ToolError as error:
            run.note(f"not verified: {error}")
            return None
        return Score(1.0, reason="proved")

    async def _assumed(self, statement: Statement, proof: str) -> list[str]:
        """The axioms that a proof rests on, as another run of Coq reads them from the compiled proof."""
        files = {
            "Candidate.v": statement.file(proof),
            "Check.v": f"Require Candidate.\nPrint Assumptions Candidate.{statement.name}.\n",
        }
        finished = await run_coq(files, self.sandbox, limits(self.seconds, self.memory))
        if not worked(finished):
            raise Refused(coqs_message(finished, self.seconds))
        return assumptions(finished.out.decode(errors="replace"))


@lru_cache(REMEMBERED)
def _known_libraries(_statement: Statement, _sandbox: Sandbox) -> list[str]:
    """Where they are kept once Coq has accepted the statement; until then the list is empty."""
    return []


def statement_of(problem: Problem) -> Statement:
    """The theorem that a problem asks to prove. Raises `InputError` if there is none."""
    text = problem.answer
    if text is None:
        text = problem.partial.text if problem.partial is not None else last_block(problem.prompt, COQ)
    try:
        return read_statement(text)
    except Refused as refused:
        raise InputError(
            f"problem {problem.id!r}: its statement {refused}; it is the answer, or else a block of Coq in the question"
        ) from None


def assumptions(printed: str) -> list[str]:
    """Read what `Print Assumptions` says: the names of the axioms, none where there are none.

    Raises:
        Refused: it says something else, as of a theorem that was not checked to be well-founded.
    """
    if printed.strip() == "Closed under the global context":
        return []
    first, *lines = printed.rstrip().split("\n")
    outer = [line for line in lines if not line.startswith(" ")]
    names = [match[1] for match in map(_ASSUMPTION.match, outer) if match]
    if first != "Axioms:" or not names or len(names) < len(outer):
        raise Refused(f"refused: {spaced(printed)[:300]}")
    return names


def allow(names: Sequence[str], libraries: Sequence[str], statement: Statement) -> None:
    """Refuse axioms that neither come with one of `libraries`, by their full names, nor stand in the statement."""
    for name in names:
        module, _, axiom = name.rpartition(".")
        within = f"{module}.".startswith("Candidate.") and name != f"Candidate.{statement.name}"
        own = within and axiom in re.findall(r"[\w']+", statement.given)
        if not own and not any(f".{library}".endswith(f".{module}") for library in libraries):
            raise Refused(f"refused: it rests on {name}")


def _reply(candidate: Candidate, problem: Problem) -> str:
    return candidate.text.removeprefix(problem.partial.text) if problem.partial is not None else candidate.text
