"""What health checks say about the nodes. Every method's precondition: the lock is held.

A check is weaker evidence than a call. It can take out a node of which calls say nothing, and
bring that back; of a node that calls have shown to be bad it can say that there is something to
connect to again, no more.
"""

from __future__ import annotations

import weakref
from typing import Protocol

from ..health_check import HealthCheck
from .breaker import BreakerState, Trip
from .fleet import Fleet
from .node import Node

__all__ = ["Checker", "Checks"]

# For what a breaker opened that a check can refute: nobody answered there.
_SILENT = frozenset({Trip.CONNECT, Trip.STALLED})


class Checker(Protocol):
    """Checks the nodes, in the background."""

    def begin(self) -> None:
        """Start to check, if that is not done yet; cheap to ask."""

    def changed(self) -> None:
        """There are other nodes now."""

    def end(self) -> None:
        """Check no longer."""

    def forget(self) -> None:
        """In a forked child: what runs in the background is the parent's."""


class _Record:
    """What was found so far, and what calls had said when it was last looked at."""

    __slots__ = ("bad", "good", "hastened", "looked_at", "seen_failed", "seen_well")

    def __init__(self) -> None:
        # Checks in a row; one of the two is 0.
        self.bad = self.good = 0
        self.seen_well = self.seen_failed = 0
        self.looked_at = 0.0
        # Ended one time out since the last bad check: it was worth a try.
        self.hastened = False

    def failed(self) -> int:
        """One more bad check; returns how many in a row that makes."""
        self.good, self.hastened = 0, False
        self.bad += 1
        return self.bad

    def passed(self) -> int:
        """One more good check; returns how many in a row that makes."""
        self.bad = 0
        self.good += 1
        return self.good


class Checks:
    """Turns results of checks into what the fleet is told."""

    def __init__(self, fleet: Fleet, policy: HealthCheck) -> None:
        self._fleet = fleet
        self._policy = policy
        self._records: weakref.WeakKeyDictionary[Node, _Record] = weakref.WeakKeyDictionary()

    def result(self, node: Node, problem: str, began: float, now: float) -> bool:
        """Take what a check that began at `began` found; no problem: an empty text.

        Returns whether it should be confirmed soon.
        """
        record = self._records.get(node)
        if record is None:
            record = self._records[node] = _Record()
        works = self._works(node, record)
        fails, why = node in self._fleet.failing, node.unhealthy
        if problem:
            fails = record.failed() >= self._policy.fall or fails or not record.looked_at
            why = f"health check: {problem}"
            soon = not (fails or works)
        else:
            self._hasten(node, record, began, now)
            fails = record.passed() < self._policy.rise and fails
            soon = fails
        record.looked_at = now
        self._fleet.judge(node, fails, why if fails and not works else "", now)
        return soon

    def _works(self, node: Node, record: _Record) -> bool:
        """Whether calls have gone well since the last look: then no check takes the node out."""
        well, failed = node.succeeded > record.seen_well, node.failed > record.seen_failed
        record.seen_well, record.seen_failed = node.succeeded, node.failed
        streams = bool(record.looked_at and node.in_flight) and node.last_byte_at > record.looked_at
        return node.breaker.state is BreakerState.CLOSED and (well or (streams and not failed))

    def _hasten(self, node: Node, record: _Record, began: float, now: float) -> None:
        """End the time out of a node that can be connected to again: its next call decides.

        Once, until a check has failed in between: if that call fails, the check has been wrong.
        """
        breaker = node.breaker
        if breaker.state is BreakerState.CLOSED:
            record.hastened = False
        elif breaker.trip in _SILENT and began >= breaker.opened_at and not record.hastened:
            record.hastened = node.hastened = True
            if breaker.state is BreakerState.OPEN:
                node.why = f"{node.why}; its health check succeeds since"
                breaker.open_until = now
                self._fleet.review(node, now)
