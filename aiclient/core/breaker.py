"""The circuit breaker of one node: closed, open, half-open.

It moves only when asked, `now` is a parameter, and every opening and closing starts a new
generation: an outcome of an earlier generation says nothing about this one and is discarded
(as in gobreaker). It does not know who else is out; whether an opening is *enforced* is the
fleet's decision.
"""

from __future__ import annotations

import enum
from collections import deque
from random import Random

from ..settings import BreakerPolicy

__all__ = ["Breaker", "BreakerState", "Trip"]

_BUCKETS = 12
# A node that stayed closed this long starts again with the shortest opening.
_FORGIVEN_AFTER = 60.0
# Of the time that a node has been out: so much later it is asked again where that is cheap.
_ASK_AGAIN = 0.2


class BreakerState(enum.StrEnum):
    """Whether a node's breaker lets calls through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Trip(enum.StrEnum):
    """Why a breaker opened."""

    CONNECT = "cannot connect"
    CONSECUTIVE = "consecutive faults"
    SUCCESS_RATE = "success rate"
    STALLED = "stalled"


class Breaker:
    """Guarded by the balancer's lock."""

    __slots__ = (
        "_bad",
        "_buckets",
        "_closed_at",
        "_connect_row",
        "_good",
        "_openings",
        "_out_since",
        "_policy",
        "_row",
        "_width",
        "generation",
        "open_until",
        "opened_at",
        "state",
        "trip",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._width = policy.window / _BUCKETS
        self._buckets: deque[list[int]] = deque()  # [index, good, bad], oldest first
        self._good = 0
        self._bad = 0
        self._row = 0
        self._connect_row = 0
        self._openings = 0
        self._closed_at = 0.0
        self._out_since = 0.0
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.opened_at = 0.0
        self.open_until = 0.0
        self.trip: Trip | None = None

    def _bucket(self, now: float) -> list[int]:
        index = int(now / self._width)
        buckets = self._buckets
        while buckets and buckets[0][0] <= index - _BUCKETS:
            _, good, bad = buckets.popleft()
            self._good -= good
            self._bad -= bad
        if not buckets or buckets[-1][0] != index:
            buckets.append([index, 0, 0])
        return buckets[-1]

    def success_rate(self, now: float) -> float | None:
        """Share of good outcomes within the window; None with too few of them to tell."""
        self._bucket(now)
        total = self._good + self._bad
        return self._good / total if total >= self._policy.min_samples else None

    def faults(self, now: float) -> int:
        """How many there were within the window."""
        self._bucket(now)
        return self._bad

    def success(self, now: float) -> None:
        self._row = 0
        self._connect_row = 0
        self._bucket(now)[1] += 1
        self._good += 1

    def fault(self, now: float, *, connect: bool, taken_back: bool = False) -> Trip | None:
        """Count a fault; returns the rule that now says open, if one does.

        `taken_back`: the same call had been counted as a success at its first byte.
        """
        bucket = self._bucket(now)
        if taken_back and self._good:
            # In whichever bucket that success was: the sums are what decides.
            holder = next((b for b in reversed(self._buckets) if b[1]), bucket)
            holder[1] -= 1
            self._good -= 1
        bucket[2] += 1
        self._bad += 1
        self._row += 1
        self._connect_row = self._connect_row + 1 if connect else 0
        return self.verdict(now)

    def verdict(self, now: float) -> Trip | None:
        """The rule that says open, if one does."""
        policy = self._policy
        if self._connect_row >= policy.consecutive_connect:
            return Trip.CONNECT
        if self._row >= policy.consecutive:
            return Trip.CONSECUTIVE
        rate = self.success_rate(now)
        if rate is not None and rate < policy.success_rate:
            return Trip.SUCCESS_RATE
        return None

    def forgive(self, now: float) -> None:
        """Take one fault back: the request was poison, the node was not to blame."""
        self._bucket(now)
        holder = next((b for b in reversed(self._buckets) if b[2]), None)
        if holder is not None:
            holder[2] -= 1
            self._bad -= 1
        self._row = max(0, self._row - 1)

    def open(self, trip: Trip, now: float, rng: Random, *, cheap: bool = False) -> float:
        """Open; returns until when. Doubles with each opening, jittered by 10%.

        `cheap`: to ask it costs next to nothing. Then it does not double: an opening lasts a fifth
        of the time that the node has been out, so that one that was away for long is not left out
        for as long again.
        """
        policy = self._policy
        if self.state is BreakerState.CLOSED and now - self._closed_at > _FORGIVEN_AFTER:
            self._openings = 0
        if not self._openings:
            self._out_since = now
        longest = policy.max_open_connect if trip is Trip.CONNECT else policy.max_open
        seconds = policy.open_for * 2.0 ** min(self._openings, 30)
        if cheap and self._openings:
            seconds = max(policy.open_for, _ASK_AGAIN * (now - self._out_since))
        seconds = min(seconds, longest)
        self._openings += 1
        self._enter(BreakerState.OPEN)
        self.trip = trip
        self.opened_at = now
        self.open_until = now + seconds * (1 + 0.1 * rng.random())
        return self.open_until

    def half_open(self) -> None:
        self._enter(BreakerState.HALF_OPEN)

    def close(self, now: float) -> None:
        """Close with a clean record."""
        self._enter(BreakerState.CLOSED)
        self._buckets.clear()
        self._good = self._bad = self._row = self._connect_row = 0
        self._closed_at = now
        self.trip = None

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1
