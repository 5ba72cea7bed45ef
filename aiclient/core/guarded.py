"""The lock, and what it guards.

One `threading.Lock` guards membership, the nodes' fields, breakers, the budget and the random
numbers. It is never held across I/O, a wait or a subscriber's callback: events are collected under
it and delivered after it is released. The clock is read once per operation.
"""

from __future__ import annotations

import logging
import os
import random
import time
import weakref
from collections import deque
from collections.abc import Callable
from threading import Lock

from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError
from ..health_check import HealthCheck
from ..settings import BreakerPolicy, Concurrency, Deadlines, OutlierPolicy, RetryPolicy
from .attempt import Attempt
from .budget import RetryBudget
from .checks import Checker, Checks
from .choice import Chooser
from .events import LEVELS, Event
from .fleet import Fleet
from .line import Line, Ticket
from .load import Baseline
from .node import Node
from .pickers import LeastLoad, Picker, checked_picker
from .redaction import redacted
from .settlement import Settlement
from .source import TO_BE_FOUND, Source

__all__ = ["Guarded"]

logger = logging.getLogger("aiclient")


def _checked(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name}: {value!r} is not allowed; a {kind.__name__} or None")


class Guarded:
    """A balancer's parts. What happens to them happens under the lock."""

    def __init__(
        self,
        nodes: object,
        *,
        picker: Picker | None = None,
        retry: RetryPolicy | None = RetryPolicy(),  # noqa: B008 - frozen
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008 - frozen
        outlier: OutlierPolicy | None = OutlierPolicy(),  # noqa: B008 - frozen
        deadlines: Deadlines | None = None,
        concurrency: Concurrency | None = Concurrency(),  # noqa: B008 - frozen
        health_check: HealthCheck | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        _checked("retry", retry, RetryPolicy)
        _checked("breaker", breaker, BreakerPolicy)
        _checked("outlier", outlier, OutlierPolicy)
        _checked("deadlines", deadlines, Deadlines)
        _checked("concurrency", concurrency, Concurrency)
        _checked("health_check", health_check, HealthCheck)
        _checked("rng", rng, random.Random)
        if not callable(clock):
            raise ConfigurationError(f"clock: {clock!r} is not allowed; a callable of seconds")
        self.picker = LeastLoad() if picker is None else checked_picker(picker)
        self.retry = retry or RetryPolicy(attempts=1)
        self.deadlines = deadlines or Deadlines()
        self.clock = clock
        self.answers_without_node = outlier is not None and outlier.no_node == "answer"
        self.stall_after = breaker.stall_after if breaker else None
        self.closed = False
        # Where the nodes come from; None: from `update` alone.
        self.source: Source | None = None
        # What checks them beside their calls; None: nothing.
        self.checker: Checker | None = None
        self.in_flight = 0
        # Permits to retry that the budget did not have.
        self.refused_retries = 0
        # Grows with each fork: an attempt of the parent is no business of the child's.
        self.epoch = 0
        self.orphans: deque[Attempt] = deque()
        # Those in the line for whom a node is held now, and who do not know it yet.
        self._served: list[Ticket] = []
        now = clock()
        rng = rng or random.Random()
        self._lock = Lock()
        self._subscribers: tuple[Callable[[Event], object], ...] = ()
        self._baselines: dict[object, Baseline] = {}
        self._fleet = Fleet(breaker, outlier, rng)
        self._chooser = Chooser(self._fleet, self.picker, rng)
        self._line = Line(concurrency, self.picker, rng)
        self._budget = RetryBudget(self.retry.budget, self.retry.reserve, now)
        self._settlement = Settlement(self._fleet, self._budget, breaker)
        self._checks = Checks(self._fleet, health_check) if health_check else None
        if nodes is not TO_BE_FOUND:
            self._fleet.update(endpoints_from(nodes), now)
        _alive.add(self)

    @property
    def pending(self) -> bool:
        """Whether no node is known yet."""
        return not self._fleet.members

    def _find(self, node: object) -> Node:
        members = self._fleet.members
        if isinstance(node, Endpoint) and node.identity in members:
            return members[node.identity]
        for known in members.values():
            endpoint = known.endpoint
            if node in (known.label, endpoint.name, endpoint.url, endpoint.netloc):
                return known
        names = ", ".join(known.label for known in list(members.values())[:10])
        raise ConfigurationError(f"node: {node!r} is not one of the nodes; there are: {names}")

    def _deliver(self) -> None:
        """Wake calls in the line, log events and hand them to subscribers. The lock is not held."""
        while self._served:
            with self._lock:
                served, self._served = self._served, []
            for ticket in served:
                wake = ticket.wake  # once: who waits may be taking it back
                if wake is not None:
                    wake()
        while self._fleet.events:
            with self._lock:
                events, self._fleet.events = self._fleet.events, []
                subscribers = self._subscribers
            for event in events:
                logger.log(LEVELS.get(event.kind, logging.INFO), "%s", redacted(str(event)))
                for callback in subscribers:
                    try:
                        callback(event)
                    except Exception:
                        logger.exception("a subscriber of the balancer raised")

    def _after_fork(self) -> None:
        """In the child: the lock may have been held, and the parent's calls are not ours."""
        self._lock = Lock()
        self.epoch += 1
        self.in_flight = 0
        self.orphans.clear()
        self._line.waiting.clear()
        self._served.clear()
        self._fleet.forget_calls(self.clock())
        if self.source is not None:
            self.source.forget()
        if self.checker is not None:
            self.checker.forget()


_alive: weakref.WeakSet[Guarded] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for guarded in list(_alive):
        guarded._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
