"""The transport: asks the call what comes next, sends, tells it what happened. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx

from ..balancer import Balancer
from ..core.attempt import Attempt, Overdue
from ..core.call import Call, CallReport, Step
from ..core.holdback import Hold, is_content, is_error_event
from ..core.verdict import Failure
from ..errors import BalancerError, note_attempts
from ..wire.async_delegate import AsyncDelegate
from ..wire.async_wire import AsyncWire
from ..wire.options import Journey
from .async_answers import AsyncOnTheWire, AsyncTrackedStream
from .httpx_family import translated, verdict_on
from .opening import open_call, retry_after
from .redirects import Authority, check_authority, rewritten

if TYPE_CHECKING:
    from ..telemetry.spans import CallSpan

__all__ = ["AsyncShell"]

_MOST_ERROR_BODY = 64 * 1024
_ERROR_BODY_SECONDS = 1.0


class Outcome(NamedTuple):
    """What came of an attempt: the next step, and what the caller gets if there is none."""

    step: Step
    response: httpx.Response | None = None
    error: Exception | None = None


class AsyncShell:
    """Carries requests through the balancer and the wire."""

    def __init__(self, balancer: Balancer, wire: AsyncWire | AsyncDelegate, spans: Any) -> None:
        self._balancer = balancer
        self._wire = wire
        self._call_span = spans
        self.closing = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        authority = (url.scheme, url.host, url.port)
        span: CallSpan | None = self._call_span(
            request.method, url.path, url.host, self._balancer.picker
        )
        call: Call | None = None
        try:
            check_authority(request.extensions, authority)
            call = open_call(
                self._balancer,
                request.method,
                url.raw_path,
                request.headers.raw,
                _replayable_body(request),
                request.extensions.get("aiclient"),
            )
            return await self._run(request, authority, call, span)
        except BaseException as exc:
            if span is not None:
                span.end(call, None, type(exc).__name__)
            if isinstance(exc, BalancerError) and not isinstance(exc, httpx.HTTPError):
                raise translated(exc) from None
            raise

    async def _run(
        self, request: httpx.Request, authority: Authority, call: Call, span: CallSpan | None
    ) -> httpx.Response:
        step: Step = call.begin()
        last = Outcome(None)
        while True:
            if isinstance(step, float):
                await anyio.sleep(step)
                step = call.resume()
                continue
            if step is not None:
                last = await self._attempt(request, authority, call, step, span)
                step = last.step
                if step is not None:
                    continue
            if last.response is not None:
                return last.response
            assert last.error is not None
            note_attempts(last.error, call.records())
            raise last.error

    async def _attempt(
        self,
        request: httpx.Request,
        authority: Authority,
        call: Call,
        attempt: Attempt,
        span: CallSpan | None,
    ) -> Outcome:
        journey = Journey()
        answer: AsyncOnTheWire | None = None
        try:
            answer = await self._send(request, call, attempt, journey, span)
            if answer.status >= 300:
                return await self._refused(authority, call, attempt, answer, span)
            held, complete = await self._hold(call, attempt, answer, span)
        except Exception as exc:
            if answer is not None:
                await answer.aclose()
            failure, error = verdict_on(exc, journey)
            if self.closing:
                failure = Failure.CANCELLED
            step = call.failed(attempt, failure, str(error))
            if span is not None:
                span.end_attempt(None, type(error).__name__)
            return Outcome(step, error=error)
        except BaseException:
            attempt.release(str(Failure.CANCELLED))
            if answer is not None:
                await answer.aclose()
            raise
        if complete:
            await self._finished(answer, call, attempt, span)
            return Outcome(
                None, self._response(answer, call, authority, httpx.ByteStream(b"".join(held)))
            )
        stream = AsyncTrackedStream(answer, call, attempt, span, held)
        step = None
        if held and not attempt.answered:
            step = call.failed(attempt, Failure.ERROR_EVENT)
        if step is not None:
            await self._dropped(answer, span, Failure.ERROR_EVENT)
        return Outcome(step, self._response(answer, call, authority, stream))

    async def _finished(
        self, answer: AsyncOnTheWire, call: Call, attempt: Attempt, span: CallSpan | None
    ) -> None:
        attempt.finish()
        if span is not None:
            span.end(call, answer.status)
        await answer.aclose()

    async def _dropped(self, answer: AsyncOnTheWire, span: CallSpan | None, why: str) -> None:
        if span is not None:
            span.end_attempt(answer.status, why)
        await answer.aclose()

    async def _send(
        self,
        request: httpx.Request,
        call: Call,
        attempt: Attempt,
        journey: Journey,
        span: CallSpan | None,
    ) -> AsyncOnTheWire:
        url = request.url
        added = span.begin_attempt(attempt) if span is not None else []
        deadline = call.deadline_header()
        if deadline is not None:
            added.append((deadline[0].encode("ascii"), deadline[1].encode("ascii")))
        assert isinstance(request.stream, httpx.AsyncByteStream)
        return await self._wire.send(
            attempt,
            journey,
            request.method,
            url.raw_path,
            request.headers.raw,
            added,
            request.stream,
            request.extensions,
        )

    async def _hold(
        self, call: Call, attempt: Attempt, answer: AsyncOnTheWire, span: CallSpan | None
    ) -> tuple[list[bytes], bool]:
        """Read as much ahead as the call wants held; whether that was all of it."""
        hold = call.holding(answer.status, answer.headers)
        held: list[bytes] = []
        if hold is Hold.NOTHING:
            return held, False
        received = b""
        size = 0
        async for piece in answer.parts:
            held.append(piece)
            size += len(piece)
            attempt.node.last_byte_at = attempt.balancer.clock()
            if hold is Hold.FIRST:
                received += piece
                if not is_content(received):
                    continue
                if is_error_event(received):
                    return held, False
            elif size <= call.hold:
                continue
            self._begun(call, attempt, span)
            return held, False
        self._begun(call, attempt, span)
        return held, True

    @staticmethod
    def _begun(call: Call, attempt: Attempt, span: CallSpan | None) -> None:
        call.delivered(attempt)
        if span is not None:
            span.first_byte()

    async def _refused(
        self,
        authority: Authority,
        call: Call,
        attempt: Attempt,
        answer: AsyncOnTheWire,
        span: CallSpan | None,
    ) -> Outcome:
        """Anything but success: read the little there is to it, then ask what comes next."""
        status = answer.status
        held: list[bytes] = []
        complete = False
        if call.could_retry(status):
            complete = await self._read_error(attempt, answer, held)
        wait = retry_after(answer.headers)
        step = call.answered(attempt, status, wait, final=bool(held) and not complete)
        body: httpx.AsyncByteStream = httpx.ByteStream(b"".join(held))
        if step is not None:
            await self._dropped(answer, span, "")
        elif complete:
            await self._finished(answer, call, attempt, span)
        else:
            body = AsyncTrackedStream(answer, call, attempt, span, held)
        return Outcome(step, self._response(answer, call, authority, body))

    async def _read_error(
        self, attempt: Attempt, answer: AsyncOnTheWire, held: list[bytes]
    ) -> bool:
        """Read an error's body so that it can still be handed over later; whether it is whole."""
        clock = attempt.balancer.clock
        attempt.first_byte_by = min(attempt.first_byte_by, clock() + _ERROR_BODY_SECONDS)
        size = 0
        try:
            async for piece in answer.parts:
                held.append(piece)
                size += len(piece)
                if size > _MOST_ERROR_BODY:
                    return False
        except Overdue:
            held.clear()
            return False
        return True

    def _response(
        self,
        answer: AsyncOnTheWire,
        call: Call,
        authority: Authority,
        stream: httpx.AsyncByteStream,
    ) -> httpx.Response:
        extensions = dict(answer.extensions)
        extensions["aiclient"] = CallReport(call)
        headers = answer.headers
        if 300 <= answer.status < 400:
            node = call.attempts[-1].endpoint
            endpoints = self._balancer.endpoints
            headers = rewritten(answer.status, headers, authority, node, endpoints)
        return httpx.Response(answer.status, headers=headers, stream=stream, extensions=extensions)

    @property
    def busy(self) -> int:
        return self._wire.busy

    async def aclose(self, *, abort: bool) -> None:
        self.closing = abort
        await self._wire.aclose(abort=abort)


def _replayable_body(request: httpx.Request) -> bytes | None:
    """The body, if it is one piece of bytes; None for what can be read only once."""
    stream = request.stream
    if type(stream) is httpx.ByteStream:
        return b"".join(stream)
    return None
