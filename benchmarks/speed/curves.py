"""How long curves take, and how much memory: four rules over 1,000 problems with 256 samples each, with intervals.

    OPENBLAS_NUM_THREADS=1 python benchmarks/speed/curves.py [--problems 1000] [--n 256] [--answers 40] [--draws 1000]

Samples are synthetic: each problem has a few likely answers out of `--answers`, one of which is right, one sample in
ten has no answer, and scores favour right ones. Reported are the means with their Monte Carlo errors and bootstrap
intervals, seconds by the clock and of CPU time (which a busy machine does not lengthen), and the peak of memory.
"""

import resource
import time

import numpy as np
import typer

from metagen.analysis.curve import Samples
from metagen.analysis.rules import best_of, coverage, majority_vote, powers_of_two, weighted_vote


def main(problems: int = 1000, n: int = 256, answers: int = 40, draws: int = 1000) -> None:
    samples, ks = drawn(problems, n, answers), powers_of_two(n)
    before, clock, cpu = peak(), time.perf_counter(), time.process_time()
    for rule in (coverage, majority_vote, weighted_vote, best_of):
        begun = time.process_time()
        curve = rule(samples, ks)
        low, high = curve.interval(draws=draws)
        print(f"{curve.rule}: {time.process_time() - begun:.2f} s of CPU time")
        for k, mean, error, least, most in zip(ks, curve.means, curve.errors, low, high, strict=True):
            print(f"  k={k:<4} {mean:6.2%} ± {error:.3%}  [{least:6.2%}, {most:6.2%}]")
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"{problems} problems, {n} samples, {draws} bootstrap draws: {clock:.2f} s, {cpu:.2f} s of CPU time")
    print(f"peak memory {peak():,.0f} MB, of it {before:,.0f} MB before")


def drawn(problems: int, n: int, answers: int) -> Samples:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1.0, *[4 / answers] * (answers - 1)], problems).cumsum(1)
    groups = (rng.random((problems, n, 1)) > shares[:, None, :]).sum(2).clip(max=answers - 1)
    groups[rng.random(groups.shape) < 0.1] = -1
    right = groups == 0
    return Samples(groups, right, rng.random(groups.shape) * 0.7 + 0.3 * right)


def peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    typer.run(main)
