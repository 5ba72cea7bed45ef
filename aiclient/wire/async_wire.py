"""Sends a request over a connection of its node, and gives the connection back."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Any, cast

import h11
import httpcore

from ..core.attempt import Attempt
from ..errors import BalancerError
from ..facts import RequestFacts
from .addressing import Outgoing, RawHeaders
from .async_connecting import (
    is_over,
    open_stream,
    place_of_work,
    run_there,
    wind_up,
)
from .async_http11 import AsyncIncoming, is_watched
from .async_plain import AsyncPlainIncoming
from .async_room import AsyncConnection, AsyncRoom, AsyncStack, open_rooms
from .forking import forget_after_fork
from .head import Heads
from .options import Journey, WireOptions

__all__ = ["AsyncAnswer", "AsyncWire"]


class AsyncAnswer:
    """A response whose body is still on the wire. Close it: that gives the connection back."""

    __slots__ = ("_connection", "_owner", "_response", "_room", "_stack", "extensions", "parts")

    def __init__(
        self,
        owner: AsyncWire,
        room: AsyncRoom,
        stack: AsyncStack,
        connection: AsyncConnection,
        response: httpcore.Response | AsyncIncoming | AsyncPlainIncoming,
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
        if connection is not None and run_there is not None:  # see AsyncWire
            room, stack, owner = self._room, self._stack, self._owner

            def drop() -> None:
                connection.stream.close()
                owner.give_back(room, stack, connection)

            run_there(room.place, drop, connection.stream.abandon)


async def _exchange(
    connection: AsyncConnection,
    request: Outgoing,
    body: bytes | None,
    timeouts: dict[str, float | None],
    heads: Heads,
) -> httpcore.Response | AsyncIncoming | AsyncPlainIncoming:
    """Send a request, whose `body` may be there already, up to the response's headers."""
    if not is_watched(request.extensions):
        try:
            composed = heads.compose(request.method, request.target, request.headers, body)
        except h11.LocalProtocolError as exc:
            raise httpcore.LocalProtocolError(exc) from exc
        if composed is not None:
            parts = request.stream if body is None else None
            return await connection.ours().send(*composed, parts, timeouts)
    theirs = connection.theirs(request.origin)
    return await theirs.handle_async_request(cast("Any", request))


class AsyncWire:
    """The connections of one client."""

    def __init__(self, options: WireOptions) -> None:
        self._options = options
        self._rooms: dict[object, AsyncRoom] = {}
        self._room: AsyncRoom | None = None
        self._heads = Heads()
        forget_after_fork(self)

    def _enter(self) -> AsyncRoom:
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
            room = self._rooms.setdefault(place, AsyncRoom(place, self._options))
            open_rooms.add(room)
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
        stack, connection = await self._connect(room, attempt, journey, timeouts.get("connect"))
        journey.peer = connection.peer
        parts: AsyncIterator[bytes] | None = None
        try:
            parts = aiter(body)
            connection.stream.watch = attempt
            # What is still being made goes out as it comes.
            connection.stream.corked = facts.replayable
            address = stack.address
            request = Outgoing(
                facts.method,
                stack.origin,
                address.target(facts.path),
                address.headers(facts.headers, added),
                parts,
                extensions,
            )
            journey.sent_at = time.monotonic()
            response = await _exchange(connection, request, facts.body, timeouts, self._heads)
        except BaseException:
            connection.stream.close()
            self.give_back(room, stack, connection)
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()  # half-read; on trio nobody else would
            raise
        return AsyncAnswer(self, room, stack, connection, response)

    async def _connect(
        self, room: AsyncRoom, attempt: Attempt, journey: Journey, timeout: float | None
    ) -> tuple[AsyncStack, AsyncConnection]:
        """An idle connection to the node, or a new one; without one the gate is left again."""
        # Counted without a gap, rather twice than not at all: threads open others meanwhile.
        room.opening.add(attempt)
        try:
            stack = room.stack(attempt.node)
            connection = room.take(stack, time.monotonic())
            journey.reused = connection is not None
            if connection is None:
                connection = await self._open(room, stack, attempt, timeout)
            room.busy.add(connection)
        except BaseException:
            room.gate.leave()
            raise
        finally:
            room.opening.discard(attempt)
        return stack, connection

    async def _open(
        self, room: AsyncRoom, stack: AsyncStack, attempt: Attempt, timeout: float | None
    ) -> AsyncConnection:
        options = self._options
        most = options.max_connections
        address = stack.address
        if most is not None and room.in_use + room.idle_count > most:
            room.evict()
        stream = await open_stream(
            room.place, address.endpoint, address.tls_name, options, timeout, attempt
        )
        if room.broken_off:
            stream.close()
            raise BalancerError("the client is closed")
        return AsyncConnection(stream)

    def give_back(self, room: AsyncRoom, stack: AsyncStack, connection: AsyncConnection) -> None:
        """The call that held the connection is over: keep it, or close it. Only once."""
        options = self._options
        stream = connection.stream
        stream.watch = None
        now = time.monotonic()
        keep = connection.reusable and not room.closed and not stack.node.gone
        keep = keep and not room.full(options)
        room.returning.add(connection)
        # Before anybody can take it again: it would be missing from what is in use.
        room.busy.discard(connection)
        if keep:
            if options.keepalive_expiry is not None:
                connection.gone_stale_at = now + options.keepalive_expiry
            stream.idle = True
            # Not `stack`: the node may have left and come back in the meantime.
            kept = room.stack(stack.node)
            kept.idle.append(connection)
            if room.closed or room.stacks.get(stack.node) is not kept:
                kept.clear()  # another thread was through here already
        else:
            stream.close()
        room.returning.discard(connection)
        room.gate.leave()  # whoever is let in now must find it counted
        if now >= room.reap_at:
            room.reap(now, options.keepalive_expiry or 4.0)

    @property
    def busy(self) -> int:
        """Calls that hold a connection now, or are about to."""
        return sum(room.in_use for room in list(self._rooms.values()))

    @property
    def idle(self) -> int:
        """Connections kept for the next call."""
        return sum(room.idle_count for room in list(self._rooms.values()))

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
        if run_there is None:
            return  # the interpreter ends: modules are emptied before the last objects go
        for room in list(getattr(self, "_rooms", {}).values()):
            run_there(room.place, room.close, room.abandon)
