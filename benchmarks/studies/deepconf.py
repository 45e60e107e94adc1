"""What confidence is worth: as a verifier, and to give up samples while they are written (DeepConf online).

    metagen sample PROBLEMS.jsonl --n 32 --of "Model(top_logprobs=20)" --out POOL.jsonl
    python benchmarks/studies/deepconf.py POOL.jsonl --problems PROBLEMS.jsonl [--orders 20]

Recorded samples, with their confidences, are played in random orders. A sample of `DeepConf` is paid up to the end of
the chunk in which its lowest group fell under the bar of the warm-up; prompts are not counted here.

Reported: for each verifier, how often it ranks a right sample above a wrong one of the same problem, best-of-n, and the
vote that it weighs; for each setting of `DeepConf`, accuracy, the points it gains on the majority of all samples (with
the 95 % interval over problems), and its share of their tokens. Beside it stand plain votes that stop.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import numpy as np
import typer

from metagen import ConsensusStop, PredictiveStop, ProblemFile, canonical, extract
from metagen.analysis.compare import difference
from metagen.confidence import least_kept, lowest_group
from metagen.strategies.choosing import best, majority, weighted_majority
from metagen.strategies.parallel.stopping import Stop
from metagen.verifiers.combine import sigmoid

GROUPS = (8, 16, 32)
KEEP = (0.9, 0.5, 0.25, 0.1)
WARMUP = 8
CHUNK = 8


class Sample(NamedTuple):
    key: str | None
    right: bool
    tokens: int
    logprobs: tuple[float, ...]
    confidences: tuple[float, ...]


class Setting(NamedTuple):
    group: int | None
    """The size of the lowest group; `None` judges by the mean log-probability."""
    keep: float
    until: Stop | None


class Outcome(NamedTuple):
    correct: bool
    tokens: int


Row = Sequence[Sample]
Play = Callable[[Row], Outcome]
Value = Callable[[Sample], float]


def main(
    pool: Annotated[Path, typer.Argument(help="Recorded samples with confidences, as JSON Lines.")],
    problems: Annotated[Path, typer.Option(help="Their problems.")],
    orders: int = 20,
) -> None:
    rows = list(read(pool, problems))
    n = len(rows[0])
    print(f"{len(rows)} problems x {n} samples, {orders} orders\n")
    whole = played(rows, orders, vote)
    print(f"One sample: {100 * fmean(sample.right for row in rows for sample in row):.2f}; ", end="")
    print(f"majority of {n}: {100 * accuracy(whole).mean():.2f}\n")
    print("| verifier | ranks right above wrong | best-of-n | weighted vote |\n|---|---|---|---|")
    for name, value in verifiers():
        print(verifier_line(name, value, rows, orders, whole), flush=True)
    print("\n| strategy | accuracy | points gained [95 %] | tokens |\n|---|---|---|---|")
    for name, play in strategies(n):
        print(strategy_line(name, played(rows, orders, play), whole), flush=True)


def verifiers() -> Iterator[tuple[str, Value]]:
    yield "MeanLogprob()", lambda sample: fmean(sample.logprobs)
    yield "SelfCertainty()", lambda sample: fmean(sample.confidences)
    for group in GROUPS:
        yield f"LowestGroupConfidence({group})", partial(lowest_of, group=group)


def lowest_of(sample: Sample, group: int) -> float:
    return lowest(sample.confidences, group)


def strategies(n: int) -> Iterator[tuple[str, Play]]:
    for size in (n // 2, n // 4):
        yield f"Vote({size})", partial(first_vote, size=size)
    for rule in (PredictiveStop(0.9), PredictiveStop(0.95), ConsensusStop(0.95)):
        yield f"Vote({n}, until={rule!r})", partial(stopped_vote, until=rule)
    for until, group, keep in product((None, ConsensusStop(0.95)), (*GROUPS, None), KEEP):
        setting = Setting(group, keep, until)
        yield spelled(n, setting), partial(deepconf, setting=setting)


def spelled(n: int, setting: Setting) -> str:
    until = f", until={setting.until!r}" if setting.until else ""
    by = f"LowestGroupConfidence({setting.group})" if setting.group else "Sigmoid(MeanLogprob())"
    return f"DeepConf({n}, by={by}, warmup={WARMUP}, keep={setting.keep}, chunk={CHUNK}{until})"


def vote(row: Row) -> Outcome:
    return outcome(row, majority([sample.key for sample in row]), sum(sample.tokens for sample in row))


def first_vote(row: Row, size: int) -> Outcome:
    return vote(row[:size])


def stopped_vote(row: Row, until: Stop) -> Outcome:
    for judged in range(1, len(row) + 1):
        if until([sample.key for sample in row[:judged]], [1.0] * judged, len(row) - judged):
            return vote(row[:judged])
    return vote(row)


def deepconf(row: Row, setting: Setting) -> Outcome:
    """As `DeepConf` does it, one in flight."""
    values = [value for sample in row if (value := verdict(sample, sample.tokens, setting.group)) is not None]
    bar = least_kept(values[:WARMUP], setting.keep)
    keys = [sample.key if value >= bar else None for sample, value in zip(row, values, strict=True)]
    tokens = [
        sample.tokens if number < WARMUP else paid(sample, setting.group, bar) for number, sample in enumerate(row)
    ]
    for judged in range(WARMUP, len(row) + 1):
        if judged == len(row) or (setting.until and setting.until(keys[:judged], values[:judged], len(row) - judged)):
            break
    chosen = weighted_majority(keys[:judged], values[:judged])
    if chosen is None:
        chosen = majority([sample.key for sample in row[:judged]])
    return outcome(row, chosen, sum(tokens[:judged]))


def paid(sample: Sample, group: int | None, bar: float) -> int:
    """The tokens that are written of a sample before it is given up."""
    for written in range(CHUNK, sample.tokens, CHUNK):
        value = verdict(sample, written, group)
        if value is not None and value < bar:
            return written
    return sample.tokens


def verdict(sample: Sample, written: int, group: int | None) -> float | None:
    """On the first so many tokens of a sample."""
    if group is None:
        return sigmoid(fmean(sample.logprobs[:written]))
    return lowest(sample.confidences[:written], group) if written >= min(group, sample.tokens) else None


@lru_cache(1 << 20)
def lowest(confidences: tuple[float, ...], group: int) -> float:
    return lowest_group(confidences, group)


def outcome(row: Row, chosen: int | None, tokens: int) -> Outcome:
    return Outcome(chosen is not None and row[chosen].right, tokens)


def played(rows: Sequence[Row], orders: int, play: Play) -> list[list[Outcome]]:
    """Each problem in each order, the same orders for all strategies."""
    return [[play(random.Random(order).sample(row, len(row))) for order in range(orders)] for row in rows]


def accuracy(outcomes: Sequence[Sequence[Outcome]]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array([fmean(one.correct for one in each) for each in outcomes])


def gained(outcomes: Sequence[Sequence[Outcome]], whole: Sequence[Sequence[Outcome]]) -> str:
    gain = difference(accuracy(whole), accuracy(outcomes))
    return f"{100 * gain.value:+.2f} [{100 * gain.low:.2f}, {100 * gain.high:.2f}]"


def strategy_line(name: str, outcomes: Sequence[Sequence[Outcome]], whole: Sequence[Sequence[Outcome]]) -> str:
    spent, full = (sum(one.tokens for each in side for one in each) for side in (outcomes, whole))
    reached = 100 * accuracy(outcomes).mean()
    return f"| `{name}` | {reached:.2f} | {gained(outcomes, whole)} | {100 * spent / full:.1f} % |"


def verifier_line(name: str, value: Value, rows: Sequence[Row], orders: int, whole: Sequence[Sequence[Outcome]]) -> str:
    ranks = [ranked(row, value) for row in rows if len({sample.right for sample in row}) == 2]
    chosen = played(rows, orders, lambda row: outcome(row, best(list(map(value, row))), 0))
    weighted = played(rows, orders, lambda row: outcome(row, weigh(row, value), 0))
    return f"| `{name}` | {100 * fmean(ranks):.1f} % | {gained(chosen, whole)} | {gained(weighted, whole)} |"


def weigh(row: Row, value: Value) -> int | None:
    values = list(map(value, row))
    weights = list(map(sigmoid, values)) if min(values) < 0 else values
    return weighted_majority([sample.key for sample in row], weights)


def ranked(row: Row, value: Value) -> float:
    """The share of pairs of a right and a wrong sample in which the right one has the higher value."""
    right, wrong = (np.array([value(sample) for sample in row if sample.right is side]) for side in (True, False))
    return float(((right[:, None] > wrong) + 0.5 * (right[:, None] == wrong)).mean())


def read(pool: Path, problems: Path) -> Iterator[Row]:
    """The samples of each problem that has all of them."""
    samples = defaultdict(list)
    for text in pool.read_text().splitlines():
        row = json.loads(text)
        samples[row["problem"]].append(row)
    most = max(map(len, samples.values()))
    for problem in ProblemFile(problems):
        if len(drawn := samples[problem.id]) == most and problem.answer is not None:
            yield [sample(row, canonical(problem.answer)) for row in drawn]


def sample(row: dict[str, object], right: str) -> Sample:
    answer = extract(str(row["text"]), finished=row.get("end", "eos") != "length")
    key = None if answer is None else canonical(answer)
    confidences = row["confidences"]
    logprobs = row["logprobs"]
    assert isinstance(confidences, list)
    assert isinstance(logprobs, list)
    return Sample(key, key == right, len(confidences), tuple(logprobs), tuple(confidences))


if __name__ == "__main__":
    typer.run(main)
