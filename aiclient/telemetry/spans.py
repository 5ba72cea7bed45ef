"""One span per call, and below it one CLIENT span per attempt, naming its node.

Without an SDK, and without a trace coming in, nothing of this is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from ..core.attempt import Attempt

__all__ = ["CallSpan", "call_span"]

_tracer = trace.get_tracer("aiclient")


class CallSpan:
    """The call's span and the one of the attempt under way. Ended exactly once each."""

    __slots__ = ("_attempt", "_attempts", "_call", "_method", "_path")

    def __init__(self, span: Span, method: str, path: str) -> None:
        self._call: Span | None = span
        self._attempt: Span | None = None
        self._attempts = 0
        self._method = method
        self._path = path

    def begin_attempt(self, attempt: Attempt) -> list[tuple[bytes, bytes]]:
        """Start the attempt's span; returns the headers that carry it to the node."""
        call = self._call
        if call is None:
            return []
        self._attempts += 1
        context = trace.set_span_in_context(call)
        if call.is_recording():
            self._attempt = _tracer.start_span(
                self._method,
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
            "http.request.method": self._method,
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
            attributes["aiclient.retry_of"] = attempt.retry_of
        return attributes

    def first_byte(self) -> None:
        if self._attempt is not None:
            self._attempt.add_event("first byte")

    def end_attempt(self, status: int | None, error: str = "") -> None:
        span, self._attempt = self._attempt, None
        if span is None:
            return
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if error or (status is not None and status >= 400):
            span.set_attribute("error.type", error or str(status))
            span.set_status(Status(StatusCode.ERROR, error or None))
        span.end()

    def end(self, status: int | None, error: str = "") -> None:
        """The call is over: its answer is complete, or it failed."""
        self.end_attempt(status, error)
        span, self._call = self._call, None
        if span is None:
            return
        if span.is_recording():
            span.set_attribute("aiclient.attempts", self._attempts)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if error:
                span.set_attribute("error.type", error)
                span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    def __del__(self) -> None:
        # The answer was dropped half-read: nobody else will end them.
        if getattr(self, "_call", None) is not None:
            self.end(None, "dropped")


class _Request(Protocol):
    """What is read of either httpx family's request."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> Any: ...


def call_span(request: _Request, picker: object) -> CallSpan | None:
    """Start the span of a call; None where there is nothing to see or to carry on."""
    span = _tracer.start_span("aiclient call")
    recording = span.is_recording()
    if not recording and not span.get_span_context().is_valid:
        return None
    method, url = request.method, request.url
    if recording:
        span.update_name(f"aiclient {method}")
        span.set_attributes(
            {"aiclient.service": url.host, "aiclient.picker": type(picker).__name__}
        )
    return CallSpan(span, method, url.path)
