"""Training of reward models and correctors, as `metagen train` does it."""

ROLLOUTS = 8
"""k; Math-Shepherd takes 8."""
