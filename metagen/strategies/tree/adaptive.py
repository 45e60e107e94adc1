"""Adaptive branching: at each node of a tree of whole replies, one more reply or a revision of one that is there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import isfinite, sqrt
from random import Random
from typing import Literal

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, NoCandidate, SampleError, WeightError
from metagen.problem import Problem
from metagen.prompts import revise
from metagen.run import Critic, Generator, Run, Verifier
from metagen.run.contracts import settled
from metagen.settings import (
    counted,
    freeze,
    require_critic,
    require_generator,
    require_verifier,
    require_whole,
    spelled,
)
from metagen.strategies.choosing import explaining_weights, values
from metagen.strategies.judging import accepted, all_failed, judged
from metagen.strategies.tree.answer import Rule, choice
from metagen.strategies.tree.node import Leaf, Path, key_of

Rewards = Literal["gaussian", "beta"]


@dataclass(slots=True)
class Posterior:
    """What is known of the mean reward of a choice: the number of rewards, their mean, and their squared deviations."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Σ (r − mean)²."""
    parameters: tuple[float, ...] = field(default=(), compare=False)
    """Of the draws, until the next reward changes them."""

    def add(self, reward: float) -> None:
        """Raises `WeightError` for a reward of which there is no mean: an infinite one."""
        self.n += 1
        off = reward - self.mean
        self.mean += off / self.n
        self.squares += off * (reward - self.mean)
        if not isfinite(self.squares + self.n * self.mean * self.mean):
            raise WeightError(f"posteriors need finite verdicts, and {reward} is none or too large")
        self.parameters = ()

    def gaussian(self) -> tuple[float, float, float, float]:
        """(m, κ, ν, τ²) of the normal and inverse χ² posterior, from the prior (0, 1, 1, 0.1)."""
        kappa = nu = 1.0 + self.n
        squares = 0.1 + self.squares + self.n * self.mean * self.mean / kappa
        return self.n * self.mean / kappa, kappa, nu, squares / nu

    def beta(self) -> tuple[float, float]:
        """(a, b) of the beta posterior, from Jeffreys' prior (½, ½)."""
        total = self.n * self.mean
        return 0.5 + total, 0.5 + max(0.0, self.n - total)

    def draw_gaussian(self, random: Random) -> float:
        """A mean, drawn with σ² = ν τ² / 2 Γ, where Γ ~ Gamma(ν/2)."""
        if not self.parameters:
            m, kappa, nu, tau = self.gaussian()
            self.parameters = m, nu / 2, sqrt(nu * tau / 2 / kappa)
        m, shape, scale = self.parameters
        return m + scale * random.gauss() / sqrt(random.gammavariate(shape, 1.0))

    def draw_beta(self, random: Random) -> float:
        if not self.parameters:
            self.parameters = self.beta()
        return random.betavariate(*self.parameters)


DRAWS = {"gaussian": Posterior.draw_gaussian, "beta": Posterior.draw_beta}


@dataclass(slots=True, eq=False)
class Reply:
    """A node: a reply, what its descendants came to, and what the two kinds of step below it came to."""

    path: Path = ()
    candidate: Candidate | None = None
    """`None` for the root, where nothing is written yet."""
    value: float | None = None
    above: "Reply | None" = None
    children: list["Reply"] = field(default_factory=list)
    begun: int = 0
    """Children that were asked for, those that are not there yet among them."""
    subtree: Posterior = field(default_factory=Posterior)
    wider: Posterior = field(default_factory=Posterior)
    deeper: Posterior = field(default_factory=Posterior)


class Tree:
    """The replies so far. It grows by what it chooses, in the order in which results are added."""

    def __init__(self, arms: int, rewards: Rewards) -> None:
        self.root = Reply()
        self.replies: list[Reply] = []
        self._arms = [Posterior() for _ in range(arms)]
        self._rewards: Rewards = rewards

    def choose(self, random: Random) -> tuple[Reply, int]:
        """The node that gets a child, and which generator writes it.

        From the root down: a mean reward is drawn for a new child, and one for continuing to a child that is there. If
        continuing has the higher draw, one is drawn for each child, and the child with the highest is next. Otherwise,
        and where no child is there, one is drawn for each generator, and the highest writes a new child.
        """
        node = self.root
        while node.children and self._argmax((node.wider, node.deeper), random):
            node = node.children[self._argmax([child.subtree for child in node.children], random)]
        return node, self._argmax(self._arms, random)

    def add(self, above: Reply, path: Path, arm: int, candidate: Candidate, value: float | None) -> None:
        """Add a reply below `above`, and its verdict to everything that led to it. Raises `WeightError`."""
        reply = Reply(path, candidate, value, above)
        above.children.append(reply)
        self.replies.append(reply)
        if value is None:
            return
        if self._rewards == "beta" and not 0 <= value <= 1:
            raise WeightError(f"a verdict of {value} is not from 0 to 1, as beta posteriors need")
        self._arms[arm].add(value)
        reply.subtree.add(value)
        above.wider.add(value)
        while above.above is not None:
            above.subtree.add(value)
            above = above.above
            above.deeper.add(value)

    def _argmax(self, posteriors: Sequence[Posterior], random: Random) -> int:
        if len(posteriors) == 1:
            return 0
        draw = DRAWS[self._rewards]
        drawn = [draw(posterior, random) for posterior in posteriors]
        return drawn.index(max(drawn))


@dataclass(frozen=True, slots=True)
class Step:
    """A child that is asked for."""

    above: Reply
    path: Path
    arm: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A new reply, the verdict on it, and whether it ends the search."""

    candidate: Candidate
    verdict: Score | SampleError | None
    """The error, if the verifier failed."""
    accepted: bool


@dataclass(frozen=True, slots=True, repr=False)
class ABMCTS:
    """Adaptive branching Monte Carlo tree search over whole replies, by one generator or several.

    Each of `expansions` steps walks down from the question. At each node a Thompson sample decides whether to go
    wider, with a new child, or deeper, to a child that is there; another decides to which child, and another which of
    the generators `of` writes the new one. A child of the root is a first reply; a child of a reply is a revision of
    it (`prompts.revise`), with what `feedback` says if that is given. (AB-MCTS-A; Inoue et al. 2025, section 3.) The
    rewards are the verdicts of `by`, and their means have Gaussian posteriors (prior m = 0, κ = 1, ν = 1, τ² = 0.1) or
    Beta posteriors (½, ½), which need verdicts from 0 to 1. The posterior of a generator counts its replies in the
    whole tree. No verdict is no reward.

    `window` expansions are under way at a time. Results are taken in the order in which they were asked for, so no
    decision depends on the clock, and all of them are kept. The answer is chosen among all replies by the rule
    `answer`; `until` ends the search with the first reply on which its verdict is 1 or more.

    Raises `WeightError` for infinite verdicts.
    """

    expansions: int
    _: KW_ONLY
    of: Generator | tuple[Generator, ...] | None = None
    by: Verifier
    feedback: Critic | None = None
    rewards: Rewards = "gaussian"
    window: int = 4
    answer: Rule = "best"
    until: Verifier | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, expansions=self.expansions, window=self.window)
        require_critic(self, feedback=self.feedback)
        require_verifier(self, by=self.by, until=self.until)
        if self.by is None:
            raise InputError("ABMCTS: needs a verifier that rewards replies, such as by=OutcomeReward()")
        freeze(self, "of")
        if self.of == ():
            raise InputError('ABMCTS: of must hold generators, such as (Model("small"), Model("large"))')
        for generator in self._arms:
            require_generator(self, of=generator)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"ABMCTS: {name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")

    @property
    def _arms(self) -> tuple[Generator | None, ...]:
        return self.of if isinstance(self.of, tuple) else (self.of,)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        with explaining_weights(self, self.by):
            replies, accepted = await self._grown(problem, run)
            if accepted:
                return accepted
            if not replies:
                raise NoCandidate(f"all of {self.expansions} expansions were lost{run.why_lost()}")
            place, said = choice([Leaf(each, value) for each, value in replies], self.answer, problem.answers)
        if said:
            run.note(said)
        return replies[place][0]

    async def _grown(self, problem: Problem, run: Run) -> tuple[list[tuple[Candidate, float | None]], Candidate | None]:
        """All replies with their verdicts, and the one that was accepted, if any was."""
        tree, chosen, refused = Tree(len(self._arms), self.rewards), None, False
        verdicts: list[Score | SampleError | None] = []
        steps = self._steps(tree, run.random())

        async def expansion(step: Step, run: Run) -> Judged:
            return await self._judged(problem, step, run)

        async with run.spawn(expansion, passing=self.until is not None) as spawned:
            while not chosen:
                over = refused or all_failed(verdicts)
                while len(spawned) < self.window and not over and (step := next(steps, None)):
                    spawned.begin(key_of(step.path), step)
                if not spawned:
                    break
                step, result = await spawned.take()
                if isinstance(result, SampleError):
                    refused = refused or run.out_of_budget()
                else:
                    verdicts.append(result.verdict)
                    tree.add(step.above, step.path, step.arm, result.candidate, *values([result.verdict]))
                    chosen = result.candidate if result.accepted else None
        replies = [(each.candidate, each.value) for each in tree.replies if each.candidate]
        run.compare(candidate for candidate, _ in replies)
        if chosen:
            run.note(f"accepted after {counted(len(replies), 'reply')}")
        else:
            settled(verdicts, run)
        return replies, chosen

    def _steps(self, tree: Tree, random: Random) -> Iterator[Step]:
        """What to ask for next, each as the tree is then."""
        for _ in range(self.expansions):
            above, arm = tree.choose(random)
            above.begun += 1
            yield Step(above, (*above.path, above.begun - 1), arm)

    async def _judged(self, problem: Problem, step: Step, run: Run) -> Judged:
        candidate = await run.ask(self._arms[step.arm], await self._asked(problem, step.above.candidate, run))
        (verdict,) = await judged(self.by, problem, [candidate], run)
        (ends,) = await accepted(self.until, problem, [candidate], run)
        return Judged(candidate, verdict, ends)

    async def _asked(self, problem: Problem, before: Candidate | None, run: Run) -> Problem:
        """The question, or the wish for a revision."""
        if before is None:
            return problem.aside(problem.text)
        said = await run.criticise(self.feedback, problem, before) if self.feedback else None
        return problem.aside(revise(problem.text, before.text, said.text if said else ""))


CHOICES: Mapping[str, tuple[str, ...]] = {
    "rewards": ("gaussian", "beta"),
    "answer": ("best", "majority", "weighted"),
}
