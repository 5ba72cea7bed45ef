"""A TCP connection on an asyncio event loop, without transports.

The reader stays registered with the selector, so a read costs one callback and one future, and an
idle connection that the node closes is noticed, and closed, at once. The socket is ours: it can be
closed from anywhere, even after its loop has gone, which a transport cannot.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import Any, TypeAlias

from .async_cork import AsyncCork
from .failures import ConnectError, ConnectTimeout, ReadError, ReadTimeout, WriteError, WriteTimeout
from .watch import Wait

__all__ = ["AsyncioStream", "SocketOption", "connect"]

# The arguments of `socket.setsockopt`, whose forms the checkers cannot tell apart.
SocketOption: TypeAlias = Any
_CHUNK = 64 * 1024


class AsyncioStream(AsyncCork):
    """One reader and one writer at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        super().__init__()
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._reader: asyncio.Future[bytes] | None = None
        self._writer: asyncio.Future[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received: bytes | None = None
        self._failed: OSError | None = None
        loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._failed, data = exc, b""
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(data)
            return
        if self.idle:
            self.close()
            return
        # Nobody reads now: keep this piece, and let the kernel hold the rest back.
        self._received = data
        self._loop.remove_reader(self._fd)

    @property
    def alive(self) -> bool:
        """Whether an idle connection can still be used."""
        if self._fd < 0 or self._received is not None:
            return False
        # The loop may not have run since the node closed it.
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.corked:
            await self._uncork(timeout)
        data = self._received
        if data is not None:
            # The end stays where it is: whoever asks again is told again.
            self._received = data[max_bytes:] or (None if data else data)
            if self._received is None and self._fd >= 0:
                self._loop.add_reader(self._fd, self._on_readable)
            return self._checked(data[:max_bytes])
        if self._fd < 0:
            raise ReadError("the connection is closed")
        wait = Wait(timeout, self.watch) if self.watch is not None else None
        try:
            return self._checked(await self._readable(timeout, wait))
        except TimeoutError:
            raise ReadTimeout("the node sent nothing in time") from None

    def _checked(self, data: bytes) -> bytes:
        if not data and self._failed is not None:
            raise ReadError(str(self._failed)) from self._failed
        return data

    async def _readable(self, seconds: float | None, wait: Wait | None) -> bytes:
        reader: asyncio.Future[bytes] = self._loop.create_future()
        self._reader = reader
        try:
            if wait is not None:
                self._look_later(reader, wait)
            elif seconds is not None:
                self._timer = self._loop.call_later(seconds, _expire, reader)
            return await reader
        finally:
            self._reader = None
            del reader  # it holds the exception, which holds this frame
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _look_later(self, reader: asyncio.Future[bytes], wait: Wait) -> None:
        seconds = wait.slice()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._look, reader, wait)

    def _look(self, reader: asyncio.Future[bytes], wait: Wait) -> None:
        # Here rather than in the task: thousands of calls that wait are looked at again and again,
        # and to wake each of them for that costs several times the look.
        if reader.done():
            return
        try:
            if wait.over():
                reader.set_exception(TimeoutError())
            else:
                self._look_later(reader, wait)
        except Exception as exc:
            reader.set_exception(exc)
            del reader  # as above

    async def _send(self, buffer: bytes, timeout: float | None) -> None:
        try:
            sent = self._sock.send(buffer)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            raise WriteError(str(exc)) from exc
        if sent == len(buffer):
            return
        rest = memoryview(buffer)[sent:]
        wait = Wait(timeout, self.watch) if self.watch is not None else None
        while rest:
            try:
                await self._writable(wait.slice() if wait else timeout)
                rest = rest[self._sock.send(rest) :]
            except (BlockingIOError, InterruptedError):
                continue
            except TimeoutError:
                if wait is None or wait.over():
                    raise WriteTimeout("the node took nothing in time") from None
            except OSError as exc:
                raise WriteError(str(exc)) from exc

    async def _writable(self, seconds: float | None) -> None:
        ready = self._writer = self._loop.create_future()
        self._loop.add_writer(self._fd, _resolve, ready)
        try:
            await _within(self._loop, ready, seconds)
        finally:
            self._writer = None
            if self._fd >= 0:
                self._loop.remove_writer(self._fd)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Close now; the loop's own thread only."""
        if self._fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
                if self._writer is not None:
                    self._loop.remove_writer(self._fd)
            self.abandon()
            for waiting in (self._reader, self._writer):
                if waiting is not None:
                    _resolve(waiting)

    def abort(self) -> None:
        """Break it off under whoever uses it."""
        self.close()

    def abandon(self) -> None:
        """Close the socket without the loop: it is gone, or belongs to the parent process."""
        self._fd = -1
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "socket":
            return self._sock
        if self._fd < 0:
            return None
        if info == "client_addr":
            return self._sock.getsockname()
        if info == "server_addr":
            return self._sock.getpeername()
        return not self.alive if info == "is_readable" else None


def _resolve(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_result(b"")


def _expire(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


async def _within(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[bytes], seconds: float | None
) -> bytes:
    if seconds is None:
        return await future
    timer = loop.call_later(seconds, _expire, future)
    try:
        return await future
    finally:
        timer.cancel()


async def connect(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    options: Iterable[SocketOption],
) -> AsyncioStream:
    """Connect to the first address of `host` that answers.

    Raises:
        ConnectError, ConnectTimeout
    """
    try:
        async with asyncio.timeout(timeout):
            addresses = await _addresses(loop, host, port)
            for place, (family, address) in enumerate(addresses):
                last = place == len(addresses) - 1
                share = None if last or timeout is None else timeout / len(addresses)
                try:
                    sock = await _connected(loop, family, address, share, local_address, options)
                except OSError:
                    if last:
                        raise
                else:
                    return AsyncioStream(loop, sock)
    except TimeoutError:
        raise ConnectTimeout(f"no connection within {timeout:g} s") from None
    except OSError as exc:
        raise ConnectError(os.strerror(exc.errno) if exc.errno else str(exc)) from exc
    raise ConnectError(f"{host!r} has no address")


async def _addresses(
    loop: asyncio.AbstractEventLoop, host: str, port: int
) -> list[tuple[int, Any]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError(f"{host!r} is no host name") from exc
    except socket.gaierror as exc:
        raise OSError(f"{host!r} cannot be resolved: {exc.strerror}") from exc
    return [(family, address) for family, _, _, _, address in found]


async def _connected(
    loop: asyncio.AbstractEventLoop,
    family: int,
    address: Any,
    timeout: float | None,
    local_address: str | None,
    options: Iterable[SocketOption],
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in options:
            sock.setsockopt(*option)
        if local_address is not None:
            sock.bind((local_address, 0))
        async with asyncio.timeout(timeout):
            await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
