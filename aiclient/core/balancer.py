"""The balancer's decisions for its user: membership and state, seen and changed."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError
from .engine import Engine
from .events import Event, EventKind
from .snapshot import Snapshot

__all__ = ["BalancerCore"]


class BalancerCore(Engine):
    """Decides which node gets a call and what its outcome means. Thread-safe."""

    service = ""

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
            self._serve(now)
            detail = f"{len(self._fleet.members)} nodes: {joined} joined, {left} left"
            self._fleet.tell(EventKind.UPDATE, now, None, detail)
        self._deliver()
        if self.checker is not None:
            self.checker.changed()

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
            self._serve(now)
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
            self._serve(now)
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
            found.unhealthy = ""
            self._fleet.close(found, now, "restored by hand")
            found.ramp_from = None
            self._fleet.review(found, now)
            self._serve(now)
        self._deliver()

    def checked(self, endpoint: Endpoint, problem: str, began: float) -> bool:
        """Take what a health check of this node found; no problem: an empty text.

        `began`: when it did, on the balancer's clock. Returns whether to confirm it soon. Of a
        node that has left in the meantime it says nothing.
        """
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            node = self._fleet.members.get(endpoint.identity)
            soon = False
            if node is not None and self._checks is not None:
                soon = self._checks.result(node, problem, began, now)
        self._deliver()
        return soon

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

    def note(self, kind: EventKind, detail: str) -> None:
        """Tell the log and the subscribers of something that concerns all nodes."""
        now = self.clock()
        with self._lock:
            self._fleet.tell(kind, now, None, detail)
        self._deliver()

    def snapshot(self) -> Snapshot:
        """All nodes as they are now, in the order they joined."""
        discovery = self.source.status if self.source is not None else None
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            nodes = self._fleet.members.values()
            total = sum(node.rate(now) for node in nodes)
            made = Snapshot.of(
                [node.snapshot(now, total) for node in nodes],
                at=now,
                service=self.service,
                picker=self.picker,
                closed=self.closed,
                panic=self._fleet.panic,
                in_flight=self.in_flight,
                waiting=len(self._line.waiting),
                discovery=discovery,
                events=tuple(self._fleet.recent),
            )
        self._deliver()
        return made

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
        if self.source is not None:
            self.source.begin()
        if self.checker is not None:
            self.checker.begin()
        with self._lock:
            self._catch_up(now)
            ready = bool(self._fleet.ready.nodes or self._fleet.probes)
        self._deliver()
        return ready

    def mark_closed(self) -> None:
        """From now on every pick raises; calls under way go on."""
        self.closed = True
        with self._lock:
            self._served += self._line.waiting
            self._line.waiting.clear()
        self._deliver()
        if self.source is not None:
            self.source.end()
        if self.checker is not None:
            self.checker.end()
