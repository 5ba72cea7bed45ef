"""What balancers tell of themselves, counted; and noted in the span of the attempt behind it."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from ..core.breaker import Trip
from ..core.events import Event, EventKind
from .labels import NODES, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span

    from ..core.balancer import BalancerCore

__all__ = ["Causing", "EventCounter", "note_events"]

# What an attempt can bring about that its span should tell.
_NOTED = frozenset({EventKind.EJECTED, EventKind.STALLED, EventKind.PANIC})
# Nobody uses these in spite of a panic.
_ALWAYS_ENFORCED = frozenset({Trip.CONNECT.value, "by hand"})


class EventCounter:
    """Counts the events of all balancers that are followed."""

    def __init__(self, meter: Meter) -> None:
        self._events = meter.create_counter(
            "aiclient.events", "{event}", "What balancers did, by kind; see the log."
        )
        self._ejections = meter.create_counter(
            "aiclient.ejections", "{ejection}", "Nodes taken out, and whether they stay unused."
        )

    def follow(self, balancer: BalancerCore, service: str) -> None:
        balancer.subscribe(self._counter(weakref.ref(balancer), service))

    def _counter(
        self, reference: weakref.ref[BalancerCore], service: str
    ) -> Callable[[Event], None]:
        def count(event: Event) -> None:
            self._events.add(1, {"aiclient.service": service, "aiclient.event": str(event.kind)})
            balancer = reference()
            if event.kind is EventKind.EJECTED and balancer is not None:
                reason = reason_of(event.detail)
                self._ejections.add(
                    1,
                    {
                        "aiclient.service": service,
                        "aiclient.node": NODES(event.node or ""),
                        "aiclient.reason": reason,
                        "aiclient.enforced": reason in _ALWAYS_ENFORCED or not balancer.panic,
                    },
                )

        return count


class _Cause(threading.local):
    """The span of the attempt that is being judged in this thread, while it is."""

    span: Span | None = None


_cause = _Cause()


class Causing:
    """Around a call of the core: what is told meanwhile is noted in this span.

    Events are told in the thread that caused them, before the core's method returns.
    """

    __slots__ = ("_span",)

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def __enter__(self) -> None:
        _cause.span = self._span

    def __exit__(self, *exc: object) -> None:
        _cause.span = None


_beginning = threading.Lock()
_noting: weakref.WeakSet[BalancerCore] = weakref.WeakSet()


def note_events(balancer: BalancerCore) -> None:
    """From now on what an attempt of this balancer brings about is an event of its span."""
    with _beginning:
        if balancer in _noting:
            return
        _noting.add(balancer)
    balancer.subscribe(_note)


def _note(event: Event) -> None:
    span = _cause.span
    if span is None or event.kind not in _NOTED:
        return
    attributes = {}
    if event.node is not None:
        attributes["aiclient.node"] = event.node
    if event.kind is EventKind.EJECTED:
        attributes["aiclient.reason"] = reason_of(event.detail)
    span.add_event(str(event.kind), attributes)
