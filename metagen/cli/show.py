"""`metagen show`: problems of a run, on the terminal."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from metagen.analysis.sheet import Sheet
from metagen.analysis.tally import without_verdict
from metagen.cli.console import out, show
from metagen.cli.visible import visible
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow
from metagen.errors import InputError
from metagen.settings import counted
from metagen.view.candidates import Shown
from metagen.view.problems import asked, judged_candidates, notes
from metagen.view.reading import RunRows, is_found, is_missed, votes
from metagen.view.tree import Grown, tree_of

MOST_NODES = 200
"""Of a tree that are printed; pages show all."""
LINE = 100
"""Characters of a step that are printed in a tree."""
CELL = 40
"""Characters of an answer that are printed in a list."""
SIMILAR = 3
"""Ids that are offered where one is not found."""


def show_problems(path: Path, *, missed: bool, found: bool) -> None:
    """Print a line for each problem, or for each that was missed, or that only a sample found."""
    run = RunRows.read(path)
    wanted = is_found if found else is_missed if missed else lambda _: True
    rows = [row for row in run.rows.values() if wanted(row)]
    what = ", missed by the strategy and found by a sample" if found else ", missed" if missed else ""
    show(
        Sheet(
            f"{len(rows):,} of {counted(len(run.rows), 'problem')} of {path}{what}",
            ("problem", "answer", "reference", "right", "votes", "right samples"),
            tuple(_line(row) for row in rows),
        )
    )
    if rows:
        out.print(f"Look at one: metagen show {quote(str(path))} {quote(rows[0].problem)}", soft_wrap=True)


def show_problem(path: Path, name: str) -> None:
    """Print the problem with this id, or with this number at the end of its id.

    Raises `InputError` if the run has not solved it.
    """
    run = RunRows.read(path)
    name = _find(path, name, list(run.rows))
    spans = next((spans for _, spans in run.traces({name})), [])
    for part in described(run.rows[name], spans):
        out.print(part, soft_wrap=isinstance(part, str))


def described(row: SolutionRow, spans: Sequence[SpanRow]) -> Iterator[str | Padding | Tree]:
    """A problem in parts: the question, the answer, the candidates by answer, the search tree, notes and cost."""
    yield f"Problem {row.problem}" + "".join(f", {name} {value}" for name, value in row.tags.items())
    yield Padding(Text(visible(row.prompt or asked(spans))), (1, 2))
    yield f"Answer: {_said(row.answer)}, {_right(row)}" + (f" (reference: {row.reference})" * bool(row.reference))
    if row.failed:
        yield f"Failed: {row.error}"
    nodes = tree_of(spans, row.text)
    yield from _grouped(judged_candidates(row, spans, nodes))
    if nodes:
        yield ""
        yield _drawn(nodes)
    for note in notes(row):
        yield f"Note: {note}"
    if row.lost:
        yield f"Lost: {counted(row.lost, 'sample')}. {row.why_lost}"
    if unscored := without_verdict(row.unscored, row.scored, Counter(filter(None, [row.why_unscored]))):
        yield f"No verdict: {unscored}"
    usage = row.usage.usage()
    money = f", {usage.money:.3g} of money" if usage.money else ""
    yield f"Cost: {counted(usage.tokens, 'token')} in {counted(usage.calls, 'request')}{money}, {row.seconds:.1f} s"


def _grouped(candidates: Sequence[Shown]) -> Iterator[str | Padding]:
    """The candidates of each answer, the answer with most votes first; of equal texts one."""
    sizes = Counter(each.group for each in candidates)
    for group, count in sizes.most_common():
        members = [each for each in candidates if each.group == group]
        answer, right = members[0].answer, members[0].right
        yield f"\n{_said(answer)}: {count} of {counted(len(candidates), 'candidate')}, {_mark(right)}"
        for text, same in _alike(members):
            yield Padding(Text(visible(text)), (1, 2, 0, 2))
            yield f"  [{facts}]" if (facts := ", ".join(_facts(same))) else ""


def _alike(members: Sequence[Shown]) -> list[tuple[str, list[Shown]]]:
    """Equal texts together, the chosen one first."""
    found: dict[str, list[Shown]] = {}
    for each in sorted(members, key=lambda each: not each.chosen):
        found.setdefault(each.text, []).append(each)
    return list(found.items())


def _facts(same: Sequence[Shown]) -> Iterator[str]:
    if any(each.chosen for each in same):
        yield "chosen"
    if len(same) > 1:
        yield f"{len(same)} times"
    if models := sorted({each.model for each in same if each.model}):
        yield f"by {', '.join(models)}"
    if scores := {f"{each.score:.3g}" for each in same if each.score is not None}:
        yield f"score {', '.join(sorted(scores))}"
    if same[0].steps:
        yield "steps " + " ".join(f"{step:.2f}" for step in same[0].steps)
    if same[0].thought:
        yield f"after a thought of {counted(len(same[0].thought), 'character')}"
    if any(each.cut for each in same):
        yield "cut off"
    if same[0].tokens:
        yield counted(same[0].tokens, "token")


def _drawn(nodes: Sequence[Grown]) -> Tree:
    """The first nodes of the search tree, each with its verdict and what became of it."""
    branches: list[Tree] = []
    for node in nodes[:MOST_NODES]:
        if node.parent < 0:
            branches.append(Tree("Search tree (* is on the way to the answer)"))
            continue
        value = "no verdict" if node.value is None else f"{node.value:.3g}"
        times = f" x{node.count}" if node.count > 1 else ""
        text = " ".join((node.text.strip() or node.thought).split())[:LINE]
        label = f"{'* ' if node.chosen else ''}{value}{times} {node.state}: {text}"
        branches.append(branches[node.parent].add(Text(visible(label))))
    if len(nodes) > MOST_NODES:
        branches[0].add(f"{counted(len(nodes) - MOST_NODES, 'node')} more: metagen view shows them")
    return branches[0]


def _line(row: SolutionRow) -> tuple[str, ...]:
    voted = f"{votes(row)} of {row.compared}" if row.compared > 1 else ""
    right = f"{row.samples_correct} of {row.samples}" if row.samples > 1 else ""
    return row.problem, _brief(_said(row.answer)), _brief(row.reference or ""), _right(row), voted, right


def _brief(text: str) -> str:
    """The beginning of a text, on one line: an answer may be a whole program."""
    line = " ".join(text.split())
    return line if len(line) <= CELL else f"{line[: CELL - 1]}…"


def _said(answer: str | None) -> str:
    return "no answer" if answer is None else answer


def _right(row: SolutionRow) -> str:
    return "failed" if row.failed else "unfinished" if row.unfinished else _mark(row.correct)


def _mark(right: bool | None) -> str:
    return "not graded" if right is None else "right" if right else "wrong"


def _find(path: Path, name: str, known: Sequence[str]) -> str:
    """The id that was meant: this one, or the only one that ends with this number."""
    if name in known:
        return name
    ending = re.compile(rf"(^|\D)0*{re.escape(name)}$")
    meant = [each for each in known if ending.search(each)] if name.isdecimal() else []
    if len(meant) != 1:
        raise InputError(f"{path}: has no problem {name!r}; {_offer(name, known)}")
    return meant[0]


def _offer(name: str, known: Sequence[str]) -> str:
    near = [each for each in known if name in each][:SIMILAR] or known[:SIMILAR]
    others = " and others" if len(known) > len(near) else ""
    return f"it has {', '.join(near)}{others}" if near else "it has none"
