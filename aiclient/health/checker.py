"""The threads that check one balancer's nodes.

They start with the first call, start anew in a forked child, and end with the balancer, closed or
collected: they hold no reference to it between two checks. No call ever waits for them.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..endpoint import Endpoint
from ..health_check import HealthCheck
from .line import Lines
from .schedule import Schedule

if TYPE_CHECKING:
    import ssl

    from .exchange import Exchange

__all__ = ["HealthChecker"]

logger = logging.getLogger("aiclient")

# Checks under way at once. A node that drops every packet takes one for its whole timeout.
_MOST_WORKERS = 64
_IDLE_SECONDS = 5.0
_LONGEST_SLEEP = 3600.0


class Checked(Protocol):
    """What a balancer lets its checker do."""

    clock: Callable[[], float]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]: ...
    def checked(self, endpoint: Endpoint, problem: str, began: float) -> bool: ...


class _Crew:
    """What the threads of one life share; its fields are guarded by its lock."""

    def __init__(self, policy: HealthCheck) -> None:
        # Re-entrant: a finaliser may end it while its own thread is in here.
        lock = threading.RLock()
        self.changed = threading.Condition(lock)
        self.work = threading.Condition(lock)
        self.schedule = Schedule(policy, random.Random())
        self.lines = Lines()
        self.jobs: deque[Endpoint] = deque()
        self.idle = 0
        self.workers = 0
        self.outdated = True
        self.over = False

    def end(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()
            self.work.notify_all()
        self.lines.cut()

    def hand_out(self, now: float) -> int:
        """Give who is due to the workers; returns how many of these are missing."""
        with self.changed:
            while (endpoint := self.schedule.take(now)) is not None:
                self.jobs.append(endpoint)
            self.work.notify(len(self.jobs))
            return min(len(self.jobs) - self.idle, _MOST_WORKERS - self.workers)

    def sleep(self) -> bool:
        """Until somebody is due or there is news; False when it is over."""
        with self.changed:
            if not (self.over or self.outdated):
                pause = min(_LONGEST_SLEEP, self.schedule.next_due - time.monotonic())
                if self.jobs and not self.workers:
                    pause = 1.0  # for want of threads
                self.changed.wait(max(0.0, pause))
            return not self.over

    def next_job(self) -> Endpoint | None:
        """For a worker: whom to check; None: it is needed no more."""
        with self.work:
            if not (self.jobs or self.over):
                self.idle += 1
                self.work.wait(_IDLE_SECONDS)
                self.idle -= 1
            if self.jobs and not self.over:
                return self.jobs.popleft()
            self.workers -= 1
            return None

    def done(self, endpoint: Endpoint, began: float, *, soon: bool) -> None:
        with self.changed:
            earliest = self.schedule.next_due
            self.schedule.done(endpoint, began, time.monotonic(), soon=soon)
            if self.schedule.next_due < earliest:
                self.changed.notify_all()


class HealthChecker:
    """Checks the nodes of a balancer and tells it what was found."""

    def __init__(self, balancer: Checked, policy: HealthCheck) -> None:
        self._policy = policy
        self._crew = _Crew(policy)
        self._balancer = weakref.ref(balancer, self._ended_by(self._crew))
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        # Makes the context for https, where the policy has none of its own.
        self.tls: Callable[[], ssl.SSLContext] | None = None

    @staticmethod
    def _ended_by(crew: _Crew) -> Callable[[object], None]:
        return lambda _: crew.end()

    def begin(self) -> None:
        """Start to check, if that is not done yet."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._crew.over:
                # A daemon: a service that forgets to close its client must still come to its end.
                self._thread = threading.Thread(
                    target=self._run, args=(self._crew,), name="aiclient health", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError as exc:
                    # For want of threads, or at the interpreter's end: calls go on without.
                    logger.warning("there will be no health checks: %s", exc)

    def changed(self) -> None:
        """There are other nodes now."""
        with self._crew.changed:
            self._crew.outdated = True
            self._crew.changed.notify_all()

    def end(self) -> None:
        """Check no longer."""
        self._crew.end()

    def forget(self) -> None:
        """In a forked child, where the threads are not: start anew with the next call."""
        was_over = self._crew.over
        self._crew.lines.forget()
        self._crew = _Crew(self._policy)
        self._crew.over = was_over
        balancer = self._balancer()
        if balancer is not None:
            self._balancer = weakref.ref(balancer, self._ended_by(self._crew))
        self._starting = threading.Lock()
        self._thread = None

    # The thread that knows who is due

    def _run(self, crew: _Crew) -> None:
        from .exchange import Exchange

        exchange = Exchange(self._policy, self.tls)
        while True:
            with crew.changed:
                outdated, crew.outdated = crew.outdated, False
            if outdated:
                self._follow(crew)
            for _ in range(crew.hand_out(time.monotonic())):
                self._hire(crew, exchange)
            if not crew.sleep():
                return

    def _follow(self, crew: _Crew) -> None:
        balancer = self._balancer()
        if balancer is not None:
            endpoints = balancer.endpoints
            with crew.changed:
                crew.schedule.follow(endpoints, time.monotonic())

    def _hire(self, crew: _Crew, exchange: Exchange) -> None:
        worker = threading.Thread(
            target=self._work, args=(crew, exchange), name="aiclient health check", daemon=True
        )
        with crew.changed:
            crew.workers += 1
        try:
            worker.start()
        except RuntimeError as exc:
            with crew.changed:
                crew.workers -= 1
            logger.warning("no thread for health checks: %s", exc)

    # Those who check

    def _work(self, crew: _Crew, exchange: Exchange) -> None:
        while (endpoint := crew.next_job()) is not None:
            began, soon = time.monotonic(), False
            try:
                soon = self._check(crew, exchange, endpoint)
            except Exception:
                logger.exception("a health check of %s failed in itself", endpoint)
            crew.done(endpoint, began, soon=soon)

    def _check(self, crew: _Crew, exchange: Exchange, endpoint: Endpoint) -> bool:
        balancer = self._balancer()
        if balancer is None:
            return False
        began = balancer.clock()
        del balancer  # it may be collected in the meantime
        problem = exchange.ask(endpoint, crew.lines)
        balancer = self._balancer()
        if balancer is None or problem is None or crew.over:
            return False
        return balancer.checked(endpoint, problem, began)
