"""One node's mutable state, and the frozen picture of it that users see."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import overload

import attrs

from ..endpoint import Endpoint
from .breaker import Breaker, BreakerState
from .load import Baseline, Slowness, burden
from .slots import MOST_SLOTS, Slots

__all__ = ["Node", "NodeSet", "NodeSnapshot", "NodeState"]

_SHARE_TAU = 10.0
# Two calls picked within this time may reach their node in the other order.
_ABREAST_SECONDS = 0.02


class NodeState(enum.StrEnum):
    """In which of these a node is; the first that holds, in this order."""

    DRAINED = "drained"  # by weight 0 or drain(): finishes what it has, gets nothing new
    EJECTED = "ejected"  # breaker open, or eject()
    UNHEALTHY = "unhealthy"  # its health checks fail
    PROBING = "half-open"  # its next call decides
    STALLED = "stalled"  # silent while its peers answer
    COOLING = "cooling"  # said it is full
    NEW = "new"  # offered one call at a time until its first success
    READY = "ready"


@attrs.frozen
class NodeSnapshot:
    """One node at one moment.

    Attributes:
        endpoint: where it is.
        state: see `NodeState`.
        in_flight: calls picked and not yet ended, streams included.
        load: the score `LeastLoad` compares; lower gets the next call.
        share: its share of the calls picked lately (0 to 1, time constant 10 s).
        ttfb: average seconds to the first content byte; None before the first.
        slowness: first-byte time relative to its peers'; 1 is their level.
        breaker: closed, open or half-open.
        success_rate: within the breaker's window; None with too few outcomes.
        ejected_until: on the balancer's clock; None when it is not out.
        why: why it is in this state; empty when it is ready.
        picked, succeeded, failed: calls since it joined. Failed: faults only.
    """

    endpoint: Endpoint
    state: NodeState
    in_flight: int
    load: float
    share: float
    ttfb: float | None
    slowness: float
    breaker: BreakerState
    success_rate: float | None
    ejected_until: float | None
    why: str
    picked: int
    succeeded: int
    failed: int


class Node:
    """Every field is guarded by the balancer's lock, but for `last_byte_at`.

    User-written pickers may read `endpoint`, `weight`, `in_flight`, `load` and `picked`.
    """

    __slots__ = (
        "__weakref__",
        "_lately",
        "_rate",
        "_rate_at",
        "breaker",
        "cool_streak",
        "cooling_until",
        "drained",
        "ejected_until",
        "ended",
        "endpoint",
        "factor",
        "failed",
        "ghosts",
        "gone",
        "hastened",
        "in_flight",
        "label",
        "last_byte_at",
        "late",
        "load",
        "newcomer",
        "order",
        "picked",
        "picks_at_trip",
        "probe",
        "probe_until",
        "probe_wait_until",
        "ramp",
        "ramp_from",
        "retry_slow_after",
        "retry_slow_at",
        "review_at",
        "slots",
        "slowed",
        "slowness",
        "stride_at",
        "succeeded",
        "suspect_until",
        "unhealthy",
        "waiting",
        "weight",
        "why",
    )

    def __init__(
        self, endpoint: Endpoint, breaker: Breaker, order: int, now: float, slots: Slots
    ) -> None:
        self.order = order
        self.breaker = breaker
        self.slowness = Slowness()
        self.slowness.restart(now)
        self.in_flight = 0
        # Ends of slots that bad answers keep occupied in the score although the call is over.
        self.ghosts: list[float] = []
        # Calls that wait for their first byte, oldest first: serial -> (picked at, their kind's).
        self.waiting: dict[int, tuple[float, Baseline]] = {}
        # Written without the lock by whoever reads from the node: one float, later is better.
        self.last_byte_at = -math.inf
        self.late = 0.0
        self.cool_streak = 0
        self.cooling_until = 0.0
        self.suspect_until = 0.0
        self.ejected_until = 0.0
        # What its health checks found wrong; empty: nothing.
        self.unhealthy = ""
        # A good check has ended its time out: whether that was right, its next call decides.
        self.hastened = False
        self.drained = False
        self.gone = False
        self.newcomer = False
        # The part of its full share that it may have, while it is brought there.
        self.ramp_from: float | None = None
        self.ramp = 1.0
        self.probe = 0  # the serial of the attempt that decides; 0: none yet
        self.probe_until = 0.0
        self.probe_wait_until = 0.0
        self.review_at = math.inf
        self.stride_at = 0.0
        # Of the fleet, when the breaker last opened.
        self.picks_at_trip = 0
        self.picked = self.succeeded = self.failed = 0
        self._rate = 0.0
        self._rate_at = now
        self.why = ""
        # When its latest calls ended, and their serials, oldest first.
        self.ended: deque[tuple[float, int]] = deque(maxlen=MOST_SLOTS)
        self.slots = slots
        self._lately: deque[float] = deque(maxlen=MOST_SLOTS)
        # When a node that seems slow is tried again, and how long after that.
        self.retry_slow_at = 0.0
        self.retry_slow_after = 0.0
        self.factor = self.load = 1.0
        # What `factor` makes of: 1 is the peers' level.
        self.slowed = 1.0
        self.move_to(endpoint)

    def move_to(self, endpoint: Endpoint) -> None:
        """Take over changed settings of the same node: weight, headers, labels."""
        self.endpoint = endpoint
        self.label = str(endpoint)
        self.weight = endpoint.weight

    def rescore(self) -> None:
        """After `in_flight` or `ghosts` changed."""
        self.load = (self.in_flight + len(self.ghosts) + 1) * self.factor

    def reassess(self, now: float, slow_start: float) -> None:
        """After the estimate, the weight or the ramp changed: `LeastLoad`'s score.

        (in flight + 1) / weight * burden(slowness), where slowness is the first-byte time
        relative to the peers', or how late the oldest waiting call is, whichever is worse.
        """
        self.ramp = 1.0
        if self.ramp_from is not None:
            passed = (now - self.ramp_from) / slow_start if slow_start else 1.0
            self.ramp = min(1.0, max(0.1, passed))
            if passed >= 1.0:
                self.ramp_from = None
        slowness = self.slowed = max(self.slowness.ratio(now), self.late)
        weight = self.weight * self.ramp
        self.factor = burden(slowness) / weight if weight else math.inf
        self.rescore()

    def picked_lately(self, now: float) -> int:
        """How many calls were picked for it within the last moment, this one not counted."""
        lately = self._lately
        while lately and lately[0] < now - _ABREAST_SECONDS:
            lately.popleft()
        count = len(lately)
        lately.append(now)
        return count

    def count_pick(self, now: float) -> None:
        self.picked += 1
        elapsed = now - self._rate_at
        if elapsed > 0:
            self._rate *= math.exp(-elapsed / _SHARE_TAU)
            self._rate_at = now
        self._rate += 1.0

    def rate(self, now: float) -> float:
        """Picks lately, decayed: only its relation to the other nodes' means something."""
        return self._rate * math.exp(-max(0.0, now - self._rate_at) / _SHARE_TAU)

    def state(self, now: float) -> NodeState:
        if self.drained or not self.weight:
            return NodeState.DRAINED
        if self.ejected_until > now or self.breaker.state is BreakerState.OPEN:
            return NodeState.EJECTED
        if self.unhealthy:
            return NodeState.UNHEALTHY
        if self.breaker.state is BreakerState.HALF_OPEN:
            return NodeState.PROBING
        if self.suspect_until:
            return NodeState.STALLED
        if self.cooling_until > now:
            return NodeState.COOLING
        return NodeState.NEW if self.newcomer else NodeState.READY

    def reason(self, state: NodeState) -> str:
        """Why it is in that state."""
        if state is NodeState.UNHEALTHY:
            return self.unhealthy
        return "" if state is NodeState.READY else self.why

    def out_until(self, now: float) -> float | None:
        if self.ejected_until > now:
            return self.ejected_until
        if self.breaker.state is BreakerState.OPEN:
            return self.breaker.open_until
        return self.cooling_until if self.cooling_until > now else None

    def snapshot(self, now: float, total_rate: float) -> NodeSnapshot:
        state = self.state(now)
        return NodeSnapshot(
            endpoint=self.endpoint,
            state=state,
            in_flight=self.in_flight,
            load=self.load,
            share=self.rate(now) / total_rate if total_rate else 0.0,
            ttfb=self.slowness.ttfb,
            slowness=self.slowness.ratio(now),
            breaker=self.breaker.state,
            success_rate=self.breaker.success_rate(now),
            ejected_until=self.out_until(now),
            why=self.reason(state),
            picked=self.picked,
            succeeded=self.succeeded,
            failed=self.failed,
        )

    def __repr__(self) -> str:
        return f"<Node {self.label} in_flight={self.in_flight} load={self.load:.3g}>"


class NodeSet(Sequence[Node]):
    """Nodes with constant-time add, discard, `in` and indexing; the order is not kept."""

    __slots__ = ("_places", "nodes")

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self.nodes: list[Node] = list(nodes)
        self._places = {node: place for place, node in enumerate(self.nodes)}

    def add(self, node: Node) -> None:
        if node not in self._places:
            self._places[node] = len(self.nodes)
            self.nodes.append(node)

    def discard(self, node: Node) -> None:
        place = self._places.pop(node, None)
        if place is None:
            return
        last = self.nodes.pop()
        if last is not node:
            self.nodes[place] = last
            self._places[last] = place

    def __contains__(self, node: object) -> bool:
        return node in self._places

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | Sequence[Node]:
        return self.nodes[index]
