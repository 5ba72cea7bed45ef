"""The instruments that are built where there is an SDK."""

from __future__ import annotations

from typing import Any, NamedTuple

from opentelemetry.metrics import NoOpMeter

from aiclient.telemetry.metrics import Instruments

__all__ = ["Built", "built"]


class Built(NamedTuple):
    """One of them."""

    kind: str
    unit: str
    meaning: str


class _Meter(NoOpMeter):
    def __init__(self) -> None:
        super().__init__("aiclient")
        self.built: dict[str, Built] = {}

    def create_histogram(self, name: str, unit: str = "", description: str = "", **_: Any) -> Any:
        self.built[name] = Built("histogram", unit, description)
        return super().create_histogram(name, unit, description)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self.built[name] = Built("counter", unit, description)
        return super().create_counter(name, unit, description)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self.built[name] = Built("gauge", unit, description)
        return super().create_observable_gauge(name, callbacks, unit, description)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self.built[name] = Built("counter", unit, description)
        return super().create_observable_counter(name, callbacks, unit, description)


def built() -> dict[str, Built]:
    """All of them, by name."""
    meter = _Meter()
    Instruments(meter)
    return meter.built
