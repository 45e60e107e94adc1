"""Strategies as text: the parser, and names from other packages."""
