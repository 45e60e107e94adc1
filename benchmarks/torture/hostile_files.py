"""Files that say what nobody would write: every command that reads them ends with an exit code and in one line.

    python benchmarks/torture/hostile_files.py [--share 1.0]

Every field of a line of every file is given every hostile value in turn (numbers that nothing can hold, half a
surrogate pair, deep nesting, the wrong kind, nothing); `--share 0.1` takes a tenth of them.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import typer
from trust_page import ROOT, publish

from metagen import cli


def main(share: float = 1.0) -> None:
    known = load(ROOT / "tests" / "test_hostile_files.py")
    with tempfile.TemporaryDirectory() as place:
        rows = tortured(known, Path(place), max(1, round(1 / share)))
    publish("files", ("file", "command", "hostile lines", "read", "refused in words", "bad"), rows)


def tortured(known: ModuleType, place: Path, step: int) -> list[tuple[object, ...]]:
    """Write the files once, then each with one hostile value, for each command that reads it."""
    templates = place / "templates"
    templates.mkdir()
    (templates / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known.PROBLEMS))
    (templates / "models.py").write_text(known.MODELS)
    for arguments in ((*known.DRAW, "--n", "2", "--out", "pool.jsonl"), known.COMMANDS["resume"]):
        if code := outcome(templates, arguments):
            raise SystemExit(f"{arguments} ended with {code}")
    rows: list[tuple[object, ...]] = []
    for target in [target for target in known.TARGETS if target.endswith("l")]:
        for name in known.USED_BY.get(target, ("report on a run", "resume")):
            lines, arguments = hostile(known, templates, target, step), known.COMMANDS[name]
            ends = [outcome(fresh(place, templates, target, line), arguments) for line in lines]
            bad = [end for end in ends if end not in (0, 1, 2)]
            rows.append((f"`{target}`", name, len(ends), sum(end in (0, 1) for end in ends), ends.count(2), len(bad)))
    return rows


def hostile(known: ModuleType, templates: Path, target: str, step: int) -> list[bytes]:
    rows = [json.loads(line) for line in (templates / target).read_text().splitlines()]
    row = max(rows, key=len)
    values = [known.mutated(row, field, value) for field in (*row, "new") for value in (None, *known.HOSTILE)]
    return values[::step]


def fresh(place: Path, templates: Path, target: str, line: bytes) -> Path:
    """A folder as the templates, with one more line in one file in place of its last."""
    folder = place / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(templates, folder)
    kept = (folder / target).read_bytes().splitlines(keepends=True)
    (folder / target).write_bytes(b"".join(kept[:-1]) + line)
    return folder


def outcome(folder: Path, arguments: tuple[str, ...]) -> int | str:
    """The exit code of a command; what it raises instead, or more than a line of complaint, as text."""
    before = os.getcwd()
    os.chdir(folder)
    sys.argv = ["metagen", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
        return code if code != 2 or said.getvalue().count("\n") == 1 else said.getvalue()
    except Exception:  # noqa: BLE001  # whatever it is, it is what is looked for
        return traceback.format_exc()
    finally:
        os.chdir(before)


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: there is no such file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    typer.run(main)
