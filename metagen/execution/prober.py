"""The program that probes a candidate's code, inside the sandbox: it is run as a file and imports nothing of metagen.

Standard input holds a word. For each probe of `probes.py`, a function, a line goes out at once: the word, and what came
of the probe, which is the `repr` of what it returned, or `raised` and the name of what it raised.
"""

import contextlib
import importlib
import io
import os
import sys

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True
LONGEST = 2000
"""Characters of what came of a probe."""


def main() -> None:
    """Run the probes one after the other."""
    word = os.read(0, 64).decode()
    output = os.dup(1)
    with contextlib.redirect_stdout(io.StringIO()):
        probes = importlib.import_module("probes")
        for probe in probes.PROBES:
            try:
                outcome = repr(probe())
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (what it raises is what it does)
                outcome = f"raised {type(error).__name__}"
            line = outcome[:LONGEST].encode("unicode_escape").decode("ascii")
            os.write(output, f"{word} {line}\n".encode())


if __name__ == "__main__":
    main()
