"""The scenario files beside this one, and how they are run.

A file says what goes wrong (`faults`, or several `variants` of them), with which pickers and for
how many seeds it is tried, and what is expected: of each run, or of the mean of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from aiclient.core import pickers

from .servers import Fault, Work
from .simulator import Simulation

_SEEDS = 10


@attrs.frozen
class Scenario:
    name: str
    what: str
    picker: str
    seeds: int
    work: dict[str, Any]
    faults: list[dict[str, Any]]
    expect: list[dict[str, Any]]

    def run(self, seed: int) -> Simulation:
        return Simulation(
            seed=seed,
            picker=getattr(pickers, self.picker),
            work=Work(**self.work),
            faults=[Fault(**fault) for fault in self.faults],
        )


def scenarios() -> Iterator[Scenario]:
    """Every file, variant and picker."""
    for path in sorted(Path(__file__).parent.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        variants = file.get("variants", {"": file.get("faults", [])})
        for variant, faults in variants.items():
            for picker, seeds in file.get("pickers", {"LeastLoad": _SEEDS}).items():
                name = "-".join(part for part in (path.stem, variant, picker) if part)
                work = file.get("work", {})
                yield Scenario(name, file["what"], picker, seeds, work, faults, file["expect"])


def measured(run: Simulation, check: dict[str, Any]) -> float:
    """What came of a run, as one of the numbers a file may expect something of."""
    since, until = check.get("since", 0.0), check.get("until", float("inf"))
    match check["measure"]:
        case "share":
            return run.share(check.get("node", 0), since, until)
        case "fair_share":
            return run.share(check.get("node", 0), since, until) * run.nodes
        case "events":
            return sum(event.kind == check["kind"] for event in run.events)
        case "attempts_per_call":
            return len(run.picks) / run.calls
        case "wait_p99":
            return run.wait(0.99)
        case "failures":
            return len(run.failures)
        case "interrupted":
            return run.interrupted
        case "slowest":
            return run.slowest
    raise AssertionError(f"unknown measure: {check}")
