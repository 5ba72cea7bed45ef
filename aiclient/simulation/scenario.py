"""What is simulated: a fleet, a workload and what happens meanwhile, as validated values."""

from __future__ import annotations

import math
from typing import Any

import attrs

from ..settings import _number, _refuse, _seconds, _settings, _share, _whole

__all__ = ["Event", "Fleet", "Group", "Scenario", "Workload"]

_since = _number(0, math.inf, "seconds")
_positive = _number(0, math.inf, "a number", open_low=True)
# Slower is "stall"; and a caller waits no longer than a day.
_speed = _number(0.01, 1, "a speed")
_patience = _number(0.001, 86_400, "seconds")
_MOST_NODES = 10_000
_ARRIVALS = ("poisson", "even", "bursts")
# What needs to be said of each kind beside `at`, and what may be.
_NODES = {"nodes"}
_SPAN = {"nodes", "until"}
_KINDS: dict[str, tuple[set[str], set[str]]] = {
    "slow": (set(), {*_SPAN, "speed"}),
    "stall": (set(), _SPAN),
    "fail": (set(), {*_SPAN, "status", "after", "share"}),
    "kill": (set(), _SPAN),
    "revive": (set(), _NODES),
    "deploy": (set(), {*_NODES, "every", "down"}),
    "scale": ({"to"}, set()),
    "brownout": (set(), {*_SPAN, "speed", "share", "status", "after"}),
    "cold": ({"until"}, {"nodes", "speed"}),
}


def _one_of(*allowed: str) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in allowed:
            raise _refuse(instance, attribute.name, value, "one of " + ", ".join(allowed))

    return check


def _which(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    listed = (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(type(node) is int and node >= 0 for node in value)
    )
    if not (listed or value == "all" or (type(value) is float and 0 < value < 1)):
        allowed = "a list of node numbers, 'all', or a share of the fleet between 0 and 1"
        raise _refuse(instance, attribute.name, value, allowed)


@_settings
class Group:
    """Nodes that differ from the others; counted from node 0 on, group after group.

    Args:
        nodes: The part of the fleet that they are, 0 to 1.
        slots: Calls that each serves at once. Default: the fleet's.
        speed: Of 1, the fastest. Default 1.
        weight: As the clients know it. Default 1.
    """

    nodes: float = attrs.field(validator=_number(0, 1, "a share of the fleet", open_low=True))
    slots: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_whole(1, 100_000))
    )
    speed: float = attrs.field(default=1.0, validator=_speed)
    weight: float = attrs.field(default=1.0, validator=_number(0, 1000, "a weight", open_low=True))


@_settings
class Fleet:
    """The nodes as they are while nothing happens to them.

    Args:
        nodes: How many. Default 8.
        slots: Calls that each serves at once; further ones wait there in order. Default 8.
        queue: Calls that may wait at a node; to more it answers 503. Default None: any number.
        batching: How much longer everything takes with all slots busy than alone: 1 is twice as
            long. Default 0: calls beside each other cost nothing.
        cache: Sessions whose prefix each node keeps, the latest used. Default 1000.
        groups: Those that are not like the others.
    """

    nodes: int = attrs.field(default=8, validator=_whole(1, _MOST_NODES))
    slots: int = attrs.field(default=8, validator=_whole(1, 100_000))
    queue: int | None = attrs.field(default=None, validator=attrs.validators.optional(_whole(0)))
    batching: float = attrs.field(default=0.0, validator=_number(0, 100, "a factor"))
    cache: int = attrs.field(default=1000, validator=_whole(1))
    groups: tuple[Group, ...] = attrs.field(default=())

    def __attrs_post_init__(self) -> None:
        if sum(group.nodes for group in self.groups) > 1 + 1e-9:
            raise _refuse(self, "groups", self.groups, "shares of the fleet, 1 together at most")


@_settings
class Workload:
    """The calls. Seconds are those of a node at speed 1 that does nothing else.

    Args:
        load: Of what the fleet can do at best, 0 to 2. Default 0.7.
        arrivals: "poisson", "even" (the same time between each two) or "bursts" (`burst` calls
            in the same moment, the moments Poisson). Default "poisson".
        burst: Calls per burst. Default 10.
        streaming: Share of calls that stream. Default 0.5.
        prefill: Mean seconds until the first token. Default 0.25.
        prefill_sigma: Their spread, lognormal; the clients see longer bodies. Default 0.
        decode: Mean seconds from there to the last token. Default 4.
        decode_sigma: Their spread, lognormal. Default 1.
        sessions: Conversations; the calls of one share a prefix and a key. Default 0: none.
        shared: Share of prefill that a node saves which has the session's prefix. Default 0.8.
        idempotent: Whether calls may be sent twice. Default True.
        timeout: Seconds that callers wait for a byte. Default 600.
    """

    load: float = attrs.field(default=0.7, validator=_number(0, 2, "a share", open_low=True))
    arrivals: str = attrs.field(default="poisson", validator=_one_of(*_ARRIVALS))
    burst: int = attrs.field(default=10, validator=_whole(1, 100_000))
    streaming: float = attrs.field(default=0.5, validator=_share)
    prefill: float = attrs.field(default=0.25, validator=_positive)
    prefill_sigma: float = attrs.field(default=0.0, validator=_number(0, 3, "a spread"))
    decode: float = attrs.field(default=4.0, validator=_positive)
    decode_sigma: float = attrs.field(default=1.0, validator=_number(0, 3, "a spread"))
    sessions: int = attrs.field(default=0, validator=_whole(0))
    shared: float = attrs.field(default=0.8, validator=_share)
    idempotent: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    timeout: float = attrs.field(default=600.0, validator=_patience)

    @property
    def mean(self) -> float:
        """Seconds of work in a call, its prefix at hand where it has one."""
        return self.prefill * (1 - self.shared if self.sessions else 1) + self.decode


@_settings
class Event:
    """Something happens to some of the nodes.

    Args:
        kind: "slow" (to `speed`), "stall" (nothing moves), "fail" (a `share` of calls is answered
            `status`, `after` seconds), "kill" (what runs is broken, then connections are
            refused), "revive" (nothing is wrong any more), "deploy" (one node after the other,
            `every` seconds, takes no calls for `down` seconds; what it then still has is broken),
            "scale" (from here on the fleet is the first `to` nodes), "brownout" (slow and fails at
            times), "cold" (the speed grows from `speed` to normal).
        at: When it begins, seconds from the start.
        until: When it ends. Default: never.
        nodes: Which: a list of numbers from 0, "all", or below 1 the first share of the fleet, one
            node at least. Default [0].
        speed: Of normal. Default 0.25.
        status: Default 500.
        after: Default 0.005 s.
        share: Of the calls. Default 1; of a brown-out 0.1.
        every: Default 30 s.
        down: Default 20 s.
        to: Nodes.
    """

    kind: str = attrs.field(validator=_one_of(*_KINDS))
    at: float = attrs.field(default=0.0, validator=_since)
    until: float | None = attrs.field(
        default=None, validator=_number(0, math.inf, "seconds", none=True)
    )
    nodes: Any = attrs.field(default=(0,), validator=_which)
    speed: float = attrs.field(default=0.25, validator=_speed)
    status: int = attrs.field(default=500, validator=_whole(400, 599))
    after: float = attrs.field(default=0.005, validator=_since)
    share: float | None = attrs.field(
        default=None, validator=_number(0, 1, "a share", open_low=True, none=True)
    )
    every: float = attrs.field(default=30.0, validator=_seconds)
    down: float = attrs.field(default=20.0, validator=_seconds)
    to: int = attrs.field(default=0, validator=_whole(0, _MOST_NODES))

    def __attrs_post_init__(self) -> None:
        if self.until is not None and self.until <= self.at:
            raise _refuse(self, "until", self.until, f"later than at={self.at:g}")
        if self.kind == "scale" and not self.to:
            raise _refuse(self, "to", self.to, "a whole number >= 1")
        needed, allowed = _KINDS[self.kind]
        for name in needed:
            if getattr(self, name) is None:
                raise _refuse(self, name, None, f"needed by {self.kind}")
        for field in self.__attrs_attrs__:  # type: ignore[attr-defined]
            given = getattr(self, field.name) != field.default
            if given and field.name not in {"kind", "at", *needed, *allowed}:
                raise _refuse(self, field.name, getattr(self, field.name), f"{self.kind} has none")

    def among(self, count: int) -> list[int]:
        """The numbers of its nodes, in a fleet of `count`."""
        if self.nodes == "all":
            return list(range(count))
        if isinstance(self.nodes, float):
            return list(range(max(1, round(self.nodes * count))))
        return list(self.nodes)


@_settings
class Scenario:
    """A question to the simulation.

    Args:
        name: What it is called.
        what: What it is about.
        seconds: How long calls arrive, whatever becomes of them. Default 900.
        warm_up: So many of these seconds are left out of the times, as the clients learn then:
            latency, first byte and waiting are those of the calls that arrive later. What is
            counted is counted from the start. Default 0.
        clients: Processes that call, each of which knows only its own calls. Default 1.
        fleet, workload, events: see there.
    """

    name: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    what: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    seconds: float = attrs.field(default=900.0, validator=_seconds)
    warm_up: float = attrs.field(default=0.0, validator=_since)
    clients: int = attrs.field(default=1, validator=_whole(1, 100_000))
    fleet: Fleet = attrs.field(factory=Fleet)
    workload: Workload = attrs.field(factory=Workload)
    events: tuple[Event, ...] = attrs.field(default=())

    def __attrs_post_init__(self) -> None:
        if self.warm_up >= self.seconds:
            raise _refuse(self, "warm_up", self.warm_up, f"less than seconds={self.seconds:g}")
        for event in self.events:
            missing = [node for node in event.among(self.largest) if node >= self.largest]
            if missing:
                allowed = f"numbers below {self.largest}, the size of the fleet"
                raise _refuse(event, "nodes", event.nodes, allowed)

    @property
    def largest(self) -> int:
        """The most nodes there ever are."""
        return max([self.fleet.nodes, *(event.to for event in self.events)])

    def groups(self) -> list[Group]:
        """What each node is like, also those that come later."""
        fleet = self.fleet
        kinds: list[Group] = []
        reached = 0.0
        for group in fleet.groups:
            reached += group.nodes
            kinds += [group] * (max(1, round(reached * fleet.nodes)) - len(kinds))
        return (kinds + [Group(nodes=1.0)] * (self.largest - len(kinds)))[: self.largest]

    @property
    def calls(self) -> int:
        """How many arrive."""
        return max(1, round(self.rate * self.seconds))

    @property
    def rate(self) -> float:
        """Calls per second."""
        slots = sum(
            (group.slots or self.fleet.slots) * group.speed
            for group in self.groups()[: self.fleet.nodes]
        )
        return self.workload.load * slots / (1 + self.fleet.batching) / self.workload.mean
