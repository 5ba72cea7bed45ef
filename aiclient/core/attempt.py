"""An attempt: one call's hold on one node, released exactly once.

Whoever holds it says how it goes; dropping it without a word releases it too: the finaliser, which
may run while its own thread holds the balancer's lock, only queues it for the next operation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..facts import AttemptRecord
from .load import Baseline
from .verdict import Failure, Health

if TYPE_CHECKING:
    from ..endpoint import Endpoint
    from .engine import Engine
    from .node import Node

__all__ = ["Attempt", "Overdue"]

_CHECK_EVERY = 0.5
_serials = itertools.count(1)


class Overdue(Exception):
    """Raised inside a wait for a node: give this attempt up, for this reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Attempt:
    """Fields are written under the balancer's lock, or by the one holder before it ends."""

    __slots__ = (
        "abreast",
        "answered",
        "balancer",
        "baseline",
        "begun",
        "charged",
        "deadline_at",
        "done",
        "ended_at",
        "epoch",
        "error",
        "first_byte_at",
        "first_byte_by",
        "generation",
        "idle",
        "movable",
        "next_check",
        "node",
        "number",
        "older",
        "permit",
        "retry_of",
        "serial",
        "started",
        "status",
        "undecided",
        "why",
    )

    def __init__(
        self,
        balancer: Engine,
        node: Node,
        baseline: Baseline,
        now: float,
        why: str,
    ) -> None:
        self.balancer = balancer
        self.node = node
        self.baseline = baseline
        # Stands for the attempt wherever the core remembers it: a reference would keep a dropped
        # attempt alive, and so hold its slot for ever.
        self.serial = next(_serials)
        self.started = now
        self.why = why
        self.generation = node.breaker.generation
        self.epoch = balancer.epoch
        self.number = 1
        # Calls under way at the node when it was picked.
        self.older = node.in_flight
        # So many of them were picked just before it: it may reach the node before they do.
        self.abreast = node.picked_lately(now)
        self.begun = now
        self.retry_of = ""
        self.permit = False
        self.done = False
        self.answered = False
        # Counted against the node's breaker.
        self.charged = False
        # Over, but what it says about the node depends on another node's answer to the same call.
        self.undecided = False
        self.status: int | None = None
        self.error = ""
        self.first_byte_at: float | None = None
        self.ended_at: float | None = None
        self.movable = False
        self.next_check = math.inf
        self.deadline_at = math.inf
        self.first_byte_by = math.inf
        self.idle = math.inf

    @property
    def endpoint(self) -> Endpoint:
        return self.node.endpoint

    # How it went: told by the holder

    def first_byte(self) -> None:
        """The first content of a good answer is here."""
        if not self.answered and not self.done:
            self.balancer.first_byte(self)

    def finish(self) -> None:
        """The answer is complete."""
        if not self.done:
            self.balancer.settle(self, Health.SUCCESS)

    def release(self, reason: str) -> None:
        """It ended, and that says nothing about the node."""
        if not self.done:
            self.balancer.settle(self, Health.NEUTRAL, reason)

    def fault(self, failure: Failure, detail: str = "") -> None:
        """The node is at fault."""
        if not self.done:
            what = f"{failure}: {detail}" if detail not in ("", failure) else str(failure)
            self.balancer.settle(self, Health.FAULT, what, failure=failure)

    # While waiting for the node: asked by the connection

    def patience(self, waited: float) -> float | None:
        """Seconds a wait that has lasted `waited` may go on before `check`; None: for ever."""
        now = self.balancer.clock()
        limit = min(self.deadline_at, self.next_check)
        if self.first_byte_at is not None:
            limit = min(limit, now - waited + self.idle)
        else:
            limit = min(limit, self.first_byte_by)
        return None if limit == math.inf else max(0.0, limit - now)

    def remaining(self) -> float | None:
        """Seconds until a deadline passes; None: there is none."""
        limit = self.deadline_at
        if self.first_byte_at is None:
            limit = min(limit, self.first_byte_by)
        return None if limit == math.inf else max(0.0, limit - self.balancer.clock())

    def check(self, waited: float) -> None:
        """Raise `Overdue` if the wait, `waited` seconds now, has been long enough."""
        now = self.balancer.clock()
        if now >= self.deadline_at:
            raise Overdue(Failure.DEADLINE)
        if self.first_byte_at is None:
            if now >= self.first_byte_by:
                raise Overdue(Failure.FIRST_BYTE)
        elif waited >= self.idle:
            raise Overdue(Failure.IDLE)
        if now >= self.next_check:
            # The longer it has waited, the less a moment matters.
            self.next_check = now + max(_CHECK_EVERY, waited / 4)
            if self.balancer.stalled(self, now):
                raise Overdue(Failure.STALLED)

    def timeouts(self, given: Mapping[str, float | None]) -> dict[str, float | None]:
        """httpx's four timeouts, shortened to what this attempt has left.

        The nearest one can come to deadlines on a transport that is not ours.
        """
        now = self.balancer.clock()
        left = max(0.001, min(self.deadline_at, self.first_byte_by) - now)
        read = min(left, self.idle)
        limits = {"connect": left, "pool": left, "write": left, "read": read}
        shortened: dict[str, float | None] = {}
        for name, limit in limits.items():
            value = given.get(name)
            if limit < math.inf:
                value = limit if value is None else min(value, limit)
            shortened[name] = value
        return shortened

    def watch_for_stall(self) -> None:
        """Ask `check` now and then whether the node has stalled."""
        after = self.balancer.stall_after
        if after is not None:
            self.next_check = self.started + after

    @property
    def limited(self) -> bool:
        """Whether any deadline holds for this attempt."""
        return min(self.deadline_at, self.first_byte_by, self.idle) < math.inf

    def record(self) -> AttemptRecord:
        end = self.ended_at if self.ended_at is not None else self.balancer.clock()
        first = self.first_byte_at
        if self.error:
            outcome = self.error
        elif self.status is not None and self.status >= 400:
            outcome = f"http {self.status}"
        else:
            outcome = "ok" if self.done else "running"
        return AttemptRecord(
            number=self.number,
            node=self.node.label,
            endpoint=self.node.endpoint,
            why=self.why,
            retry_of=self.retry_of,
            outcome=outcome,
            status=self.status,
            started=self.started - self.begun,
            ttfb=None if first is None else first - self.started,
            duration=end - self.started,
        )

    def __del__(self) -> None:
        if not getattr(self, "done", True):
            self.balancer.orphans.append(self)

    def __repr__(self) -> str:
        return f"<Attempt {self.number} on {self.node.label}: {self.record().outcome}>"
