"""The same over anyio: for trio, and for event loops that cannot watch sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream

from .async_cork import AsyncCork
from .asyncio_stream import SocketOption
from .failures import ConnectError, ConnectTimeout, ReadError, ReadTimeout, WriteError, WriteTimeout
from .watch import Wait, shortened

__all__ = ["AnyioStream", "connect"]

_CLOSED = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class AnyioStream(AsyncCork):
    """One reader and one writer at a time."""

    def __init__(self, stream: SocketStream) -> None:
        super().__init__()
        self._stream = stream
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether an idle connection can still be used."""
        if self._closed:
            return False
        sock = self._stream.extra(SocketAttribute.raw_socket)
        try:
            sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.corked:
            await self._uncork(timeout)
        wait = Wait(timeout, self.watch) if self.watch is not None else None
        while True:
            with anyio.move_on_after(wait.slice() if wait else timeout):
                try:
                    return await self._stream.receive(max_bytes)
                except anyio.EndOfStream:
                    return b""
                except _CLOSED as exc:
                    raise ReadError(_reason(exc)) from exc
                except BaseException as exc:
                    _let_go(exc)
                    raise
            if wait is None or wait.over():
                raise ReadTimeout("the node sent nothing in time")

    async def _send(self, buffer: bytes, timeout: float | None) -> None:
        limit = timeout if self.watch is None else shortened(timeout, self.watch)
        with anyio.move_on_after(limit):
            try:
                await self._stream.send(buffer)
            except _CLOSED as exc:
                raise WriteError(_reason(exc)) from exc
            except BaseException as exc:
                _let_go(exc)
                raise
            return
        raise WriteTimeout("the node took nothing in time")

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await anyio.aclose_forcefully(self._stream)

    def close(self) -> None:
        """Close now; the loop's own thread only."""
        if not self._closed:
            self._closed = True
            closing = self._stream.aclose()
            # anyio's trio sockets close before their first checkpoint; that is as far as it goes.
            try:
                closing.send(None)
            except BaseException:
                pass
            finally:
                closing.close()

    def abort(self) -> None:
        """Break it off under whoever uses it."""
        self.close()

    def abandon(self) -> None:
        """Close the socket without the loop: it is gone, or belongs to the parent process."""
        self._closed = True
        self._stream.extra(SocketAttribute.raw_socket).close()

    def get_extra_info(self, info: str) -> Any:
        if info == "client_addr":
            return self._stream.extra(SocketAttribute.local_address)
        if info == "server_addr":
            return self._stream.extra(SocketAttribute.remote_address)
        if info == "socket":
            return self._stream.extra(SocketAttribute.raw_socket)
        return not self.alive if info == "is_readable" else None


def _let_go(exc: BaseException) -> None:
    """Forget what a cancellation passed through: a frame of anyio's there holds on to it, and the
    two of them to the whole request, until the garbage collector comes.
    """
    exc.__traceback__ = None


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__ if exc.__cause__ is not None else exc
    errno = getattr(cause, "errno", None)
    return os.strerror(errno) if errno else str(cause) or "the connection is closed"


async def connect(
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    options: Iterable[SocketOption],
) -> AnyioStream:
    """Connect to the first address of `host` that answers.

    Raises:
        ConnectError, ConnectTimeout
    """
    try:
        with anyio.fail_after(timeout):
            stream = await anyio.connect_tcp(host, port, local_host=local_address)
    except TimeoutError:
        raise ConnectTimeout(f"no connection within {timeout:g} s") from None
    except (OSError, UnicodeError, anyio.BrokenResourceError) as exc:
        raise ConnectError(_reason(exc)) from exc
    connected = AnyioStream(stream)
    try:
        for option in options:
            stream.extra(SocketAttribute.raw_socket).setsockopt(*option)
    except BaseException:
        connected.close()
        raise
    return connected
