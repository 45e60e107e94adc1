"""Searches that compare all candidates of a depth, which is what they are: beams, allotted budgets and particles."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import ClassVar

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import counted, is_number, require_whole
from metagen.strategies.tree.node import (
    Draw,
    Leaf,
    Node,
    Path,
    begin,
    finished,
    frontier,
    nodes_on,
    share_out,
    value_of,
)
from metagen.strategies.tree.search import TreeSearch, Verdicts
from metagen.strategies.tree.shares import apportion, log_odds, softmax, systematic, top


@dataclass(frozen=True, slots=True, repr=False)
class Levels(TreeSearch):
    """A search that decides when all children of a depth are judged."""

    by_depth: ClassVar[bool] = True

    @property
    def first(self) -> int:
        """How many first steps are drawn."""
        raise NotImplementedError

    def allocate(self, leaves: Sequence[Node], random: Random) -> list[int]:
        """How many children each open leaf gets, and how many replies each finished one stands for; 0 drops it."""
        raise NotImplementedError

    def choose(self, root: Node, random: Random) -> tuple[Node, Sequence[Draw]]:
        if root.state == "open":
            return begin(root, ()), [Draw((), self.first)]
        if root.sums.drawing or not root.sums.open:
            return root, []
        leaves = frontier(root)
        depth = max(len(path) for path, _ in leaves)
        ranked = sorted(range(len(leaves)), key=lambda place: self.tie(root, leaves[place][0], depth))
        shares = dict(zip(ranked, self.allocate([leaves[place][1] for place in ranked], random), strict=True))
        return share_out(root, leaves, [shares[place] for place in range(len(leaves))])

    def tie(self, root: Node, path: Path, depth: int) -> tuple[float, ...]:  # noqa: ARG002 (the order of the paths)
        """What comes first of equal leaves: the one with the lowest; ties go to the one drawn first."""
        return ()


@dataclass(frozen=True, slots=True, repr=False)
class Beam(Levels):
    """Beam search over steps: of all candidates of a depth the best `width` stay, and each gets `branch` children.

    (Guided by process rewards: Snell et al. 2024, section 5.2, where N = width · branch and M = branch.) It begins with
    width · branch first steps. A finished reply competes with its verdict and keeps its place while it is among the
    best; the search ends when all that stay are finished. No verdict ranks last. Of equal candidates the one stays
    whose parent ranked higher in its depth, then the one that was drawn first.
    """

    width: int
    branch: int

    def __post_init__(self) -> None:
        TreeSearch.__post_init__(self)  # a bare super() fails in a dataclass with slots
        require_whole(self, width=self.width, branch=self.branch)

    @property
    def first(self) -> int:
        return self.width * self.branch

    @property
    def alike(self) -> int:
        """How many samples of one prompt it draws."""
        return self.first

    @property
    def each(self) -> int:
        return self.branch

    def tie(self, root: Node, path: Path, depth: int) -> tuple[float, ...]:
        """The verdicts on its parents, the last first. A finished reply was in each depth what it is now."""
        verdicts = [value_of(node) for node in nodes_on(root, path)]
        verdicts += verdicts[-1:] * (depth - len(path))
        return tuple(-value for value in reversed(verdicts[:-1]))

    def allocate(self, leaves: Sequence[Node], random: Random) -> list[int]:  # noqa: ARG002 (nothing is random here)
        # equal leaves come in the order of their parents' ranks, and `top` takes the first
        kept = top([leaf.value for leaf in leaves], self.width)
        return [
            (leaf.count if leaf.state == "finished" else self.branch) if place in kept else 0
            for place, leaf in enumerate(leaves)
        ]


@dataclass(frozen=True, slots=True, repr=False)
class DVTS(TreeSearch):
    """Diverse verifier tree search: `subtrees` beams of width 1, each of which draws `branch` children a step.

    (Beeching, Tunstall and Rush 2024, "Scaling test-time compute with open models".) Subtrees never wait for each
    other. The answer is chosen among the finished replies of all.
    """

    subtrees: int
    branch: int

    def __post_init__(self) -> None:
        TreeSearch.__post_init__(self)  # a bare super() fails in a dataclass with slots
        require_whole(self, subtrees=self.subtrees, branch=self.branch)

    @property
    def alike(self) -> int:
        """How many samples of one prompt it draws."""
        return self.subtrees * self.branch

    @property
    def each(self) -> int:
        return self.branch

    async def _grown(self, problem: Problem, run: Run) -> tuple[Node, Verdicts]:
        async def subtree(search: Beam, run: Run) -> tuple[Node, Verdicts]:
            return await search._grown(problem, run)

        shared = {field.name: getattr(self, field.name) for field in fields(TreeSearch)}
        beam = Beam(1, self.branch, **shared)
        roots, verdicts, lost = list[Node](), list[Score | SampleError | None](), 0
        async with run.spawn(subtree, passing=self.until is not None) as spawned:
            for number in range(self.subtrees):
                spawned.begin(f"subtree {number}", beam)
            while spawned:
                _, grown = await spawned.take()
                if isinstance(grown, SampleError) or not grown[0].children:
                    lost += 1
                    continue
                root, judged = grown
                roots.append(root)
                verdicts += judged
                if any(leaf.accepted for leaf in finished(root)):
                    break
        if lost and roots:
            run.note(f"nothing could be drawn in {lost} of {counted(self.subtrees, 'subtree')}{run.why_lost()}")
        return Node(problem.partial or Candidate(()), state="closed", children=tuple(roots)), verdicts


@dataclass(frozen=True, slots=True, repr=False)
class Weighed(Levels):
    """A search whose `n` replies are shared out among the candidates of a depth by weights of a temperature."""

    n: int
    temperature: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        TreeSearch.__post_init__(self)  # a bare super() fails in a dataclass with slots
        require_whole(self, n=self.n)
        if not is_number(self.temperature) or self.temperature <= 0:
            raise InputError(f"{type(self).__name__}: temperature must be a number above 0, not {self.temperature!r}")

    @property
    def first(self) -> int:
        return self.n


@dataclass(frozen=True, slots=True, repr=False)
class Rebase(Weighed):
    """Reward-balanced search: the budget of n replies is shared out to the nodes of a depth by a softmax of rewards.

    Wⱼ = B · cⱼ exp(R(nⱼ) / temperature) / Σₖ cₖ exp(R(nₖ) / temperature), with B = n less the replies that are finished
    and c equal siblings that were merged. (Wu et al. 2024, "Inference scaling laws", section 3.2 and algorithm 1.) The
    paper rounds each share; here what they miss or exceed B by is settled by largest remainders (`shares.apportion`),
    which is the same wherever rounded shares add up to B. A node with a share of 0 is dropped. No verdict has no share.
    """

    temperature: float = field(default=0.2, kw_only=True)

    def allocate(self, leaves: Sequence[Node], random: Random) -> list[int]:  # noqa: ARG002 (nothing is random here)
        growing = [leaf for leaf in leaves if leaf.state == "open"]
        done = sum(leaf.count for leaf in leaves if leaf.state == "finished")
        weights = softmax([leaf.value for leaf in growing], [leaf.count for leaf in growing], self.temperature)
        shares = iter(apportion(weights, max(0, self.n - done)))
        return [next(shares) if leaf.state == "open" else leaf.count for leaf in leaves]


@dataclass(frozen=True, slots=True, repr=False)
class ParticleFilter(Weighed):
    """Particle filtering: n particles take a step each, and are then drawn anew by the odds of their rewards.

    wᵢ ∝ cᵢ (rᵢ / (1 - rᵢ))^(1 / temperature), rewards being probabilities; cᵢ particles stand on the node. (Puri et al.
    2025, "A probabilistic inference approach to inference-time scaling", section 3, at temperature 1.) Resampling is
    systematic: each node keeps n·w particles, rounded down or up, by one random number a step. Finished particles stay
    and are drawn anew with the others. The answer is among the particles at the end, as often as each was drawn.
    No verdict is drawn only if none has one. Raises `WeightError` for rewards outside 0 to 1.
    """

    def allocate(self, leaves: Sequence[Node], random: Random) -> list[int]:
        odds = log_odds([leaf.value for leaf in leaves])
        weights = softmax(odds, [leaf.count for leaf in leaves], self.temperature)
        return systematic(weights, self.n, random.random())

    def replies(self, root: Node) -> list[Leaf]:
        """The finished particles; where a budget left none, all replies that were ever finished."""
        every = list(finished(root))
        staying = {id(leaf.candidate) for _, leaf in frontier(root)}
        return [leaf for leaf in every if leaf.accepted or id(leaf.candidate) in staying] or every
