"""One stack of exclusive HTTP/1.1 connections per node: the last one used is used next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Any, cast

import httpcore

from ..core.attempt import Attempt
from ..core.node import Node
from ..errors import BalancerError
from ..facts import RequestFacts
from .addressing import Address, RawHeaders
from .async_connecting import (
    AsyncStream,
    is_over,
    open_stream,
    place_of_work,
    run_there,
    wind_up,
)
from .async_gate import AsyncGate
from .forking import forget_after_fork
from .options import Journey, WireOptions

__all__ = ["AsyncAnswer", "AsyncWire"]


class AsyncConnection:
    """A connection that serves one call at a time."""

    __slots__ = ("gone_stale_at", "http", "stream")

    def __init__(self, http: httpcore.AsyncHTTP11Connection, stream: AsyncStream) -> None:
        self.http = http
        self.stream = stream
        self.gone_stale_at: float | None = None

    @property
    def reusable(self) -> bool:
        """Whether its answer is over, and nothing came behind it: the next caller must not get
        what was not meant for it.
        """
        http = self.http
        # httpcore tells only whether h11 is done, not what h11 has left over.
        return http.is_idle() and not http._h11_state.trailing_data[0]

    def usable(self, now: float) -> bool:
        return (self.gone_stale_at is None or now < self.gone_stale_at) and self.stream.alive


class Stack:
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


# Dropped together with its client, a room would have its sockets finalised, with a warning, before
# the client's finaliser could close them: this keeps it until then.
_open_rooms: set[Room] = set()


class Room:
    """The connections of one event loop."""

    def __init__(self, place: object, options: WireOptions) -> None:
        self.place = place
        self.gate = AsyncGate(options.max_connections)
        self.stacks: dict[Node, Stack] = {}
        self.busy: set[AsyncConnection] = set()
        self.opening: set[Attempt] = set()
        self.reap_at = 0.0
        # No connection is kept any more; and none may be used any more.
        self.closed = self.broken_off = False

    def stack(self, node: Node) -> Stack:
        stack = self.stacks.get(node)
        if stack is None:
            # Another thread may be doing the same: all take the first one's.
            stack = self.stacks.setdefault(node, Stack(node))
        if stack.address.endpoint is not node.endpoint:
            stack.address = Address(node.endpoint)  # its headers, say; the connections stay good
        return stack

    @property
    def in_use(self) -> int:
        return len(self.busy) + len(self.opening)

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

    def take(self, stack: Stack, now: float) -> AsyncConnection | None:
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
            if node.gone:
                self.stacks.pop(node, None)

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
        _open_rooms.discard(self)
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
        _open_rooms.discard(self)
        for stack in self.stacks.values():
            for connection in stack.idle:
                connection.stream.abandon()
        for connection in self.busy:
            connection.stream.abandon()
        self.stacks.clear()
        self.busy.clear()


class AsyncAnswer:
    """A response whose body is still on the wire. Close it: that gives the connection back."""

    __slots__ = ("_connection", "_owner", "_response", "_room", "_stack", "extensions", "parts")

    def __init__(
        self,
        owner: AsyncWire,
        room: Room,
        stack: Stack,
        connection: AsyncConnection,
        response: httpcore.Response,
    ) -> None:
        self._owner = owner
        self._room = room
        self._stack = stack
        self._connection: AsyncConnection | None = connection
        self._response = response
        self.extensions: Mapping[str, Any] = response.extensions
        stream = response.stream
        assert isinstance(stream, AsyncIterable)
        self.parts: AsyncIterator[bytes] = stream.__aiter__()

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> RawHeaders:
        return self._response.headers

    async def aclose(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        try:
            await wind_up(self.parts, connection.stream)
            await self._response.aclose()
        finally:
            self._owner.give_back(self._room, self._stack, connection)

    def __del__(self) -> None:
        # A response dropped half-read.
        connection = getattr(self, "_connection", None)
        if connection is not None:
            room, stack, owner = self._room, self._stack, self._owner

            def drop() -> None:
                connection.stream.close()
                owner.give_back(room, stack, connection)

            run_there(room.place, drop, connection.stream.abandon)


class AsyncWire:
    """The connections of one client."""

    def __init__(self, options: WireOptions) -> None:
        self._options = options
        self._rooms: dict[object, Room] = {}
        self._room: Room | None = None
        forget_after_fork(self)

    def _enter(self) -> Room:
        place = place_of_work()
        room = self._room
        if room is not None and room.place is place:
            return room
        for old, its in list(self._rooms.items()):
            if is_over(old):
                its.abandon()
                del self._rooms[old]
        room = self._rooms.get(place)
        if room is None:
            # Another thread may be doing the same: all take the first one's.
            room = self._rooms.setdefault(place, Room(place, self._options))
            _open_rooms.add(room)
        self._room = room
        return room

    async def send(
        self,
        attempt: Attempt,
        journey: Journey,
        facts: RequestFacts,
        added: RawHeaders,
        body: AsyncIterable[bytes],
        extensions: dict[str, Any],
    ) -> AsyncAnswer:
        """Send a request to the attempt's node, up to the response's headers.

        Raises:
            httpcore's exceptions, and what `attempt.check` raises.
        """
        journey.known = True
        room = self._enter()
        timeouts = extensions.get("timeout") or {}
        await room.gate.enter(timeouts.get("pool"), attempt)
        try:
            stack = room.stack(attempt.node)
            connection = room.take(stack, time.monotonic())
            if connection is None:
                connection = await self._open(room, stack, attempt, timeouts.get("connect"))
            else:
                journey.reused = True
        except BaseException:
            room.gate.leave()
            raise
        room.busy.add(connection)
        parts: AsyncIterator[bytes] | None = None
        try:
            parts = aiter(body)
            connection.stream.watch = attempt
            # What is still being made goes out as it comes.
            connection.stream.corked = facts.replayable
            address = stack.address
            request = httpcore.Request(
                method=facts.method,
                url=httpcore.URL(
                    scheme=address.scheme,
                    host=stack.origin.host,
                    port=address.port,
                    target=address.target(facts.path),
                ),
                headers=address.headers(facts.headers, added),
                content=parts,
                extensions=extensions,
            )
            journey.sent_at = time.monotonic()
            response = await connection.http.handle_async_request(request)
        except BaseException:
            connection.stream.close()
            self.give_back(room, stack, connection)
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()  # half-read; on trio nobody else would
            raise
        return AsyncAnswer(self, room, stack, connection, response)

    async def _open(
        self, room: Room, stack: Stack, attempt: Attempt, timeout: float | None
    ) -> AsyncConnection:
        options = self._options
        most = options.max_connections
        address = stack.address
        room.opening.add(attempt)
        try:
            if most is not None and room.in_use + room.idle_count > most:
                room.evict()
            stream = await open_stream(
                room.place, address.endpoint, address.tls_name, options, timeout, attempt
            )
        finally:
            room.opening.discard(attempt)
        if room.broken_off:
            stream.close()
            raise BalancerError("the client is closed")
        # Ours has what httpcore's connection calls, without its base class.
        http = httpcore.AsyncHTTP11Connection(origin=stack.origin, stream=cast("Any", stream))
        return AsyncConnection(http, stream)

    def give_back(self, room: Room, stack: Stack, connection: AsyncConnection) -> None:
        """The call that held the connection is over: keep it, or close it. Only once."""
        options = self._options
        stream = connection.stream
        stream.watch = None
        now = time.monotonic()
        keep = connection.reusable and not room.closed and not stack.node.gone
        keep = keep and not room.full(options)
        # Before anybody can take it again: it would be missing from what is in use.
        room.busy.discard(connection)
        if keep:
            if options.keepalive_expiry is not None:
                connection.gone_stale_at = now + options.keepalive_expiry
            stream.idle = True
            # Not `stack`: the node may have left and come back in the meantime.
            room.stack(stack.node).idle.append(connection)
        else:
            stream.close()
        room.gate.leave()  # whoever is let in now must find it counted
        if now >= room.reap_at:
            room.reap(now, options.keepalive_expiry or 4.0)

    @property
    def busy(self) -> int:
        """Calls that hold a connection now, or are about to."""
        return sum(room.in_use for room in list(self._rooms.values()))

    async def aclose(self, *, abort: bool) -> None:
        """Close what is idle, and with `abort` break off what is busy: at once on this event
        loop, soon on the others.
        """
        here = self._enter() if self._rooms else None
        for room in list(self._rooms.values()):
            close = room.close if abort else room.close_idle
            if room is here:
                close()
            else:
                run_there(room.place, close, room.abandon)

    def forget(self) -> None:
        """In a forked child: what is open belongs to the parent."""
        for room in list(self._rooms.values()):
            room.abandon()
        self._rooms.clear()
        self._room = None

    def __del__(self) -> None:
        # A client dropped without being closed: its event loop holds the sockets, nobody else.
        for room in list(getattr(self, "_rooms", {}).values()):
            run_there(room.place, room.close, room.abandon)
