"""Problem files that ship with metagen: arithmetic word problems that the shipped model never saw in training."""

from pathlib import Path

EVALUATION = Path(__file__).with_name("evaluation.jsonl")
"""500 problems of 2 to 8 steps, for reports."""
VALIDATION = Path(__file__).with_name("validation.jsonl")
"""For choices made on the way, such as a temperature."""
