"""The protocols of generators and verifiers, and `Run`: the one place for effects."""

from metagen.run.protocols import Batched, Critic, Generator, Joint, Tool, Verifier
from metagen.run.run import Run, Spawned

__all__ = ["Batched", "Critic", "Generator", "Joint", "Run", "Spawned", "Tool", "Verifier"]
