"""Opening a connection to a node, blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GeneratorType

from ..endpoint import Endpoint
from .failures import UnsupportedProtocol
from .options import WireOptions
from .sync_stream import SyncStream, connect, secure
from .watch import Watch, shortened

__all__ = ["SyncStream", "is_over", "open_stream", "place_of_work", "run_there", "wind_up"]


class _Place:
    """Where blocking calls are made: any thread."""


_EVERYWHERE = _Place()


def place_of_work() -> object:
    """Threads share connections: there is one place."""
    return _EVERYWHERE


def is_over(place: object) -> bool:
    """Threads never are."""
    return False


def run_there(place: object, action: Callable[[], object], otherwise: Callable[[], object]) -> None:
    """Any thread will do: this one."""
    action()


def wind_up(parts: Iterator[bytes], stream: SyncStream) -> None:
    """Bring a response's generator to its end."""
    if isinstance(parts, GeneratorType):
        parts.close()


def open_stream(
    place: object,
    endpoint: Endpoint,
    tls_name: str,
    options: WireOptions,
    timeout: float | None,
    watch: Watch,
) -> SyncStream:
    """Connect to the node, with TLS if its scheme says so.

    Raises:
        ConnectError, ConnectTimeout, UnsupportedProtocol
    """
    limit = shortened(timeout, watch)
    if endpoint.scheme not in ("http", "https"):
        raise UnsupportedProtocol(f"{endpoint.scheme}:// is not HTTP: use a lease for this node")
    raw = connect(
        endpoint.host, endpoint.port, limit, options.local_address, options.socket_options
    )
    if endpoint.scheme != "https":
        return raw
    return secure(raw, options.context(), tls_name, shortened(timeout, watch))
