"""An answer on its way to the caller: every piece is seen, and its end is told exactly once."""

from __future__ import annotations

from typing import TypeAlias

import httpx

from ..core.attempt import Attempt, Overdue
from ..core.call import Call
from ..core.holdback import is_error_event
from ..core.verdict import Failure
from ..errors import note_attempts
from ..telemetry.calls import CallTelemetry, tell
from ..wire.async_delegate import AsyncDelegateAnswer
from ..wire.async_wire import AsyncAnswer
from ..wire.options import Journey
from .httpx_family import detail_of, interrupted, translated, verdict_on

__all__ = ["AsyncOnTheWire", "AsyncTrackedStream"]

AsyncOnTheWire: TypeAlias = AsyncAnswer | AsyncDelegateAnswer


class AsyncTrackedStream(httpx.AsyncByteStream):
    """The body as the caller reads it: what was held back first, then the wire.

    An iterator of its own rather than a generator: one that is dropped half-read leaves nothing
    for an event loop to finish.
    """

    def __init__(
        self,
        answer: AsyncOnTheWire,
        call: Call,
        attempt: Attempt,
        seen: CallTelemetry | None,
        held: list[bytes],
    ) -> None:
        self._answer = answer
        self._call = call
        self._attempt = attempt
        self._seen = seen
        self._held = held
        self._ended = False

    def __aiter__(self) -> AsyncTrackedStream:
        return self

    async def __anext__(self) -> bytes:
        if self._held:
            piece = self._held.pop(0)
            if self._seen is not None:
                self._seen.piece(piece)
            return piece
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await self._answer.parts.__anext__()
        except StopAsyncIteration:
            self._complete()
            raise
        except Exception as exc:
            raise self._interrupted(exc) from exc
        attempt = self._attempt
        now = attempt.node.last_byte_at = attempt.balancer.clock()
        if now >= attempt.deadline_at:
            # A node that never stops sending lets no wait become overdue.
            raise self._interrupted(Overdue(Failure.DEADLINE))
        if attempt.first_byte_at is None and not attempt.done:
            self._begun(piece)
        if self._seen is not None:
            self._seen.piece(piece)
        return piece

    def _begun(self, piece: bytes) -> None:
        attempt = self._attempt
        if attempt.status is None and is_error_event(piece):
            # The caller's, as it is: there was nothing to replace it with.
            tell(self._seen, attempt.fault, Failure.ERROR_EVENT)
            return
        tell(self._seen, self._call.delivered, attempt)
        if self._seen is not None:
            self._seen.first_byte()

    def _complete(self) -> None:
        if not self._ended:
            self._ended = True
            self._call.complete(self._attempt)
            if self._seen is not None:
                self._seen.end(self._answer.status)

    def _interrupted(self, exc: Exception) -> Exception:
        self._ended = True
        attempt = self._attempt
        failure, error = verdict_on(exc, attempt, Journey())
        late = attempt.balancer.clock() >= attempt.deadline_at
        if late or failure in (Failure.DEADLINE, Failure.LOCAL):
            attempt.release(str(Failure.DEADLINE if late else failure))
        elif attempt.done:
            pass  # an error's body: the attempt has been judged by its status
        else:
            tell(self._seen, attempt.fault, failure, detail_of(exc))
        if not late and failure is not Failure.DEADLINE and attempt.status is None:
            error = interrupted(exc, error, attempt.node.label)
        elif late:
            error = translated(Overdue(Failure.DEADLINE), attempt)
        note_attempts(error, self._call.records())
        if self._seen is not None:
            self._seen.end(self._answer.status, str(failure))
        return error

    async def aclose(self) -> None:
        if not self._ended:
            self._ended = True
            self._attempt.release("closed before its end")
            if self._seen is not None:
                self._seen.end(self._answer.status)
        await self._answer.aclose()
