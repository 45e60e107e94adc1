"""The oracle for formal proofs: Coq accepts it, of the statement as it was given."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, ToolError, VerifierError
from metagen.problem import Problem
from metagen.processes import Finished
from metagen.run import Run
from metagen.sandbox import CONFINED, MIB, Limits, Sandbox
from metagen.settings import spelled
from metagen.tasks import together
from metagen.verifiers._blocks import last_block
from metagen.verifiers.execution import PATIENCE, checked_settings, why

COQ = ("coq", "rocq", "v")
LIBRARIES = (
    *("Arith", "BinInt", "Bool", "Factorial", "Field", "Lia", "List", "Lqa", "Lra", "NArith", "Nat", "Nsatz"),
    *("PeanoNat", "Psatz", "QArith", "Qround", "Reals", "Ring", "Wf_nat", "ZArith", "Znat", "Znumtheory", "Zpow_facts"),
)
"""Modules of Coq's standard library that any proof may load."""

LEAST_MEMORY = 512 * MIB
"""Bytes; with less, Coq itself might not start, and that would read as no proof."""

THEOREM = {"Theorem", "Lemma", "Fact", "Remark", "Corollary", "Proposition", "Property", "Example"}
HARMLESS = {"Unshelve."}
"""Commands, and not tactics, that a proof may use all the same."""

_SENTENCE = re.compile(r".+?(?:\.(?=\s|\Z)|\Z)", re.DOTALL)
_BEFORE = re.compile(r"(?:[\s{}+*-]|(?:all|par|!|\d+(?:\s*[-,]\s*\d+)*|\[\s*[\w']+\s*\])\s*:(?!=))*")
"""Bullets, braces and goals, which stand before a tactic."""
_WORD = re.compile(r"[^\W\d][\w']*|\S|\Z")
_TACTIC = re.compile(r"[a-z_(\[]|\Z")
_GIVES_UP = re.compile(r"(?<![\w'.])(admit|give_up|Admitted|bypass_check)(?![\w'])")
_REQUIRE = re.compile(r"(?:From\s+(?:Coq|Stdlib)\s+)?Require\s+(?:Import\s+|Export\s+)?((?:[\w']+(?:\.[\w']+)*\s*)+)\.")
_ASSUMPTION = re.compile(r"^([\w'.]+)\s*(?::.*)?$")


@dataclass(frozen=True, slots=True, repr=False)
class Proves:
    """The oracle for proofs: Coq accepts the candidate's proof of the statement.

    `problem.answer` (or, without one, the reply's given beginning) is a Coq file that ends with a theorem and
    `Admitted.`. The candidate's last fenced block of Coq, or its whole text, is the proof: tactics, with or without the
    statement before and `Qed.` after them. It may load the standard `libraries` and is put behind the statement, which
    so stays what it was; other commands are refused. At last, the theorem may rest on no axioms but those of the
    libraries that the statement loads itself, and those of its own text.

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
        checked_settings(self, self.seconds, self.memory, LEAST_MEMORY, self.sandbox)
        if not isinstance(self.libraries, tuple) or not all(isinstance(name, str) for name in self.libraries):
            raise InputError(f"Proves: libraries must be a tuple of names, not {self.libraries!r}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run, /) -> list[Score | None]:
        """Judge each candidate by its proof; equal texts are checked once.

        Raises:
            InputError: the problem has no statement, Coq is missing, or no sandbox can be had here.
            VerifierError: Coq does not accept the statement.
        """
        statement = read_statement(problem)
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

    async def _stated(self, statement: "Statement", problem: str) -> list[str]:
        """The full names of the libraries that are loaded before the theorem, which Coq accepts as a statement."""
        text = f"{statement.given}\nPrint Libraries.\n{statement.theorem}\nProof.\nAdmitted.\n"
        finished = await self._coq('"$0" -q -w none Given.v', {"Given.v": text})
        if finished.ended != "exit" or finished.code:
            raise VerifierError(f"the statement of problem {problem!r} fails: {_message(finished, self.seconds)}")
        return finished.out.decode(errors="replace").split()

    async def _judged(self, statement: "Statement", libraries: Sequence[str], text: str, run: Run) -> Score | None:
        try:
            names = await self._assumed(statement, proof_of(statement, text, self.libraries))
            allow(names, libraries, statement)
        except Refused as refused:
            return Score(0.0, reason=str(refused))
        except ToolError as error:
            run.note(f"not verified: {error}")
            return None
        return Score(1.0, reason="proved")

    async def _assumed(self, statement: "Statement", proof: str) -> list[str]:
        """The axioms that a proof rests on, as another run of Coq reads them from the compiled proof."""
        files = {
            "Candidate.v": f"{statement.given}{statement.theorem}\nProof.\n{proof}\nQed.\n",
            "Check.v": f"Require Candidate.\nPrint Assumptions Candidate.{statement.name}.\n",
        }
        finished = await self._coq('"$0" -q -w none Candidate.v 1>&2 && "$0" -q -w none Check.v', files)
        if finished.ended != "exit" or finished.code:
            raise Refused(_message(finished, self.seconds))
        return assumptions(finished.out.decode(errors="replace"))

    async def _coq(self, script: str, files: dict[str, str]) -> Finished:
        limits = Limits(self.seconds, clock=self.seconds * PATIENCE, memory=self.memory)
        finished = await self.sandbox.run(["sh", "-c", script, _coqc()], files=files, limits=limits)
        if finished.code in {126, 127}:
            raise InputError("coqc cannot be started in the sandbox: name its folder in Sandbox(readable=...)")
        return finished


def _coqc() -> str:
    path = shutil.which("coqc")
    if path is None:
        raise InputError("there is no command coqc to check proofs with: install Coq (apt-get install coq)")
    return path


class Refused(Exception):
    """What is no proof, with the reason."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A theorem: its name, its sentence, and all that is given before it."""

    name: str
    theorem: str
    given: str


def read_statement(problem: Problem) -> Statement:
    """Read the statement file of a problem.

    Raises:
        InputError: there is none, or it does not end with a theorem and `Admitted.`.
    """
    text = problem.answer if problem.answer is not None else problem.partial and problem.partial.text
    if not text:
        raise InputError(f"problem {problem.id!r} has no statement to prove: it is its answer, a Coq file")
    try:
        parts = sentences(uncommented(text))
    except Refused as refused:
        raise InputError(f"problem {problem.id!r}: its statement has {refused}") from None
    ends = [_first(part) for part in parts]
    last = len(parts) - 3 if ends[-2:] == ["Proof", "Admitted"] else len(parts) - 2
    if last < 0 or ends[-1] != "Admitted" or ends[last] not in THEOREM:
        raise InputError(f"problem {problem.id!r}: its statement must end with a theorem, 'Proof.' and 'Admitted.'")
    return Statement(re.split(r"[\s:({]+", parts[last].strip())[1], parts[last], "".join(parts[:last]))


def proof_of(statement: Statement, text: str, libraries: Sequence[str] = LIBRARIES) -> str:
    """Return the proof in a candidate's text: tactics, and libraries that it may load.

    Comments are left out and strings refused, so where a sentence ends is beyond doubt: at a period before space.

    Raises:
        Refused: there is something else in it.
    """
    text = uncommented(text)
    if '"' in text:
        raise Refused("refused: a string, which no proof needs")
    if given_up := _GIVES_UP.search(text):
        raise Refused(f"refused: {given_up[1]}")
    known = {_spaced(sentence) for sentence in sentences(statement.given + statement.theorem)}
    loaded = [name for sentence in known for name in _loaded(sentence)]
    return "".join(_proof(sentences(text), known, {*libraries, *loaded}))


def _proof(parts: Sequence[str], known: set[str], libraries: set[str]) -> Iterator[str]:
    for index, part in enumerate(parts):
        sentence = _spaced(part)
        if sentence in {"Qed.", "Defined."}:
            if any(after.strip() for after in parts[index + 1 :]):
                raise Refused(f"refused: text after {sentence}")
            return
        if sentence == "Proof." or sentence in known:
            continue
        _check(sentence, libraries)
        yield part


def _check(sentence: str, libraries: set[str]) -> None:
    """Refuse all but tactics and the loading of libraries. Tactics begin with small letters, and commands do not."""
    sentence = _bare(sentence)
    loads = _loaded(sentence)
    if unknown := [name for name in loads if name not in libraries]:
        raise Refused(f"refused: Require of {unknown[0]}")
    first = _first(sentence)
    if loads or sentence in HARMLESS or (_TACTIC.match(first) and (sentence.endswith(".") or not first)):
        return
    if first in THEOREM:
        raise Refused(f"refused: {first}, and not the statement as it was given")
    raise Refused(f"refused: {first}" if not _TACTIC.match(first) else "refused: a last sentence without its end")


def _loaded(sentence: str) -> list[str]:
    """The libraries that a sentence loads, by the last parts of their names: what they bring is checked at last."""
    require = _REQUIRE.fullmatch(sentence)
    return [name.rpartition(".")[2] for name in require[1].split()] if require else []


def uncommented(text: str) -> str:
    """Return a text of Coq with a space for each comment; comments nest. Raises `Refused` if one is not closed."""
    kept, depth = [], 0
    for piece in re.split(r"(\(\*|\*\))", text):
        if piece == "(*":
            depth += 1
        elif piece == "*)" and depth:
            depth -= 1
            kept.append("" if depth else " ")
        elif not depth:
            kept.append(piece)
    if depth:
        raise Refused("a comment that is not closed")
    return "".join(kept)


def sentences(text: str) -> list[str]:
    """Split a text of Coq without comments and strings behind each period that ends a sentence. They join to it."""
    parts = _SENTENCE.findall(text)
    return parts[:-1] if parts and not parts[-1].strip() else parts


def _bare(sentence: str) -> str:
    """A sentence without the bullets, braces and goals before it."""
    return _BEFORE.sub("", sentence, count=1)


def _first(sentence: str) -> str:
    """The first word or sign of a sentence, behind bullets, braces and goals."""
    word = _WORD.match(_bare(sentence))
    return word[0] if word else ""


def _spaced(sentence: str) -> str:
    return " ".join(sentence.split())


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
        raise Refused(f"refused: {_spaced(printed)[:300]}")
    return names


def allow(names: Sequence[str], libraries: Sequence[str], statement: Statement) -> None:
    """Refuse axioms that neither come with one of `libraries`, by their full names, nor stand in the statement."""
    for name in names:
        module, _, axiom = name.rpartition(".")
        own = module == "Candidate" and axiom != statement.name and axiom in re.findall(r"[\w']+", statement.given)
        if not own and not any(f".{library}".endswith(f".{module}") for library in libraries):
            raise Refused(f"refused: it rests on {name}")


def _reply(candidate: Candidate, problem: Problem) -> str:
    return candidate.text.removeprefix(problem.partial.text) if problem.partial is not None else candidate.text


def _message(finished: Finished, seconds: float) -> str:
    """What Coq says is wrong, in one line."""
    if finished.ended not in {"exit", "signal"}:  # after an anomaly, Coq ends with 129
        return why(finished, seconds)
    _, found, message = finished.err.decode(errors="replace").rpartition("Error:")
    return _spaced(message)[:300] if found else why(finished, seconds)
