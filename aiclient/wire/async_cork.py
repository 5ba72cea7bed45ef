"""What all streams share: a request's head and body leave together.

One system call, one packet and one wake-up of the node less for each call. Only while a request is
being written; after the first read everything leaves at once, as an upgraded protocol needs it.
"""

from __future__ import annotations

from .failures import WriteError
from .watch import Watch

__all__ = ["AsyncCork"]

_MOST_UNSENT = 64 * 1024


class AsyncCork:
    """A stream to write to; subclasses send.

    Attributes:
        watch: asked while the node keeps us waiting.
        idle: nobody uses it now, so that anything that arrives makes it useless.
        corked: a request is being written.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.idle = False
        self.corked = False
        self._unsent = b""
        self._refused = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not self.corked:
            await self._send(buffer, timeout)
        elif len(self._unsent) + len(buffer) <= _MOST_UNSENT:
            self._unsent += buffer
        else:
            buffer, self._unsent = self._unsent + buffer, b""
            await self._push(buffer, timeout)

    async def _uncork(self, timeout: float | None) -> None:
        self.corked = False
        buffer, self._unsent = self._unsent, b""
        await self._push(buffer, timeout)

    async def _push(self, buffer: bytes, timeout: float | None) -> None:
        if self._refused:
            return
        try:
            await self._send(buffer, timeout)
        except WriteError:
            # The node may have answered before it closed: reading tells.
            self._refused = True

    async def _send(self, buffer: bytes, timeout: float | None) -> None:
        raise NotImplementedError
