"""What a page shows: a line for each problem of a run, and all of one problem. Plain data."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metagen.analysis.tally import without_verdict
from metagen.budget import PARTS
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow
from metagen.trace import once_each
from metagen.view.candidates import Shown, candidates_of
from metagen.view.reading import RunRows, is_found, votes
from metagen.view.tree import Grown, tree_of, values_of

SHOWN = 300
"""Characters of a question that its line holds, for searching."""

HEAD = ("strategy", "models", "problems", "seed", "grade", "answers", "system", "begun")
"""What of `run.json` a page shows."""

UNFINISHED = "unfinished: the budget of the whole run refused or shortened a part of it"
"""What is noted of a problem that the same command solves again."""

Place = tuple[int, int]
"""Where a problem is: the number of its chunk, and its number there."""


def summary(run: RunRows, places: Mapping[str, Place]) -> dict[str, Any]:
    """A run with one value per problem in each column."""
    return {
        "name": run.name,
        "folder": str(run.path),
        "about": {name: run.configuration[name] for name in HEAD if run.configuration.get(name)},
        "places": [places.get(name) for name in run.rows],
        "columns": columns(run.rows.values()),
    }


def columns(rows: Iterable[SolutionRow]) -> dict[str, list[Any]]:
    """The table of problems, column by column."""
    lines = [_line(row) for row in rows]
    return {name: [line[name] for line in lines] for name in (lines[0] if lines else ())}


def _line(row: SolutionRow) -> dict[str, Any]:
    usage = row.usage
    return {
        "id": row.problem,
        "prompt": row.prompt[:SHOWN],
        "answer": row.answer,
        "reference": row.reference,
        "correct": row.verdict,
        "found": is_found(row),
        "failed": row.failed,
        "votes": votes(row),
        "compared": row.compared,
        "hits": row.samples_correct,
        "judged": 0 if row.unfinished else row.samples,
        "tokens": usage.prompt_tokens + usage.completion_tokens + usage.verifier_tokens,
        "flops": usage.flops + usage.verifier_flops,
        "money": (usage.cost + usage.verifier_cost) / PARTS,
        "seconds": round(row.seconds, 3),
        "tags": row.tags,
    }


def asked(spans: Sequence[SpanRow]) -> str:
    """The first prompt that was sent: what stands for the question in runs that do not hold it."""
    return next((span.request.prompt for span in spans if span.request), "")


def judged_candidates(row: SolutionRow, spans: Sequence[SpanRow], tree: Sequence[Grown] | None = None) -> list[Shown]:
    """The candidates of a problem with their scores; a search judges a reply as the last of its nodes."""
    return candidates_of(row, spans, values_of(tree_of(spans, row.text) if tree is None else tree))


def notes(row: SolutionRow) -> tuple[str, ...]:
    """What the strategy and the grader reported, and whether the problem is unfinished."""
    return (*once_each(row.notes), *([UNFINISHED] if row.unfinished else ()))


def problem(row: SolutionRow, spans: Sequence[SpanRow]) -> dict[str, Any]:
    """All of a problem: what came out, the candidates, the search tree, and the spans as they are written."""
    tree = tree_of(spans, row.text)
    return {
        "id": row.problem,
        "prompt": row.prompt or asked(spans),
        "text": row.text,
        "notes": notes(row),
        "error": row.error,
        "lost": row.lost,
        "why": row.why_lost,
        "unscored": without_verdict(row.unscored, row.scored, Counter(filter(None, [row.why_unscored]))),
        "usage": row.usage.usage().row(),
        "candidates": judged_candidates(row, spans, tree),
        "tree": tree,
        "spans": [span.model_dump(mode="json", exclude_defaults=True, exclude={"problem"}) for span in spans],
    }
