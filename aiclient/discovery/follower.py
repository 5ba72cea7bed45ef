"""One thread that follows one source for one balancer.

It starts with the first call, starts anew in a forked child, and ends with the balancer, closed or
collected: it holds no reference to it. No call ever waits for anything here but for the first set.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

from ..core.events import EventKind
from ..core.source import DiscoveryStatus
from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError, DiscoveryError
from .protocol import Discovery, Signal

__all__ = ["Follower"]

logger = logging.getLogger("aiclient")

_WAIT = 10.0
_POLL_SECONDS = 0.02
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
_MOST_NODES = 20_000


class Followed(Protocol):
    """What a balancer lets its follower do."""

    def update(self, endpoints: object) -> None: ...
    def note(self, kind: EventKind, detail: str) -> None: ...


class Follower:
    """Takes what a source yields to the balancer."""

    def __init__(self, balancer: Followed, discovery: Discovery) -> None:
        self._discovery = discovery
        self._signal = Signal(self._report)
        self._balancer = weakref.ref(balancer, self._ended_by(self._signal))
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._found: tuple[Endpoint, ...] = ()
        self._found_at: float | None = None
        self._updates = self._errors = 0
        self._problem = ""

    @staticmethod
    def _ended_by(signal: Signal) -> Callable[[object], None]:
        return lambda _: signal.end()

    @property
    def status(self) -> DiscoveryStatus:
        """How finding the nodes goes."""
        return DiscoveryStatus(
            repr(self._discovery), self._found_at, self._updates, self._problem, self._errors
        )

    def begin(self) -> None:
        """Start to follow, if that is not done yet."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._signal.over:
                self._began = time.monotonic()
                # A daemon: a service that forgets to close its client must still come to its end.
                thread = threading.Thread(
                    target=self._run, args=(self._signal,), name="aiclient discovery", daemon=True
                )
                thread.start()
                self._thread = thread  # not before: one that could not start is tried again

    def hurry(self) -> None:
        """Look again soon."""
        self._signal.wake()

    def wait(self) -> float:
        """The seconds until to ask again whether there are nodes.

        Raises:
            DiscoveryError: it has been long enough.
        """
        waited = time.monotonic() - self._began
        longest: float = getattr(self._discovery, "wait", _WAIT)
        if waited < longest:
            return min(_POLL_SECONDS, longest - waited)
        raise DiscoveryError(
            f"{self._discovery!r} has named no nodes for {waited:.1f} s: "
            f"{self._problem or 'there was no answer yet'}"
        )

    def end(self) -> None:
        """Follow no longer."""
        self._signal.end()

    def forget(self) -> None:
        """In a forked child, where the thread is not: start anew with the next call."""
        self._signal = Signal(self._report)
        balancer = self._balancer()
        if balancer is not None:
            self._balancer = weakref.ref(balancer, self._ended_by(self._signal))
        self._starting = threading.Lock()
        self._thread = None

    def _run(self, signal: Signal) -> None:
        failures, pause = 0, 0.0
        while not signal.over:
            began = time.monotonic()
            try:
                for endpoints in self._discovery.watch(signal):
                    self._take(endpoints)
                    if signal.over:
                        return
                raise DiscoveryError("it came to its end")
            except Exception as exc:
                if signal.over:
                    return
                self._report(exc)
            # A first answer alone is no sign of health: the next failure may follow at once.
            failures = failures + 1 if time.monotonic() - began <= pause else 0
            longest = _LONGEST_PAUSE if self._found else 1.0
            pause = min(longest, _SHORTEST_PAUSE * 2.0 ** min(failures, 20))
            # A little apart from all the others that follow the same source.
            signal.wait(pause * (1 + 0.2 * random.random()), at_least=_SHORTEST_PAUSE)

    def _take(self, endpoints: Iterable[Endpoint | str]) -> None:
        """Hand a set over. One that is empty or absurd does not replace one that was good."""
        try:
            found = endpoints_from(endpoints)
            if len(found) > _MOST_NODES:
                raise ConfigurationError(f"nodes: {len(found)} of them; at most {_MOST_NODES}")
        except ConfigurationError as exc:
            self._report(exc)
            return
        balancer = self._balancer()
        if balancer is None:
            return
        if found != self._found:
            balancer.update(found)
            self._found = found
            self._updates += 1
        if self._problem:
            balancer.note(EventKind.DISCOVERY, f"{self._discovery!r} answers again")
        self._found_at, self._problem = time.monotonic(), ""

    def _report(self, exc: Exception) -> None:
        problem = str(exc) or repr(exc)
        news = problem != self._problem
        self._problem = problem
        self._errors += 1
        balancer = self._balancer()
        if balancer is not None and news:
            kept = f"; the last {len(self._found)} nodes stay" if self._found else ""
            balancer.note(EventKind.DISCOVERY_FAILED, f"{self._discovery!r}: {problem}{kept}")
