"""What a source of nodes is: one method, for polled and for pushed ones alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from ..endpoint import Endpoint

__all__ = ["Discovery", "Signal"]


class Signal:
    """How a source waits for the moment of its next look. Usable from any thread.

    Args:
        on_problem: Takes what `report` is given; default: nobody does.
    """

    def __init__(self, on_problem: Callable[[Exception], object] | None = None) -> None:
        self._changed = threading.Condition()
        self._woken = False
        self._over = False
        self._on_problem = on_problem
        self._stops: list[Callable[[], object]] = []

    def wait(self, seconds: float | None = None, *, at_least: float = 0.0) -> bool:
        """Block until the next look is due; False when there is to be none.

        Args:
            seconds: The look is due after so many; None: only when it is called for.
            at_least: It is not called for earlier than after so many seconds.
        """
        start = time.monotonic()
        with self._changed:
            while not self._over:
                waited = time.monotonic() - start
                if self._woken and waited >= at_least:
                    break
                if seconds is not None and waited >= seconds:
                    break
                limit = seconds
                if self._woken and (seconds is None or at_least < seconds):
                    limit = at_least
                self._changed.wait(None if limit is None else limit - waited)
            self._woken = False
            return not self._over

    def wake(self) -> None:
        """Call for a look: something has changed, or a node could not be reached."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def end(self) -> None:
        """There is to be no further look."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
            stops = tuple(self._stops)
        for stop in stops:
            stop()

    @contextmanager
    def ending(self, stop: Callable[[], object]) -> Iterator[None]:
        """Within it, `end` calls `stop`: for a source that blocks elsewhere, as in a socket.

        `stop` is called in any thread, at once if the end has come already; it must not block.
        """
        with self._changed:
            self._stops.append(stop)
            over = self._over
        try:
            if over:
                stop()
            yield
        finally:
            with self._changed:
                self._stops.remove(stop)

    def report(self, problem: Exception) -> None:
        """Say why there is nothing to yield, without leaving `watch`; the last good set stays."""
        if self._on_problem is not None:
            self._on_problem(problem)

    @property
    def over(self) -> bool:
        """Whether there is to be no further look."""
        return self._over


@runtime_checkable
class Discovery(Protocol):
    """A source of nodes.

    `watch` runs in a thread of its own and may block. It yields the whole set of nodes, at once
    and whenever that may have changed, and waits in between with `signal.wait`; when that says
    False, it returns. What it raises is reported, the last good set stays, and `watch` is called
    again, after a tenth of a second at first and half a minute in the end; `signal.report` reports
    without that. An attribute `wait` says how many seconds calls wait for the first set (10
    without one); an attribute `service`, which URL stands for all nodes together::

        class Registry:
            def watch(self, signal):
                unsubscribe = registry.on_change(signal.wake)    # a push; without it, a poll
                try:
                    while True:
                        yield [f"http://{host}:8000" for host in registry.hosts()]
                        if not signal.wait(60):
                            return
                finally:
                    unsubscribe()
    """

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint | str]]:
        """Yield the whole set of nodes, now and whenever it may have changed."""
        ...
