"""How many calls may hold a connection at once."""

from __future__ import annotations

import queue

from .failures import PoolTimeout
from .watch import Watch, shortened

__all__ = ["SyncGate"]


class SyncGate:
    """Lets `limit` calls in; None lets everybody in."""

    def __init__(self, limit: int | None) -> None:
        # Not a semaphore: a finaliser, too, gives a place back, whatever lock its thread holds.
        self._places: queue.SimpleQueue[None] | None = None
        if limit is not None:
            self._places = queue.SimpleQueue()
            for _ in range(limit):
                self._places.put(None)

    def enter(self, timeout: float | None, watch: Watch) -> None:
        """Wait for a place.

        Raises:
            PoolTimeout: there was none within `timeout` seconds, or before a deadline.
        """
        if self._places is None:
            return
        timeout = shortened(timeout, watch)
        try:
            self._places.get(timeout=timeout)
        except queue.Empty:
            raise PoolTimeout(f"no free connection within {timeout:g} s") from None

    def leave(self) -> None:
        if self._places is not None:
            self._places.put(None)
