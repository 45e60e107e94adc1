"""What votes lose and save in a few rounds, and how long they wait: `Rounds` beside votes that stop, over a pool.

    python benchmarks/studies/rounds.py POOL [--problems FILE] [--orders 40]

POOL is as for `choose.py`. Reported are the points lost to the vote of all samples (with the 95 % interval over
problems), the share of their tokens, the requests, and the tokens that are written one after another.
"""

from collections.abc import Iterator
from pathlib import Path

import typer
from choose import read

from metagen import BetaStop, PredictiveStop, Rounds, Vote
from metagen.analysis.compare import difference
from metagen.analysis.replay import Played, Prefixes, grown, prefixes, stopped
from metagen.strategies.parallel.stopping import Stop

RULES: tuple[Stop, ...] = (PredictiveStop(0.8), PredictiveStop(0.9), BetaStop(0.8))
FIRST, ROUNDS = (4, 6, 8, 12), (2, 3)


def main(pool: Path, problems: Path | None = None, orders: int = 40) -> None:
    votes = prefixes(read(pool, problems).samples, orders)
    whole, tokens = votes.right[..., -1].mean(1), votes.tokens.sum(2).mean()
    print(f"all {votes.n} samples: {100 * whole.mean():.2f} %, {votes.tokens.max(2).mean():.0f} tokens in a row\n")
    print("| strategy | points lost [95 %] | tokens | requests | tokens in a row |\n|---|---|---|---|---|")
    for name, played in strategies(votes):
        lost = difference(played.right, whole)
        print(
            f"| `{name}` | {100 * lost.value:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}] "
            f"| {100 * played.written.mean() / tokens:.1f} % | {played.requests.mean():.1f} "
            f"| {played.depth.mean():,.0f} |"
        )


def strategies(votes: Prefixes) -> Iterator[tuple[str, Played]]:
    n = votes.n
    for window in (1, 4):
        vote = Vote(n, until=PredictiveStop(0.9), window=window)
        yield repr(vote), stopped(votes, n, PredictiveStop(0.9), window)
    for rule in RULES:
        for first in FIRST:
            for rounds in ROUNDS:
                strategy = Rounds(n, until=rule, first=first, rounds=rounds)
                yield repr(strategy), grown(votes, n, rule, first, rounds)


if __name__ == "__main__":
    typer.run(main)
