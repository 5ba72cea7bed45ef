"""Who is in the fleet and who may be picked. Time moves here only when `advance` is called.

Every method's precondition: the balancer's lock is held.

A node has one `review`: it brings everything about it that depends on time up to date, decides
whether it is a candidate, and notes in one heap when the next review is due. So a pick looks at
the top of that heap and at the candidates, never at the nodes that are out.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable
from random import Random

from ..endpoint import Endpoint
from ..settings import BreakerPolicy, OutlierPolicy
from .breaker import Breaker, BreakerState, Trip
from .events import Event, EventKind
from .node import Node, NodeSet

__all__ = ["DRIFT_STEP", "MOST_LOOKED_AT", "Fleet"]

_PROBE_PATIENCE = 30.0
_REMEMBER_SECONDS = 600.0
_REMEMBER_NODES = 1000
_RAMP_STEPS = 10
# How often an estimate that nothing refreshes is looked at again.
DRIFT_STEP = 15.0
# Of the calls that wait at one node, the oldest.
MOST_LOOKED_AT = 16
_NEVER = BreakerPolicy(consecutive=2**31, consecutive_connect=2**31, min_samples=2**31)


class Fleet:
    """The nodes, the candidates among them, and what is due when."""

    def __init__(
        self,
        breaker: BreakerPolicy | None,
        outlier: OutlierPolicy | None,
        rng: Random,
    ) -> None:
        self.policy = breaker
        self.outlier = outlier
        self.members: dict[tuple[object, ...], Node] = {}
        self.version = 0
        self.ready = NodeSet()
        self.probes: dict[Node, None] = {}
        self.panic = False
        self.events: list[Event] = []
        self._rng = rng
        self._out_softly: dict[Node, None] = {}
        self._departed: dict[tuple[object, ...], tuple[float, Node]] = {}
        self._due: list[tuple[float, int, Node]] = []
        self._sequence = itertools.count()
        self._slow_start = breaker.slow_start if breaker else 0.0

    # Membership

    def update(self, endpoints: Iterable[Endpoint], now: float) -> tuple[int, int]:
        """Merge: who stays keeps everything known about it. Returns (joined, left)."""
        wanted = {endpoint.identity: endpoint for endpoint in endpoints}
        gone = [node for identity, node in self.members.items() if identity not in wanted]
        joined = 0
        proven = any(node.succeeded for node in self.members.values())
        for node in gone:
            self._leave(node, now)
        for identity, endpoint in wanted.items():
            node_now = self.members.get(identity)
            if node_now is None:
                node_now = self._join(identity, endpoint, now, proven)
                joined += 1
            else:
                node_now.move_to(endpoint)
            self.review(node_now, now)
        self.version += 1
        self.check_panic(now)
        return joined, len(gone)

    def _join(
        self, identity: tuple[object, ...], endpoint: Endpoint, now: float, proven: bool
    ) -> Node:
        left_at, node = self._departed.pop(identity, (-math.inf, None))
        if node is None or now - left_at > _REMEMBER_SECONDS:
            breaker = Breaker(self.policy or _NEVER)
            node = Node(endpoint, breaker, next(self._sequence), now)
            node.newcomer = proven
        node.gone = node.drained = False
        node.move_to(endpoint)
        self.members[identity] = node
        if node.breaker.state is not BreakerState.CLOSED and node.breaker.trip is not Trip.CONNECT:
            self._out_softly[node] = None
        if node.breaker.state is BreakerState.HALF_OPEN and not node.probe:
            self.probes[node] = None
        return node

    def _leave(self, node: Node, now: float) -> None:
        identity = node.endpoint.identity
        del self.members[identity]
        node.gone = True
        self.ready.discard(node)
        self.probes.pop(node, None)
        self._out_softly.pop(node, None)
        self._departed[identity] = (now, node)
        while len(self._departed) > _REMEMBER_NODES:
            del self._departed[next(iter(self._departed))]

    def forget_calls(self, now: float) -> None:
        """After a fork: the parent's calls are none of the child's."""
        for node in (*self.members.values(), *(node for _, node in self._departed.values())):
            node.in_flight = 0
            node.waiting.clear()
            node.probe = 0
            if node.breaker.state is BreakerState.HALF_OPEN and not node.gone:
                self.probes[node] = None
            self.review(node, now)

    # Time

    @property
    def next_due(self) -> float:
        return self._due[0][0] if self._due else math.inf

    def advance(self, now: float) -> None:
        """Review every node whose time has come."""
        due = self._due
        while due and due[0][0] <= now:
            when, _, node = heapq.heappop(due)
            if when == node.review_at:
                self.review(node, now)

    def due_by(self, node: Node, when: float) -> None:
        """See to it that the node is reviewed at `when` at the latest."""
        if when < node.review_at:
            node.review_at = when
            heapq.heappush(self._due, (when, next(self._sequence), node))

    def review(self, node: Node, now: float) -> None:
        """Bring what depends on time up to date and decide whether the node is a candidate."""
        node.review_at = math.inf
        next_due = min(
            self._review_breaker(node, now),
            self._review_pauses(node, now),
            self._review_lateness(node, now),
        )
        node.reassess(now, self._slow_start)
        if node.ramp_from is not None:
            next_due = min(next_due, now + self._slow_start / _RAMP_STEPS)
        if now < node.slowness.penalty_until:
            next_due = min(next_due, node.slowness.penalty_until)
        if node.slowness.drifting:
            next_due = min(next_due, now + DRIFT_STEP)
        self.place(node, now)
        if next_due < math.inf and not node.gone:
            self.due_by(node, next_due)

    def _review_breaker(self, node: Node, now: float) -> float:
        breaker = node.breaker
        if breaker.state is BreakerState.OPEN:
            if now < breaker.open_until:
                return breaker.open_until
            self.half_open(node, now)
        if breaker.state is not BreakerState.HALF_OPEN:
            return math.inf
        if node.probe:
            if now < node.probe_until:
                return node.probe_until
            # Its holder never told how it went: the permit expires.
            node.probe = 0
            node.probe_wait_until = now + _PROBE_PATIENCE
            if not node.gone:
                self.probes[node] = None
        if now < node.probe_wait_until:
            return node.probe_wait_until
        # Nobody had a call that may be sent twice: let it in as a newcomer, one call at a time.
        self.close(node, now, "no call to probe it with")
        node.newcomer = True
        return math.inf

    def _review_pauses(self, node: Node, now: float) -> float:
        next_due = math.inf
        if node.cooling_until:
            if now < node.cooling_until:
                next_due = node.cooling_until
            else:
                node.cooling_until = 0.0
        if node.ejected_until:
            if now < node.ejected_until:
                next_due = min(next_due, node.ejected_until)
            else:
                node.ejected_until = 0.0
                self.tell(EventKind.REVIVED, now, node, "the time it was ejected for is over")
                self.check_panic(now)
        if node.suspect_until:
            if now < node.suspect_until:
                next_due = min(next_due, node.suspect_until)
            else:
                # Nothing confirmed it and no byte refuted it: its next call decides.
                node.suspect_until = 0.0
                if node.breaker.state is BreakerState.CLOSED:
                    node.breaker.trip = Trip.STALLED
                    if not node.gone:
                        self._out_softly[node] = None
                    self.half_open(node, now)
                    self.check_panic(now)
                    next_due = min(next_due, node.probe_wait_until)
        if node.ghosts:
            node.ghosts = [end for end in node.ghosts if end > now]
            next_due = min(next_due, *node.ghosts) if node.ghosts else next_due
        return next_due

    def _review_lateness(self, node: Node, now: float) -> float:
        next_due = math.inf
        late = 0.0
        heard = node.last_byte_at
        # The oldest are at the front; a few are enough to find one that is late.
        for started, baseline in itertools.islice(node.waiting.values(), MOST_LOOKED_AT):
            if not baseline.known:
                continue
            # A call may be a long one: only where the node is silent to all is it late itself.
            since = max(started, heard)
            limit = baseline.late
            age = now - since
            if age >= limit:
                late = max(late, age / baseline.typical)
                next_due = min(next_due, now + max(0.05, age / 4))
            else:
                next_due = min(next_due, since + limit)
        node.late = late
        return next_due

    # Health

    def place(self, node: Node, now: float) -> None:
        """Put the node among the candidates, or take it from them."""
        if self._may_be_picked(node, now):
            self.ready.add(node)
        else:
            self.ready.discard(node)

    def _may_be_picked(self, node: Node, now: float) -> bool:
        if node.gone or node.drained or not node.weight or now < node.ejected_until:
            return False
        if now < node.cooling_until or node.suspect_until:
            return False
        if node.breaker.state is not BreakerState.CLOSED:
            return self.panic and node in self._out_softly
        return not (node.newcomer and node.in_flight)

    def trip(self, node: Node, trip: Trip, now: float, detail: str) -> None:
        """Open the node's breaker."""
        until = node.breaker.open(trip, now, self._rng)
        node.suspect_until = 0.0
        node.probe = 0
        self.probes.pop(node, None)
        node.why = detail if detail.startswith(trip) else f"{trip}: {detail}"
        if trip is Trip.CONNECT:
            self._out_softly.pop(node, None)
        elif not node.gone:
            self._out_softly[node] = None
        self.tell(EventKind.EJECTED, now, node, f"{node.why}, for {until - now:.1f} s")
        self.review(node, now)
        self.check_panic(now)

    def half_open(self, node: Node, now: float) -> None:
        node.breaker.half_open()
        node.probe = 0
        node.probe_wait_until = now + _PROBE_PATIENCE
        if not node.gone:
            self.probes[node] = None
        self.tell(EventKind.PROBING, now, node, "its next call decides")

    def close(self, node: Node, now: float, detail: str) -> None:
        """Close the breaker: back to the peers' level, and up to full share over the ramp."""
        node.breaker.close(now)
        node.probe = 0
        node.slowness.restart(now)
        node.late = 0.0
        node.ghosts.clear()
        node.ramp_from = now if self._slow_start else None
        node.why = ""
        self.probes.pop(node, None)
        self._out_softly.pop(node, None)
        self.tell(EventKind.REVIVED, now, node, detail)
        self.check_panic(now)

    def may_trip(self, node: Node, trip: Trip, now: float) -> bool:
        """Whether the peers' record bears out that this node, not the service, is at fault."""
        if trip is not Trip.SUCCESS_RATE or self.outlier is None:
            return True
        own = node.breaker.success_rate(now)
        peers = [
            rate
            for peer in self.ready
            if peer is not node and (rate := peer.breaker.success_rate(now)) is not None
        ]
        if own is None or not peers:
            return True
        return own <= sum(peers) / len(peers) - self.outlier.success_rate_gap

    def check_panic(self, now: float) -> None:
        """Panic while more nodes are out on soft evidence than may be, or none is left."""
        out = len(self._out_softly)
        panic = False
        if out and self.outlier is not None:
            in_service = sum(
                1
                for node in self.members.values()
                if node.breaker.state is BreakerState.CLOSED
                and node.weight
                and not node.drained
                and now >= node.ejected_until
            )
            most = max(1, int(self.outlier.max_ejected * len(self.members)))
            panic = not self.outlier.fail_fast and (out > most or not in_service)
        if panic == self.panic:
            return
        self.panic = panic
        if panic:
            self.tell(
                EventKind.PANIC,
                now,
                None,
                f"{out} of {len(self.members)} nodes are out on "
                "soft evidence: all of them are tried by score",
            )
        else:
            self.tell(EventKind.PANIC_OVER, now, None, "enough nodes are back")
        for node in self._out_softly:
            self.place(node, now)

    def tell(self, kind: EventKind, now: float, node: Node | None, detail: str) -> None:
        self.events.append(Event(kind, now, node.label if node else None, detail))
