"""Which nodes may be picked: by priority, by their own state, and by how many others are out.

Every method's precondition: the balancer's lock is held.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from ..settings import OutlierPolicy
from .breaker import BreakerState, Trip
from .events import Event, EventKind
from .node import Node, NodeSet

__all__ = ["Candidates"]

_MOST_RECENT = 100
_LIKELY = 8
_NOBODY = NodeSet()


class Candidates:
    """The nodes, and those of them that may be picked."""

    def __init__(self, outlier: OutlierPolicy | None) -> None:
        self.outlier = outlier
        self.members: dict[tuple[object, ...], Node] = {}
        # All candidates; and, where nodes differ in priority, those of each level, best first.
        self.ready = NodeSet()
        self.levels: dict[int, NodeSet] = {}
        self.panic = False
        # Those whose health checks fail, and whether there are no others: then checks do not count.
        self.failing: dict[Node, None] = {}
        self.checks_ignored = False
        self.events: list[Event] = []
        # What was told last, for whoever asks later.
        self.recent: deque[Event] = deque(maxlen=_MOST_RECENT)
        self._out_softly: dict[Node, None] = {}

    def place(self, node: Node, now: float) -> None:
        """Put the node among the candidates, or take it from them."""
        level = self.levels.get(node.endpoint.priority)
        if self._may_be_picked(node, now):
            self.ready.add(node)
            if level is not None:
                level.add(node)
        else:
            self.ready.discard(node)
            if level is not None:
                level.discard(node)

    def candidates(self, tried: Sequence[Node]) -> NodeSet:
        """The nodes of the best level that has any, but for those tried."""
        for level in self.levels.values() if self.levels else (self.ready,):
            left = NodeSet([node for node in level.nodes if node not in tried]) if tried else level
            if left.nodes:
                return left
        return _NOBODY

    def _may_be_picked(self, node: Node, now: float) -> bool:
        if node.gone or node.drained or not node.weight or now < node.ejected_until:
            return False
        if now < node.cooling_until or node.suspect_until:
            return False
        if node.unhealthy and not self.checks_ignored:
            return False
        if node.breaker.state is not BreakerState.CLOSED:
            return self.panic and node in self._out_softly
        return not (node.newcomer and node.in_flight)

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
        if self.failing or self.checks_ignored:
            self._weigh_checks(now)
        out = len(self._out_softly)
        panic = False
        if out and self.outlier is not None and not self.outlier.fail_fast:
            levels: dict[int, list[Node]] = {}
            for node in self.members.values():
                levels.setdefault(node.endpoint.priority, []).append(node)
            share = self.outlier.max_ejected
            panic = not any(self._bears_up(nodes, share, now) for nodes in levels.values())
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

    def _bears_up(self, nodes: list[Node], most_ejected: float, now: float) -> bool:
        """Whether a level has nodes in service, and not too many of them out on soft evidence."""
        out = sum(1 for node in nodes if node in self._out_softly)
        return out <= max(1, int(most_ejected * len(nodes))) and any(
            self._in_service(node, now) for node in nodes
        )

    @staticmethod
    def _in_service(node: Node, now: float) -> bool:
        return bool(
            node.breaker.state is BreakerState.CLOSED
            and node.weight
            and not node.drained
            and now >= node.ejected_until
        )

    def _weigh_checks(self, now: float) -> None:
        """Ignore the health checks while no node would be left that they are content with."""
        # Among the candidates there is one as good as always; when thousands fail that matters.
        likely = itertools.islice(self.ready, _LIKELY)
        ignored = bool(self.failing) and not any(
            node not in self.failing and self._in_service(node, now)
            for node in itertools.chain(likely, self.members.values())
        )
        if ignored == self.checks_ignored:
            return
        self.checks_ignored = ignored
        if ignored:
            detail = f"they fail for {len(self.failing)} of {len(self.members)} nodes, no other"
            self.tell(EventKind.CHECKS_IGNORED, now, None, f"{detail} is in service")
        else:
            self.tell(EventKind.CHECKS_HEEDED, now, None, "a node that passes them is in service")
        for node in self.failing:
            self.place(node, now)

    def tell(self, kind: EventKind, now: float, node: Node | None, detail: str) -> None:
        event = Event(kind, now, node.label if node else None, detail)
        self.events.append(event)
        self.recent.append(event)
