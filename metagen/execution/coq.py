"""Statements, sketches and proofs as texts of Coq, which are read and never run here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

LIBRARIES = (
    *("Arith", "BinInt", "Bool", "Factorial", "Field", "Lia", "List", "Lqa", "Lra", "NArith", "Nat", "Nsatz"),
    *("PeanoNat", "Psatz", "QArith", "Qround", "Reals", "Ring", "Wf_nat", "ZArith", "Znat", "Znumtheory", "Zpow_facts"),
)
"""Modules of Coq's standard library that any proof may load."""

THEOREM = {"Theorem", "Lemma", "Fact", "Remark", "Corollary", "Proposition", "Property", "Example"}
HARMLESS = {"Unshelve."}
"""Commands, and not tactics, that a proof may use all the same."""
HOLE = "admit."
"""What stands in a sketch where a proof is missing."""

_SENTENCE = re.compile(r".+?(?:\.(?=\s|\Z)|\Z)", re.DOTALL)
_BEFORE = re.compile(r"(?:[\s{}+*-]|(?:all|par|!|\d+(?:\s*[-,]\s*\d+)*|\[\s*[\w']+\s*\])\s*:(?!=))*")
"""Bullets, braces and goals, which stand before a tactic."""
_WORD = re.compile(r"[^\W\d][\w']*|\S|\Z")
_WORDS = re.compile(r"[\w']+|[^\s()]")
_TACTIC = re.compile(r"[a-z_(\[]|\Z")
GIVES_UP = re.compile(r"(?<![\w'.])(admit|give_up|Admitted|bypass_check)(?![\w'])")
_NAME = r"[\w']+(?:\.[\w']+)*"
_REQUIRE = re.compile(rf"(?:From\s+(?:Coq|Stdlib)\s+)?Require\s+(?:Import\s+|Export\s+)?((?:{_NAME}\s+)*{_NAME})\s*\.")
_OPEN_HOLE = re.compile(rf"\(\* (.*?) \*\)\n{re.escape(HOLE)}", re.DOTALL)
_OPENING = re.compile(r"Proof(?: using\b.*?)?(?: with (?P<tactic>.+))?\.")
"""How a proof begins; the tactic is done behind each sentence that ends with three periods."""
_BY_ADMIT = re.compile(r"\s+by\s+\(?admit\)?\.(?=\s|\Z)")


class Refused(Exception):
    """What is no statement or no proof, with the reason."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A theorem: its name, its sentence, and all that is given before it."""

    name: str
    theorem: str
    given: str

    def file(self, proof: str, end: str = "Qed.") -> str:
        """The text of a file that proves it."""
        return f"{self.given}{self.theorem}\nProof.\n{proof.strip()}\n{end}\n"


def read_statement(text: str) -> Statement:
    """Read a file that states a theorem and ends with `Admitted.`. Raises `Refused` if it is something else."""
    parts = sentences(uncommented(text))
    ends = [first_word(part) for part in parts]
    last = len(parts) - 3 if ends[-2:] == ["Proof", "Admitted"] else len(parts) - 2
    if last < 0 or ends[-1] != "Admitted" or ends[last] not in THEOREM:
        raise Refused("does not end with a theorem, 'Proof.' and 'Admitted.'")
    return _statement(parts, last)


def read_file(text: str) -> tuple[Statement, str]:
    """Read a file whose last theorem is followed by its proof or sketch. Raises `Refused` if there is no theorem."""
    parts = sentences(uncommented(text))
    stated = [index for index, part in enumerate(parts) if first_word(part) in THEOREM]
    if not stated:
        raise Refused("states no theorem")
    return _statement(parts, stated[-1]), "".join(parts[stated[-1] + 1 :])


def _statement(parts: Sequence[str], index: int) -> Statement:
    name = re.split(r"[\s:({@]+", parts[index].strip())[1]
    return Statement(name, parts[index], "".join(parts[:index]))


def proof_of(statement: Statement, text: str, libraries: Sequence[str] = LIBRARIES, *, sketch: bool = False) -> str:
    """Return the proof in a text: tactics, and libraries that it may load.

    It may restate what `statement` gives, and end with `Qed.`. A sketch may also have holes, each a sentence `admit.`,
    where `assert (A) by admit.` becomes `assert (A). { admit. }`, and end with `Admitted.`. Comments are left out and
    strings refused, so where a sentence ends is beyond doubt: at a period before space.

    Raises:
        Refused: there is something else in it.
    """
    text = uncommented(text)
    if sketch:
        text = _BY_ADMIT.sub(". { admit. }", text)
    if '"' in text:
        raise Refused("refused: a string, which no proof needs")
    given = [spaced(sentence) for sentence in sentences(statement.given + statement.theorem)]
    known, loaded = set(map(_words, given)), [name for sentence in given for name in _loaded(sentence)]
    parts = _behind_theorem(statement, sentences(text), known)
    return "".join(_proof(parts, known, {*libraries, *loaded}, sketch=sketch))


def _behind_theorem(statement: Statement, parts: list[str], known: set[str]) -> list[str]:
    """What stands behind the theorem, where a text restates that, and before it what is not given."""
    theorem = _words(statement.theorem)
    stated = next((index for index, part in enumerate(parts) if _words(part) == theorem), -1)
    return [part for index, part in enumerate(parts) if index > stated or _words(part) not in known]


def _proof(parts: Sequence[str], known: set[str], libraries: set[str], *, sketch: bool) -> Iterator[str]:
    ends = {"Qed.", "Defined.", "Admitted."} if sketch else {"Qed.", "Defined."}
    for index, part in enumerate(parts):
        sentence = spaced(part)
        if (end := _bare(sentence)) in ends:
            if any(after.strip() for after in parts[index + 1 :]):
                raise Refused(f"refused: text after {end}")
            yield part.removesuffix(end)
            return
        if opening := _OPENING.fullmatch(sentence):
            if opening["tactic"]:
                check_sentence(f"{opening['tactic']}.", libraries)
                yield f"\nProof with {opening['tactic']}."
            continue
        if _words(part) in known and not _TACTIC.match(first_word(sentence)):
            continue  # tactics of a given proof may well be those of this one
        if not (sketch and _is_hole(part)):
            check_sentence(sentence, libraries)
        yield part


def check_sentence(sentence: str, libraries: set[str]) -> None:
    """Refuse all but tactics and the loading of libraries. Tactics begin with small letters, and commands do not."""
    if given_up := GIVES_UP.search(sentence):
        raise Refused(f"refused: {given_up[1]}")
    sentence = _bare(sentence)
    loads = _loaded(sentence)
    if unknown := [name for name in loads if name not in libraries]:
        raise Refused(f"refused: Require of {unknown[0]}")
    first = first_word(sentence)
    if loads or sentence in HARMLESS or (_TACTIC.match(first) and (sentence.endswith(".") or not first)):
        return
    if first in THEOREM:
        raise Refused(f"refused: {first}, and not the statement as it was given")
    raise Refused(f"refused: {first}" if not _TACTIC.match(first) else "refused: a last sentence without its end")


def _loaded(sentence: str) -> list[str]:
    """The libraries that a sentence loads, by the last parts of their names: what they bring is checked at last."""
    require = _REQUIRE.fullmatch(sentence)
    return [name.rpartition(".")[2] for name in require[1].split()] if require else []


def filled(sketch: str, fillings: Mapping[int, str]) -> str:
    """The sketch with other sentences in place of its holes, which are numbered from 0."""
    holes = count()
    return "".join(
        part.removesuffix(HOLE) + fillings.get(next(holes), HOLE) if _is_hole(part) else part
        for part in sentences(sketch)
    )


def count_holes(sketch: str) -> int:
    """How many sentences of a sketch are holes."""
    return sum(map(_is_hole, sentences(sketch)))


def _is_hole(sentence: str) -> bool:
    return _bare(sentence) == HOLE


def open_hole(goal: str) -> str:
    """A hole, with what is to be proved there in a comment before it."""
    return f"(* {goal.replace('(*', '( *').replace('*)', '* )')} *)\n{HOLE}"


def goals_left(file: str) -> list[str]:
    """What is to be proved at each hole of a file that has such comments and no others."""
    return _OPEN_HOLE.findall(file)


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
        raise Refused("has a comment that is not closed")
    return "".join(kept)


def sentences(text: str) -> list[str]:
    """Split a text of Coq without comments and strings behind each period that ends a sentence. They join to it."""
    parts = _SENTENCE.findall(text)
    return parts[:-1] if parts and not parts[-1].strip() else parts


def first_word(sentence: str) -> str:
    """The first word or sign of a sentence, behind bullets, braces and goals."""
    word = _WORD.match(_bare(sentence))
    return word[0] if word else ""


def _words(sentence: str) -> str:
    """The words and signs of a sentence, to find it restated: with other spaces, in brackets, or as a `Lemma`.

    What is restated is thrown away, and the proof is checked behind the statement as it was given.
    """
    words = _WORDS.findall(sentence)
    return " ".join(["Theorem", *words[1:]] if words and words[0] in THEOREM else words)


def spaced(sentence: str) -> str:
    """In one line, with single spaces."""
    return " ".join(sentence.split())


def _bare(sentence: str) -> str:
    """A sentence without the bullets, braces and goals before it."""
    return _BEFORE.sub("", sentence, count=1)
