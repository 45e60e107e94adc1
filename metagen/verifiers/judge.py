"""Models as judges: they are asked about solutions, and their replies are read. What cannot be read is no verdict."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import permutations
from math import exp
from statistics import fmean

from metagen.answers.extract import extract
from metagen.answers.kinds import Function
from metagen.candidate import Candidate, Score
from metagen.problem import Problem
from metagen.prompts import compare, grade, verify
from metagen.run import Generator, Run
from metagen.settings import require_generator, require_whole, spelled

WORD = re.compile(r"[^\W_]+")
ONE_WORD = re.compile(r"[\W_]*[^\W_]+[\W_]*")
ARTICLE = re.compile(r"[\W_]*a (?!\w*(?:s|ly)\b)\w", re.IGNORECASE)
"""The letter A before a word that is neither a verb about it, as in "A wins", nor an adverb, as in "A clearly wins"."""
NONE_OF = re.compile(
    r"[\W_]*(?i:no)\s+"
    r"(?!(?:it|its|the|this|that|there|these|they|he|she|we|you|i|not|because|since|as|but|after|before|when|if|so|then"
    r"|due|however|in|at|for|by|of|to|from|with|\w+ly)\b)(?:[a-z]+\s+)?"
    r"(?:(?i:errors?|mistakes?|issues?|problems?|flaws?|faults?|slips?|gaps?|doubts?|objections?|concerns?)\b"
    r"|[a-z]+(?:\s*(?:[.,:;!]|\Z)|\s+(?:found|is|are|was|were|has|have|in)\b))"
)
"""The word No before what there is none of, as in "No errors found"; "No step 2 is wrong" is a plain no."""
ABOUT = re.compile(
    r"[\W_]*[AB]\b[\s*_]*[:–—-]?((?:(?!\b(?:[AB]|and|but|while|whereas|because|since|as|so)\b)[^.,:;!?\n])*)"
)
"""A letter at the head of a line, and what its clause says about it, up to the other letter."""
BARE = re.compile(r"[\W_]*[AB][*_)\]]{0,9}(?:[.,;!]|\Z)")
"""A letter at the head of a line, with nothing said about it."""
BAD = re.compile(
    r"\b(?:incorrect\w*|wrong\w*|worse|worst|invalid|inferior|flaw(?!less)\w*|false\w*|errs?|error\w*|mistak\w+|slips?"
    r"|fails?|failed|faulty|misses(?!\s+nothing)|loses)\b",
    re.IGNORECASE,
)
NOT = re.compile(r"\b(?:not(?! only)|no|never|cannot|without|avoids?|free|fewer|lacks?)\b|n['’]t\b", re.IGNORECASE)
"""What turns a clause round: "has no errors" is good, and "is not better" is bad."""
TAKEN_BACK = re.compile(
    r"[\W_]*yes(?:\W+(?:and|or)\W+no\b|\b.{0,200}\b(?:wait|actually|sorry)\W+no\b(?!\s+\w)"
    r"|\W+(?:it|this|that)(?:['’]s|\s+is)\s+(?:wrong|incorrect|not\s+(?:correct|right))\b)"
    r"|[\W_]*yes\b.{0,200}\b(?:but|except|however|although|though)\b.{0,200}\b(?:answer|result|solution|conclusion)"
    r"\s+is\s+(?:\w+ly\s+)?(?:wrong|incorrect|not\s+(?:correct|right))\b",
    re.IGNORECASE,
)
"""A yes that the rest of the line takes back."""
EVEN = re.compile(r"[\W_]*[AB]\b[^.\n]{0,40}\b(?:just\s+)?(?:as\s+good\s+as|equal\s+to|the\s+same\s+as|tied\s+with)\b")
"""A letter of which a line says no more than of the other."""
_IS = (
    r"[\s*_]{0,9}(?::|\b(?:is|seems|looks|appears|remains)\b)[\s*_]{0,9}"
    r"(?:(?:[a-z]{1,20}ly|the|much|far|also|still|both)\s+){0,3}"
)
_GOOD = r"(?:better(?!\s+(?:\w{1,20}ed|written|shown)\b)|best|superior|stronger|preferable|preferred|winner)"
_CONCLUDES = (
    r"(?:[.;!]|\b(?:yes|no|right|correct|better|best)\?|,(?=\W{0,9}(?:yes|no)\b)|\b(?:so|thus|hence|therefore)\b)"
)
FORMS = (
    re.compile(rf"\b([AB])\b(?:{_IS}{_GOOD}|\s+(?:\w+ly\s+)?wins)\b"),
    re.compile(rf"\b([AB])\b{_IS}(?:correct|right|valid)\b"),
    re.compile(rf"{_CONCLUDES}[\W_]{{0,9}}([^\W_]{{1,9}})[\W_]{{0,9}}\Z", re.IGNORECASE),
)
"""A letter that is called better; one that is called right; a last word that is a sentence or a conclusion."""
UNSAID = re.compile(
    r"(?:(?:\b(?:not|never|cannot)|n['’]t)\s+(?:think|believe|say|agree|find|consider|claim|conclude"
    r"|sure|certain|clear|true)|\b(?:if|whether|unless|doubt|neither|nor))\s+(?:(?:that|if|whether)\s+)?"
    r"(?:(?:solution|response|answer|candidate)\s+)?\Z",
    re.IGNORECASE,
)
LABELLED = re.compile(r":[\W_]{0,9}[^\W_]+[\W_]*\Z")
"""One word at the end of a line, behind a colon."""
LABEL = re.compile(
    r"(?:^|[.,;!?]\s)[\W_]*(?:no\s+\w+|(?:(?:the|my|final|overall|better|best|correct|so|thus|hence|therefore)\W+)*"
    r"(?:verdict|answer|decision|conclusion|judgement|judgment|better|best|winner)(?:\s+(?:is|one|on|the|this|solution))*)[\W_]*\Z",
    re.IGNORECASE,
)
"""What stands before the colon of a verdict."""
_NUMBER = (
    r"(?<![-−\d.,])(?P<grade>[0-9]+(?:\.[0-9]+)?)(?![.,]?[0-9]|e[-+]?[0-9]|\s*%|\s*[-–]\s*[0-9])"
    r"(?:\s*(?:/|out\s+of)\W{0,3}(?P<most>[0-9]+))?"
)
_RANGE = r"(?:\s*\(?\s*(?:from\s+)?[0-9]+\s*(?:-|–|to)\s*[0-9]+\s*\)?|\s*\([^()\n]{0,40}\))?"
NAMED = re.compile(
    r"(?<!possible )(?<!maximum )(?<!minimum )(?<!highest )(?<!lowest )(?<!max )(?<!full )(?<!top )(?<!perfect )"
    rf"\b(?:grade|score|rating|mark)\b{_RANGE}"
    rf"(?:[^\w\n]|\\boxed\b|\b(?:is(?:\s+an?)?|(?P<loosely>of|would be|should be))\b){{0,12}}{_NUMBER}",
    re.IGNORECASE,
)
"""A grade that is called one; after its name may stand the range of grades. "A grade of 0" may be an example."""
CLAUSE = re.compile(r"[,;:!?()\n]|\.(?!\d)")
SUPPOSED = re.compile(r"\b(?:would|could|for|needs?)\b", re.IGNORECASE)
GIVEN = re.compile(
    r"\b(?:i|my|this|give[ns]?|gets?|award\w*|assign\w*|deserv\w+|earns?|merits?|overall|final)\b", re.IGNORECASE
)
DENIED = re.compile(r"(?:\b(?:not|never|cannot)|n['’]t)\s+(?:\w+\s+){0,3}\Z", re.IGNORECASE)
OUT_OF = re.compile(_NUMBER, re.IGNORECASE)
ALONE = re.compile(rf"[^\w\n]*{_NUMBER}[^\w\n]*", re.IGNORECASE)
HALF = 0.5
"""The share of the first token that two words must have to speak for a longer reply that begins with neither."""


@dataclass(frozen=True, slots=True, repr=False)
class Judge:
    """A model is asked whether a solution is right; the verdict is the probability that it says yes.

    P(Yes) / (P(Yes) + P(No)) at the first token, if the generator tells what was probable there, as
    `Judge(of=Model("judge", top_logprobs=20, max_tokens=1))` does. (Generative verifier, Zhang et al. 2024, section 3.)
    A reply is read instead if it thinks first, if it contradicts these chances, or if it is longer than a word and both
    words have less than half of the probability. So is one of other generators, such as `of=CoT()`: 1 for a yes, 0 for
    a no. With `grades` it is asked for a grade from 0 to that number, and the verdict is its share.

    The mean over `n` replies is taken; one that is lost or cannot be read does not count, and where none counts there
    is no verdict. A judge sees the question and the solution, never the reference. What it spends is the verifier's.
    """

    _: KW_ONLY
    of: Generator | None = None
    grades: int = 0
    n: int = 1

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        require_whole(self, 0, grades=self.grades)
        require_whole(self, n=self.n)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        async def judged(candidate: Candidate, run: Run) -> Score | None:
            replies = await run.sample(self.of, self._asking(problem, candidate.text), self.n)
            return _mean(map(self._read, replies), replies[0].text)

        return await run.map(judged, candidates)

    def _asking(self, problem: Problem, solution: str) -> Problem:
        if not self.grades:
            return problem.apart(verify(problem.prompt, solution))
        asked = problem.apart(grade(problem.prompt, solution, self.grades))
        return replace(asked, answers=Function(self._answer))  # so that no other form of answer is asked for

    def _answer(self, text: str) -> str | None:
        share = graded(Candidate((text,)), self.grades)
        return None if share is None else str(share)

    def _read(self, reply: Candidate) -> float | None:
        return graded(reply, self.grades) if self.grades else preferred(reply, "yes", "no")


@dataclass(frozen=True, slots=True, repr=False)
class Pairwise:
    """A model is asked which of each two candidates is better; the verdict is the share that a candidate wins.

    Each pair is shown in both orders, since judges favour a place (Zheng et al. 2023, section 3.4): a candidate that
    wins only in one place has won half. So m candidates cost m(m − 1) replies; `Tournament` needs 2(m − 1). Replies are
    read as `Judge` reads them, for A and B; a reply that cannot be read is no match, and a candidate without a match
    has no verdict.
    """

    _: KW_ONLY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        async def match(pair: tuple[int, int], run: Run) -> float | None:
            first, second = (candidates[number].text for number in pair)
            reply = await run.ask(self.of, problem.apart(compare(problem.prompt, first, second)))
            return preferred(reply, "a", "b")

        if len(candidates) == 1:
            run.note("Pairwise compares candidates and was given only one: BestOf and Tournament judge them together")
        pairs = list(permutations(range(len(candidates)), 2))
        won = dict(zip(pairs, await run.map(match, pairs), strict=True))
        return [_mean(matches(won, number)) for number in range(len(candidates))]


def matches(won: dict[tuple[int, int], float | None], number: int) -> list[float | None]:
    """How much a candidate won of each of its matches, in either place."""
    as_first = [value for (first, _), value in won.items() if first == number]
    as_second = [None if value is None else 1 - value for (_, second), value in won.items() if second == number]
    return as_first + as_second


def preferred(reply: Candidate, this: str, other: str) -> float | None:
    """How much a reply says `this` rather than `other`, from 0 to 1; `None` if it says neither.

    By the probabilities of both as its first token, where they are known, are what the reply begins with, at least half
    of all or those of a reply of one word, and do not contradict what it says. Else by what it says: see `said`.
    """
    stated = said(reply.text, this, other)
    chances = {this: 0.0, other: 0.0}
    for token, logprob in () if reply.thought else reply.first:
        if (word := _word(token)) in chances:
            chances[word] += exp(logprob)
    total, begun = sum(chances.values()), _word(reply.text)
    if begun in chances:
        agree = total > 0 and stated == float(begun == this)
    else:
        speaks = total >= HALF or (total > 0 and len(WORD.findall(reply.text)) < 2)
        agree = speaks and (stated is None or stated == round(chances[this] / total))
    return chances[this] / total if agree else stated


def said(text: str, this: str, other: str) -> float | None:
    """Return 1 if a text says `this`, 0 if it says `other`, and `None` if it says neither or both.

    By the answer that it gives, or by a last line of one word. Else by its first and its last line, where they agree:
    by the last letter that they call better, or what they begin with and call right; by the word that they end with;
    and by what they have behind "Verdict:". The article of "A quick check" is no verdict for A, "A is wrong" is none
    either, and "No errors" is none for No.
    """
    words = {this, other}
    first, last = text.strip().partition("\n")[0], text.rstrip().rpartition("\n")[2]
    alone = last if ONE_WORD.fullmatch(last) and not ONE_WORD.fullmatch(first) else ""
    for given in map(_word, (extract(text) or "", alone)):
        if given in words:
            return float(given == this)
    verdicts = _stated((first, last), words) | (_labelled(first, last) & words)
    return float(verdicts == {this}) if len(verdicts) == 1 else None


def _stated(lines: Sequence[str], words: set[str]) -> set[str]:
    """The last letter that lines call better, else those that they begin with or call right; and what they end with.

    After a letter alone, as in "B. A is right up to step 2", a letter that is called right is not chosen.
    """
    better, right, ends = ([_word(each) for line in lines for each in _found(form, line)] for form in FORMS)
    begun = {_word(line) for line in lines if not _is_no_verdict(line)}
    called = begun if any(map(BARE.match, lines)) else begun | set(right)
    return ((set(better[-1:]) & words or called) | set(ends)) & words


def _is_no_verdict(line: str) -> bool:
    """Whether the first word of a line is none, for what follows it."""
    return any(form.match(line) for form in (ARTICLE, NONE_OF, TAKEN_BACK, EVEN)) or _is_denied(line)


def _found(form: re.Pattern[str], line: str) -> list[str]:
    """What a form finds in a line where it is said, and not only asked, supposed or denied."""
    return [
        each[1] for each in form.finditer(line) if not UNSAID.search(line[max(0, each.start() - 60) : each.start()])
    ]


def _is_denied(line: str) -> bool:
    """Whether the clause about the letter at the head of a line says that it is wrong, or not good."""
    about = ABOUT.match(line)
    return about is not None and bool(BAD.search(about[1])) != bool(NOT.search(about[1]))


def _labelled(first: str, last: str) -> set[str]:
    """What two lines say behind "Verdict:" or the like; where one does, what the other says behind any colon too."""
    found = [(line, each) for line in (first, last) if (each := LABELLED.search(line))]
    if not any(LABEL.search(line[: each.start()]) for line, each in found):
        return set()
    return {_word(each[0]) for _, each in found}


def graded(reply: Candidate, most: int) -> float | None:
    """The last grade in a reply as a share of `most`; `None` if there is none up to that.

    A grade is called one (`Grade (0-10): 8`), is out of `most` (`4 out of 10`), is alone in the first or the last line,
    or else is given as the answer. Other numbers, such as those of steps, are no grades; "a grade of 8 would be" is one
    where no other is, and "not a grade of 8" is none.
    """
    text = reply.text.strip()
    named = [found for found in NAMED.finditer(text) if not (found["loosely"] and DENIED.search(_clause(found)[0]))]
    supposed = [found for found in named if found["loosely"] and _is_supposed(found)]
    grades = [*named, *(found for found in OUT_OF.finditer(text) if found["most"] == str(most))]
    if grades:
        plain = [found for found in grades if found not in supposed]
        return _share(max(plain or grades, key=lambda found: found.end()), most)
    lines = text.splitlines() or [""]
    alone = next(filter(None, map(ALONE.fullmatch, (lines[-1], lines[0], extract(text) or ""))), None)
    return _share(alone, most) if alone else None


def _is_supposed(found: re.Match[str]) -> bool:
    """Whether a grade is only spoken of, as in "A grade of 9 would need a proof"."""
    before, after = _clause(found)
    clause = f"{before}{found[0]}{after}"
    return bool(SUPPOSED.search(clause) and not GIVEN.search(clause))


def _clause(found: re.Match[str]) -> tuple[str, str]:
    """What stands before and behind a grade in its clause."""
    return CLAUSE.split(found.string[: found.start()])[-1], CLAUSE.split(found.string[found.end() :], maxsplit=1)[0]


def _share(found: re.Match[str], most: int) -> float | None:
    grade, scale = float(found["grade"]), float(found["most"] or most)
    return grade / scale if scale and grade <= scale else None


def _word(text: str) -> str:
    found = WORD.search(text)
    return found[0].casefold() if found else ""


def _mean(values: Iterable[float | None], reason: str = "") -> Score | None:
    known = [value for value in values if value is not None]
    return Score(fmean(known), reason=reason) if known else None
