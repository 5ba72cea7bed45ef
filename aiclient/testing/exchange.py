"""One request and its answer: the wait for a slot, the pace of the tokens, the faults."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field

from . import dialects
from .answers import Answer, Stream
from .connection import Connection
from .faults import Fault, FaultPlan
from .http1 import LAST_CHUNK, Request, chunk, response_head
from .record import RequestLog
from .settings import Settings
from .slots import Slots

_GARBAGE = b"\x16\x03\x01 this is not HTTP \xff\xfe\x00\r\n\r\n"
_FLUSH_AT = 64 * 1024


@dataclass(slots=True)
class NodeState:
    """What a node is at the moment. Changed by the loop's thread only, read by any."""

    settings: Settings
    slots: Slots
    faults: FaultPlan = field(default_factory=FaultPlan)
    requests: RequestLog = field(default_factory=RequestLog)
    served: int = 0
    active: int = 0


class Ending(enum.Enum):
    """What is to become of the connection after an exchange."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"


class Exchange:
    """One request on one connection.

    The last bytes of an answer are left for the caller to flush, after it has brought its books
    in order: a client that has its answer must find the counters right.
    """

    def __init__(self, state: NodeState, connection: Connection, request: Request) -> None:
        self._state = state
        self._connection = connection
        self._request = request
        self._due = 0.0

    async def run(self) -> Ending:
        """Answer the request, or do what the fault of the moment says."""
        state = self._state
        answer = dialects.answer(self._request, state.settings)
        fault = state.faults.strike(self._request.path)
        if fault is None:
            return await self._serve(answer)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        return await self._strike(fault, answer)

    async def _strike(self, fault: Fault, answer: Answer) -> Ending:
        if fault.status is not None:
            return await self.send(self._told_to(fault.status, fault.retry_after))
        match fault.name:
            case "reset":
                return Ending.RESET
            case "hang":
                return await _for_ever()
            case "garbage":
                self._connection.send(_GARBAGE)
                return Ending.CLOSE
            case "error_event" if answer.stream is not None:
                settings = self._state.settings
                return await self.send(dialects.told_to_fail_in_stream(self._request, settings))
            case "error_event":
                return await self.send(self._told_to(500))
            case "close_idle":
                await self._serve(answer)
                return Ending.CLOSE
            case _:
                return await self._serve(answer, fault)

    def _told_to(self, status: int, retry_after: float | None = None) -> Answer:
        return dialects.told_to(self._request, self._state.settings, status, retry_after)

    async def _serve(self, answer: Answer, fault: Fault | None = None) -> Ending:
        state = self._state
        if answer.tokens is None:
            ending = await self.send(answer, fault)
        else:
            limit = state.settings.queue
            if limit is not None and state.slots.is_full and state.slots.waiting >= limit:
                return await self.send(dialects.busy(self._request, state.settings))
            async with state.slots:
                ending = await self.send(answer, fault)
        if fault is None and answer.status < 400:
            state.served += 1
        return ending

    async def send(self, answer: Answer, fault: Fault | None = None) -> Ending:
        """Send an answer at its pace, without asking for a slot, as far as `fault` lets it go."""
        self._due = asyncio.get_running_loop().time()
        if answer.stream is None:
            return await self._send_whole(answer, fault)
        return await self._send_stream(answer, answer.stream, fault)

    async def _send_whole(self, answer: Answer, fault: Fault | None) -> Ending:
        if answer.tokens is not None:
            speed = self._state.settings
            await self._pause(speed.prefill + answer.tokens * speed.token_time)
        head = self._head(answer, ("content-length", str(len(answer.body))))
        body = b"" if self._request.method == "HEAD" else answer.body
        if fault is not None:
            return await self._break_off(fault, head + body[: len(body) // 2])
        self._connection.send(head + body)
        return Ending.KEEP if self._request.keep_alive else Ending.CLOSE

    async def _send_stream(self, answer: Answer, stream: Stream, fault: Fault | None) -> Ending:
        connection = self._connection
        is_chunked = self._request.version == "HTTP/1.1"
        frame = chunk if is_chunked else bytes
        framing = ("transfer-encoding", "chunked") if is_chunked else ("connection", "close")
        connection.send(self._head(answer, framing))
        if answer.tokens is not None:
            await self._pause(self._state.settings.prefill)
        if stream.opening:
            connection.send(frame(stream.opening))
        for number, delta in enumerate(stream.deltas):
            if fault is not None and number >= fault.tokens:
                break
            await self._pause(self._state.settings.token_time)
            connection.send(frame(delta))
            if connection.pending > _FLUSH_AT:
                await connection.flush()
        if fault is not None:
            event = frame(stream.closing[0])
            last_words = event[: len(event) // 2] if fault.name == "cut_mid_body" else b""
            return await self._break_off(fault, last_words)
        connection.send(b"".join(map(frame, stream.closing)))
        if is_chunked:
            connection.send(LAST_CHUNK)
        return Ending.KEEP if is_chunked and self._request.keep_alive else Ending.CLOSE

    def _head(self, answer: Answer, framing: tuple[str, str]) -> bytes:
        headers = [
            ("content-type", answer.content_type),
            ("x-fake-node", str(self._state.settings.name)),
            *answer.headers,
            framing,
        ]
        if framing[0] != "connection":
            if not self._request.keep_alive:
                headers.append(("connection", "close"))
            elif self._request.version == "HTTP/1.0":
                headers.append(("connection", "keep-alive"))
        return response_head(answer.status, headers)

    async def _pause(self, seconds: float) -> None:
        # Due times add up from the start, so that late wake-ups do not slow a whole answer down.
        if seconds <= 0:
            return
        self._due += seconds
        delay = self._due - asyncio.get_running_loop().time()
        if delay > 0:
            await self._connection.flush()
            await asyncio.sleep(delay)

    async def _break_off(self, fault: Fault, last_words: bytes) -> Ending:
        self._connection.send(last_words)
        if fault.name == "hang_mid_stream":
            await self._connection.flush()
            await _for_ever()
        return Ending.CLOSE


async def _for_ever() -> Ending:
    # Ends by cancellation, when the client goes away or the node goes down.
    ending: Ending = await asyncio.get_running_loop().create_future()
    return ending
