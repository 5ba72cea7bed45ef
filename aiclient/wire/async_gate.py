"""How many calls may hold a connection at once, on one event loop."""

from __future__ import annotations

import anyio

from .failures import PoolTimeout
from .watch import Watch, shortened

__all__ = ["AsyncGate"]


class AsyncGate:
    """Lets `limit` calls in; None lets everybody in."""

    def __init__(self, limit: int | None) -> None:
        self._semaphore = None if limit is None else anyio.Semaphore(limit)

    async def enter(self, timeout: float | None, watch: Watch) -> None:
        """Wait for a place.

        Raises:
            PoolTimeout: there was none within `timeout` seconds, or before a deadline.
        """
        if self._semaphore is None:
            return
        timeout = shortened(timeout, watch)
        try:
            with anyio.fail_after(timeout):
                await self._semaphore.acquire()
        except TimeoutError:
            raise PoolTimeout(f"no free connection within {timeout:g} s") from None

    def leave(self) -> None:
        if self._semaphore is not None:
            self._semaphore.release()
