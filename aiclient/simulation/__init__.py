"""Which policy for *my* fleet? The real balancer in virtual time, before simulated nodes.

    scenario = simulation.load("slow-node")
    simulation.run(scenario, "LeastLoad", seed=1).waiting.p99
    simulation.run(scenario, "ideal", seed=1).waiting.p99

Needs the extra `simulation` (simpy). The clients run the core that real calls run, with the clock
of the simulation: no policy is written twice.
"""

from __future__ import annotations

from .files import load, names, scenario_from
from .result import Result, Times
from .runner import PICKERS, Task, run, run_all
from .scenario import Event, Fleet, Group, Scenario, Workload

__all__ = [
    "PICKERS",
    "Event",
    "Fleet",
    "Group",
    "Result",
    "Scenario",
    "Task",
    "Times",
    "Workload",
    "load",
    "names",
    "run",
    "run_all",
    "scenario_from",
]
