"""One simulated node: slots, a queue, a pace, and what is wrong with it at the moment.

All that runs on a node runs at one pace, which changes with its speed and with how many run. So
there is one amount of work done per slot since the start, `_done`, and a call is due when that
reaches a number known when it begins: a change of pace moves all of them at no cost.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simpy import Environment

    from .arrivals import Arrival

__all__ = ["Job", "Server"]

_CLOSE = 1e-9


class Job:
    """Work for a server, and whom to tell."""

    __slots__ = ("arrival", "due", "extra", "over", "running", "told")

    def __init__(self, arrival: Arrival, extra: float = 0.0) -> None:
        self.arrival = arrival
        # What prefill takes more where the prefix of the session is not known.
        self.extra = extra
        self.over = self.running = False
        # Nothing of a plain answer comes before all of it does.
        self.told = not arrival.streams
        self.due = 0.0


class Server:
    """Tells `first(job)` when the prefill of a stream is over, `last(job)` when all is.

    `width`: of how many nodes it stands for the sum (the ideal is one large server): with the
    calls spread evenly over them, batching costs the same.
    """

    def __init__(
        self,
        env: Environment,
        slots: int,
        *,
        batching: float = 0.0,
        cache: int = 1,
        first: Callable[[Any], object],
        last: Callable[[Any], object],
        width: int = 1,
    ) -> None:
        self._env = env
        self.slots = slots
        self.width = width
        self.speed = 1.0
        self.accepts = True
        # Of the calls that come, the share that is answered with this status, so much later.
        self.failing = 0.0
        self.status = 500
        self.after = 0.0
        self.queue: deque[Any] = deque()
        self.running: dict[Any, None] = {}  # in order: a run must not depend on addresses
        self._batching = batching
        self._first = first
        self._last = last
        self._cache_size = cache
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._heap: list[tuple[float, int, Any]] = []
        self._sequence = itertools.count()
        self._done = 0.0
        self._at = 0.0
        self._pace = 1.0
        # Only the latest timer counts; it is for that call at that pace.
        self._timer = 0
        self._planned: tuple[float | None, float] = (None, 1.0)

    def take(self, job: Job) -> None:
        """Run it now, or when its turn comes."""
        if len(self.running) < self.slots and self.speed:
            self._run(job)
            self._plan()
        else:
            self.queue.append(job)

    def is_full(self, queue: int) -> bool:
        """Whether all slots are busy and that many calls wait."""
        busy = len(self.running) >= self.slots
        return busy and sum(not job.over for job in self.queue) >= queue

    def leave(self, job: Job) -> None:
        """It is of no interest any more."""
        job.over = True
        if job.running:
            job.running = False
            del self.running[job]
            self._serve()

    def change(self, *, speed: float | None = None, slots: int | None = None) -> None:
        """Another speed, or another number of slots; what runs is not broken."""
        self._catch_up()
        if speed is not None:
            self.speed = speed
        if slots is not None:
            self.slots = slots
        self._serve()

    def broken(self) -> list[Any]:
        """The process is gone; returns the calls that it had, its caches are lost."""
        lost = [*self.running, *self.queue]
        self.queue.clear()
        self.running.clear()
        self._heap.clear()
        self._cached.clear()
        for job in lost:
            job.running = False
        self._plan()
        return [job for job in lost if not job.over]

    def _serve(self) -> None:
        while self.queue and len(self.running) < self.slots and self.speed:
            job = self.queue.popleft()
            if not job.over:
                self._run(job)
        self._plan()

    def _run(self, job: Job) -> None:
        self._catch_up()
        job.running = True
        self.running[job] = None
        arrival = job.arrival
        work = arrival.prefill if arrival.streams else arrival.prefill + arrival.decode
        if arrival.session is not None and not self._knows(arrival.session):
            work += job.extra
        self._due(job, work)

    def _knows(self, session: int) -> bool:
        cached = self._cached
        known = session in cached
        cached[session] = None
        cached.move_to_end(session)
        if len(cached) > self._cache_size:
            cached.popitem(last=False)
        return known

    def _due(self, job: Job, work: float) -> None:
        job.due = self._done + work
        heapq.heappush(self._heap, (job.due, next(self._sequence), job))

    def _catch_up(self) -> None:
        now = self._env.now
        self._done += (now - self._at) * self._pace
        self._at = now

    def _plan(self) -> None:
        """Set the timer to the next call that is due, at the pace of now."""
        self._catch_up()
        each = self.slots / self.width
        beside = max(0.0, len(self.running) / self.width - 1)
        full = min(1.0, beside / (each - 1)) if each > 1 else 0.0
        self._pace = self.speed / (1 + self._batching * full)
        heap = self._heap
        while heap and not heap[0][2].running:
            heapq.heappop(heap)
        first = heap[0][0] if heap and self._pace else None
        if first is not None and (first, self._pace) == self._planned:
            return
        self._timer += 1
        self._planned = (first, self._pace)
        if first is not None:
            wait = max(0.0, first - self._done) / self._pace
            number = self._timer
            timer = self._env.timeout(wait)
            assert timer.callbacks is not None
            timer.callbacks.append(lambda _: self._step(number))

    def _step(self, number: int) -> None:
        if number != self._timer:
            return
        self._planned = (None, 0.0)
        self._catch_up()
        heap = self._heap
        # The timer was for the first one, whatever rounding says.
        self._done = max(self._done, heap[0][0])
        while heap and heap[0][0] <= self._done + _CLOSE:
            _, _, job = heapq.heappop(heap)
            if not job.running:
                continue
            if not job.told:
                job.told = True
                self._first(job)
                if job.running:
                    self._due(job, job.arrival.decode)
            else:
                job.running = False
                job.over = True
                del self.running[job]
                self._last(job)
        self._serve()
