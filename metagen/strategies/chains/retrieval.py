"""Chains that search: what is found by one query says what to look for next."""

from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.prompts import SELF_ASK_STOP, Trace, follow_up, next_query, query_of, self_ask, with_passages
from metagen.run import Generator, Run, Tool
from metagen.settings import freeze, require_generator, require_seconds, require_tool, require_whole, spelled
from metagen.strategies.chains.chain import check_shots, ended

FOLLOWED = (
    (
        "Who lived longer, Marie Curie or Pierre Curie?",
        (
            "Follow up: How old was Marie Curie when she died?\n"
            "Intermediate answer:\n> Marie Curie died in 1934, at the age of 66.\n"
            "Follow up: How old was Pierre Curie when he died?\n"
            "Intermediate answer:\n> Pierre Curie died in 1906, at the age of 46.\n"
            "So the final answer is: Marie Curie"
        ),
    ),
)
"""The worked example of `SelfAsk`."""


@dataclass(frozen=True, slots=True, repr=False)
class SelfAsk:
    """Self-ask: follow-up questions that a search answers, until the final answer.

    z₁ ~ g(· | x), a₁ = search(z₁), z₂ ~ g(· | x, z₁, a₁), …, y ~ g(· | x, z₁, a₁ … z_h, a_h)
    (Press et al. 2023, section 3, with a search engine as there). At most `hops` follow-ups. A reply that asks none is
    returned as the answer, whatever it says, up to the mark `Intermediate answer:`, where requests end. So is one that
    was cut off. `shots` are worked examples, as ((question, trace), …). What the search raises, or refuses, costs the
    candidate.
    """

    search: Tool
    _: KW_ONLY
    hops: int = 4
    shots: tuple[tuple[str, str], ...] = FOLLOWED
    seconds: float = 60.0
    """The limit of one search."""
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, hops=self.hops)
        require_generator(self, of=self.of)
        check_search(self)
        freeze(self, "shots")
        check_shots(self, self.shots)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        asked: list[tuple[str, str]] = []
        while True:
            last = len(asked) == self.hops
            text = self_ask(problem.text, self.shots, asked, last=last)
            reply = await run.ask(self.of, problem.aside(text).stepping(SELF_ASK_STOP))
            query = None if last or reply.cut else follow_up(reply.text.partition(SELF_ASK_STOP)[0])
            if query is None:
                return ended(reply, SELF_ASK_STOP)
            asked.append((query, await run.call(self.search, query, seconds=self.seconds)))


@dataclass(frozen=True, slots=True, repr=False)
class DSP:
    """Demonstrate, search, predict: `hops` searches, whose queries the model writes, then the answer from their finds.

    z_t ~ g(· | x, p₁ … p_{t-1}, D), p_t = search(z_t);  y ~ g(· | x, p₁ … p_h, D)  (Khattab et al. 2022, section 3).

    The demonstrations D, `shots`, are traces of this program: ((question, ((query, found), …), reply), …). `bootstrap`
    makes them: it runs the program on training problems and keeps the traces whose answers are right. Self-consistency
    over the program is `Vote(8, of=DSP(…))`. A reply without a query ends the search early, and a note says so.
    """

    search: Tool
    _: KW_ONLY
    hops: int = 2
    shots: tuple[Trace, ...] = ()
    seconds: float = 60.0
    """The limit of one search."""
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, hops=self.hops)
        require_generator(self, of=self.of)
        check_search(self)
        freeze(self, "shots")
        for shot in self.shots if isinstance(self.shots, tuple) else (self.shots,):
            _check_trace(shot)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        found: list[tuple[str, str]] = []
        for hop in range(self.hops):
            text = next_query(problem.text, self.shots, found)
            query = query_of((await run.ask(self.of, problem.aside(text).stepping("\n"), part="stage")).text)
            if not query:
                run.note(f"no query for search {hop + 1} of {self.hops}: answered from what was found before")
                break
            found.append((query, await run.call(self.search, query, seconds=self.seconds)))
        return await run.ask(self.of, problem.aside(with_passages(problem.text, self.shots, found)), part="last")


def check_search(of: SelfAsk | DSP) -> None:
    """Refuse what cannot search."""
    require_tool(of, search=of.search)
    require_seconds(of, of.seconds)


def _check_trace(shot: object) -> None:
    match shot:
        case (str(), tuple(hops), str()) if all(_is_pair(hop) for hop in hops):
            return
    raise InputError(f"DSP: a demonstration is (question, ((query, found), ...), reply), all texts, not {shot!r}")


def _is_pair(hop: object) -> bool:
    return isinstance(hop, tuple) and len(hop) == 2 and all(isinstance(text, str) for text in hop)
