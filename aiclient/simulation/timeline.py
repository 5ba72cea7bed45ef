"""The events of a scenario, done to the servers when their time comes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .scenario import Event, Scenario
from .server import Server

if TYPE_CHECKING:
    from simpy import Environment

__all__ = ["Stage", "play", "touched"]

_STEPS = 10
_BROWNOUT_SHARE = 0.1


class Stage(Protocol):
    """Where it happens."""

    env: Environment
    servers: list[Server]

    def lost(self, server: Server, jobs: list[Any]) -> None:
        """Its process died, with these calls."""

    def froze(self, server: Server) -> None:
        """From now on nothing on it moves."""

    def resized(self, count: int) -> None:
        """The fleet is the first `count` nodes."""

    def changed(self) -> None:
        """Something about some server is different."""


def play(stage: Stage, scenario: Scenario) -> None:
    """See to it that each event happens."""
    speeds = [group.speed for group in scenario.groups()]
    for event in scenario.events:
        stage.env.process(_Happening(stage, event, scenario.fleet.nodes, speeds).run())


class _Happening:
    def __init__(self, stage: Stage, event: Event, count: int, speeds: list[float]) -> None:
        self._stage = stage
        self._event = event
        self._nodes = event.among(count)
        self._speeds = speeds

    def run(self) -> Generator[Any, Any, None]:
        event, env = self._event, self._stage.env
        yield env.timeout(event.at)
        if event.kind == "deploy":
            yield from self._deploy()
        elif event.kind == "cold":
            yield from self._warm_up()
        elif event.kind == "scale":
            self._stage.resized(event.to)
            self._stage.changed()
        else:
            self._each(_BEGIN[event.kind])
            if event.until is not None:
                yield env.timeout(event.until - event.at)
                self._each(_Happening._restore)

    def _each(self, do: Callable[[_Happening, int], None]) -> None:
        for node in self._nodes:
            do(self, node)
        self._stage.changed()

    def _slow(self, node: int) -> None:
        self._speed(node, self._event.speed)

    def _stall(self, node: int) -> None:
        server = self._stage.servers[node]
        server.change(speed=0.0)
        self._stage.froze(server)

    def _fail(self, node: int) -> None:
        server, event = self._stage.servers[node], self._event
        server.status, server.after = event.status, event.after
        server.failing = 1.0 if event.share is None else event.share

    def _brown_out(self, node: int) -> None:
        self._slow(node)
        self._fail(node)
        if self._event.share is None:
            self._stage.servers[node].failing = _BROWNOUT_SHARE

    def _kill(self, node: int) -> None:
        server = self._stage.servers[node]
        server.accepts = False
        self._stage.lost(server, server.broken())

    def _restore(self, node: int) -> None:
        server = self._stage.servers[node]
        server.accepts = True
        server.failing = 0.0
        self._speed(node, 1.0)

    def _speed(self, node: int, speed: float) -> None:
        self._stage.servers[node].change(speed=speed * self._speeds[node])

    def _deploy(self) -> Generator[Any, Any, None]:
        for node in self._nodes:
            self._stage.env.process(self._restart(node))
            yield self._stage.env.timeout(self._event.every)

    def _restart(self, node: int) -> Generator[Any, Any, None]:
        server = self._stage.servers[node]
        server.accepts = False
        self._stage.changed()
        yield self._stage.env.timeout(self._event.down)
        # What had not ended by then is broken.
        self._stage.lost(server, server.broken())
        server.accepts = True
        self._stage.changed()

    def _warm_up(self) -> Generator[Any, Any, None]:
        event = self._event
        assert event.until is not None
        for step in range(_STEPS):
            speed = event.speed + (1 - event.speed) * step / _STEPS
            for node in self._nodes:
                self._speed(node, speed)
            self._stage.changed()
            yield self._stage.env.timeout((event.until - event.at) / _STEPS)
        self._each(_Happening._restore)


_BEGIN: dict[str, Callable[[_Happening, int], None]] = {
    "slow": _Happening._slow,
    "stall": _Happening._stall,
    "fail": _Happening._fail,
    "brownout": _Happening._brown_out,
    "kill": _Happening._kill,
    "revive": _Happening._restore,
}


def touched(events: Iterable[Event], count: int) -> list[int]:
    """The nodes that events happen to."""
    return sorted(
        {node for event in events if event.kind != "scale" for node in event.among(count)}
    )
