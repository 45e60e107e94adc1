"""Formal proofs: the model says how to prove, and an automated prover fills in."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate
from metagen.errors import ToolRefusal
from metagen.execution.blocks import COQ, fenced, last_block
from metagen.execution.coq import (
    HOLE,
    LIBRARIES,
    Refused,
    Statement,
    filled,
    goals_left,
    proof_of,
    read_file,
    read_statement,
    uncommented,
)
from metagen.problem import Problem
from metagen.prompts import corrected_sketch, formal_sketch, informal_proof, open_goal
from metagen.run import Generator, Run, Tool
from metagen.settings import WAITING, require_generator, require_seconds, require_tool, require_whole, spelled


@dataclass(frozen=True, slots=True, repr=False)
class DraftSketchProve:
    """Draft, sketch, and prove: a proof in words, a formal sketch of it with holes, and a prover that fills them.

    d ~ g(· | x);  s ~ g(· | x, d);  y = d, prover(s)  (Jiang et al. 2023, section 3).

    The statement is the last block of Coq in the question, or the question itself: a file that ends with a theorem and
    `Admitted.`. The sketch proves it, with `admit.` for holes. `prover` is a tool that takes such a file and gives it
    back with holes filled and a comment before each other, as `Coq()` does. In each of `rounds`, g is asked for a proof
    of every goal that is left, or, where the prover refuses the sketch, for another one; then it is the prover's turn
    again. Where it refuses the last one, the sample is lost.

    Nothing here says that y is a proof: it may still have holes. `Proves` decides, as in
    `Until(Proves(), limit=100, of=DraftSketchProve(Coq()))`.
    """

    prover: Tool
    _: KW_ONLY
    rounds: int = 0
    seconds: float = WAITING
    """The limit of one call of the prover, by the clock."""
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_tool(self, prover=self.prover)
        require_whole(self, 0, rounds=self.rounds)
        require_seconds(self, self.seconds)
        require_generator(self, of=self.of)

    @property
    def _libraries(self) -> Sequence[str]:
        """What a proof may load: what the prover lets it load, if it says so."""
        return getattr(self.prover, "libraries", LIBRARIES)

    @property
    def drawing(self) -> tuple[Generator, ...]:
        """No generator draws the answer: it is what the tool says."""
        return ()

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        draft = await run.ask(self.of, problem.aside(informal_proof(problem.text)), part="stage")
        reply = await run.ask(self.of, problem.aside(formal_sketch(problem.text, draft.text)), part="stage")
        sketch = reply.text
        for _ in range(self.rounds):
            try:
                file = await self._proved(problem, sketch, run)
            except ToolRefusal as refusal:
                text = corrected_sketch(problem.text, draft.text, sketch, str(refusal))
                sketch = (await run.ask(self.of, problem.aside(text), part="stage")).text
                continue
            if not goals_left(file):
                return proof(draft, file)
            sketch = await self._with_goals_proved(problem, file, run)
        return proof(draft, await self._proved(problem, sketch, run))

    async def _proved(self, problem: Problem, sketch: str, run: Run) -> str:
        try:
            file = sketched(problem.prompt, sketch, self._libraries)
        except Refused as refused:
            raise ToolRefusal(str(refused)) from None
        return await run.call(self.prover, file, seconds=self.seconds)

    async def _with_goals_proved(self, problem: Problem, file: str, run: Run) -> str:
        """The file with what g says in place of its holes; where that is no proof, the hole stays."""

        async def tactics(goal: str, run: Run) -> str:
            reply = await run.ask(self.of, problem.aside(open_goal(problem.text, goal)), part="stage")
            return tactics_of(reply.text, self._libraries)

        said = await run.map(tactics, goals_left(file))
        fillings = {hole: f"{{ {each} }}" for hole, each in enumerate(said) if each}
        try:
            statement, sketch = read_file(file)
        except Refused:  # a prover of one's own may know other files
            return filled(uncommented(file), fillings)
        return f"{statement.given}{statement.theorem}{filled(sketch, fillings)}"


def sketched(question: str, reply: str, libraries: Sequence[str] = LIBRARIES) -> str:
    """The file that a reply sketches: the statement in the question with its proof, or where there is none, the reply.

    A proof may load `libraries`.

    Raises:
        Refused: the reply holds something else than a sketch of that statement.
    """
    text = last_block(reply, COQ)
    try:
        statement = read_statement(last_block(question, COQ))
    except Refused:
        return text
    return statement.file(proof_of(statement, text, libraries, sketch=True).strip() or HOLE, "Admitted.")


def tactics_of(reply: str, libraries: Sequence[str] = LIBRARIES) -> str:
    """The tactics in a reply, holes among them. Raises `ToolRefusal` if there is something else."""
    try:
        return proof_of(Statement("", "", ""), last_block(reply, COQ), libraries, sketch=True).strip()
    except Refused as refused:
        raise ToolRefusal(str(refused)) from None


def proof(draft: Candidate, file: str) -> Candidate:
    """The proof in words, and in Coq."""
    steps = f"{draft.text.rstrip()}\n\n", fenced(file, "coq")
    return Candidate(steps, thoughts=draft.thoughts, thought_tokens=draft.thought_tokens)
