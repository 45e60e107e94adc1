"""Reward models: their families, how they are read, and those that torch runs."""
