"""Who is in the fleet, and how each node fares. Time moves here only when `advance` is called.

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
from .candidates import Candidates
from .events import EventKind
from .node import Node, NodeSet
from .slots import Slots

__all__ = ["DRIFT_STEP", "MOST_LOOKED_AT", "Fleet"]

_PROBE_PATIENCE = 30.0
# Even where a probe takes no time, it is one of the attempts that its call has.
_CALLS_PER_PROBE = 50
_REMEMBER_SECONDS = 600.0
_REMEMBER_NODES = 1000
_RAMP_STEPS = 10
# How often an estimate that nothing refreshes is looked at again.
DRIFT_STEP = 15.0
# Of the calls that wait at one node, the oldest.
MOST_LOOKED_AT = 16
_NEVER = BreakerPolicy(consecutive=2**31, consecutive_connect=2**31, min_samples=2**31)


class Fleet(Candidates):
    """The nodes, what happens to them, and what is due when."""

    def __init__(
        self,
        breaker: BreakerPolicy | None,
        outlier: OutlierPolicy | None,
        rng: Random,
    ) -> None:
        super().__init__(outlier)
        self.policy = breaker
        self.version = 0
        # How often a node has been held for a call.
        self.picks = 0
        self._slots = Slots()
        self.probes: dict[Node, None] = {}
        self._rng = rng
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
        priorities = sorted({endpoint.priority for endpoint in wanted.values()})
        self.levels = {p: NodeSet() for p in priorities} if len(priorities) > 1 else {}
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
            node = Node(endpoint, breaker, next(self._sequence), now, Slots(self._slots))
            node.newcomer = proven
        node.gone = node.drained = False
        node.move_to(endpoint)
        self.members[identity] = node
        if node.breaker.state is not BreakerState.CLOSED and node.breaker.trip is not Trip.CONNECT:
            self._out_softly[node] = None
        if node.breaker.state is BreakerState.HALF_OPEN and not node.probe:
            self.probes[node] = None
        if node.unhealthy:
            self.failing[node] = None
        return node

    def _leave(self, node: Node, now: float) -> None:
        identity = node.endpoint.identity
        del self.members[identity]
        node.gone = True
        self.place(node, now)
        self.probes.pop(node, None)
        self._out_softly.pop(node, None)
        self.failing.pop(node, None)
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
            # The moment itself is compared, not the age: rounded the other way, a node would be
            # due now and not late yet, for ever.
            late_at = since + baseline.late
            if now >= late_at:
                age = now - since
                late = max(late, age / baseline.typical)
                next_due = min(next_due, now + max(0.05, age / 4))
            else:
                next_due = min(next_due, late_at)
        node.late = late
        return next_due

    # Health

    def trip(
        self, node: Node, trip: Trip, now: float, detail: str, *, refused: bool = False
    ) -> None:
        """Open the node's breaker. `refused`: it did so at once, and nobody lost time over it."""
        calls = self.picks - node.picks_at_trip
        out = max(1, len(self.members) - len(self.ready))
        cheap = refused and calls >= _CALLS_PER_PROBE * out
        until = node.breaker.open(trip, now, self._rng, cheap=cheap)
        node.picks_at_trip = self.picks
        node.hastened = False
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
        # One brought back by a health check as soon as it was there again gets its share at once.
        node.ramp_from = now if self._slow_start and not node.hastened else None
        node.hastened = False
        node.why = ""
        self.probes.pop(node, None)
        self._out_softly.pop(node, None)
        self.tell(EventKind.REVIVED, now, node, detail)
        self.check_panic(now)

    def judge(self, node: Node, fails: bool, why: str, now: float) -> None:
        """By its health checks the node `fails`, and for that is out if there is a `why`."""
        known, was_out = node in self.failing, bool(node.unhealthy)
        node.unhealthy = why
        if (known, was_out) == (fails, bool(why)):
            return
        if fails:
            self.failing[node] = None
        else:
            self.failing.pop(node, None)
        if why and not was_out and not (known and self.checks_ignored):
            self.tell(EventKind.UNHEALTHY, now, node, why)
        elif was_out and not why:
            # At its peers' level, as after any time out; its calls have not failed, so no ramp.
            node.slowness.restart(now)
            if not (fails and self.checks_ignored):
                detail = "it answers calls" if fails else "its health checks succeed"
                self.tell(EventKind.HEALTHY, now, node, detail)
        self.review(node, now)
        if known != fails:
            self.check_panic(now)
