"""How many calls may hold a connection at once."""

from __future__ import annotations

import threading

from .failures import PoolTimeout

__all__ = ["SyncGate"]


class SyncGate:
    """Lets `limit` calls in; None lets everybody in."""

    def __init__(self, limit: int | None) -> None:
        self._semaphore = None if limit is None else threading.Semaphore(limit)

    def enter(self, timeout: float | None) -> None:
        """Wait for a place.

        Raises:
            PoolTimeout: there was none within `timeout` seconds.
        """
        if self._semaphore is not None and not self._semaphore.acquire(timeout=timeout):
            raise PoolTimeout(f"no free connection within {timeout:g} s")

    def leave(self) -> None:
        if self._semaphore is not None:
            self._semaphore.release()
