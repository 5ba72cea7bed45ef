"""The trials in virtual time, many times over: what the queue in the client brings.

    python -m benchmarks.versus.simulated --seeds 24

p99 of the waiting time in seconds, the mean over the seeds; behind it, in how many of them it is
within 1.3 times the ideal or 50 ms of it. `limit=4` is told how many calls a node works on, which
the others have to find out; *told* also, and at once, who is ill: nothing new goes there, but what
is there stays. With `--warm-up 0` the clients know nothing of the nodes when the trial begins.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Generator
from statistics import fmean
from typing import Any

import simpy

from aiclient.core.pickers import LeastLoad
from aiclient.settings import Concurrency
from aiclient.simulation import Scenario, run
from aiclient.simulation.clients import Run
from benchmarks.document import table

from .trials import NODES, SLOTS, TRIALS, WARM_UP, Trial, ideal, informed

_WAYS: dict[str, dict[str, Any]] = {
    "no line": {"concurrency": None},
    "learnt (default)": {},
    f"limit={SLOTS}": {"concurrency": Concurrency(limit=SLOTS)},
}


def told(scenario: Scenario, seed: int) -> float:
    """p99 of a client that is told at once who is ill, and knows how many calls a node works on."""
    env = simpy.Environment()
    made = Run(env, scenario, LeastLoad, seed=seed, concurrency=Concurrency(limit=SLOTS))

    def tell() -> Generator[Any, Any, None]:
        for event in scenario.events:
            yield env.timeout(event.at)
            until = scenario.seconds if event.until is None else event.until
            for core in made.cores:
                nodes = [node.endpoint for node in core.snapshot()]
                for number in event.among(NODES):
                    core.eject(nodes[number], until - event.at)

    env.process(tell())
    return made.result("told").waiting.p99


def row(trial: Trial, scenario: Scenario, seeds: range) -> list[str]:
    """A trial: the references, and each way."""
    best = [ideal(scenario, seed).p99 for seed in seeds]

    def cell(waits: list[float]) -> str:
        within = sum(
            wait <= max(1.3 * target, target + 0.05)
            for wait, target in zip(waits, best, strict=True)
        )
        return f"{fmean(waits):.2f} ({within} of {len(seeds)})"

    ways = [
        [run(scenario, seed=seed, **options).waiting.p99 for seed in seeds]
        for options in _WAYS.values()
    ]
    known = [informed(scenario, seed).p99 for seed in seeds]
    ways = [known, [told(scenario, seed) for seed in seeds], *ways]
    return [trial.name, f"{fmean(best):.2f}", *map(cell, ways)]


def main() -> None:
    names = [trial.name for trial in TRIALS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus.simulated")
    parser.add_argument("--trials", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=30.0, help="calls arrive that long")
    parser.add_argument("--warm-up", type=float, default=WARM_UP, help="seconds before that")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    seeds = range(1, given.seeds + 1)
    logging.disable(logging.CRITICAL)  # nothing that happens is real
    rows = [
        row(trial, trial.scenario(given.seconds, given.warm_up), seeds)
        for trial in TRIALS
        if trial.name in given.trials
    ]
    print(table(["p99 wait [s]", "ideal", "informed", "told", *_WAYS], rows))


if __name__ == "__main__":
    main()
