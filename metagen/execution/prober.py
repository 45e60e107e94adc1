"""The program that probes a candidate's code, inside the sandbox: it is run as a file and imports nothing of metagen.

Standard input holds a word. For each probe of `probes.py`, a function, a line goes out at once: the word, and what came
of the probe, which is the `repr` of what it returned, or `raised` and the name of what it raised. An iterator is shown
by its first items, and other objects without their addresses, which differ from run to run.
"""

import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator
from itertools import islice

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True
LONGEST = 2000
"""Characters of what came of a probe."""
MOST = 1000
"""Items of an iterator."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+(?=>)")


def main() -> None:
    """Run the probes one after the other."""
    word = os.read(0, 64).decode()
    output = os.dup(1)
    with contextlib.redirect_stdout(io.StringIO()):
        probes = importlib.import_module("probes")
        for probe in probes.PROBES:
            try:
                outcome = shown(probe())
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (what it raises is what it does)
                outcome = f"raised {type(error).__name__}"
            line = outcome[:LONGEST].encode("unicode_escape").decode("ascii")
            os.write(output, f"{word} {line}\n".encode())


def shown(value: object) -> str:
    """What was returned, as a text that is the same for equal results of all programs."""
    text = f"iterator of {list(islice(value, MOST))}" if isinstance(value, Iterator) else repr(value)
    return ADDRESS.sub("", text)


if __name__ == "__main__":
    main()
