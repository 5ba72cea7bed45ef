"""What can go wrong on a connection, by the names httpx's families share for it."""

from __future__ import annotations

__all__ = [
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ReadError",
    "ReadTimeout",
    "UnsupportedProtocol",
    "WireError",
    "WriteError",
    "WriteTimeout",
]


class WireError(Exception):
    """Base of these; each family raises its own exception of the same name instead."""


class ConnectError(WireError):
    """No connection; nothing was sent."""


class ConnectTimeout(WireError):
    """No connection in time; nothing was sent."""


class PoolTimeout(WireError):
    """No free connection in time; nothing was sent."""


class ReadError(WireError):
    """The connection broke while an answer was awaited."""


class ReadTimeout(WireError):
    """Nothing came in time."""


class WriteError(WireError):
    """The connection broke under a request."""


class WriteTimeout(WireError):
    """The node took nothing in time."""


class UnsupportedProtocol(WireError):
    """The node's scheme is none that this client speaks."""
