"""Nodes that answer by script."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Callable

from aiclient.testing.http1 import Request, RequestParser

from .helpers import PATIENCE

__all__ = [
    "Connection",
    "Script",
    "ScriptedNode",
    "answer",
    "body_of",
    "chunk",
    "chunked",
    "dripping",
    "flooding",
    "once",
    "replies",
]


class Connection:
    """One connection to a `ScriptedNode`, as its script sees it."""

    def __init__(self, node: ScriptedNode, sock: socket.socket) -> None:
        self.node = node
        self.sock = sock
        self._parser = RequestParser()

    def request(self) -> Request:
        """The next request, recorded. Raises EOFError when the client goes away."""
        while (request := self._parser.next_request()) is None:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._parser.feed(data)
        self.node.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def delivered(self) -> bool:
        """Whether all that was sent has arrived at the other end."""
        unacknowledged = fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4))
        return unacknowledged == bytes(4)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_for_the_end(self) -> None:
        """Until the client closes the connection."""
        while self.sock.recv(65536):
            pass


Script = Callable[[Connection], object]


class ScriptedNode:
    """A socket that serves each connection with `script`, in a thread of its own."""

    def __init__(
        self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.accepted = 0
        self._tls = tls
        self._listener = socket.create_server((host, 0), backlog=1024)
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._stopping = False

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._open)

    def __enter__(self) -> ScriptedNode:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopping = True
        socket.create_connection(self._listener.getsockname()).close()
        self._threads[0].join()
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._stopping:
                sock.close()
                return
            self.accepted += 1
            self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        served = sock
        try:
            if self._tls is not None:
                served = self._tls.wrap_socket(sock, server_side=True)
                self._open.add(served)
                self._open.discard(sock)
            self.script(Connection(self, served))
        except (EOFError, OSError):
            pass  # the client has gone
        finally:
            served.close()
            sock.close()
            self._open -= {sock, served}


def answer(
    body: bytes = b"{}", status: int = 200, *headers: str, kind: str = "application/json"
) -> bytes:
    """A whole answer with a content length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    if kind:
        lines.append(f"content-type: {kind}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*pieces: bytes, kind: str = "text/event-stream") -> bytes:
    """A whole answer in chunks."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def replies(*raw: bytes) -> Script:
    """The first request gets the first reply, and so on; the last one again and again."""
    left = list(raw)
    lock = threading.Lock()

    def script(connection: Connection) -> None:
        while True:
            connection.request()
            with lock:
                data = left.pop(0) if len(left) > 1 else left[0]
            connection.send(data)

    return script


def once(*raw: bytes) -> Script:
    """Each connection: one request, these bytes, the end."""

    def script(connection: Connection) -> None:
        connection.request()
        for data in raw:
            connection.send(data)

    return script


def body_of(size: int) -> bytes:
    """A JSON document of `size` bytes."""
    return b'{"x":"' + b"a" * (size - 8) + b'"}'


def dripping(data: bytes, then: bytes = b"") -> Callable[[Connection], None]:
    """Sends one byte after the other, each soon enough for any read timeout, then for ever."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(data)
        while True:
            connection.send(then)
            connection.sock.settimeout(0.01)
            try:
                if not connection.sock.recv(1):
                    return
            except TimeoutError:
                pass

    return script


def flooding(data: bytes, then: bytes) -> Callable[[Connection], None]:
    """Never stops sending."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(data)
        while True:
            connection.send(then * 500)

    return script
