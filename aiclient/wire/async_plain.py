"""The body of an ordinary answer, whose length is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpcore

from .addressing import RawHeaders
from .async_connecting import AsyncStream
from .plain import PlainHead

__all__ = ["AsyncPlainIncoming"]

_MOST_BYTES = 64 * 1024


class AsyncPlainIncoming:
    """A response, as httpcore's is, without h11 behind it."""

    __slots__ = (
        "_ended",
        "_left",
        "_length",
        "_piece",
        "_release",
        "_stream",
        "_surplus",
        "_timeout",
        "extensions",
        "headers",
        "status",
    )

    def __init__(
        self,
        stream: AsyncStream,
        head: PlainHead,
        piece: bytes,
        timeout: float | None,
        release: Callable[[bool], None],
    ) -> None:
        """`piece` of the body has come with the head; `release` is told in the end whether the
        connection can be used again.
        """
        self._stream = stream
        self._length = head.length
        self._timeout = timeout
        self._release = release
        self._ended = False
        # More than the answer has come: whose that is nobody knows.
        self._surplus = len(piece) > head.length
        self._piece = piece[: head.length]
        self._left = head.length - len(self._piece)
        self.status = head.status
        self.headers: RawHeaders = head.headers
        self.extensions: dict[str, Any] = {
            "http_version": b"HTTP/1.1",
            "reason_phrase": head.reason,
            "network_stream": stream,
        }

    @property
    def stream(self) -> AsyncPlainIncoming:
        return self

    def __aiter__(self) -> AsyncPlainIncoming:
        return self

    async def __anext__(self) -> bytes:
        piece = self._piece
        if piece:
            self._piece = b""
            return piece
        if self._left and not self._ended:
            return await self._more()
        self._ended = True
        raise StopAsyncIteration

    async def _more(self) -> bytes:
        try:
            piece = await self._stream.read(_MOST_BYTES, self._timeout)
            if not piece:
                received = self._length - self._left
                # In h11's words, by which it is told from other garbage.
                raise httpcore.RemoteProtocolError(
                    "peer closed connection without sending complete message body "
                    f"(received {received} bytes, expected {self._length})"
                )
        except BaseException:
            self._ended = True
            self._stream.close()
            raise
        left = self._left
        if len(piece) > left:
            self._surplus = True
            piece = piece[:left]
        self._left = left - len(piece)
        return piece

    async def aclose(self) -> None:
        self._release(self._ended and not self._left and not self._surplus)
