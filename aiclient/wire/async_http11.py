"""HTTP/1.1 on one connection: a stream to speak it over, and h11 for all but the plainest answers.

Everything that is out of the ordinary httpcore does: what is traced or logged, and what `compose`
leaves to it. For the rest its locks, traces and generators cost half as much as h11 itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import h11
import httpcore

from .addressing import RawHeaders
from .async_connecting import AsyncStream
from .async_plain import AsyncPlainIncoming
from .failures import ReadError, WriteError
from .plain import plain_head

__all__ = ["AsyncHTTP11", "AsyncIncoming", "is_watched"]

logger = logging.getLogger("httpcore.http11")

# As httpcore has them.
_MOST_BYTES = 64 * 1024
_MOST_HEAD = 100 * 1024
_NO_ANSWER = "Server disconnected without sending a response."
_END = h11.EndOfMessage()


def is_watched(extensions: dict[str, Any]) -> bool:
    """Whether somebody wants to know of each step, as httpcore tells them."""
    return "trace" in extensions or logger.isEnabledFor(logging.DEBUG)


class AsyncHTTP11:
    """Requests and their answers, one after the other."""

    __slots__ = ("_h11", "_idle", "_stream")

    def __init__(self, stream: AsyncStream) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._stream = stream
        self._idle = True

    @property
    def reusable(self) -> bool:
        """Whether the last answer is over, and nothing came behind it."""
        return self._idle and not self._h11.trailing_data[0]

    async def send(
        self,
        told: h11.Request,
        data: bytes,
        parts: AsyncIterator[bytes] | None,
        timeouts: dict[str, float | None],
    ) -> AsyncIncoming | AsyncPlainIncoming:
        """Send a request as `compose` made it, and the parts of its body that are still to come,
        up to the response's headers.

        Raises:
            httpcore's exceptions, and the stream's.
        """
        http, stream = self._h11, self._stream
        timeout = timeouts.get("write")
        self._idle = False
        await stream.write(data, timeout)
        broken = None
        if parts is not None:
            http.send(told)
            broken = await self._upload(parts, timeout)
        timeout = timeouts.get("read")
        try:
            data = await stream.read(_MOST_BYTES, timeout)
        except ReadError:
            if broken is not None:
                raise broken from None
            raise
        if not data:
            raise broken or httpcore.RemoteProtocolError(_NO_ANSWER)
        if parts is None:
            head = plain_head(data) if told.method != b"HEAD" else None
            if head is not None:
                return AsyncPlainIncoming(stream, head, data[head.size :], timeout, self._over)
            # It needs h11's eye: now h11 has to know the question, too.
            http.send(told)
            http.send(_END)
        http.receive_data(data)
        while True:
            event = await self.receive(timeout)
            if isinstance(event, h11.Response):
                return AsyncIncoming(self, event, stream, timeout)

    async def _upload(
        self, parts: AsyncIterator[bytes], timeout: float | None
    ) -> WriteError | None:
        """Send the body; if the node takes no more of it, it may have answered already: that it is
        too large, say.
        """
        try:
            async for part in parts:
                await self._stream.write(self._h11.send(h11.Data(data=part)), timeout)
        except WriteError as exc:
            return exc
        self._h11.send(_END)
        return None

    async def receive(self, timeout: float | None) -> h11.Event | type[h11.PAUSED]:
        """What comes next."""
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as exc:
                raise httpcore.RemoteProtocolError(exc) from exc
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            await self._read(timeout)

    async def _read(self, timeout: float | None) -> None:
        data = await self._stream.read(_MOST_BYTES, timeout)
        if not data and self._h11.their_state is h11.SEND_RESPONSE:
            raise httpcore.RemoteProtocolError(_NO_ANSWER)
        self._h11.receive_data(data)

    def finish(self) -> None:
        """The answer is read, or wanted no more: ready for the next request, or closed."""
        http = self._h11
        whole = http.our_state is h11.DONE and http.their_state is h11.DONE
        if whole:
            http.start_next_cycle()
        self._over(whole)

    def _over(self, whole: bool) -> None:
        if whole:
            self._idle = True
        else:
            self.close()

    def close(self) -> None:
        self._stream.close()


class AsyncIncoming:
    """A response, as httpcore's is: its body is still on the wire."""

    __slots__ = ("_ended", "_http", "_timeout", "extensions", "headers", "status")

    def __init__(
        self, http: AsyncHTTP11, event: h11.Response, stream: object, timeout: float | None
    ) -> None:
        self._http = http
        self._timeout = timeout
        self._ended = False
        self.status = event.status_code
        self.headers: RawHeaders = event.headers.raw_items()
        self.extensions: dict[str, Any] = {
            "http_version": b"HTTP/" + event.http_version,
            "reason_phrase": event.reason,
            "network_stream": stream,
        }

    @property
    def stream(self) -> AsyncIncoming:
        return self

    def __aiter__(self) -> AsyncIncoming:
        return self

    async def __anext__(self) -> bytes:
        if not self._ended:
            try:
                event = await self._http.receive(self._timeout)
            except BaseException:
                self._ended = True
                self._http.close()
                raise
            if isinstance(event, h11.Data):
                return bytes(event.data)
            self._ended = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._http.finish()
