"""A discrete-event simulation of a fleet of AI nodes, which drives the real core as a shell does.

Calls arrive as a Poisson process, whatever becomes of them (an open loop). A node has slots and a
queue in order of arrival; serving a call is prefill, then decoding of lognormal length. A streaming
call's first byte comes after prefill, a plain one's at the end. Time is a number in a heap: half an
hour takes less than a second, and a seed repeats a run.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from aiclient.core.attempt import Attempt, Overdue
from aiclient.core.balancer import BalancerCore
from aiclient.core.call import Call, Step
from aiclient.core.events import Event
from aiclient.core.line import Ticket
from aiclient.core.pickers import LeastLoad, Picker
from aiclient.core.verdict import Failure
from aiclient.errors import BalancerError
from aiclient.facts import RequestFacts
from aiclient.settings import NO_OPTIONS

from .servers import Fault, Job, Server, Work

READ_TIMEOUT = 600.0
_PLAIN = RequestFacts("POST", "/v1/chat/completions", (), b'{"messages": []}')
_STREAM = RequestFacts("POST", "/v1/chat/completions", (), b'{"messages": [], "stream": true}')


class Simulation:
    """One run, done when it is built; what came of it are its attributes."""

    def __init__(
        self,
        *,
        seed: int,
        picker: Callable[[], Picker] = LeastLoad,
        clients: int = 1,
        nodes: int = 8,
        slots: int = 4,
        load: float = 0.7,
        calls: int = 20_000,
        work: Work | None = None,
        faults: Iterable[Fault] = (),
        **options: Any,
    ) -> None:
        self.now = 0.0
        self.work = work or Work()
        self.nodes = nodes
        self.calls = calls
        self._rng = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._sequence = itertools.count()
        self._gap = self.work.mean() / (load * nodes * slots)
        self._left = calls
        self._decode: dict[Call, float] = {}
        urls = [f"http://node-{number}:80" for number in range(nodes)]
        # Each client sees only its own calls.
        self.cores = [
            BalancerCore(urls, picker=picker(), clock=self, rng=random.Random(seed), **options)
            for seed in self._rng.choices(range(2**32), k=clients)
        ]
        self._servers = {url: Server(self, slots) for url in urls}
        self._numbers = {url: number for number, url in enumerate(urls)}
        self.events: list[Event] = []
        self.picks: list[tuple[float, int]] = []
        self.waits: list[float] = []  # from a call's arrival to the slot that served it
        self.slowest = 0.0  # the longest time from a call's arrival to its first byte
        self.failures: list[tuple[float, str]] = []
        self.interrupted = 0
        for core in self.cores:
            core.subscribe(self.events.append)
        for fault in faults:
            server = self._servers[urls[fault.node]]
            self.at(fault.at, server.begin, fault)
            if fault.until < math.inf:
                self.at(fault.until, server.end, fault)
        self.at(0.0, self._arrive, None)
        self._run()

    def __call__(self) -> float:
        """The clock of the cores."""
        return self.now

    def at(self, when: float, what: Callable[[Any], None], about: Any) -> None:
        """Call `what(about)` then."""
        heapq.heappush(self._heap, (when, next(self._sequence), what, about))

    def _run(self) -> None:
        heap, pop = self._heap, heapq.heappop
        while heap:
            self.now, _, what, about = pop(heap)
            what(about)

    # The shell

    def _arrive(self, _: None) -> None:
        self._left -= 1
        if self._left:
            self.at(self.now + self._rng.expovariate(1.0) * self._gap, self._arrive, None)
        for server in self._servers.values():
            server.tell_bytes()
        streams = self._rng.random() < self.work.streaming
        core = self.cores[int(self._rng.random() * len(self.cores))]
        call = Call(core, _STREAM if streams else _PLAIN, NO_OPTIONS)
        # An answer is about as long wherever it is made.
        self._decode[call] = self.work.draw(streams, self._rng)
        self._follow(call, call.begin)

    def _follow(self, call: Call, ask: Callable[[], Step]) -> None:
        try:
            step = ask()
        except BalancerError as error:
            self._lose(call, str(error))
            return
        if isinstance(step, Attempt):
            self._send(call, step)
        elif step is None:
            self._lose(call, call.attempts[-1].error)
        elif isinstance(step, Ticket):
            step.wake = lambda: self.at(self.now, self._wake, (call, step))
            self.at(self.now + step.patience(), self._wake, (call, step))
        else:
            self.at(self.now + step, self._resume, call)

    def _resume(self, call: Call) -> None:
        self._follow(call, call.resume)

    def _wake(self, who: tuple[Call, Ticket]) -> None:
        call, ticket = who
        if ticket.wake is not None:
            ticket.wake = None
            self._follow(call, call.resume)

    def _lose(self, call: Call, why: str) -> None:
        del self._decode[call]
        self.failures.append((self.now, why))

    def _send(self, call: Call, attempt: Attempt) -> None:
        url = attempt.node.endpoint.url
        self.picks.append((self.now, self._numbers[url]))
        job = Job(call, attempt, call.facts is _STREAM, self._decode[call])
        self._servers[url].take(job)
        self.wait_for(job)

    def wait_for(self, job: Job) -> None:
        """The shell waits for the job's next byte, and looks again when its patience ends."""
        waited = self.now - job.heard_at
        patience = job.attempt.patience(waited)
        left = READ_TIMEOUT - waited
        self.at(self.now + (left if patience is None else min(patience, left)), self._look, job)

    def _look(self, job: Job) -> None:
        server = self._server_of(job)
        if job.over or (job.delivered and not server.frozen):
            return
        waited = self.now - job.heard_at
        if waited >= READ_TIMEOUT:
            self.failed(job, Failure.TIMEOUT)
            return
        server.tell_bytes()
        try:
            job.attempt.check(waited)
        except Overdue as overdue:
            self.failed(job, overdue.failure)
        else:
            self.wait_for(job)

    def _server_of(self, job: Job) -> Server:
        return self._servers[job.attempt.node.endpoint.url]

    # What the servers tell

    def delivered(self, job: Job) -> None:
        """The first content of a good answer."""
        arrived = job.call.started
        job.delivered = True
        self.slowest = max(self.slowest, self.now - arrived)
        if job.started_at is not None:
            self.waits.append(job.started_at - arrived)
        job.call.delivered(job.attempt)

    def finished(self, job: Job) -> None:
        """The end of it."""
        job.over = True
        job.attempt.finish()
        del self._decode[job.call]

    def answered(self, job: Job, status: int) -> None:
        """An answer that is none."""
        if not job.over:
            job.over = True
            self._follow(job.call, lambda: job.call.answered(job.attempt, status))

    def failed(self, job: Job, failure: Failure) -> None:
        """No answer, or half of one."""
        if job.over:
            return
        job.over = True
        self._server_of(job).leave(job)
        if job.delivered:
            job.attempt.fault(failure)
            self.interrupted += 1
            del self._decode[job.call]
        else:
            self._follow(job.call, lambda: job.call.failed(job.attempt, failure))

    # What came of it

    @property
    def in_flight(self) -> int:
        """Calls that never ended; with nothing left to happen there are none."""
        return sum(node.in_flight for core in self.cores for node in core.snapshot())

    def share(self, node: int, since: float = 0.0, until: float = math.inf) -> float:
        """The node's share of the attempts made in that time."""
        picked = [who for when, who in self.picks if since <= when < until]
        return picked.count(node) / len(picked) if picked else 0.0

    def wait(self, quantile: float) -> float:
        """Seconds a call waited for its slot, in that quantile."""
        return sorted(self.waits)[int(len(self.waits) * quantile)]


def ideal_waits(
    *, seed: int, slots: int, gap: float, calls: int, work: Work | None = None
) -> list[float]:
    """The same calls in one queue before all slots: what no client can be better than."""
    rng = random.Random(seed)
    work = work or Work()
    free = [0.0] * slots
    now = 0.0
    waits = []
    for _ in range(calls):
        start = max(now, free[0])
        waits.append(start - now)
        streams = rng.random() < work.streaming
        heapq.heapreplace(free, start + work.prefill + work.draw(streams, rng))
        now += rng.expovariate(1.0) * gap
    return waits
