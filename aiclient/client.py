"""`Client` and `AsyncClient`: httpx's, over a balanced transport."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import httpx

from .balancer import DEFAULT, Balancer
from .core.pickers import Picker
from .endpoint import Endpoint
from .errors import ConfigurationError
from .health_check import HealthCheck
from .settings import BreakerPolicy, Concurrency, Deadlines, OutlierPolicy, RetryPolicy
from .transports.async_transport import AsyncBalancedTransport
from .transports.known_requests import KnownRequests
from .transports.sync_transport import BalancedTransport
from .transports.whole_bodies import aread_whole, read_whole

__all__ = ["AsyncClient", "Client"]

# As the AI SDKs have it: httpx's own 5 s would turn every long answer into a fault and a retry.
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_POLL_SECONDS = 0.02
_BYPASSES = ("proxy", "mounts", "transport")
_FOR_TRANSPORT = ("verify", "cert", "trust_env", "http1", "http2", "limits")
_FOR_HTTPX = frozenset(inspect.signature(httpx.Client.__init__).parameters) - {"self", *_BYPASSES}


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """httpx's options: those for the transport, and those for the client."""
    for name in _BYPASSES:
        if options.pop(name, None) is not None:
            raise ConfigurationError(
                f"{name}: not allowed, it would bypass the balancer; "
                "transport_factory= puts a transport of your own under each node"
            )
    unknown = sorted(set(options) - _FOR_HTTPX)
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)}: no such option; beside the balancer's there are httpx's: "
            f"{', '.join(sorted(_FOR_HTTPX))}"
        )
    transport = {name: options.pop(name) for name in _FOR_TRANSPORT if name in options}
    if "trust_env" in transport:
        options["trust_env"] = transport["trust_env"]
    options.setdefault("timeout", _TIMEOUT)
    return transport, options


class _Cookies(httpx.Cookies):
    """A client's cookies; an answer that brings none is not searched for them."""

    def extract_cookies(self, response: httpx.Response) -> None:
        if "set-cookie" in response.headers:
            super().extract_cookies(response)


class Client(httpx.Client):
    """An `httpx.Client` whose requests go to whichever node is best.

    Args:
        nodes: An iterable of URLs and `Endpoint`s, a str of comma-separated URLs, a discovery URL
            such as `dns://llm:8000`, a `Discovery`, or a `Balancer` (which then has the policies,
            and is closed by who made it).
        picker: Which node gets a call. Default `LeastLoad()`.
        retry, breaker, outlier, deadlines, concurrency: See these classes; None switches one off.
        health_check: Checks the nodes in the background. Default None: not at all.
        transport_factory: Makes the transport under a node, from its `Endpoint`, instead of our
            own connections.
        httpx_options: Everything else `httpx.Client` takes, but for `proxy`, `mounts` and
            `transport`, which would bypass the balancer. `timeout` is 600 s by default, 5 s to
            connect; `limits` caps all nodes together and is off; `base_url` is a logical
            service, so that relative URLs work.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    # Asked by OpenTelemetry's instrumentors of httpx: we trace each attempt ourselves.
    _is_instrumented_by_opentelemetry = True

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
        transport_factory: Callable[[Endpoint], httpx.BaseTransport] | None = None,
        **httpx_options: Any,
    ) -> None:
        for_transport, for_client = _split(httpx_options)
        self._balanced = BalancedTransport(
            nodes,
            picker=picker,
            retry=retry,
            breaker=breaker,
            outlier=outlier,
            deadlines=deadlines,
            concurrency=concurrency,
            health_check=health_check,
            transport_factory=transport_factory,
            **for_transport,
        )
        self._requests = KnownRequests()
        if not for_client.get("base_url"):
            for_client["base_url"] = self.balancer.service
        super().__init__(transport=self._balanced, **for_client)
        self._kept_cookies = _Cookies(for_client.get("cookies"))

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """As httpx does, and its arguments."""
        return self._requests.build(super().build_request, self, method, url, options)

    def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """As httpx does, and its arguments."""
        response = super().send(request, stream=True, **options)
        if not stream:
            read_whole(response)
        return response

    @property
    def balancer(self) -> Balancer:
        """The balancer that chooses the nodes."""
        return self._balanced.balancer

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies of the service, whichever node set them."""
        return self._kept_cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self._kept_cookies = _Cookies(cookies)

    def close(self, *, finish: float = 0.0) -> None:
        """Close the client and its connections.

        `finish`: seconds to let calls under way, streams included, come to their end first; they
        find no second node any more. What then still runs is broken off.
        """
        if finish > 0 and not self.is_closed:
            if self._balanced.owned:
                self.balancer.close()
            give_up_at = time.monotonic() + finish
            while self._balanced.busy and time.monotonic() < give_up_at:
                time.sleep(_POLL_SECONDS)
        super().close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.balancer!r}>"


class AsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` whose requests go to whichever node is best; asyncio and trio.

    The arguments are those of `Client`.
    """

    _is_instrumented_by_opentelemetry = True

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
        **httpx_options: Any,
    ) -> None:
        for_transport, for_client = _split(httpx_options)
        self._balanced = AsyncBalancedTransport(
            nodes,
            picker=picker,
            retry=retry,
            breaker=breaker,
            outlier=outlier,
            deadlines=deadlines,
            concurrency=concurrency,
            health_check=health_check,
            transport_factory=transport_factory,
            **for_transport,
        )
        self._requests = KnownRequests()
        if not for_client.get("base_url"):
            for_client["base_url"] = self.balancer.service
        super().__init__(transport=self._balanced, **for_client)
        self._kept_cookies = _Cookies(for_client.get("cookies"))

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """As httpx does, and its arguments."""
        return self._requests.build(super().build_request, self, method, url, options)

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """As httpx does, and its arguments."""
        response = await super().send(request, stream=True, **options)
        if not stream:
            await aread_whole(response)
        return response

    @property
    def balancer(self) -> Balancer:
        """The balancer that chooses the nodes."""
        return self._balanced.balancer

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies of the service, whichever node set them."""
        return self._kept_cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self._kept_cookies = _Cookies(cookies)

    async def aclose(self, *, finish: float = 0.0) -> None:
        """Close the client and its connections.

        `finish`: seconds to let calls under way, streams included, come to their end first; they
        find no second node any more. What then still runs is broken off.
        """
        if finish > 0 and not self.is_closed:
            import anyio

            if self._balanced.owned:
                self.balancer.close()
            give_up_at = time.monotonic() + finish
            while self._balanced.busy and time.monotonic() < give_up_at:
                await anyio.sleep(_POLL_SECONDS)
        await super().aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.balancer!r}>"
