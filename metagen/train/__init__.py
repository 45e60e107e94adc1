"""Training of reward models and correctors, as `metagen train` does it."""
