"""Two system calls that return at once, made without letting go of the interpreter lock.

A socket's own methods release it, and with many threads to take it again means to queue behind all
of them. Where the C library cannot be reached, those methods do the same at their price.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["is_quiet", "send_some"]

IsQuiet: TypeAlias = Callable[[socket.socket], bool]
SendSome: TypeAlias = Callable[[socket.socket, bytes], int]
# Plain numbers: to combine the enumeration's members would cost more than the system call.
_NOT_WAITING = int(getattr(socket, "MSG_DONTWAIT", 0))
_PEEK = int(socket.MSG_PEEK) | _NOT_WAITING
_SEND = int(getattr(socket, "MSG_NOSIGNAL", 0)) | _NOT_WAITING


def _is_quiet(sock: socket.socket) -> bool:
    try:
        sock.recv(1, _PEEK)
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
    return False


def _send_some(sock: socket.socket, buffer: bytes) -> int:
    try:
        return sock.send(buffer, _NOT_WAITING)
    except OSError:
        return 0


def _with_the_lock() -> tuple[IsQuiet, SendSome]:
    import ctypes

    library = ctypes.PyDLL(None, use_errno=True)
    send, recv = library.send, library.recv
    send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    recv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    send.restype = recv.restype = ctypes.c_ssize_t
    nowhere = ctypes.create_string_buffer(1)
    get_errno = ctypes.get_errno

    def is_quiet(sock: socket.socket) -> bool:
        if recv(sock.fileno(), nowhere, 1, _PEEK) >= 0:
            return False
        return get_errno() in (errno.EAGAIN, errno.EINTR)

    def send_some(sock: socket.socket, buffer: bytes) -> int:
        return max(0, int(send(sock.fileno(), buffer, len(buffer), _SEND)))

    return is_quiet, send_some


def _best() -> tuple[IsQuiet, SendSome]:
    try:
        return _with_the_lock()
    except (ImportError, OSError, AttributeError, TypeError):
        return _is_quiet, _send_some  # no ctypes, or no C library by these names


# Whether nothing waits to be read from a socket and it is still open; and: send what the kernel
# takes now, and say how much that was (why it took nothing, a send that may wait will tell).
is_quiet, send_some = _best()
