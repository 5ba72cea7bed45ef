"""What a call is told to while it goes its way: its spans, the metrics and the access log.

Where nobody listens, there is no SDK and the access log is off, nothing of this is built.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from . import access
from .events import note_events
from .metrics import Instruments, instruments
from .spans import CallSpan, Request, call_span
from .suppression import suppressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.attempt import Attempt
    from ..core.balancer import BalancerCore
    from ..core.call import Call
    from .genai import Reading

__all__ = ["CallTelemetry", "Telemetry", "host_of", "tell"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_NAME = "aiclient.invalid"


class Telemetry:
    """What one transport's calls are told to."""

    def __init__(self, balancer: BalancerCore, wire: object) -> None:
        self._balancer = balancer
        self._wire = wire
        self._meters: Instruments | None = None
        self._service = ""
        self._notes_events = False

    def begin(self, request: Request) -> CallTelemetry | None:
        """A call begins; None where nobody listens."""
        if _dropped:
            _tell_of_dropped()
        logged = access.enabled()
        span = meters = None
        if not suppressed():
            span = call_span(request, self._balancer.picker)
            meters = instruments()
        if span is None and meters is None and not logged:
            return None
        if meters is not None and meters is not self._meters:
            self._service = meters.follow(self._balancer, self._named(request), self._wire)
            self._meters = meters
        if span is not None and not self._notes_events:
            self._notes_events = True
            note_events(self._balancer)
        return CallTelemetry(self, request, span, meters, logged)

    def _named(self, request: Request) -> str:
        """What to call the service: as its discovery does, or as its first caller."""
        host = host_of(self._balancer)
        return str(request.url.host) if host == _NO_NAME else host


def host_of(balancer: BalancerCore) -> str:
    """What all nodes together are called, by their discovery or by a stand-in."""
    return urlsplit(balancer.service).hostname or _NO_NAME


class CallTelemetry:
    """One call, told step by step. Its end is told once, by whoever is the first to tell it."""

    __slots__ = (
        "_attempt",
        "_call",
        "_ended",
        "_host",
        "_logged",
        "_meters",
        "_method",
        "_path",
        "_reading",
        "_service",
        "_started",
        "span",
    )

    def __init__(
        self,
        telemetry: Telemetry,
        request: Request,
        span: CallSpan | None,
        meters: Instruments | None,
        logged: bool,
    ) -> None:
        self._ended = False
        self.span = span
        self._meters = meters
        self._service = telemetry._service
        self._logged = logged
        self._host = request.url.host
        self._method = request.method
        self._path = request.url.path
        self._started = telemetry._balancer.clock()
        self._call: Call | None = None
        self._attempt: Attempt | None = None
        self._reading: Reading | None = None

    def follow(self, call: Call) -> None:
        """This is the call that it is all about."""
        self._call = call
        if self._meters is not None and self._meters.genai is not None:
            self._reading = self._meters.genai.reading(call, self._service)

    def begin_attempt(self, attempt: Attempt) -> list[tuple[bytes, bytes]]:
        """An attempt begins; returns the headers that carry the trace to its node."""
        self._attempt = attempt
        if self._meters is not None and attempt.number > 1:
            self._meters.retry(attempt, self._service)
        return self.span.begin_attempt(attempt) if self.span is not None else []

    def connected(self, peer: object) -> None:
        """The attempt's request went to this address: host and port, or a Unix socket's path."""
        if self.span is not None and peer is not None:
            self.span.connected(peer)

    def first_byte(self) -> None:
        """The attempt's first content is here, and the core knows."""
        if self.span is not None:
            self.span.first_byte()

    def piece(self, piece: bytes) -> None:
        """The caller gets this piece of the attempt's answer."""
        attempt = self._attempt
        if self._reading is not None and attempt is not None and attempt.status is None:
            self._reading.piece(piece)

    def end_attempt(self, status: int | None, error: str = "") -> None:
        """The attempt is over, and the core knows."""
        attempt, self._attempt = self._attempt, None
        if self.span is not None:
            self.span.end_attempt(status, error)
        if attempt is not None and self._meters is not None and self._call is not None:
            self._meters.attempt(attempt, self._call, self._service, status, error)

    def end(self, status: int | None, error: str = "") -> None:
        """The call is over: its answer is complete, or it failed."""
        if self._ended:
            return
        self._ended = True
        if self.span is not None:
            self.span.end(status, error)
        self._report(status, error)

    def _report(self, status: int | None, error: str) -> None:
        call = self._call
        self.end_attempt(status, error)
        if call is None:
            return  # refused before it was one
        seconds = call.balancer.clock() - self._started
        if self._meters is not None:
            self._meters.call(seconds, self._service, status, error)
        if self._reading is not None:
            self._reading.done()
        if self._logged:
            access.log_call(
                {
                    "method": self._method,
                    "service": self._host,
                    "path": self._path,
                    "status": status,
                    "error": error or None,
                    "duration": round(seconds, 6),
                    **(self.span.ids() if self.span is not None else {}),
                },
                call.records(),
            )

    def __del__(self) -> None:
        # The answer was dropped half-read: nobody else will tell its end. Metrics and logs have
        # locks, which this very thread may hold: the next call does it.
        if not getattr(self, "_ended", True):
            self._ended = True
            if self.span is not None:
                self.span.end(None, "dropped")
            if self._attempt is not None and not self._attempt.done:
                # Kept alive for the metrics, it must not hold its node meanwhile.
                self._attempt.balancer.orphans.append(self._attempt)
            _dropped.append(self)


def tell(seen: CallTelemetry | None, core: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Tell the core how an attempt went; what it does then is noted as that attempt's doing."""
    if seen is None or seen.span is None:
        return core(*args, **options)
    with seen.span.cause():
        return core(*args, **options)


_dropped: deque[CallTelemetry] = deque(maxlen=10_000)


def _tell_of_dropped() -> None:
    while _dropped:
        try:
            _dropped.popleft()._report(None, "dropped")
        except IndexError:
            return  # another thread was faster
