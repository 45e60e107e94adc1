"""The models that ship with metagen, as folders that vLLM serves."""

from pathlib import Path

SMALL = Path(__file__).parent / "small-moe"
"""A small mixture of experts that solves arithmetic word problems; its README is its card."""
