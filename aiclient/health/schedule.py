"""Which node is to be checked when. No threads, no clock."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable
from random import Random

from ..endpoint import Endpoint
from ..health_check import HealthCheck

__all__ = ["Schedule"]

# The first checks of so many nodes take half an interval: of a few they come at once, of thousands
# they are spread over a whole one.
_HALF = 200
# What would change something is confirmed after this share of the interval.
_SOON = 0.25


class Schedule:
    """One check of each node per interval, apart from one another; never two of one at a time."""

    def __init__(self, policy: HealthCheck, rng: Random) -> None:
        self._policy = policy
        self._rng = rng
        self._nodes: dict[tuple[object, ...], Endpoint] = {}
        # When each is due; inf: it is being checked.
        self._due: dict[tuple[object, ...], float] = {}
        # Entries that `_due` does not confirm are outdated.
        self._heap: list[tuple[float, int, tuple[object, ...]]] = []
        self._sequence = itertools.count()

    def follow(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """These are the nodes: new ones are due soon, those that are gone never again."""
        self._nodes = {endpoint.identity: endpoint for endpoint in endpoints}
        for identity in [known for known in self._due if known not in self._nodes]:
            del self._due[identity]
        fresh = [identity for identity in self._nodes if identity not in self._due]
        spread = self._policy.interval * len(fresh) / (len(fresh) + _HALF)
        for number, identity in enumerate(fresh):
            self._set(identity, now + spread * number / len(fresh))

    def take(self, now: float) -> Endpoint | None:
        """A node that is due, from now on being checked; None: there is none."""
        if self.next_due > now:
            return None
        _, _, identity = heapq.heappop(self._heap)
        self._due[identity] = math.inf
        return self._nodes[identity]

    def done(self, endpoint: Endpoint, began: float, now: float, *, soon: bool) -> None:
        """Its check, begun at `began`, is over; `soon`: look again to confirm it."""
        identity = endpoint.identity
        if self._due.get(identity) != math.inf:
            return  # it has left, or left and returned
        policy = self._policy
        pause = policy.interval * (_SOON if soon else 1.0)
        varied = pause * (1 + policy.jitter * (2 * self._rng.random() - 1))
        self._set(identity, max(now, began + varied))

    @property
    def next_due(self) -> float:
        """When the next node is due; inf: none is."""
        heap = self._heap
        while heap and self._due.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def _set(self, identity: tuple[object, ...], when: float) -> None:
        self._due[identity] = when
        heapq.heappush(self._heap, (when, next(self._sequence), identity))
