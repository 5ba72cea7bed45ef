"""What the wire needs to know of the client's options. Shared by every shell; no I/O."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

import attrs

__all__ = ["Journey", "WireOptions", "peer_of"]


def peer_of(stream: Any) -> object:
    """The address at the other end of one of httpcore's network streams; None: not known."""
    try:
        return stream.get_extra_info("server_addr")
    except Exception:
        return None  # it has gone already, or is no socket


@attrs.frozen
class WireOptions:
    """How to connect to nodes and how many connections to keep.

    Attributes:
        context: makes the context for https when it is first needed, and never changes it.
        keepalive_expiry: seconds an idle connection is kept; None: as long as the node keeps it.
        max_connections: open at once over all nodes, per event loop; None: no limit.
        max_keepalive: idle at once over all nodes, per event loop; None: no limit.
        local_address: to connect from.
        socket_options: for `socket.setsockopt`.
    """

    context: Callable[[], ssl.SSLContext]
    keepalive_expiry: float | None = 4.0
    max_connections: int | None = None
    max_keepalive: int | None = None
    local_address: str | None = None
    socket_options: Sequence[Any] = ()


class Journey:
    """What became of one request on the wire, to tell a failure's meaning by.

    Attributes:
        sent_at: when the first byte was about to be written, on `time.monotonic`; None: never.
        reused: over a connection that had been idle.
        peer: the address it went to; None where that is not known.
        known: whether the wire fills these in; a transport of the user's does not.
    """

    __slots__ = ("known", "peer", "reused", "sent_at")

    def __init__(self) -> None:
        self.sent_at: float | None = None
        self.reused = False
        self.peer: object = None
        self.known = False
