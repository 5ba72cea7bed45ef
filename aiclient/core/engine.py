"""Settles what came of the attempts, under the lock."""

from __future__ import annotations

from collections.abc import Callable

from .attempt import Attempt
from .picking import Picking
from .verdict import Failure, Health

__all__ = ["Engine"]


class Engine(Picking):
    """Picks and settles, under the lock."""

    # What came of an attempt

    def first_byte(self, attempt: Attempt) -> None:
        """The first content of a good answer: the latency sample, and the verdict on the node."""
        now = self.clock()
        with self._lock:
            if attempt.epoch == self.epoch and not attempt.done and not attempt.answered:
                self._settlement.good_first_byte(attempt, now)
        if self._fleet.events or self._served:
            self._deliver()

    def complete(self, attempt: Attempt) -> None:
        """A good answer is whole; what its first content says is said with it, if it was not."""
        now = self.clock()
        with self._lock:
            if attempt.done:
                return
            if attempt.epoch == self.epoch and not attempt.answered:
                self._settlement.good_first_byte(attempt, now)
            self._end(attempt, now)
        if self._fleet.events or self._served:
            self._deliver()

    def settle(
        self,
        attempt: Attempt,
        health: Health,
        what: str = "",
        *,
        failure: Failure | None = None,
        retry_after: float | None = None,
    ) -> None:
        """The attempt is over, and this is what it says about its node. Only once."""
        now = self.clock()
        with self._lock:
            if attempt.done:
                return
            attempt.error = what
            if attempt.epoch == self.epoch:
                self._judge(attempt, health, what, failure, retry_after, now)
            self._end(attempt, now)
        if failure is Failure.CONNECT and self.source is not None:
            self.source.hurry()
        if self._fleet.events or self._served:
            self._deliver()

    def _judge(
        self,
        attempt: Attempt,
        health: Health,
        what: str,
        failure: Failure | None,
        retry_after: float | None,
        now: float,
    ) -> None:
        if health is Health.FAULT:
            self._settlement.fault(attempt, failure, what, now)
        elif health is Health.BACK_PRESSURE:
            self._settlement.cool(attempt, retry_after, what, now)
        elif health is Health.SUCCESS and not attempt.answered:
            if attempt.status is None or attempt.status < 300:
                self._settlement.did_well(attempt, now)
            else:
                self._settlement.works(attempt, now)
                self._settlement.occupy(attempt, now)
        elif attempt.status is not None and not attempt.answered:
            self._settlement.occupy(attempt, now)

    # Second thoughts about an attempt that is over

    def charge(self, earlier: Attempt, what: str) -> None:
        """Another node could do what this one could not: it was at fault after all."""
        self._reconsider(earlier, lambda now: self._settlement.fault(earlier, None, what, now))

    def is_blameless(self, attempt: Attempt) -> bool:
        """Whether its node failed no call lately; this attempt is not settled yet."""
        with self._lock:
            return not attempt.node.breaker.faults(self.clock())

    def poison(self, earlier: Attempt) -> None:
        """Another node gave the same 5xx: take the charge back."""
        self._reconsider(earlier, lambda now: self._settlement.poison(earlier, now))

    def acquit(self, earlier: Attempt) -> None:
        """Another node could not do it either."""
        self._reconsider(earlier, lambda now: self._settlement.acquit(earlier, now))

    def confirm_stall(self, moved: Attempt, took: float) -> None:
        """A call moved away from a suspect was answered elsewhere within `took` seconds."""
        self._reconsider(moved, lambda now: self._settlement.confirm_stall(moved, took, now))

    def _reconsider(self, earlier: Attempt, judge: Callable[[float], None]) -> None:
        now = self.clock()
        with self._lock:
            if earlier.epoch == self.epoch:
                judge(now)
        self._deliver()

    def stalled(self, attempt: Attempt, now: float) -> bool:
        """Whether the node has stalled and the call can and should move to another one."""
        if not attempt.answered and not self._settlement.silent(attempt, now):
            return False  # by far the most frequent case
        with self._lock:
            verdict = attempt.epoch == self.epoch and (
                self._settlement.lost(attempt, now)
                if attempt.answered
                else self._settlement.stalled(attempt, now) and self._can_move(attempt, now)
            )
        self._deliver()
        return verdict

    def _can_move(self, attempt: Attempt, now: float) -> bool:
        elsewhere = any(node is not attempt.node for node in self._fleet.ready.nodes[:2])
        return attempt.movable and elsewhere and self._budget.left(now) >= 1

    def withdraw(self) -> bool:
        """Take a permit to retry from the budget."""
        now = self.clock()
        with self._lock:
            granted = self._budget.withdraw(now)
            if not granted:
                self.refused_retries += 1
        return granted

    def give_back(self) -> None:
        """Return a permit that was not used."""
        with self._lock:
            self._budget.give_back()
