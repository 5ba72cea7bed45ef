"""A raw client and a patient wait, for the tests of the fake node."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

PATIENCE = 20.0


class Node(Protocol):
    """What FakeNode and NodeProcess have in common for a raw client."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@dataclass
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One TCP connection, spoken to by hand."""

    def __init__(self, node: Node) -> None:
        self.sock = socket.create_connection((node.host, node.port), timeout=PATIENCE)
        self._buffer = bytearray()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, path: str = "/health") -> None:
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def post(self, body: bytes = b"{}", path: str = "/v1/chat/completions") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def read_until(self, mark: bytes) -> bytes:
        """All up to and including `mark`. Raises EOFError when the node closes before that."""
        start = 0
        while (found := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            self._receive()
        return self.read_exactly(found + len(mark))

    def read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def read_head(self) -> RawResponse:
        first, *lines = self.read_until(b"\r\n\r\n").decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return RawResponse(int(first.split()[1]), headers, b"")

    def read_response(self) -> RawResponse:
        """One answer with a content-length."""
        response = self.read_head()
        response.body = self.read_exactly(int(response.headers["content-length"]))
        return response

    def read_rest(self) -> bytes:
        """All that comes until the node closes the connection."""
        try:
            while True:
                self._receive()
        except EOFError:
            return self.read_exactly(len(self._buffer))

    def is_silent(self) -> bool:
        """Whether nothing arrives for a moment and the connection stays open."""
        self.sock.settimeout(0.05)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail when it does not within a long time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.001)


def node_threads() -> list[threading.Thread]:
    """The threads that serve fake nodes in this process."""
    return [thread for thread in threading.enumerate() if thread.name == "aiclient.testing"]
