"""The retry budget: how many retries the whole client may still make.

Two verbs, deposit and withdraw, as in tower's `retry/budget`. What is counted is the debt, not the
balance: when more calls are in flight the capacity grows and so does what may be borrowed at once,
which is what the sudden death of one node of two takes.
"""

from __future__ import annotations

__all__ = ["RetryBudget"]

_HALF_WINDOW = 30.0
_REFILL_SECONDS = 10.0


class RetryBudget:
    """Guarded by the balancer's lock.

    Capacity is max(reserve, peak of calls in flight within the last 30 to 60 s). A retry borrows
    1, a success pays back `ratio`, and `reserve` is paid back over 10 s whatever happens.
    """

    __slots__ = ("_debt", "_peak", "_peak_before", "_ratio", "_refilled_at", "_reserve", "_turn_at")

    def __init__(self, ratio: float, reserve: int, now: float) -> None:
        self._ratio = ratio
        self._reserve = reserve
        self._debt = 0.0
        self._peak = 0
        self._peak_before = 0
        self._turn_at = now + _HALF_WINDOW
        self._refilled_at = now

    @property
    def capacity(self) -> int:
        return max(self._reserve, self._peak, self._peak_before)

    def left(self, now: float) -> float:
        self._refill(now)
        return max(0.0, self.capacity - self._debt)

    def observe(self, in_flight: int, now: float) -> None:
        """Tell the budget how many calls are in flight; called at each pick."""
        if now >= self._turn_at:
            idle = now >= self._turn_at + _HALF_WINDOW
            self._peak_before = 0 if idle else self._peak
            self._peak = in_flight
            self._turn_at = now + _HALF_WINDOW
        elif in_flight > self._peak:
            self._peak = in_flight

    def deposit(self) -> None:
        """A call succeeded."""
        if self._debt:
            self._debt = max(0.0, self._debt - self._ratio)

    def withdraw(self, now: float) -> bool:
        """Take one permit to retry, if there is one."""
        self._refill(now)
        if self._debt + 1 > self.capacity:
            return False
        self._debt += 1
        return True

    def _refill(self, now: float) -> None:
        if self._debt:
            elapsed = max(0.0, now - self._refilled_at)
            self._debt = max(0.0, self._debt - elapsed * self._reserve / _REFILL_SECONDS)
        self._refilled_at = now

    def give_back(self) -> None:
        """A retry was answered: its permit serves another one."""
        self._debt = max(0.0, self._debt - 1)
