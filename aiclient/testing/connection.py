"""One connection of a client to a fake node."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from .http1 import CONTINUE, MAX_BODY, MAX_HEAD, Request, RequestParser

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Reads requests, writes bytes, closes in the ways a node may.

    `keepalive` is the number of seconds of silence between requests after which it is closed,
    `on_lost` is told when the connection is gone. `task`, when set, is cancelled at that moment.
    `pending` is the number of bytes sent and not yet flushed.
    """

    def __init__(
        self, sock: socket.socket, keepalive: float, on_lost: Callable[[Connection], None]
    ) -> None:
        self.sock = sock
        self.task: asyncio.Task[None] | None = None
        self.was_greeted = False
        self.is_control = False
        self.is_idle = False
        self.pending = 0
        self._keepalive = keepalive
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = RequestParser()
        self._arrival: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_since = 0.0
        self._pending: list[bytes] = []

    @property
    def is_closing(self) -> bool:
        """Whether nothing more will be read or written."""
        return self._transport is None or self._transport.is_closing()

    async def read(self) -> Request:
        """The next request. Raises BadRequest; is cancelled when the client goes away."""
        while (request := self._parser.next_request()) is None:
            if self._parser.expects_continue and self._transport is not None:
                self._parser.expects_continue = False
                self._transport.write(CONTINUE)
            self._quiet_since = self._loop.time()
            self._arrival = self._loop.create_future()
            self.is_idle = True
            await self._arrival
            self.is_idle = False
        return request

    def send(self, data: bytes) -> None:
        """Send `data`, together with what follows until the next `flush` or `close`."""
        self._pending.append(data)
        self.pending += len(data)

    async def flush(self) -> None:
        """Hand what was sent so far to the network; waits while the client does not read."""
        self._write()
        if self._writable is not None:
            await self._writable

    def _write(self) -> None:
        if self._pending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._pending))
        self._pending.clear()
        self.pending = 0

    def close(self) -> None:
        """Close, after all that was sent has been delivered."""
        self._write()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not delivered is lost."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close at once with an RST."""
        if self.sock.fileno() != -1:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is there (after the handshake, with TLS)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = self._loop.call_later(self._keepalive, self._close_if_quiet)
        self._quiet_since = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        if self._parser.buffered > MAX_BODY + MAX_HEAD:
            self.abort()
            return
        self._parser.feed(data)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone, whoever closed it."""
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()
        # Not at once: asyncio closes the socket after this.
        self._loop.call_soon(self._on_lost, self)

    def pause_writing(self) -> None:
        """asyncio: the client does not read fast enough."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """asyncio: the client has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _close_if_quiet(self) -> None:
        # One timer that moves itself on costs less than one for each request.
        left = self._keepalive
        if self.is_idle and not self.is_control:
            left = self._quiet_since + self._keepalive - self._loop.time()
        if left <= 0:
            self.close()
        else:
            self._timer = self._loop.call_later(left, self._close_if_quiet)
