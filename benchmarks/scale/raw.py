"""A raw fast client over leases: HTTP/1.1 by hand, as somebody in need of speed would write it.

It has a keep-alive stack per node, reads the status and `Content-Length`, and tells the balancer of
the first byte. It has no timeouts, TLS, chunked answers, redirects or cookies: the least that a
call through a lease can cost in pure Python.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiclient

Answer = tuple[int, bytes]


class Wire(asyncio.Protocol):
    """One connection, for one call at a time."""

    def __init__(self) -> None:
        self.usable = True
        self._received = b""
        self._began: Callable[[], None] | None = None
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, began: Callable[[], None]) -> asyncio.Future[Answer]:
        """Send the request; `began` is called at the first byte of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._began = began
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._began is not None:
            self._began()
            self._began = None
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        size = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(received) < end + 4 + size:
            return
        self.usable = b"\r\nconnection: close" not in head
        self._received = received[end + 4 + size :]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), received[end + 4 : end + 4 + size]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or EOFError("closed before it had answered"))

    def close(self) -> None:
        self.usable = False
        self._transport.abort()


class RawClient:
    """Posts JSON to whichever node the balancer leases.

    `keep`: whether connections are used again.
    """

    def __init__(self, balancer: aiclient.Balancer, *, keep: bool = True) -> None:
        self.balancer = balancer
        self._keep = keep
        self._idle: dict[aiclient.Endpoint, list[Wire]] = {}

    async def post(self, path: str, content: object) -> Answer:
        body = json.dumps(content, separators=(",", ":")).encode()
        async with self.balancer.lease() as lease:
            endpoint = lease.endpoint
            wire = await self._take(endpoint)
            try:
                answer = await wire.ask(written(endpoint, path, body), lease.first_byte)
            except BaseException:
                wire.close()
                raise
            if self._keep and wire.usable:
                self._idle.setdefault(endpoint, []).append(wire)
            else:
                wire.close()
            if answer[0] >= 500:
                lease.fail(f"http {answer[0]}")
            return answer

    async def _take(self, endpoint: aiclient.Endpoint) -> Wire:
        idle = self._idle.get(endpoint)
        while idle:
            wire = idle.pop()
            if wire.usable:
                return wire
        loop = asyncio.get_running_loop()
        _, opened = await loop.create_connection(Wire, endpoint.host, endpoint.port)
        return opened

    def close(self) -> None:
        for idle in self._idle.values():
            for wire in idle:
                wire.close()
        self._idle.clear()


def written(endpoint: aiclient.Endpoint, path: str, body: bytes) -> bytes:
    """The request as it goes out."""
    head = (
        f"POST {endpoint.path}{path} HTTP/1.1\r\nHost: {endpoint.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body
