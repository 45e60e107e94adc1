"""What all tree searches share: the loop that grows a tree, and the rule that reads the answer from it."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from random import Random
from typing import ClassVar

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, NoCandidate, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Spawned, Verifier
from metagen.run.contracts import settled
from metagen.settings import counted, literal, require_stepper, require_verifier, require_whole, spelled
from metagen.strategies.choosing import best, explaining_weights, values
from metagen.strategies.judging import accepted, all_failed, judged
from metagen.strategies.tree.answer import Rule, choice
from metagen.strategies.tree.node import (
    Draw,
    Leaf,
    Node,
    Path,
    State,
    at,
    expand,
    finished,
    key_of,
    merged,
    node_of,
    unfinished,
)
from metagen.strategies.tree.shares import top
from metagen.strategies.tree.steps import check_steps
from metagen.trace import Child, Expansion

DEEPEST = 500
"""Steps. Trees are walked by recursion."""
Item = tuple[Draw, Candidate]
"""What is to be drawn, and the reply so far."""
Verdicts = Sequence[Score | SampleError | None]
Drawn = tuple[Sequence[Node], Verdicts]
"""The children of a node, and the verdict on each, or the error with which the verifier failed."""


@dataclass(frozen=True, slots=True, repr=False)
class TreeSearch:
    """A tree search over steps: y₁ … y_t grows by y_{t+1} ~ g(· | x, y₁ … y_t), guided by v(x, y₁ … y_t).

    Subclasses say in `choose` what to expand next, a pure function of the tree.

    The children of a node are drawn in one request and judged as soon as they are there. Equal ones among them are
    merged and counted. What was drawn is taken into the tree in the order in which it was asked for, so decisions do
    not depend on the clock. Problems never wait for each other, nor do expansions that are under way at the same time.

    The answer is chosen among all finished replies by the rule `answer`: the `best` verdict, the `majority`, or a vote
    that is `weighted` by verdicts; in both votes the best member of the winning group is returned, and a reply votes as
    often as it was drawn among its siblings. If no reply is finished, the best unfinished one is returned, and a note
    says so. Where a budget ends the search, what is finished is voted on. Children on which the verifier fails stay,
    without a verdict; if it fails on all from the first on, the search ends, and that is an error.

    Raises `InputError` if `of` cannot step.
    """

    _: KW_ONLY
    by: Verifier
    of: Generator | None = None
    step: str | int = "\n"
    """What ends a step: a text, or a number of tokens."""
    depth: int = 64
    """The most steps that the search adds to a reply."""
    lookahead: int | None = 0
    """Steps that each child is continued by before it is judged; `None` continues to the end, a rollout.
    A reply that ends so is a finished reply like any other. (Lookahead search, Snell et al. 2024, section 5.2.)"""
    answer: Rule = "best"
    until: Verifier | None = None
    """Ends the search with the first finished reply on which its verdict is 1 or more, such as an oracle."""
    ahead: int = 0
    """How many children of a node are continued while its children are judged: those that were drawn most often, then
    first. What is written so is used if the child is chosen, and cancelled if not: less waiting for verdicts, for more
    tokens. It changes no result."""

    by_depth: ClassVar[bool] = False
    """Whether it waits for all that is under way before it chooses again."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_stepper(self, of=self.of)
        require_verifier(self, by=self.by, until=self.until)
        require_whole(self, depth=self.depth)
        if self.lookahead is not None:
            require_whole(self, 0, lookahead=self.lookahead)
        name = type(self).__name__
        if self.by is None:
            raise InputError(f"{name}: needs a verifier that judges partial replies: by=...")
        require_whole(self, 0, ahead=self.ahead)
        if self.ahead and not self.each:
            raise InputError(
                f"{name}: ahead={self.ahead}: how many children a node gets depends on the verdicts here, so none is "
                "drawn before: use Beam, DVTS, BestFirst or MCTS"
            )
        if self.depth > DEEPEST:
            raise InputError(f"{name}: depth must be at most {DEEPEST}, not {self.depth}")
        if self.answer not in ("best", "majority", "weighted"):
            raise InputError(f"{name}: answer must be best, majority or weighted, not {self.answer!r}")
        try:
            Problem("", "?").stepping(self.step)
        except InputError as error:
            raise InputError(f"{name}: step={literal(self.step)}: {error}") from None

    @property
    def each(self) -> int:
        """How many children each node gets that is chosen; 0 where that depends on verdicts."""
        return 0

    def choose(self, root: Node, random: Random) -> tuple[Node, Sequence[Draw]]:
        """What to expand next, in the order in which it is asked for, and the tree in which that is under way.

        Nothing, if the search waits for what is under way; if nothing is, it ends.
        """
        raise NotImplementedError

    def replies(self, root: Node) -> list[Leaf]:
        """The finished replies, among which the answer is."""
        return list(finished(root))

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        with explaining_weights(self, self.by):
            return self._answered(*await self._grown(replace(problem, step=None), run), problem, run)

    async def _grown(self, problem: Problem, run: Run) -> tuple[Node, Verdicts]:
        """The tree when nothing more is to be drawn, a budget is used up, or the oracle has accepted a reply.

        With all its verdicts, in the order in which they were asked for.
        """
        spans: dict[Path, tuple[int, Run]] = {}
        verdicts: list[Score | SampleError | None] = []
        made: dict[Path, Sequence[Node]] = {}

        async def expansion(item: Item, run: Run) -> Drawn:
            spans[item[0].path] = item[0].n, run
            return await self._expansion(problem, *item, run, spawned)

        root, random, refused, ended = Node(problem.partial or Candidate(())), run.random(), False, False
        async with run.spawn(expansion, passing=self.until is not None) as spawned:
            while not ended:
                root, draws = (root, ()) if refused or all_failed(verdicts) else self.choose(root, random)
                for draw in draws:
                    spawned.begin(key_of(draw.path), (draw, at(root, draw.path).candidate))
                if self.by_depth:  # what was not chosen of a depth never will be
                    spawned.drop_early()
                if not spawned:
                    break
                grown: dict[Path, Sequence[Node]] = {}
                while spawned and not ended and (self.by_depth or not grown):
                    (draw, _), drawn = await spawned.take()
                    if isinstance(drawn, SampleError):
                        drawn, refused = ((), ()), refused or run.out_of_budget(key_of(draw.path))
                    grown[draw.path] = drawn[0]
                    verdicts += drawn[1]
                    ended = any(child.accepted for child in grown[draw.path])
                root = expand(root, grown)
                made |= grown
        for path, children in made.items():
            _record(children, at(root, path).children, *spans[path])
        if refused:
            run.note(f"the budget ended the search after {_expansions(root)}")
        return root, verdicts

    async def _expansion(
        self, problem: Problem, draw: Draw, begun: Candidate, run: Run, spawned: Spawned[Item, Drawn]
    ) -> Drawn:
        """The children of one node: drawn, merged and, once it is certain that the node is chosen, judged."""
        run.record(Expansion(draw.n))
        drawn = await run.sample(self.of, problem.continuing(begun).stepping(self.step), draw.n)
        check_steps(self, self.of, begun, drawn)
        siblings = merged(drawn)
        await spawned.wanted(key_of(draw.path))
        children, verdicts = await self._judged(problem, draw, siblings, run, spawned)
        added = [candidate.text.removeprefix(begun.text) for candidate, _ in siblings]
        run.record(Expansion(draw.n, tuple(Child(child.count, child.value, child.state) for child in children)), added)
        return children, verdicts

    async def _judged(
        self,
        problem: Problem,
        draw: Draw,
        siblings: Sequence[tuple[Candidate, int]],
        run: Run,
        spawned: Spawned[Item, Drawn],
    ) -> Drawn:
        later = await self._looked_ahead(problem, [candidate for candidate, _ in siblings], run)
        last = len(draw.path) + 1 == self.depth
        states = [_state(candidate, last=last) for candidate, _ in siblings]
        counts = [count if state == "open" else None for (_, count), state in zip(siblings, states, strict=True)]
        for ahead in self._likeliest(draw, counts):
            spawned.begin_early(key_of(ahead.path), (ahead, siblings[ahead.path[-1]][0]))
        verdicts = await judged(self.by, problem, later, run)
        ended = await self._ended(problem, later, run)
        children = [
            node_of(
                candidate,
                value,
                count,
                state,
                after if after.finished and not candidate.finished else None,
                accepted=ends,
            )
            for (candidate, count), state, after, value, ends in zip(
                siblings, states, later, values(verdicts), ended, strict=True
            )
        ]
        return children, verdicts

    def _likeliest(self, draw: Draw, counts: Sequence[int | None]) -> list[Draw]:
        """Which children are written ahead: the likeliest, `ahead` for each that will be chosen."""
        if not self.ahead:
            return []
        places = sorted(top(counts, self.ahead * draw.n // self.each))
        return [Draw((*draw.path, place), self.each) for place in places if counts[place]]

    async def _looked_ahead(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> Sequence[Candidate]:
        """Each as far as the lookahead brings it; as it is, where that is lost."""
        if self.lookahead == 0:
            return candidates

        async def lookahead(candidate: Candidate, run: Run) -> Candidate:
            for _ in range(self.lookahead or 1):
                if candidate.finished or candidate.cut:
                    break
                going_on = problem.continuing(candidate)
                candidate = await run.ask(self.of, going_on.stepping(self.step) if self.lookahead else going_on)
            return candidate

        found = await run.map(lookahead, candidates)
        return [after or before for after, before in zip(found, candidates, strict=True)]

    async def _ended(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[bool]:
        """Whether each ends the search."""
        whole = [candidate for candidate in candidates if candidate.finished]
        ends = iter(await accepted(self.until, problem, whole, run))
        return [candidate.finished and next(ends) for candidate in candidates]

    def _answered(self, root: Node, verdicts: Verdicts, problem: Problem, run: Run) -> Candidate:
        replies = self.replies(root)
        accepted = [leaf for leaf in replies if leaf.accepted]
        if not accepted:
            settled(verdicts, run)
        if accepted:
            run.note(f"accepted after {_expansions(root)}")
            chosen = accepted[0]
        elif replies:
            place, said = choice(replies, self.answer, problem.answers)
            if said:
                run.note(said)
            chosen = replies[place]
        else:
            replies = _unfinished(root, run)
            chosen = replies[best([leaf.value for leaf in replies])]
        run.compare(leaf.candidate for leaf in replies)
        return chosen.candidate


def _unfinished(root: Node, run: Run) -> list[Leaf]:
    leaves = list(unfinished(root))
    if not leaves:
        raise NoCandidate(f"nothing could be drawn{run.why_lost()}")
    which = "best" if any(leaf.value is not None for leaf in leaves) else "first"
    run.note(f"no reply is finished after {_expansions(root)}: the {which} unfinished one is returned")
    return leaves


def _expansions(root: Node) -> str:
    return counted(root.sums.expansions, "expansion")


def _record(made: Sequence[Node], now: Sequence[Node], n: int, run: Run) -> None:
    """Write down what became of the n children that were asked for: this says what each depth kept."""
    pairs = zip(made, now, strict=True)
    run.record(Expansion(n, tuple(Child(then.count, then.value, then.state, each.state) for then, each in pairs)))


def _state(candidate: Candidate, *, last: bool) -> State:
    if candidate.finished:
        return "finished"
    return "closed" if candidate.cut or last else "open"
