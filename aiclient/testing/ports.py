"""A port that stays ours while nobody listens on it."""

from __future__ import annotations

import socket
import sys

_BACKLOG = 4096


class ReservedPort:
    """A port on `host`, held from now until `close()`; port 0 lets the system choose one.

    A node that is down must refuse connections and come back on the same port. A socket that is
    bound but does not listen does both: connections are refused, and the system gives the port
    to nobody else. Only Linux lets a second socket listen beside it; elsewhere the port is
    merely remembered. Raises OSError when the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._holder: socket.socket | None = self._bound(port)
        self.port: int = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self.close()

    def listener(self) -> socket.socket:
        """A new listening, non-blocking socket on the port. Raises OSError."""
        sock = self._bound(self.port)
        try:
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Let go of the port."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, port))
        except OSError:
            sock.close()
            raise
        return sock


def url_of(host: str, port: int, *, tls: bool) -> str:
    """The base URL of a node, without a trailing slash."""
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}"
