"""A connection for one check: everything on it ends by one deadline, or when it is cut."""

from __future__ import annotations

import socket
import ssl
import time

from ..endpoint import Endpoint

__all__ = ["Line", "Lines"]

_READ_BYTES = 65536


class Lines:
    """The sockets in use, so that they can be cut from another thread and in a forked child.

    Without a lock: a finaliser may cut them while its own thread is in here.
    """

    def __init__(self) -> None:
        self._sockets: set[socket.socket] = set()
        self._cut = False

    def add(self, sock: socket.socket) -> None:
        """Keep it in mind.

        Raises:
            ConnectionAbortedError: all have been cut already; this one is closed.
        """
        # In this order: either it is among those that are cut, or it is known here that they were.
        self._sockets.add(sock)
        if self._cut:
            self.close(sock)
            raise ConnectionAbortedError("the health checks have ended")

    def close(self, sock: socket.socket) -> None:
        """Close it."""
        self._sockets.discard(sock)
        sock.close()

    def cut(self) -> None:
        """Wake whoever waits at one: there is nothing more to come."""
        self._cut = True
        for sock in list(self._sockets):
            try:
                # Not a TLS socket's own way, which would pull the session from under its reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass

    def forget(self) -> None:
        """In a forked child: close what is the parent's, without a word to the other end."""
        for sock in list(self._sockets):
            sock.close()


class Line:
    """One connection to a node. Every method raises OSError, TimeoutError at the deadline."""

    def __init__(self, lines: Lines, timeout: float) -> None:
        self._lines = lines
        self._ends_at = time.monotonic() + timeout
        self._sock: socket.socket | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            TimeoutError: none.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connect(self, endpoint: Endpoint) -> None:
        """Connect to the first address of the node that takes it."""
        problem: OSError | None = None
        kind = socket.SOCK_STREAM
        for family, _, protocol, _, address in socket.getaddrinfo(
            endpoint.host, endpoint.port, type=kind
        ):
            try:
                sock = socket.socket(family, kind, protocol)
                self._hold(sock)
                sock.settimeout(self.left)
                sock.connect(address)
            except OSError as exc:
                problem = exc
                self.close()
            else:
                return
        raise problem or OSError("its name has no address")

    def secure(self, context: ssl.SSLContext, name: str) -> None:
        """TLS, the certificate verified for that name."""
        plain = self._open
        plain.settimeout(self.left)
        sock = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
        self._hold(sock)
        sock.do_handshake()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._open.settimeout(self.left)
        self._open.sendall(data)

    def receive(self) -> bytes:
        """What has come; empty at the end."""
        self._open.settimeout(self.left)
        return self._open.recv(_READ_BYTES)

    def close(self) -> None:
        """Close it, if it is open."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._lines.close(sock)

    @property
    def _open(self) -> socket.socket:
        if self._sock is None:
            raise ConnectionAbortedError("it is closed")
        return self._sock

    def _hold(self, sock: socket.socket) -> None:
        # TLS takes over the plain socket's descriptor: what is left of that one is closed for good.
        self.close()
        self._lines.add(sock)
        self._sock = sock
