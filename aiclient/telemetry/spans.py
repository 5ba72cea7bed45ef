"""One span per call, and below it one CLIENT span per attempt, naming its node.

Without an SDK, and without a trace coming in, nothing of this is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from .events import Causing
from .labels import METHODS, reason_of

if TYPE_CHECKING:
    from ..core.attempt import Attempt

__all__ = ["CallSpan", "Request", "call_span"]

_NAMES = {method: f"aiclient {method}" for method in METHODS}
_tracer = trace.get_tracer("aiclient")


class CallSpan:
    """The call's span and the one of the attempt under way. Ended exactly once each."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_call",
        "_method",
        "_path",
        "_peer",
        "_picker",
        "_service",
    )

    def __init__(self, span: Span, method: str, url: Any, picker: str) -> None:
        self._call = span
        self._attempt: Span | None = None
        self._attempts = 0
        self._peer: object = None
        self._method = method
        self._path: str = url.path
        self._service: str = url.host
        self._picker = picker

    def begin_attempt(self, attempt: Attempt) -> list[tuple[bytes, bytes]]:
        """Start the attempt's span; returns the headers that carry it to the node."""
        call = self._call
        self._attempts += 1
        context = trace.set_span_in_context(call)
        if call.is_recording():
            self._peer = None
            self._attempt = _tracer.start_span(
                METHODS.get(self._method, "HTTP"),
                context,
                SpanKind.CLIENT,
                attributes=self._attributes(attempt),
            )
            context = trace.set_span_in_context(self._attempt, context)
        carrier: dict[str, str] = {}
        propagate.inject(carrier, context)
        return [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in carrier.items()
        ]

    def _attributes(self, attempt: Attempt) -> dict[str, Any]:
        endpoint = attempt.endpoint
        attributes: dict[str, Any] = {
            "http.request.method": METHODS.get(self._method, "_OTHER"),
            "server.address": endpoint.host,
            "server.port": endpoint.port,
            # Neither credentials nor a query, which may hold some: an endpoint has none.
            "url.full": f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path}{self._path}",
            "aiclient.node": attempt.node.label,
            "aiclient.picked": attempt.why,
            "aiclient.in_flight": attempt.node.in_flight,
        }
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
            attributes["aiclient.retry_of"] = reason_of(attempt.retry_of)
        return attributes

    def connected(self, peer: object) -> None:
        """The attempt's request went to this address."""
        self._peer = peer

    def cause(self) -> Causing:
        """While this is entered, what the balancer tells is the attempt's doing."""
        return Causing(self._attempt)

    def first_byte(self) -> None:
        if self._attempt is not None:
            self._attempt.add_event("first byte")

    def end_attempt(self, status: int | None, error: str = "") -> None:
        span, self._attempt = self._attempt, None
        if span is None:
            return
        # All at once: each time costs the SDK a lock.
        attributes: dict[str, Any] = {}
        peer = self._peer
        if isinstance(peer, tuple):
            attributes["network.peer.address"] = str(peer[0])
            attributes["network.peer.port"] = peer[1]
        elif peer is not None:
            attributes["network.peer.address"] = str(peer)
        if status is not None:
            attributes["http.response.status_code"] = status
        if error or (status is not None and status >= 400):
            attributes["error.type"] = error or str(status)
            span.set_status(Status(StatusCode.ERROR, error or None))
        span.set_attributes(attributes)
        span.end()

    def end(self, status: int | None, error: str = "") -> None:
        """The call is over: its answer is complete, or it failed."""
        self.end_attempt(status, error)
        span = self._call
        if span.is_recording():
            attributes: dict[str, Any] = {
                "aiclient.service": self._service,
                "aiclient.picker": self._picker,
                "aiclient.attempts": self._attempts,
            }
            if status is not None:
                attributes["http.response.status_code"] = status
            if error:
                attributes["error.type"] = error
                span.set_status(Status(StatusCode.ERROR, error))
            span.set_attributes(attributes)
        span.end()

    def ids(self) -> dict[str, str]:
        """Where to find the call among all traces."""
        found = self._call.get_span_context()
        return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


class Request(Protocol):
    """What is read of either httpx family's request."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> Any: ...


def call_span(request: Request, picker: object) -> CallSpan | None:
    """Start the span of a call; None where there is nothing to see or to carry on."""
    method = request.method
    span = _tracer.start_span(_NAMES.get(method, "aiclient HTTP"))
    if not span.is_recording() and not span.get_span_context().is_valid:
        return None
    return CallSpan(span, method, request.url, type(picker).__name__)
