"""`python -m metagen.adapters.lm_eval run --model metagen ...`: lm-eval's own command line, which knows metagen."""

import sys
from typing import NoReturn

from metagen.distribution import how_to_install
from metagen.errors import InputError, MetagenError


def main() -> None:
    """Run lm-eval's command. Releases of it that find models by entry points need no such launcher."""
    try:
        from lm_eval.__main__ import cli_evaluate  # noqa: PLC0415 (slow to load)
        from lm_eval.api.registry import model_registry  # noqa: PLC0415 (slow to load)
    except ImportError as error:
        _fail(InputError(f"{error.name} is missing: {how_to_install('lm_eval')}"))
    if "metagen" not in model_registry:
        model_registry.register("metagen", target="metagen.adapters.lm_eval:MetagenLM")
    try:
        cli_evaluate()
    except MetagenError as error:
        _fail(error)


def _fail(error: MetagenError) -> NoReturn:
    """Say an error in a line, and end with the exit code that `metagen` has for it."""
    sys.stderr.write(f"metagen: {' '.join(str(error).split())}\n")
    sys.exit(2 if isinstance(error, InputError) else 1)


if __name__ == "__main__":
    main()
