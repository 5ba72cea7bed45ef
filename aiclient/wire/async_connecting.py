"""Opening a connection to a node, on whatever runs the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import AsyncGeneratorType

from ..endpoint import Endpoint
from ..loops import is_over, place_of_work, run_there
from . import anyio_stream, asyncio_stream
from .async_tls import RawStream, SecureStream, secure
from .failures import UnsupportedProtocol
from .options import WireOptions
from .watch import Watch, shortened

__all__ = ["AsyncStream", "is_over", "open_stream", "place_of_work", "run_there", "wind_up"]

AsyncStream = RawStream | SecureStream


async def wind_up(parts: AsyncIterator[bytes], stream: AsyncStream) -> None:
    """Bring a response's generator to its end.

    Closing it would leave another one within it half-read, of which trio complains: let that one
    find its connection closed.
    """
    if not isinstance(parts, AsyncGeneratorType) or parts.ag_frame is None:
        return  # it is there
    stream.close()
    try:
        async for _ in parts:
            pass
    except Exception:
        pass


async def open_stream(
    place: object,
    endpoint: Endpoint,
    tls_name: str,
    options: WireOptions,
    timeout: float | None,
    watch: Watch,
) -> AsyncStream:
    """Connect to the node, with TLS if its scheme says so.

    Raises:
        ConnectError, ConnectTimeout, UnsupportedProtocol
    """
    limit = shortened(timeout, watch)
    if endpoint.scheme not in ("http", "https"):
        raise UnsupportedProtocol(f"{endpoint.scheme}:// is not HTTP: use a lease for this node")
    host, port = endpoint.host, endpoint.port
    raw: RawStream
    if isinstance(place, asyncio.AbstractEventLoop) and _can_watch_sockets(place):
        raw = await asyncio_stream.connect(
            place, host, port, limit, options.local_address, options.socket_options
        )
    else:
        raw = await anyio_stream.connect(
            host, port, limit, options.local_address, options.socket_options
        )
    if endpoint.scheme != "https":
        return raw
    return await secure(raw, options.context(), tls_name, shortened(timeout, watch))


def _can_watch_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    # Windows' proactor loop cannot.
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return proactor is None or not isinstance(loop, proactor)
