"""`python -m tests.scenarios`: what the scenario files measure, and the waits of each picker.

The wait is from a call's arrival to its slot; the ideal is one queue before all healthy slots.
"""

# ruff: noqa: T201 - it is a script

from __future__ import annotations

import logging
from statistics import mean

from aiclient.core import pickers

from .files import measured, scenarios
from .servers import Fault, Work
from .simulator import Simulation, ideal_waits

SEEDS = range(5)
PICKERS = ("LeastLoad", "LeastRequest", "PowerOfTwoChoices", "RoundRobin")
SLOW = Fault(kind="slow", speed=0.25)
# situation, clients, faults, slots that the ideal has
SITUATIONS: tuple[tuple[str, int, list[Fault], int], ...] = (
    ("8 nodes alike, 1 client", 1, [], 32),
    ("8 nodes alike, 4 clients", 4, [], 32),
    ("1 of 8 at quarter speed, 1 client", 1, [SLOW], 28),
    ("1 of 8 at quarter speed, 4 clients", 4, [SLOW], 28),
)


def waits() -> None:
    """Print the table of waits."""
    print(f"{'p99 wait for a slot [s]':36}{'ideal':>8}", *(f"{name:>18}" for name in PICKERS))
    gap = Work().mean() / (0.7 * 32)
    for title, clients, faults, slots in SITUATIONS:
        ideal = [
            sorted(ideal_waits(seed=seed, slots=slots, gap=gap, calls=20_000))[19_800]
            for seed in SEEDS
        ]
        row = []
        for name in PICKERS:
            if faults and name == "RoundRobin":
                row.append("unbounded")  # an eighth of the calls, a thirty-second of the speed
                continue
            runs = [
                Simulation(
                    seed=seed, picker=getattr(pickers, name), clients=clients, faults=faults
                ).wait(0.99)
                for seed in SEEDS
            ]
            row.append(f"{mean(runs):.2f}")
        print(f"{title:36}{mean(ideal):8.2f}", *(f"{value:>18}" for value in row), flush=True)


def targets() -> None:
    """Print what each file measures."""
    for scenario in scenarios():
        runs = [scenario.run(seed) for seed in range(scenario.seeds)]
        print(f"\n{scenario.name}: {scenario.what}")
        for check in scenario.expect:
            values = [measured(run, check) for run in runs]
            print(
                f"  {min(values):8.4f} {mean(values):8.4f} {max(values):8.4f}  {check}", flush=True
            )


if __name__ == "__main__":
    logging.getLogger("aiclient").setLevel(logging.CRITICAL)
    waits()
    print("\nmin, mean and max over the seeds")
    targets()
