"""`metagen export`: a run in the forms of other tools."""

from collections.abc import Callable, Iterator
from pathlib import Path

from metagen.adapters.files import check_place, write_rows
from metagen.adapters.rows import Row, Solved, Training, answer_rows, candidate_rows, pair_rows
from metagen.calls import hint
from metagen.cli.console import err, out
from metagen.cli.traces import say_untraced, send_run
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.settings import counted
from metagen.view.reading import RunRows

TRAINING: dict[str, Callable[[Solved, Training], Iterator[Row]]] = {"dpo": pair_rows, "sft": answer_rows}
"""The forms to train on."""
NAMES = {
    "jsonl": "candidates.jsonl",
    "parquet": "candidates.parquet",
    "dpo": "dpo.jsonl",
    "sft": "sft.jsonl",
    "inspect": "run.eval",
}
"""What each form is called in the run's folder."""
TABLES = (".csv", ".tsv", ".xlsx")
"""Endings of tables that are not written."""


def export(run: Path, form: str, file: Path | None, how: Training | None, url: str | None) -> None:
    """Write a run down in another form, and say where. Raises `InputError` for what cannot be."""
    if form not in (*NAMES, "otlp"):
        raise InputError(f"--to {form}: there is no such form: {hint(form, (*NAMES, 'otlp'))}")
    if url and form != "otlp":
        raise InputError("--otlp is for --to otlp: leave it out")
    if how and form not in TRAINING:
        raise InputError(f"--each and --plain are for --to {' and --to '.join(TRAINING)}: leave them out")
    rows = RunRows.read(run)
    if form == "otlp":
        if file:
            raise InputError("--to otlp writes no file: leave out --out, and name a collector with --otlp URL")
        send_run(rows, url)
        return
    path = file or run / NAMES[form]
    if form == "parquet" and path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: name a file that ends in .parquet: the name says whether it is a table")
    if form != "inspect" and path.suffix.lower() in TABLES:
        raise InputError(f"{path}: rows are written as JSON Lines, or as Parquet in a file that ends in .parquet")
    check_place(path, ours=file is None)
    if form == "inspect":
        _write_log(rows, path)
    else:
        _write(rows, form, path, how or Training())


def _write_log(run: RunRows, path: Path) -> None:
    if path.suffix != ".eval":
        raise InputError(f"{path}: name a file that ends in .eval, as Inspect's logs do")
    try:
        from metagen.adapters.inspect_ai.logs import write_log  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise InputError(f"--to inspect needs {error.name}: {how_to_install('inspect')}") from None
    count = write_log(run, path)
    say_untraced(run)
    out.print(
        f"Wrote {counted(count, 'sample')} to {path}; open it with `inspect view --log-dir {path.parent}`.",
        soft_wrap=True,
    )


def _write(run: RunRows, form: str, path: Path, how: Training) -> None:
    without = 0

    def rows() -> Iterator[Row]:
        nonlocal without
        for solved in run.traces():
            made = list(TRAINING[form](solved, how) if form in TRAINING else candidate_rows(solved))
            without += not made
            yield from made

    count = write_rows(rows(), path)
    say_untraced(run)
    if without:
        why = WHY.get(form, "they have no reply")
        err.print(f"Problems without a row: {without:,} of {len(run.rows):,} ({why}).", soft_wrap=True)
    out.print(f"Wrote {counted(count, 'row')} to {path}.", soft_wrap=True)


WHY = {
    "dpo": "no two of their whole replies differ in being right, or in score",
    "sft": "none of their whole replies is right",
}
"""Why a problem may have no row."""
