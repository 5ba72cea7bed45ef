"""The lock, and everything that happens under it.

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
from ..errors import BalancerError, ConfigurationError
from ..settings import BreakerPolicy, Deadlines, OutlierPolicy, RetryPolicy
from .attempt import Attempt
from .budget import RetryBudget
from .choice import Chooser, Wanted
from .events import LEVELS, Event
from .fleet import Fleet
from .load import Baseline
from .node import Node
from .pickers import LeastLoad, Picker, checked_picker
from .settlement import Settlement
from .verdict import Failure, Health

__all__ = ["Engine"]

logger = logging.getLogger("aiclient")

_PROBE_SECONDS = 30.0
_MOST_KINDS = 4096


def _checked(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name}: {value!r} is not allowed; a {kind.__name__} or None")


class Engine:
    """Picks and settles, under the lock."""

    def __init__(
        self,
        nodes: object,
        *,
        picker: Picker | None = None,
        retry: RetryPolicy | None = RetryPolicy(),  # noqa: B008 - frozen
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008 - frozen
        outlier: OutlierPolicy | None = OutlierPolicy(),  # noqa: B008 - frozen
        deadlines: Deadlines | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        _checked("retry", retry, RetryPolicy)
        _checked("breaker", breaker, BreakerPolicy)
        _checked("outlier", outlier, OutlierPolicy)
        _checked("deadlines", deadlines, Deadlines)
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
        self.in_flight = 0
        # Grows with each fork: an attempt of the parent is no business of the child's.
        self.epoch = 0
        self.orphans: deque[Attempt] = deque()
        now = clock()
        rng = rng or random.Random()
        self._lock = Lock()
        self._subscribers: tuple[Callable[[Event], object], ...] = ()
        self._baselines: dict[object, Baseline] = {}
        self._fleet = Fleet(breaker, outlier, rng)
        self._chooser = Chooser(self._fleet, self.picker, rng)
        self._budget = RetryBudget(self.retry.budget, self.retry.reserve, now)
        self._settlement = Settlement(self._fleet, self._budget, breaker)
        self._fleet.update(endpoints_from(nodes), now)
        _alive.add(self)

    # One attempt's life

    def pick(self, call: Wanted, kind: object, *, watched: bool = True) -> Attempt | float:
        """Hold a node for the call, or say how many seconds to wait for one.

        `watched`: it will say when the first byte comes, so that its silence means something.

        Raises:
            NoNodeAvailable: there is none, and waiting would not help.
        """
        if self.closed:
            raise BalancerError("the balancer is closed")
        now = self.clock()
        with self._lock:
            if self.orphans or self._fleet.next_due <= now:
                self._catch_up(now)
            chosen = self._chooser.choose(call, self.in_flight, now)
            held: Attempt | float
            if isinstance(chosen, tuple):
                held = self._hold(chosen[0], chosen[1], kind, watched, now)
            else:
                held = chosen
        if self._fleet.events:
            self._deliver()
        return held

    def pin(self, name: str, kind: object, *, watched: bool = True) -> Attempt:
        """Hold the node of that name, whatever its state.

        Raises:
            ConfigurationError: there is no such node.
        """
        if self.closed:
            raise BalancerError("the balancer is closed")
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            held = self._hold(self._find(name), "pinned", kind, watched, now)
        self._deliver()
        return held

    def _hold(self, node: Node, why: str, kind: object, watched: bool, now: float) -> Attempt:
        baseline = self._baselines.get(kind)
        if baseline is None:
            if len(self._baselines) >= _MOST_KINDS:
                self._baselines.clear()
            baseline = self._baselines[kind] = Baseline()
        attempt = Attempt(self, node, baseline, now, why)
        node.in_flight += 1
        node.count_pick(now)
        self.in_flight += 1
        self._budget.observe(self.in_flight, now)
        if watched:
            node.waiting[attempt.serial] = (now, baseline)
            if baseline.known:
                self._fleet.due_by(node, now + baseline.late)
        if why == "probe":
            node.probe = attempt.serial
            node.probe_until = now + max(_PROBE_SECONDS, 3 * baseline.slowest)
            self._fleet.probes.pop(node, None)
            self._fleet.due_by(node, node.probe_until)
        if node.newcomer:
            self._fleet.place(node, now)
        node.rescore()
        return attempt

    def first_byte(self, attempt: Attempt) -> None:
        """The first content of a good answer: the latency sample, and the verdict on the node."""
        now = self.clock()
        with self._lock:
            if attempt.epoch == self.epoch and not attempt.done and not attempt.answered:
                self._settlement.good_first_byte(attempt, now)
        if self._fleet.events:
            self._deliver()

    def settle(
        self,
        attempt: Attempt,
        health: Health,
        what: str = "",
        *,
        failure: Failure | None = None,
        retry_after: float | None = None,
    ) -> None:
        """The attempt is over, and this is what it says about its node. Only once."""
        now = self.clock()
        with self._lock:
            if attempt.done:
                return
            attempt.error = what
            if attempt.epoch == self.epoch:
                self._judge(attempt, health, what, failure, retry_after, now)
                self._settlement.ended(attempt, now)
                self.in_flight -= 1
            attempt.done = True
            attempt.ended_at = now
        if self._fleet.events:
            self._deliver()

    def _judge(
        self,
        attempt: Attempt,
        health: Health,
        what: str,
        failure: Failure | None,
        retry_after: float | None,
        now: float,
    ) -> None:
        if health is Health.FAULT:
            self._settlement.fault(attempt, failure, what, now)
        elif health is Health.BACK_PRESSURE:
            self._settlement.cool(attempt, retry_after, what, now)
        elif health is Health.SUCCESS and not attempt.answered:
            if attempt.status is None or attempt.status < 300:
                self._settlement.did_well(attempt, now)
            else:
                self._settlement.works(attempt, now)
                self._settlement.occupy(attempt, now)
        elif attempt.status is not None and not attempt.answered:
            self._settlement.occupy(attempt, now)

    # Second thoughts about an attempt that is over

    def charge(self, earlier: Attempt, what: str) -> None:
        """Another node could do what this one could not: it was at fault after all."""
        self._reconsider(earlier, lambda now: self._settlement.fault(earlier, None, what, now))

    def poison(self, earlier: Attempt) -> None:
        """Another node gave the same 5xx: take the charge back."""
        self._reconsider(earlier, lambda now: self._settlement.poison(earlier, now))

    def acquit(self, earlier: Attempt) -> None:
        """Another node could not do it either."""
        self._reconsider(earlier, lambda now: self._settlement.acquit(earlier, now))

    def confirm_stall(self, moved: Attempt, took: float) -> None:
        """A call moved away from a suspect was answered elsewhere within `took` seconds."""
        self._reconsider(moved, lambda now: self._settlement.confirm_stall(moved, took, now))

    def _reconsider(self, earlier: Attempt, judge: Callable[[float], None]) -> None:
        now = self.clock()
        with self._lock:
            if earlier.epoch == self.epoch:
                judge(now)
        self._deliver()

    def stalled(self, attempt: Attempt, now: float) -> bool:
        """Whether the node has stalled and the call can and should move to another one."""
        with self._lock:
            verdict = attempt.epoch == self.epoch and (
                self._settlement.lost(attempt, now)
                if attempt.answered
                else self._settlement.stalled(attempt, now) and self._can_move(attempt, now)
            )
        self._deliver()
        return verdict

    def _can_move(self, attempt: Attempt, now: float) -> bool:
        elsewhere = any(node is not attempt.node for node in self._fleet.ready.nodes[:2])
        return attempt.movable and elsewhere and self._budget.left(now) >= 1

    def withdraw(self) -> bool:
        """Take a permit to retry from the budget."""
        now = self.clock()
        with self._lock:
            return self._budget.withdraw(now)

    def give_back(self) -> None:
        """Return a permit that was not used."""
        with self._lock:
            self._budget.give_back()

    # Inside

    def _catch_up(self, now: float) -> None:
        while self.orphans:
            attempt = self.orphans.popleft()
            if not attempt.done and attempt.epoch == self.epoch:
                attempt.error = "dropped without being closed"
                self._settlement.ended(attempt, now)
                self.in_flight -= 1
        self._fleet.advance(now)

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
        """Log the events and hand them to the subscribers. The lock is not held."""
        while self._fleet.events:
            with self._lock:
                events, self._fleet.events = self._fleet.events, []
                subscribers = self._subscribers
            for event in events:
                logger.log(LEVELS.get(event.kind, logging.INFO), "%s", event)
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
        self._fleet.forget_calls(self.clock())


_alive: weakref.WeakSet[Engine] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for engine in list(_alive):
        engine._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
