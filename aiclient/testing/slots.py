"""How many requests a node serves at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """`limit` requests at once, the others wait first come, first served. For one event loop.

    `async with slots:` takes one and gives it back however the block ends.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether a newcomer would have to wait."""
        return self._used >= self._limit or bool(self._queue)

    @property
    def waiting(self) -> int:
        """How many are waiting."""
        return len(self._queue)

    def resize(self, limit: int) -> None:
        """Change the limit; requests being served are not disturbed."""
        self._limit = limit
        self._admit()

    async def __aenter__(self) -> None:
        if not self.is_full:
            self._used += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                if turn in self._queue:
                    self._queue.remove(turn)
            else:  # the slot came at the same moment as the cancellation
                self._release()
            raise

    async def __aexit__(self, *_exc: object) -> None:
        self._release()

    def _release(self) -> None:
        self._used -= 1
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._used < self._limit:
            turn = self._queue.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)
