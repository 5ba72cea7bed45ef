"""What a connection asks while it waits for a node."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Wait", "Watch", "shortened"]


class Watch(Protocol):
    """Says how long a wait may go on, and when it has been long enough."""

    def patience(self, waited: float) -> float | None:
        """Seconds a wait that has lasted `waited` may go on before `check`; None: for ever."""

    def remaining(self) -> float | None:
        """Seconds until a deadline passes; None: there is none."""

    def check(self, waited: float) -> None:
        """Raise if the wait has been long enough."""


def shortened(timeout: float | None, watch: Watch) -> float | None:
    """A timeout, cut down to what the watch's deadlines leave of it."""
    left = watch.remaining()
    if left is None:
        return timeout
    left = max(left, 0.001)
    return left if timeout is None else min(timeout, left)


class Wait:
    """One wait for a node, cut into slices at whose ends the watch is asked.

    Makes deadlines and stall detection work in the same way in a blocking read, on asyncio and on
    trio, without anything in the background.
    """

    __slots__ = ("_since", "_timeout", "_watch")

    def __init__(self, timeout: float | None, watch: Watch) -> None:
        self._since = time.monotonic()
        self._timeout = timeout
        self._watch = watch

    def slice(self) -> float | None:
        """Seconds to wait now."""
        waited = time.monotonic() - self._since
        patience = self._watch.patience(waited)
        if patience == 0.0:
            # A node that never stops sending would win every race against a timer.
            self._watch.check(waited)
            patience = self._watch.patience(waited)
        if self._timeout is None:
            return patience
        left = max(0.0, self._timeout - waited)
        return left if patience is None else min(left, patience)

    def over(self) -> bool:
        """A slice has passed: whether the timeout has, too. Raises what the watch does."""
        waited = time.monotonic() - self._since
        self._watch.check(waited)
        return self._timeout is not None and waited >= self._timeout
