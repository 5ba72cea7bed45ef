"""The trials in virtual time, many times over: what the queue in the client brings.

    python -m benchmarks.versus.simulated --seeds 24

p99 of the waiting time in seconds, the mean over the seeds; behind it, in how many of them it is
within 1.3 times the ideal or 50 ms of it. `limit=4` is told what the others have to find out.
With `--warm-up 0` the clients know nothing of the nodes when the trial begins.
"""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

from aiclient.settings import Concurrency
from aiclient.simulation import Scenario, run
from benchmarks.document import table

from .trials import SLOTS, TRIALS, WARM_UP, Trial, ideal, informed

_WAYS: dict[str, dict[str, Any]] = {
    "no line": {"concurrency": None},
    "learnt (default)": {},
    f"limit={SLOTS}": {"concurrency": Concurrency(limit=SLOTS)},
}


def row(trial: Trial, scenario: Scenario, seeds: range) -> list[str]:
    """A trial: the references, and each way."""
    best = [ideal(scenario, seed).p99 for seed in seeds]
    cells = [trial.name, f"{fmean(best):.2f}"]
    cells.append(f"{fmean(informed(scenario, seed).p99 for seed in seeds):.2f}")
    for options in _WAYS.values():
        waits = [run(scenario, seed=seed, **options).waiting.p99 for seed in seeds]
        within = sum(
            wait <= max(1.3 * target, target + 0.05)
            for wait, target in zip(waits, best, strict=True)
        )
        cells.append(f"{fmean(waits):.2f} ({within} of {len(seeds)})")
    return cells


def main() -> None:
    names = [trial.name for trial in TRIALS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus.simulated")
    parser.add_argument("--trials", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=30.0, help="calls arrive that long")
    parser.add_argument("--warm-up", type=float, default=WARM_UP, help="seconds before that")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    seeds = range(1, given.seeds + 1)
    rows = [
        row(trial, trial.scenario(given.seconds, given.warm_up), seeds)
        for trial in TRIALS
        if trial.name in given.trials
    ]
    print(table(["p99 wait [s]", "ideal", "informed", *_WAYS], rows))


if __name__ == "__main__":
    main()
