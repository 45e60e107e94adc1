"""The command line. The only part that prints."""

from metagen.cli.commands import main

__all__ = ["main"]
