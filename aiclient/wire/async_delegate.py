"""A transport of the user's, or one that multiplexes, under each node instead of our own wire."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

import httpx

from ..core.attempt import Attempt
from ..core.node import Node
from ..endpoint import Endpoint
from ..errors import ConfigurationError
from ..facts import RequestFacts
from ..telemetry.suppression import traced_already
from .addressing import Address, RawHeaders
from .async_connecting import is_over, place_of_work
from .forking import forget_after_fork
from .options import Journey, peer_of

__all__ = ["AsyncDelegate", "AsyncDelegateAnswer"]

Transports: TypeAlias = dict[Node, tuple[Address, httpx.AsyncBaseTransport]]


class AsyncDelegateAnswer:
    """A response whose body is still on the wire."""

    __slots__ = ("_response", "extensions", "headers", "parts", "status")

    def __init__(self, response: httpx.Response) -> None:
        stream = response.stream
        assert isinstance(stream, AsyncIterable)
        self._response = response
        self.status = response.status_code
        self.headers: RawHeaders = response.headers.raw
        self.extensions: Mapping[str, Any] = response.extensions
        self.parts: AsyncIterator[bytes] = stream.__aiter__()

    async def aclose(self) -> None:
        await self._response.aclose()


class AsyncDelegate:
    """One transport per node and event loop, made by `factory` when first needed."""

    def __init__(self, factory: Callable[[Endpoint], httpx.AsyncBaseTransport]) -> None:
        self._factory = factory
        self._rooms: dict[object, Transports] = {}
        forget_after_fork(self)

    async def send(
        self,
        attempt: Attempt,
        journey: Journey,
        facts: RequestFacts,
        added: RawHeaders,
        body: httpx.AsyncByteStream,
        extensions: dict[str, Any],
    ) -> AsyncDelegateAnswer:
        """Send a request to the attempt's node, up to the response's headers."""
        address, transport = await self._transport(attempt.node)
        endpoint = address.endpoint
        extensions = dict(extensions)
        extensions["timeout"] = attempt.timeouts(extensions.get("timeout") or {})
        if endpoint.tls_name is not None:
            extensions["sni_hostname"] = endpoint.tls_name
        request = httpx.Request(
            facts.method,
            httpx.URL(f"{endpoint.scheme}://{endpoint.netloc}").copy_with(
                raw_path=address.target(facts.path)
            ),
            headers=address.headers(facts.headers, added),
            stream=body,
            extensions=extensions,
        )
        # The attempt has its span: whatever instruments that transport must not add another.
        with traced_already():
            response = await transport.handle_async_request(request)
        journey.peer = peer_of(response.extensions.get("network_stream"))
        return AsyncDelegateAnswer(response)

    async def _transport(self, node: Node) -> tuple[Address, httpx.AsyncBaseTransport]:
        place = place_of_work()
        room = self._rooms.get(place)
        if room is None:
            for old in [old for old in list(self._rooms) if is_over(old)]:
                self._rooms.pop(old, None)
            room = self._rooms.setdefault(place, {})
        known = room.get(node)
        if known is None:
            known = await self._add(room, node)
        elif known[0].endpoint is not node.endpoint:
            known = room[node] = (Address(node.endpoint), known[1])
        return known

    async def _add(self, room: Transports, node: Node) -> tuple[Address, httpx.AsyncBaseTransport]:
        made = self._factory(node.endpoint)
        if not isinstance(made, httpx.AsyncBaseTransport):
            raise ConfigurationError(
                f"transport_factory: it made {made!r}, which is not allowed; "
                "an httpx.AsyncBaseTransport"
            )
        # Another thread may have done the same.
        known = room.setdefault(node, (Address(node.endpoint), made))
        unused = [made] if known[1] is not made else []
        for gone in [other for other in list(room) if other.gone and not other.in_flight]:
            unused += [left[1] for left in [room.pop(gone, None)] if left is not None]
        for transport in unused:
            await transport.aclose()
        return known

    @property
    def busy(self) -> int:
        """Calls under way."""
        return sum(node.in_flight for room in list(self._rooms.values()) for node in list(room))

    async def aclose(self, *, abort: bool) -> None:
        """Close the transports of this event loop."""
        for _, transport in self._rooms.pop(place_of_work(), {}).values():
            await transport.aclose()

    def forget(self) -> None:
        """In a forked child: what is open belongs to the parent."""
        self._rooms.clear()
