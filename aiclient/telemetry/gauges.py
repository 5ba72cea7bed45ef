"""Metrics that are read when somebody collects them, from the balancers' snapshots.

Nothing here runs on a call's path, and nothing keeps a balancer or a client alive.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, runtime_checkable

from opentelemetry.metrics import CallbackOptions, Observation

from ..core.breaker import BreakerState
from ..core.node import NodeState
from .labels import NODES

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from ..core.balancer import BalancerCore
    from ..core.snapshot import Snapshot

__all__ = ["Followed", "Wire", "add_gauges"]

# Attributes, in a form that can be a key: several balancers may have the same ones.
Key: TypeAlias = "tuple[tuple[str, str], ...]"
Values: TypeAlias = "dict[Key, float]"
T = TypeVar("T")

_BREAKER = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_OLDEST_SECONDS = 1.0


@runtime_checkable
class Wire(Protocol):
    """What can say how many connections it has."""

    @property
    def busy(self) -> int: ...
    @property
    def idle(self) -> int: ...


def living(them: Iterable[T]) -> list[T]:
    """Those of a weak collection that are left, while other threads may be adding some."""
    while True:
        try:
            return list(them)
        except RuntimeError:
            continue


class Followed:
    """The balancers that are seen in the metrics, and what their gauges show now."""

    def __init__(self) -> None:
        # With its name in the metrics.
        self.services: weakref.WeakKeyDictionary[BalancerCore, str] = weakref.WeakKeyDictionary()
        self.wires: weakref.WeakKeyDictionary[Wire, str] = weakref.WeakKeyDictionary()
        self._asked: set[str] = set()
        self._taken_at = 0.0
        self._pictures: list[tuple[str, Snapshot]] = []
        self._totals: dict[str, Values] = {}
        self._before: dict[str, weakref.WeakKeyDictionary[BalancerCore, float]] = {}

    def pictures(self, asking: str) -> list[tuple[str, Snapshot]]:
        """One snapshot of each balancer for all gauges together: each of them asks in turn."""
        now = time.monotonic()
        if asking in self._asked or now - self._taken_at > _OLDEST_SECONDS:
            self._asked.clear()
            self._taken_at = now
            self._pictures = [
                (self.services[balancer], balancer.snapshot())
                for balancer in living(self.services)
                if not balancer.closed
            ]
        self._asked.add(asking)
        return self._pictures

    def total(self, name: str, of: Callable[[BalancerCore], float]) -> Values:
        """The sum of a counter over all balancers there were: it never goes down."""
        totals = self._totals.setdefault(name, {})
        before = self._before.setdefault(name, weakref.WeakKeyDictionary())
        for balancer in living(self.services):
            key = (("aiclient.service", self.services[balancer]),)
            value = of(balancer)
            totals[key] = totals.get(key, 0.0) + max(0.0, value - before.get(balancer, 0.0))
            before[balancer] = value
        return totals


def in_flight(followed: Followed) -> Values:
    values: Values = {}
    for service, snapshot in followed.pictures("in_flight"):
        for node in snapshot:
            key = _of_node(service, str(node.endpoint))
            values[key] = values.get(key, 0) + node.in_flight
    return values


def load(followed: Followed) -> Values:
    values: Values = {}
    for service, snapshot in followed.pictures("load"):
        for node in snapshot:
            key = _of_node(service, str(node.endpoint))
            # Of nodes that share a name here, the worst.
            values[key] = max(values.get(key, 0.0), node.load)
    return values


def breaker(followed: Followed) -> Values:
    values: Values = {}
    for service, snapshot in followed.pictures("breaker"):
        for node in snapshot:
            key = _of_node(service, str(node.endpoint))
            values[key] = max(values.get(key, 0), _BREAKER[node.breaker])
    return values


def nodes(followed: Followed) -> Values:
    values: Values = {}
    for service, snapshot in followed.pictures("nodes"):
        for state in NodeState:
            key = (("aiclient.service", service), ("aiclient.state", state.value))
            values[key] = values.get(key, 0) + sum(node.state is state for node in snapshot)
    return values


def panic(followed: Followed) -> Values:
    values: Values = {}
    for service, snapshot in followed.pictures("panic"):
        key = (("aiclient.service", service),)
        values[key] = max(values.get(key, 0), snapshot.panic)
    return values


def connections(followed: Followed) -> Values:
    values: Values = {}
    for wire in living(followed.wires):
        service = followed.wires[wire]
        for state, count in (("active", wire.busy), ("idle", wire.idle)):
            key = (("aiclient.service", service), ("http.connection.state", state))
            values[key] = values.get(key, 0) + count
    return values


def refused_retries(followed: Followed) -> Values:
    return followed.total("refused", lambda balancer: balancer.refused_retries)


def discovery_updates(followed: Followed) -> Values:
    return followed.total(
        "updates", lambda balancer: balancer.source.status.updates if balancer.source else 0
    )


def discovery_errors(followed: Followed) -> Values:
    return followed.total(
        "errors", lambda balancer: balancer.source.status.errors if balancer.source else 0
    )


def _of_node(service: str, node: str) -> Key:
    return (("aiclient.service", service), ("aiclient.node", NODES(node)))


def add_gauges(meter: Meter, followed: Followed) -> None:
    """Have them read whenever the meter's SDK collects."""

    def reading(
        read: Callable[[Followed], Values],
    ) -> list[Callable[[CallbackOptions], Iterator[Observation]]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            return (Observation(value, dict(key)) for key, value in read(followed).items())

        return [observe]

    for name, read, unit, meaning in (
        ("aiclient.node.in_flight", in_flight, "{call}", "Calls not ended yet, streams included."),
        (
            "aiclient.node.load",
            load,
            "{load}",
            "The score of LeastLoad: the lowest gets the call.",
        ),
        ("aiclient.node.breaker", breaker, "{state}", "0: closed, 1: half-open, 2: open."),
        ("aiclient.nodes", nodes, "{node}", "How many nodes are in each state."),
        (
            "aiclient.panic",
            panic,
            "{state}",
            "1 while ejections are ignored, as too many are out.",
        ),
        ("aiclient.connections", connections, "{connection}", "Open connections to nodes."),
    ):
        meter.create_observable_gauge(name, reading(read), unit, meaning)
    for name, read, unit, meaning in (
        (
            "aiclient.retry_budget.exhausted",
            refused_retries,
            "{retry}",
            "Retries that were not made because the budget was spent.",
        ),
        (
            "aiclient.discovery.updates",
            discovery_updates,
            "{update}",
            "Answers of a discovery that changed the set of nodes.",
        ),
        (
            "aiclient.discovery.errors",
            discovery_errors,
            "{error}",
            "Answers of a discovery that failed or could not be used.",
        ),
    ):
        meter.create_observable_counter(name, reading(read), unit, meaning)
