"""The transport: asks the call what is next, sends, tells what happened. It decides nothing."""

from __future__ import annotations

from typing import NamedTuple

import httpx

from ..balancer import Balancer
from ..core.attempt import Attempt
from ..core.call import Step
from ..core.holdback import Hold, Opening
from ..core.report import CallReport
from ..core.verdict import Failure
from ..errors import BalancerError, NoNodeAvailable, note_attempts
from ..pausing import async_pause
from ..telemetry.calls import CallTelemetry, Telemetry, tell
from ..wire.async_delegate import AsyncDelegate
from ..wire.async_wire import AsyncWire
from ..wire.options import Journey
from .async_answers import AsyncOnTheWire, AsyncTrackedStream
from .httpx_family import check_location, detail_of, translated, verdict_on
from .opening import no_node_answer, open_call, retry_after
from .redirects import REDIRECTS, check_authority, rewritten

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

    def __init__(
        self,
        balancer: Balancer,
        wire: AsyncWire | AsyncDelegate,
        telemetry: Telemetry,
    ) -> None:
        self.balancer = balancer
        self.wire = wire
        self.closing = False
        self._telemetry = telemetry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seen = self._telemetry.begin(request)
        try:
            return await AsyncExchange(self, request, seen).run()
        except BaseException as exc:
            if seen is not None:
                seen.end(None, type(exc).__name__)
            if isinstance(exc, NoNodeAvailable) and self.balancer.answers_without_node:
                status, headers, body = no_node_answer(exc)
                return httpx.Response(status, headers=headers, content=body)
            if isinstance(exc, BalancerError) and not isinstance(exc, httpx.HTTPError):
                raise translated(exc) from None
            raise

    @property
    def busy(self) -> int:
        return self.wire.busy

    async def aclose(self, *, abort: bool) -> None:
        self.closing = abort
        await self.wire.aclose(abort=abort)


class AsyncExchange:
    """One call on its way: its request, and what is told about it."""

    __slots__ = ("_authority", "_call", "_request", "_seen", "_shell")

    def __init__(
        self, shell: AsyncShell, request: httpx.Request, seen: CallTelemetry | None
    ) -> None:
        url = request.url
        self._authority = (url.scheme, url.raw_host, url.port)
        check_authority(request.extensions, self._authority)
        self._shell = shell
        self._request = request
        # Told of each step, where somebody listens.
        self._seen = seen
        self._call = open_call(
            shell.balancer,
            request.method,
            url.raw_path,
            request.headers.raw,
            _replayable_body(request),
            request.extensions.get("aiclient"),
        )
        if seen is not None:
            seen.follow(self._call)

    async def run(self) -> httpx.Response:
        """Go through the call's steps to its last outcome."""
        step: Step = self._call.begin()
        last = Outcome(None)
        while True:
            if isinstance(step, Attempt):
                last = await self._try(step)
                step = last.step
            elif step is not None:
                await async_pause(self._call, step)
                step = self._call.resume()
                if step is None and last.response is not None and self._seen is not None:
                    self._seen.end(last.response.status_code)  # it had been put by
            if step is not None:
                continue
            if last.response is not None:
                return last.response
            assert last.error is not None
            note_attempts(last.error, self._call.records())
            try:
                raise last.error
            finally:
                del last  # else the exception would hold this frame, and the frame it

    async def _try(self, attempt: Attempt) -> Outcome:
        journey = Journey()
        answer: AsyncOnTheWire | None = None
        try:
            answer = await self._send(attempt, journey)
            if answer.status >= 300:
                return await self._refused(attempt, answer)
            held, complete = await self._hold(attempt, answer)
        except Exception as exc:
            if answer is not None:
                await answer.aclose()
            return self._failed(attempt, exc, journey)
        except BaseException:
            attempt.release(str(Failure.CANCELLED))
            if answer is not None:
                await answer.aclose()
            raise
        if complete:
            return await self._whole(attempt, answer, held)
        if held and not attempt.answered:
            return await self._error_event(attempt, answer, held)
        return Outcome(None, self._response(answer, self._tracked(attempt, answer, held)))

    def _failed(self, attempt: Attempt, exc: Exception, journey: Journey) -> Outcome:
        failure, error = verdict_on(exc, attempt, journey)
        if self._shell.closing:
            failure = Failure.CANCELLED
        if self._seen is not None:
            self._seen.connected(journey.peer)
        step = tell(self._seen, self._call.failed, attempt, failure, detail_of(exc))
        if self._seen is not None:
            self._seen.end_attempt(None, type(error).__name__)
        return Outcome(step, error=error)

    async def _send(self, attempt: Attempt, journey: Journey) -> AsyncOnTheWire:
        request = self._request
        facts = self._call.facts
        added = self._seen.begin_attempt(attempt) if self._seen is not None else []
        deadline = self._call.deadline_header()
        if deadline is not None:
            added = [*added, deadline]
        assert facts is not None
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._shell.wire.send(
            attempt, journey, facts, added, request.stream, request.extensions
        )
        if self._seen is not None:
            self._seen.connected(journey.peer)
        return answer

    async def _hold(self, attempt: Attempt, answer: AsyncOnTheWire) -> tuple[list[bytes], bool]:
        """Read as much ahead as the call wants held; whether that was all of it."""
        hold = self._call.holding(answer.status, answer.headers)
        held: list[bytes] = []
        if hold is Hold.NOTHING:
            if answer.status == 101:
                self._begun(attempt)  # from here on it is not HTTP
            return held, False
        opening = Opening(hold) if hold is not Hold.WHOLE else None
        size = 0
        async for piece in answer.parts:
            held.append(piece)
            size += len(piece)
            attempt.node.last_byte_at = attempt.balancer.clock()
            if opening is not None:
                if not opening.feed(piece):
                    continue
                if opening.is_error:
                    return held, False
            elif size <= self._call.hold:
                continue
            self._begun(attempt)
            return [b"".join(held)], False
        return held, opening is None or not opening.is_error

    def _begun(self, attempt: Attempt) -> None:
        tell(self._seen, self._call.delivered, attempt)
        if self._seen is not None:
            self._seen.first_byte()

    async def _whole(self, attempt: Attempt, answer: AsyncOnTheWire, held: list[bytes]) -> Outcome:
        """All of it is here: the node and its connection are free again."""
        good = not attempt.done
        body = b"".join(held)
        tell(self._seen, self._call.complete, attempt)
        if self._seen is not None:
            if good:
                self._seen.first_byte()
            self._seen.piece(body)
            self._seen.end(answer.status)
        await answer.aclose()
        return Outcome(None, self._response(answer, httpx.ByteStream(body)))

    async def _error_event(
        self, attempt: Attempt, answer: AsyncOnTheWire, held: list[bytes]
    ) -> Outcome:
        step = tell(self._seen, self._call.failed, attempt, Failure.ERROR_EVENT)
        if step is None:
            return Outcome(None, self._response(answer, self._tracked(attempt, answer, held)))
        await self._drop(answer, str(Failure.ERROR_EVENT))
        return Outcome(step)

    async def _refused(self, attempt: Attempt, answer: AsyncOnTheWire) -> Outcome:
        """Anything but success: read the little there is to it, then ask what comes next."""
        status = answer.status
        if status in REDIRECTS:
            check_location(self._request.url, answer.headers)
        held: list[bytes] = []
        complete = False
        if self._call.could_retry(status):
            complete = await self._read_error(attempt, answer, held)
        step = tell(self._seen, self._call.answered, attempt, status, retry_after(answer.headers))
        if step is None and complete:
            return await self._whole(attempt, answer, held)
        if step is None:
            return Outcome(None, self._response(answer, self._tracked(attempt, answer, held)))
        await self._drop(answer)
        return Outcome(step, self._response(answer, httpx.ByteStream(b"".join(held))))

    async def _read_error(
        self, attempt: Attempt, answer: AsyncOnTheWire, held: list[bytes]
    ) -> bool:
        """Read an error's body so that it can still be handed over later; whether that was all."""
        clock = attempt.balancer.clock
        attempt.first_byte_by = min(attempt.first_byte_by, clock() + _ERROR_BODY_SECONDS)
        size = 0
        try:
            async for piece in answer.parts:
                held.append(piece)
                size += len(piece)
                if size > _MOST_ERROR_BODY:
                    return False
        except Exception:
            pass  # slow, or cut short: the status says what there is to say
        return True

    async def _drop(self, answer: AsyncOnTheWire, error: str = "") -> None:
        if self._seen is not None:
            self._seen.end_attempt(answer.status, error)
        await answer.aclose()

    def _tracked(
        self, attempt: Attempt, answer: AsyncOnTheWire, held: list[bytes]
    ) -> AsyncTrackedStream:
        return AsyncTrackedStream(answer, self._call, attempt, self._seen, held)

    def _response(self, answer: AsyncOnTheWire, stream: httpx.AsyncByteStream) -> httpx.Response:
        extensions = dict(answer.extensions)
        extensions["aiclient"] = CallReport(self._call)
        headers = answer.headers
        if answer.status in REDIRECTS:
            node = self._call.attempts[-1].endpoint
            endpoints = self._shell.balancer.endpoints
            headers = rewritten(headers, self._authority, node, endpoints)
        return httpx.Response(answer.status, headers=headers, stream=stream, extensions=extensions)


def _replayable_body(request: httpx.Request) -> bytes | None:
    """The body, if it is one piece of bytes; None for what can be read only once."""
    stream = request.stream
    if type(stream) is httpx.ByteStream:
        return b"".join(stream)
    return None
