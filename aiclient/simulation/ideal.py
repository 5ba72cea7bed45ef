"""The ideal: one queue before all healthy slots, which knows the fleet at every moment.

All slots that are up are one large server, as fast as the fastest of them; a slower node counts
with as many slots as are worth its own. Nothing that runs is broken, every prefix is at hand where
it is wanted, and nothing is asked of a node that would fail. No client can be better in the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .arrivals import arrivals
from .result import Result, Tally
from .scenario import Scenario
from .server import Job, Server
from .timeline import play

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy import Environment

__all__ = ["IDEAL", "Ideal"]

IDEAL = "ideal"


class Ideal:
    """Done when `result` is called."""

    def __init__(self, env: Environment, scenario: Scenario, *, seed: int) -> None:
        self.env = env
        self._scenario = scenario
        self._calls = arrivals(scenario, seed)
        self._tally = Tally(scenario, ())
        self._members = scenario.fleet.nodes
        slots = scenario.fleet.slots
        # Of the real ones only what events do to them is of interest.
        self.servers = []
        for group in scenario.groups():
            server = Server(env, group.slots or slots, first=_ignore, last=_ignore)
            server.speed = group.speed
            self.servers.append(server)
        self._large = Server(
            env, 1, batching=scenario.fleet.batching, first=self._first, last=self._last
        )
        self.changed()
        play(self, scenario)
        env.process(self._arrive())

    def result(self) -> Result:
        """Run it to its end."""
        # Until nothing is left to happen: a fleet that is dead for ever answers nobody.
        self.env.run()
        self._tally.errors = self._scenario.calls - self._tally.whole
        return self._tally.result(IDEAL, 0)

    def _arrive(self) -> Generator[Any, Any, None]:
        for arrival in self._calls:
            if arrival.at > self.env.now:
                yield self.env.timeout(arrival.at - self.env.now)
            self._large.take(Job(arrival))

    def _first(self, job: Job) -> None:
        self._tally.first(job.arrival, self.env.now)

    def _last(self, job: Job) -> None:
        if not job.arrival.streams:
            self._tally.first(job.arrival, self.env.now)
        self._tally.last(job.arrival, self.env.now)

    def changed(self) -> None:
        """The large server is what the healthy ones are together."""
        healthy = [
            server
            for server in self.servers[: self._members]
            if server.accepts and server.failing < 1 and server.speed
        ]
        fastest = max((server.speed for server in healthy), default=0.0)
        slots = sum(self._worth(server, fastest) for server in healthy)
        self._large.width = max(1, len(healthy))
        self._large.change(speed=fastest, slots=math.ceil(slots - 1e-9))

    def _worth(self, server: Server, fastest: float) -> float:
        """How many of the large server's slots stand for it."""
        return server.slots * server.speed / fastest

    def lost(self, server: Server, jobs: list[Any]) -> None:
        """Nothing is."""

    def froze(self, server: Server) -> None:
        """What was there is elsewhere."""

    def resized(self, count: int) -> None:
        """Another number of nodes."""
        self._members = count


def _ignore(job: object) -> None:
    """There are no calls on it."""
