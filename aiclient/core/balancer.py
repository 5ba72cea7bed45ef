"""The balancer's decisions for its user: membership and state, seen and changed."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError
from .engine import Engine
from .events import Event, EventKind
from .node import NodeSnapshot

__all__ = ["BalancerCore"]


class BalancerCore(Engine):
    """Decides which node gets a call and what its outcome means. Thread-safe."""

    def update(self, endpoints: object) -> None:
        """Replace the set of nodes. Who stays keeps its statistics, connections and streams; who
        leaves finishes its calls; who returns within 10 minutes finds its record.

        Raises:
            ConfigurationError: the new set is empty or holds something that is no node. The old
                one then stays: a mistake cannot delete everything.
        """
        wanted = endpoints_from(endpoints)
        now = self.clock()
        with self._lock:
            joined, left = self._fleet.update(wanted, now)
            detail = f"{len(self._fleet.members)} nodes: {joined} joined, {left} left"
            self._fleet.tell(EventKind.UPDATE, now, None, detail)
        self._deliver()

    def drain(self, node: str | Endpoint) -> None:
        """Give the node nothing new; what it has ends in peace. `restore` takes it back.

        Raises:
            ConfigurationError: there is no such node.
        """
        now = self.clock()
        with self._lock:
            found = self._find(node)
            found.drained = True
            found.why = "drained by hand"
            self._fleet.review(found, now)
            self._fleet.tell(EventKind.DRAINED, now, found, f"{found.in_flight} calls to end")
            self._fleet.check_panic(now)
        self._deliver()

    def eject(self, node: str | Endpoint, seconds: float) -> None:
        """Give the node nothing new for that long.

        Raises:
            ConfigurationError: there is no such node, or `seconds` is not positive.
        """
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not 0 < seconds < math.inf:
            raise ConfigurationError(f"seconds: {seconds!r} is not allowed; a finite number > 0")
        now = self.clock()
        with self._lock:
            found = self._find(node)
            found.ejected_until = now + seconds
            found.why = "ejected by hand"
            self._fleet.review(found, now)
            self._fleet.tell(EventKind.EJECTED, now, found, f"by hand, for {seconds:g} s")
            self._fleet.check_panic(now)
        self._deliver()

    def restore(self, node: str | Endpoint) -> None:
        """Forget whatever keeps the node out: it is as good as its peers again.

        Raises:
            ConfigurationError: there is no such node.
        """
        now = self.clock()
        with self._lock:
            found = self._find(node)
            found.drained = found.newcomer = False
            found.ejected_until = found.cooling_until = found.suspect_until = 0.0
            found.cool_streak = 0
            self._fleet.close(found, now, "restored by hand")
            found.ramp_from = None
            self._fleet.review(found, now)
        self._deliver()

    def subscribe(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Call `callback` with each `Event`, in the thread that caused it, outside the lock.

        What it raises is logged and goes no further. Returns a function that ends it.
        """
        with self._lock:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(s for s in self._subscribers if s is not callback)

        return unsubscribe

    def snapshot(self) -> tuple[NodeSnapshot, ...]:
        """All nodes as they are now, in the order they joined."""
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            nodes = self._fleet.members.values()
            total = sum(node.rate(now) for node in nodes)
            pictures = tuple(node.snapshot(now, total) for node in nodes)
        self._deliver()
        return pictures

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the nodes are, in the order they joined."""
        with self._lock:
            return tuple(node.endpoint for node in self._fleet.members.values())

    @property
    def panic(self) -> bool:
        """Whether ejections are being ignored because too many nodes are out."""
        return self._fleet.panic

    @property
    def available(self) -> bool:
        """Whether some node would be picked now without resorting to one that is out."""
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            ready = bool(self._fleet.ready.nodes or self._fleet.probes)
        self._deliver()
        return ready

    def mark_closed(self) -> None:
        """From now on every pick raises; calls under way go on."""
        self.closed = True
