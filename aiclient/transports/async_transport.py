"""The balanced transport: goes wherever a transport of httpx's goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from ..balancer import DEFAULT, Balancer, balancer_for
from ..core.pickers import Picker
from ..endpoint import Endpoint
from ..health_check import HealthCheck
from ..settings import BreakerPolicy, Concurrency, Deadlines, OutlierPolicy, RetryPolicy
from .connection_options import ConnectionOptions

if TYPE_CHECKING:
    from .async_shell import AsyncShell

__all__ = ["AsyncBalancedTransport"]


class AsyncBalancedTransport(httpx.AsyncBaseTransport):
    """Sends every request it is given to a node of its balancer, whatever the request's host.

    Usable from asyncio and trio at once.

    Args:
        nodes: As for `Balancer`; or a `Balancer`, which then has the policies and is closed by
            who made it.
        picker, retry, breaker, outlier, deadlines, concurrency, health_check: As for `Balancer`.
        transport_factory: Makes the transport under a node, from its `Endpoint`, instead of our
            own connections: another HTTP library's, a Unix socket's, a proxy's. Stall detection
            then cannot wake a call, and deadlines are as exact as that transport's timeouts.
        verify, cert, trust_env, http1, http2, limits, local_address, socket_options: As for
            `httpx.AsyncHTTPTransport`, but for `limits`, which caps all nodes together; by
            default there is no cap, and idle connections are kept for 4 s.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        nodes: object,
        *,
        picker: Picker | None = DEFAULT,
        retry: RetryPolicy | None = DEFAULT,
        breaker: BreakerPolicy | None = DEFAULT,
        outlier: OutlierPolicy | None = DEFAULT,
        deadlines: Deadlines | None = DEFAULT,
        concurrency: Concurrency | None = DEFAULT,
        health_check: HealthCheck | None = DEFAULT,
        transport_factory: Callable[[Endpoint], httpx.AsyncBaseTransport] | None = None,
        verify: Any = True,
        cert: Any = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> None:
        policies = {
            "picker": picker,
            "retry": retry,
            "breaker": breaker,
            "outlier": outlier,
            "deadlines": deadlines,
            "concurrency": concurrency,
            "health_check": health_check,
        }
        connections = ConnectionOptions(
            verify, cert, trust_env, http1, http2, limits, local_address, socket_options
        )
        connections.check(transport_factory)
        self._balancer, self.owned = balancer_for(nodes, policies, connections.context)
        connections.check_nodes(self._balancer.endpoints)
        if transport_factory is None and http2:
            transport_factory = self._multiplexing(connections)
        self._shell = self._build(connections, transport_factory)

    def _build(
        self,
        connections: ConnectionOptions,
        factory: Callable[[Endpoint], httpx.AsyncBaseTransport] | None,
    ) -> AsyncShell:
        # Here, not above: importing aiclient must not load httpcore, TLS and telemetry.
        from ..telemetry.calls import Telemetry
        from ..wire.async_delegate import AsyncDelegate
        from ..wire.async_wire import AsyncWire
        from .async_shell import AsyncShell

        def shell(wire: AsyncWire | AsyncDelegate) -> AsyncShell:
            return AsyncShell(self._balancer, wire, Telemetry(self._balancer, wire))

        if factory is not None:
            return shell(AsyncDelegate(factory))
        return shell(AsyncWire(connections.for_wire()))

    @staticmethod
    def _multiplexing(
        connections: ConnectionOptions,
    ) -> Callable[[Endpoint], httpx.AsyncBaseTransport]:
        def transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
            return httpx.AsyncHTTPTransport(**connections.for_httpx())

        return transport

    @property
    def balancer(self) -> Balancer:
        """The balancer that chooses the nodes."""
        return self._balancer

    @property
    def busy(self) -> int:
        """Calls under way over this transport, those included that wait for a connection."""
        own = sum(node.in_flight for node in self._balancer.snapshot()) if self.owned else 0
        return max(own, self._shell.busy)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._shell.handle_async_request(request)

    async def __aenter__(self) -> AsyncBalancedTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Over a `Balancer` of the user's, which others may share, calls
        under way go on; else they are broken off.
        """
        if self.owned:
            self._balancer.close()
        await self._shell.aclose(abort=self.owned)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._balancer!r}>"
