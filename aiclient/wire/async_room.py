"""One stack of exclusive HTTP/1.1 connections per node: the last one used is used next."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import httpcore

from ..core.attempt import Attempt
from ..core.node import Node
from .addressing import Address
from .async_connecting import AsyncStream
from .async_gate import AsyncGate
from .async_http11 import AsyncHTTP11
from .options import WireOptions, peer_of

__all__ = ["AsyncConnection", "AsyncRoom", "AsyncStack", "open_rooms"]


class AsyncConnection:
    """A connection that serves one call at a time."""

    __slots__ = ("_http", "_theirs", "gone_stale_at", "peer", "stream")

    def __init__(self, stream: AsyncStream) -> None:
        self._http = AsyncHTTP11(stream)
        # Whoever has sent the last request: ours, or httpcore's where this is one.
        self._theirs: httpcore.AsyncHTTP11Connection | None = None
        self.stream = stream
        self.peer = peer_of(stream)
        self.gone_stale_at: float | None = None

    def ours(self) -> AsyncHTTP11:
        """What sends an ordinary request."""
        self._theirs = None
        return self._http

    def theirs(self, origin: httpcore.Origin) -> httpcore.AsyncHTTP11Connection:
        """What sends any other; between two requests a connection remembers nothing."""
        # Our stream has what httpcore's connection calls, without its base class.
        http = httpcore.AsyncHTTP11Connection(origin=origin, stream=cast("Any", self.stream))
        self._theirs = http
        return http

    @property
    def reusable(self) -> bool:
        """Whether its answer is over, and nothing came behind it: the next caller must not get
        what was not meant for it.
        """
        http = self._theirs
        if http is None:
            return self._http.reusable
        # httpcore tells only whether h11 is done, not what h11 has left over.
        return http.is_idle() and not http._h11_state.trailing_data[0]

    def usable(self, now: float) -> bool:
        return (self.gone_stale_at is None or now < self.gone_stale_at) and self.stream.alive


class AsyncStack:
    """The idle connections to one node, the latest on top."""

    __slots__ = ("address", "idle", "node", "origin")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.address = Address(node.endpoint)
        self.idle: deque[AsyncConnection] = deque()
        endpoint = node.endpoint
        self.origin = httpcore.Origin(
            endpoint.scheme.encode("ascii"), endpoint.host.encode("ascii"), endpoint.port
        )

    def clear(self) -> None:
        """Close all that is idle."""
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                return
            connection.stream.close()


# Dropped together with its client, a room would have its sockets finalised, with a warning, before
# the client's finaliser could close them: this keeps it until then.
open_rooms: set[AsyncRoom] = set()


class AsyncRoom:
    """The connections of one event loop."""

    def __init__(self, place: object, options: WireOptions) -> None:
        self.place = place
        self.gate = AsyncGate(options.max_connections)
        self.stacks: dict[Node, AsyncStack] = {}
        self.busy: set[AsyncConnection] = set()
        self.opening: set[Attempt] = set()
        self.returning: set[AsyncConnection] = set()
        self.reap_at = 0.0
        # No connection is kept any more; and none may be used any more.
        self.closed = self.broken_off = False

    def stack(self, node: Node) -> AsyncStack:
        stack = self.stacks.get(node)
        if stack is None:
            # Another thread may be doing the same: all take the first one's.
            stack = self.stacks.setdefault(node, AsyncStack(node))
        if stack.address.endpoint is not node.endpoint:
            stack.address = Address(node.endpoint)  # its headers, say; the connections stay good
        return stack

    @property
    def in_use(self) -> int:
        return len(self.busy) + len(self.opening) + len(self.returning)

    @property
    def idle_count(self) -> int:
        # Counted when a limit asks: threads would lose steps of a running count.
        return sum(len(stack.idle) for stack in list(self.stacks.values()))

    def full(self, options: WireOptions) -> bool:
        """Whether one more idle connection, now busy, would be too many."""
        keep, most = options.max_keepalive, options.max_connections
        if keep is not None and self.idle_count >= keep:
            return True
        return most is not None and self.in_use + self.idle_count > most

    def take(self, stack: AsyncStack, now: float) -> AsyncConnection | None:
        idle = stack.idle
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return None
            if connection.usable(now):
                connection.stream.idle = False
                return connection
            connection.stream.close()

    def reap(self, now: float, every: float) -> None:
        """Close what has expired and what leads to nodes that have left."""
        self.reap_at = now + every
        for node, stack in list(self.stacks.items()):
            if node.gone:
                # First, so that who gives a connection back meanwhile finds it gone.
                self.stacks.pop(node, None)
            while True:
                # Taken out before it is looked at: another thread may be taking it, too.
                try:
                    oldest = stack.idle.popleft()
                except IndexError:
                    break
                if not node.gone and oldest.usable(now):
                    stack.idle.appendleft(oldest)
                    break
                oldest.stream.close()

    def evict(self) -> None:
        """Close one idle connection, whichever node's."""
        for stack in list(self.stacks.values()):
            try:
                connection = stack.idle.popleft()
            except IndexError:
                continue
            connection.stream.close()
            return

    def close_idle(self) -> None:
        """Close what is idle, and what is busy after use; on the room's own event loop."""
        self.closed = True
        open_rooms.discard(self)
        while any(stack.idle for stack in list(self.stacks.values())):
            self.evict()

    def close(self) -> None:
        """Close what is idle and break off what is busy; on the room's own event loop."""
        self.broken_off = True
        self.close_idle()
        for connection in list(self.busy):
            connection.stream.abort()

    def abandon(self) -> None:
        """Close the sockets without touching the event loop: it has gone."""
        open_rooms.discard(self)
        for stack in self.stacks.values():
            for connection in stack.idle:
                connection.stream.abandon()
        for connection in self.busy:
            connection.stream.abandon()
        self.stacks.clear()
        self.busy.clear()
