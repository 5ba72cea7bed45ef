"""`python -m aiclient.simulation.compare`: every policy in every scenario, as a Markdown table.

It is the table of docs/default-picker.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from statistics import fmean

import attrs

from .files import load, names
from .ideal import IDEAL
from .result import Result
from .runner import PICKERS, Task, means, run_all
from .scenario import Scenario

__all__ = ["main", "resized", "table"]

_MOST_LOST = 0.001
_SIZED = ("even", "mixed-hardware")
# Clients, nodes, seconds: the larger the fleet, the more calls there are in a second.
_SIZES = (
    (1, 3, 900.0),
    (8, 3, 900.0),
    (100, 3, 900.0),
    (8, 100, 120.0),
    (100, 100, 120.0),
    (1000, 100, 120.0),
    (1, 1000, 40.0),
    (100, 1000, 40.0),
)


def resized(
    scenario: Scenario,
    *,
    clients: int | None = None,
    nodes: int | None = None,
    seconds: float | None = None,
) -> Scenario:
    """The same with another number of clients or nodes, or for another time."""
    fleet = scenario.fleet if nodes is None else attrs.evolve(scenario.fleet, nodes=nodes)  # type: ignore[misc]
    return attrs.evolve(  # type: ignore[misc]
        scenario,
        fleet=fleet,
        clients=scenario.clients if clients is None else clients,
        seconds=scenario.seconds if seconds is None else seconds,
    )


def table(found: Iterable[Result]) -> str:
    """p99 of the waiting time, seconds: a row for each scenario, a column for each policy.

    Bold is the best; where more calls than one in a thousand got no whole answer, it says so.
    """
    rows: dict[tuple[str, int, int], dict[str, Result]] = {}
    for result in found:
        key = (result.scenario, result.clients, result.nodes)
        rows.setdefault(key, {})[result.picker] = result
    columns = [name for name in (IDEAL, *PICKERS) if any(name in row for row in rows.values())]
    lines = [
        "| scenario | clients | nodes | calls x seeds | " + " | ".join(columns) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(columns),
    ]
    for (name, clients, nodes), row in rows.items():
        cells = [_cell(picker, row) for picker in columns]
        any_one = next(iter(row.values()))
        made = f"{any_one.calls:,} x {any_one.seeds}"
        lines.append(f"| {name} | {clients} | {nodes} | {made} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(picker: str, row: dict[str, Result]) -> str:
    result = row.get(picker)
    if result is None:
        return "-"
    text = f"{result.waiting.p99:.2f}"
    if _lost(result):
        return f"{text} ({(result.errors + result.interrupted) / result.calls:.1%} lost)"
    real = [one.waiting.p99 for one in row.values() if one.picker != IDEAL and not _lost(one)]
    best = picker != IDEAL and result.waiting.p99 <= min(real) + 0.005
    return f"**{text}**" if best else text


def _lost(result: Result) -> bool:
    return (result.errors + result.interrupted) / result.calls > _MOST_LOST


def _tasks(only: Sequence[str], seeds: int, *, sizes: bool) -> list[Task]:
    if sizes:
        asked = [
            resized(load(name), clients=clients, nodes=nodes, seconds=seconds)
            for name in only or _SIZED
            for clients, nodes, seconds in _SIZES
        ]
    else:
        asked = [load(name) for name in only or names()]
    return [
        Task(scenario, picker, seed)
        for scenario in asked
        for picker in (IDEAL, *_policies(scenario))
        for seed in range(seeds)
    ]


def _policies(scenario: Scenario) -> list[str]:
    # Without keys it is Random.
    return [name for name in PICKERS if name != "ConsistentHash" or scenario.workload.sessions]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m aiclient.simulation.compare")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each")
    parser.add_argument("--sizes", action="store_true", help="1 to 1,000 clients, 3 to 1,000 nodes")
    parser.add_argument("scenarios", nargs="*", help="default: all; of the sizes: two")
    given = parser.parse_args(arguments)
    tasks = _tasks(given.scenarios, given.seeds, sizes=given.sizes)
    total, ready = sum(task.scenario.calls for task in tasks), 0

    def progress(calls: int) -> None:
        nonlocal ready
        ready += calls
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{ready / total:4.0%} of {total:,} calls")

    found = means(tasks, run_all(tasks, progress=progress))
    sys.stdout.write(f"{table(found)}\n\n{summary(found)}\n")


def summary(found: Sequence[Result]) -> str:
    """For each policy: its p99 wait beyond the ideal's, mean of the rows with no calls lost."""
    ideals = {(one.scenario, one.clients, one.nodes): one for one in found if one.picker == IDEAL}
    lines = ["| policy | rows | p99 wait beyond the ideal's, mean [s] |", "|---|--:|--:|"]
    for picker in dict.fromkeys(one.picker for one in found if one.picker != IDEAL):
        beyond = [
            one.waiting.p99 - ideals[one.scenario, one.clients, one.nodes].waiting.p99
            for one in found
            if one.picker == picker and not _lost(one)
        ]
        if beyond:
            lines.append(f"| {picker} | {len(beyond)} | {fmean(beyond):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
