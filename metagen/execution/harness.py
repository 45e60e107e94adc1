"""The program that tests a candidate's code, inside the sandbox: it is run as a file and imports nothing of metagen.

The code is a module, so its part for `__main__` is not run; the tests are the main program and see its names. Standard
input holds a word, which goes out at the end if nothing was raised.
"""

import importlib
import os
import runpy
import sys
import traceback

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True


def main() -> None:
    """Test the code; let what it raises end this process, with an exit code that is not 0."""
    word = os.read(0, 64)
    output = os.dup(1)
    try:
        module = importlib.import_module("candidate")
        names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        runpy.run_path("tests.py", init_globals=names, run_name="__main__")
    except SystemExit as end:
        if end.code or _left_by_the_code(end):
            raise SystemExit(f"SystemExit: {end.code}") from end
    os.write(output, word)


def _left_by_the_code(end: SystemExit) -> bool:
    """Whether the code under test left the program, which `unittest.main` may do and the code may not."""
    frames = traceback.extract_tb(end.__traceback__)
    return any(os.path.basename(frame.filename) == "candidate.py" for frame in frames)


if __name__ == "__main__":
    main()
