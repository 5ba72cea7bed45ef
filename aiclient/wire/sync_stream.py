"""A blocking TCP connection, plain or TLS."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import Any

from .failures import ConnectError, ConnectTimeout, ReadError, ReadTimeout, WriteError, WriteTimeout
from .held import is_quiet, send_some
from .sync_cork import SyncCork
from .watch import Wait

__all__ = ["SyncStream", "connect", "secure"]

_LONGEST = 86_400.0


class SyncStream(SyncCork):
    """Used by one thread at a time. Any socket, TLS or plain, with Python's own timeouts."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock

    @property
    def alive(self) -> bool:
        """Whether an idle connection can still be used."""
        if self._sock.fileno() < 0:
            return False
        try:
            # An SSL socket refuses flags; what lies below it does not.
            self._sock.settimeout(0)
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.corked:
            self._uncork(timeout)
        wait = Wait(timeout, self.watch) if self.watch is not None else None
        while True:
            try:
                self._limit(wait.slice() if wait else timeout)
                return self._sock.recv(max_bytes)
            except (TimeoutError, BlockingIOError):
                if wait is None or wait.over():
                    raise ReadTimeout("the node sent nothing in time") from None
            except OSError as exc:
                raise ReadError(_reason(exc)) from exc

    def _send(self, buffer: bytes, timeout: float | None) -> None:
        rest = memoryview(buffer)
        wait = Wait(timeout, self.watch) if self.watch is not None else None
        while rest:
            try:
                self._limit(wait.slice() if wait else timeout)
                rest = rest[self._sock.send(rest) :]
            except (TimeoutError, BlockingIOError):
                if wait is None or wait.over():
                    raise WriteTimeout("the node took nothing in time") from None
            except OSError as exc:
                raise WriteError(_reason(exc)) from exc

    def _limit(self, seconds: float | None) -> None:
        # 0 would mean non-blocking; the shortest wait is what is meant.
        seconds = None if seconds is None else max(seconds, 0.001)
        if seconds != self._sock.gettimeout():
            self._sock.settimeout(seconds)

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """Break it off under the thread that uses it, which then closes it."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def abandon(self) -> None:
        """Close the socket and say nothing: it belongs to the parent process."""
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "client_addr":
            return self._sock.getsockname()
        if info == "server_addr":
            return self._sock.getpeername()
        if info == "socket":
            return self._sock
        return not self.alive if info == "is_readable" else None


class KernelTimedStream(SyncStream):
    """A plain socket whose timeouts the kernel keeps.

    Python's own cost a poll before each receive, and with it another release of the interpreter
    lock: with many threads that is the larger part of a call.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        sock.settimeout(None)
        self._limited_to = 0.0

    @property
    def alive(self) -> bool:
        return is_quiet(self._sock)

    def _send(self, buffer: bytes, timeout: float | None) -> None:
        sent = send_some(self._sock, buffer)
        if sent < len(buffer):
            super()._send(buffer[sent:], timeout)

    def _limit(self, seconds: float | None) -> None:
        seconds = _LONGEST if seconds is None else min(max(seconds, 0.001), _LONGEST)
        # Waking up early is harmless where the wait is cut into slices anyway, and exact enough
        # else: a limit is changed only when it is off by more than a tenth.
        if seconds * 0.9 <= self._limited_to <= seconds:
            return
        value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._limited_to = seconds


def _stream(sock: socket.socket) -> SyncStream:
    # Windows counts these timeouts in another unit and knows no MSG_DONTWAIT.
    return KernelTimedStream(sock) if hasattr(socket, "MSG_DONTWAIT") else SyncStream(sock)


def _reason(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLError) or not exc.errno:
        return str(exc)
    return os.strerror(exc.errno)


def connect(
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    options: Iterable[Any],
) -> SyncStream:
    """Connect to the first address of `host` that answers.

    Raises:
        ConnectError, ConnectTimeout
    """
    source = None if local_address is None else (local_address, 0)
    try:
        sock = socket.create_connection((host, port), timeout, source_address=source)
    except TimeoutError:
        raise ConnectTimeout(f"no connection within {timeout:g} s") from None
    except socket.gaierror as exc:
        raise ConnectError(f"{host!r} cannot be resolved: {exc.strerror}") from exc
    except (OSError, UnicodeError) as exc:
        raise ConnectError(_reason(exc) if isinstance(exc, OSError) else str(exc)) from exc
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return _stream(sock)


def secure(
    raw: SyncStream, context: ssl.SSLContext, name: str, timeout: float | None
) -> SyncStream:
    """Shake hands as `name`; the raw stream is closed if that does not come to its end.

    Raises:
        ConnectError, ConnectTimeout
    """
    sock: socket.socket = raw.get_extra_info("socket")
    try:
        name.encode("idna")  # over a name that is none, Python would lose the socket
        sock.settimeout(timeout)
        return SyncStream(context.wrap_socket(sock, server_hostname=name))
    except BaseException as exc:
        raw.close()
        if isinstance(exc, TimeoutError):
            raise ConnectTimeout(f"no TLS with {name!r} within {timeout:g} s") from exc
        if isinstance(exc, ssl.SSLCertVerificationError):
            raise ConnectError(
                f"TLS: no valid certificate for {name!r}: {exc.verify_message}"
            ) from exc
        if isinstance(exc, (OSError, ValueError)):
            raise ConnectError(f"TLS with {name!r} failed: {exc}") from exc
        raise
