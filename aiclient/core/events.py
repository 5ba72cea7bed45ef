"""What the balancer did, for the log and for subscribers."""

from __future__ import annotations

import enum
import logging

import attrs

__all__ = ["Event", "EventKind"]


class EventKind(enum.StrEnum):
    """What an event is about."""

    EJECTED = "ejected"
    PROBING = "probing"
    REVIVED = "revived"
    COOLING = "cooling"
    STALLED = "stalled"
    PANIC = "panic"
    PANIC_OVER = "panic over"
    UPDATE = "update"
    DRAINED = "drained"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"
    CHECKS_IGNORED = "checks ignored"
    CHECKS_HEEDED = "checks heeded"
    DISCOVERY = "discovery"
    DISCOVERY_FAILED = "discovery failed"
    PICKER_FAILED = "picker failed"


LEVELS = {
    EventKind.EJECTED: logging.WARNING,
    EventKind.STALLED: logging.WARNING,
    EventKind.PANIC: logging.WARNING,
    EventKind.UNHEALTHY: logging.WARNING,
    EventKind.CHECKS_IGNORED: logging.WARNING,
    EventKind.DISCOVERY_FAILED: logging.WARNING,
    EventKind.PICKER_FAILED: logging.ERROR,
    EventKind.PROBING: logging.DEBUG,
}


@attrs.frozen
class Event:
    """One thing that happened.

    Attributes:
        kind: what.
        at: when, on the balancer's clock.
        node: the node's name; None when it concerns all.
        detail: why, and for how long.
    """

    kind: EventKind
    at: float
    node: str | None
    detail: str

    def __str__(self) -> str:
        about = f" {self.node}" if self.node else ""
        return f"{self.kind}{about}: {self.detail}" if self.detail else f"{self.kind}{about}"
