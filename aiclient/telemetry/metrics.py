"""The metrics, by the OpenTelemetry API alone. Without an SDK for them none is built."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from .events import EventCounter
from .gauges import Followed, Wire, add_gauges
from .genai import GenAI, opted_in
from .labels import METHODS, NODES, OTHER, SERVICES, reason_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from ..core.attempt import Attempt
    from ..core.balancer import BalancerCore
    from ..core.call import Call

__all__ = ["Instruments", "instruments"]

# As the semantic conventions have them, and on: an AI call may take minutes.
_SHORT = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_SECONDS = (*_SHORT, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Instruments:
    """What is counted of calls, attempts and events, on one meter."""

    def __init__(self, meter: Meter) -> None:
        self._followed = Followed()
        self._lock = threading.Lock()
        self._calls = meter.create_histogram(
            "aiclient.call.duration",
            "s",
            "From the call to the end of its answer, all attempts and waits included.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._attempts = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests: one for each attempt, to the end of its answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first_bytes = meter.create_histogram(
            "aiclient.time_to_first_byte",
            "s",
            "From the pick of a node to the first content of its stream.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._retries = meter.create_counter(
            "aiclient.retries",
            "{retry}",
            "Attempts but for the first ones, by what had gone wrong.",
        )
        self._events = EventCounter(meter)
        self.genai = GenAI(meter) if opted_in() else None
        add_gauges(meter, self._followed)

    def follow(self, balancer: BalancerCore, host: str, wire: object = None) -> str:
        """Show this balancer and this wire, too. Returns the service's name in the metrics.

        `host`: the host of the first call, the name of nodes that have none together.
        """
        followed = self._followed
        with self._lock:
            service = followed.services.get(balancer)
            is_new = service is None
            if service is None:
                service = followed.services[balancer] = SERVICES(host)
            if isinstance(wire, Wire):
                followed.wires[wire] = service
        if is_new:
            self._events.follow(balancer, service)
        return service

    def attempt(
        self, attempt: Attempt, call: Call, service: str, status: int | None, error: str
    ) -> None:
        """An attempt of a request is over."""
        endpoint = attempt.node.endpoint
        node = NODES(attempt.node.label)
        attributes: dict[str, Any] = {
            "aiclient.service": service,
            "aiclient.node": node,
            "http.request.method": METHODS.get(call.facts.method if call.facts else "", "_OTHER"),
            "server.address": OTHER,
        }
        if node != OTHER:
            attributes["server.address"] = endpoint.host
            attributes["server.port"] = endpoint.port
        _add_outcome(attributes, status, error)
        ended = attempt.ended_at
        if ended is None:
            ended = attempt.balancer.clock()
        self._attempts.record(ended - attempt.started, attributes)
        # Of an answer that comes whole the first byte is not seen apart from its last.
        if attempt.first_byte_at is not None and call.kind[1]:
            self._first_bytes.record(
                attempt.first_byte_at - attempt.started,
                {"aiclient.service": service, "aiclient.node": node},
            )

    def retry(self, attempt: Attempt, service: str) -> None:
        """An attempt has begun that is not its call's first."""
        reason = reason_of(attempt.retry_of)
        self._retries.add(1, {"aiclient.service": service, "aiclient.reason": reason})

    def call(self, seconds: float, service: str, status: int | None, error: str) -> None:
        """A call is over."""
        attributes: dict[str, Any] = {"aiclient.service": service}
        _add_outcome(attributes, status, error)
        self._calls.record(seconds, attributes)


def _add_outcome(attributes: dict[str, Any], status: int | None, error: str) -> None:
    if status is not None:
        attributes["http.response.status_code"] = status
    if error or (status is not None and status >= 400):
        attributes["error.type"] = error or str(status)


_making = threading.Lock()
_made: tuple[object, Instruments | None] = (None, None)


def instruments() -> Instruments | None:
    """Those of the meter provider in force; None while it is the API's own, which does nothing."""
    provider = metrics.get_meter_provider()
    known, made = _made
    return made if provider is known else _make(provider)


def _make(provider: metrics.MeterProvider) -> Instruments | None:
    global _made
    with _making:
        known, made = _made
        if provider is not known:
            does_nothing = type(provider).__module__.startswith("opentelemetry.metrics")
            made = None if does_nothing else Instruments(provider.get_meter("aiclient"))
            _made = (provider, made)
    return made
