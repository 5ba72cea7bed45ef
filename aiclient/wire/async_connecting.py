"""Opening a connection to a node, on whatever runs the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..endpoint import Endpoint
from . import anyio_stream, asyncio_stream
from .async_tls import RawStream, SecureStream, secure
from .failures import UnsupportedProtocol
from .options import WireOptions
from .watch import Watch

__all__ = ["AsyncStream", "is_over", "open_stream", "place_of_work", "run_there"]

AsyncStream = RawStream | SecureStream


def place_of_work() -> object:
    """What stands for the running event loop: an asyncio loop, or trio's token."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


def is_over(place: Any) -> bool:
    """Whether that event loop will never run again."""
    if isinstance(place, asyncio.AbstractEventLoop):
        return place.is_closed()
    import trio

    try:
        place.run_sync_soon(_nothing, idempotent=True)
    except trio.RunFinishedError:
        return True
    return False


def _nothing() -> None:
    pass


def run_there(place: Any, action: Callable[[], object], otherwise: Callable[[], object]) -> None:
    """Run `action` on that event loop soon, from any thread; `otherwise` here, if it is over."""
    try:
        if is_over(place):
            otherwise()
        elif isinstance(place, asyncio.AbstractEventLoop):
            place.call_soon_threadsafe(action)
        else:
            place.run_sync_soon(action)
    except RuntimeError:
        otherwise()  # it ended just now


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
    remaining = watch.remaining()
    if remaining is not None:
        remaining = max(remaining, 0.001)
        timeout = remaining if timeout is None else min(timeout, remaining)
    if endpoint.scheme not in ("http", "https"):
        raise UnsupportedProtocol(f"{endpoint.scheme}:// is not HTTP: use a lease for this node")
    host, port = endpoint.host, endpoint.port
    raw: RawStream
    if isinstance(place, asyncio.AbstractEventLoop) and _can_watch_sockets(place):
        raw = await asyncio_stream.connect(
            place, host, port, timeout, options.local_address, options.socket_options
        )
    else:
        raw = await anyio_stream.connect(
            host, port, timeout, options.local_address, options.socket_options
        )
    if endpoint.scheme != "https":
        return raw
    return await secure(raw, options.context(), tls_name, timeout)


def _can_watch_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    # Windows' proactor loop cannot.
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return proactor is None or not isinstance(loop, proactor)
