"""What the contenders have to stand: the calls, what happens to the nodes, and the ideal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import simpy

from aiclient.simulation import Event, Fleet, Scenario, Times, Workload
from aiclient.simulation.arrivals import arrivals
from aiclient.simulation.ideal import Ideal
from aiclient.simulation.server import Server

__all__ = [
    "NODES",
    "PREFILL",
    "SLOTS",
    "TOKEN_TIME",
    "TRIALS",
    "WARM_UP",
    "Job",
    "Trial",
    "ideal",
    "informed",
    "jobs",
]

NODES = 8
SLOTS = 4
PREFILL = 0.05  # seconds
TOKEN_TIME = 0.005  # seconds
LOAD = 0.7
WARM_UP = 30.0  # seconds in which calls arrive, but do not count: faults strike running services
_FROM, _UNTIL = 1 / 6, 1 / 2  # of the time in which calls arrive


class Trial(NamedTuple):
    """One of them: `kind` of event for `nodes`, from a sixth of the time after the warm-up on.

    `fault`: of the fake node, where it is not the one that belongs to the kind.
    """

    name: str
    what: str
    kind: str = ""
    nodes: Sequence[int] = (0,)
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    ends: bool = False
    fault: str = ""

    def scenario(self, seconds: float, warm_up: float) -> Scenario:
        """As the simulation knows it, which draws the calls and knows the ideal."""
        until = warm_up + seconds * _UNTIL if self.ends else None
        event: dict[str, Any] = {
            "kind": self.kind,
            "at": warm_up + seconds * _FROM,
            "until": until,
            "nodes": self.nodes,
        }
        return Scenario(
            name=self.name,
            seconds=warm_up + seconds,
            warm_up=warm_up,
            fleet=Fleet(nodes=NODES, slots=SLOTS),
            workload=Workload(
                load=LOAD, streaming=0.0, prefill=PREFILL, decode=0.45, decode_sigma=0.8
            ),
            events=(Event(**event, **self.options),) if self.kind else (),
        )


TRIALS = (
    Trial("even", "nothing happens"),
    Trial("one-slow", "one node at a quarter of its speed", "slow"),
    Trial("two-slow", "two nodes at a quarter of their speed", "slow", (0, 1)),
    Trial("500", "one node answers 500 within 5 ms", "fail", options={"status": 500}),
    Trial("503", "one node answers 503 within 5 ms", "fail", options={"status": 503}),
    Trial("reset", "one node resets every connection with a request", "fail", fault="reset"),
    Trial("hang", "one node takes requests and answers nothing", "stall"),
    Trial("kill", "one node is killed", "kill"),
    Trial("kill-return", "one node is killed, and started again", "kill", ends=True),
    Trial(
        "brown-out",
        "two nodes at half their speed; one call in ten there ends with 500",
        "brownout",
        (0, 1),
        {"speed": 0.5},
        ends=True,
    ),
)


class Job(NamedTuple):
    """One call: when it is due, and how many tokens it asks for."""

    at: float
    tokens: int

    @property
    def work(self) -> float:
        """Seconds that a free node of full speed takes for it."""
        return PREFILL + self.tokens * TOKEN_TIME


def jobs(scenario: Scenario, seed: int) -> list[Job]:
    """All calls of a run: the same ones for every contender."""
    return [
        Job(arrival.at, max(1, round(arrival.decode / TOKEN_TIME)))
        for arrival in arrivals(scenario, seed)
    ]


class _Informed(Ideal):
    """Leaves slow nodes alone, as who does not know how long a call will be had better do."""

    def _worth(self, server: Server, fastest: float) -> float:
        return server.slots if server.speed == fastest else 0.0


def ideal(scenario: Scenario, seed: int) -> Times:
    """The waiting with one queue before all healthy slots, which knows the fleet at all times."""
    return Ideal(simpy.Environment(), scenario, seed=seed).result().waiting


def informed(scenario: Scenario, seed: int) -> Times:
    """The same without the slow nodes: half a node's speed is no half of a node's slots."""
    return _Informed(simpy.Environment(), scenario, seed=seed).result().waiting
