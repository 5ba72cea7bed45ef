"""One run: client processes, each with the real core, before simulated servers.

What is done here is what the transports do: make the attempt that the core asks for, tell it how
that went, wait as long as it says. No decision is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from random import Random
from typing import TYPE_CHECKING, Any

from ..core.attempt import Attempt, Overdue
from ..core.balancer import BalancerCore
from ..core.call import Call, Step
from ..core.events import Event, EventKind
from ..core.line import Ticket
from ..core.node import Node
from ..core.pickers import Picker
from ..core.verdict import Failure
from ..endpoint import Endpoint
from ..errors import BalancerError
from ..settings import NO_OPTIONS, CallOptions
from .arrivals import Arrival, arrivals
from .result import Result, Tally
from .scenario import Scenario
from .server import Server
from .timeline import play, touched
from .tries import Try, facts_of

if TYPE_CHECKING:
    from simpy import Environment

__all__ = ["Run"]

# Seconds between two pieces of a stream.
_PIECE = 0.1
_REFUSAL = 0.001
_ONCE = CallOptions(idempotent=False)


class Run:
    """Done when `result` is called.

    `options` are those of the balancer: retry=None, breaker=..., and so on.
    """

    def __init__(
        self,
        env: Environment,
        scenario: Scenario,
        picker: Callable[[], Picker],
        *,
        seed: int,
        **options: Any,
    ) -> None:
        self.env = env
        self.tally = Tally(scenario, touched(scenario.events, scenario.fleet.nodes))
        self._scenario = scenario
        self._work = scenario.workload
        self._calls = arrivals(scenario, seed)
        self._rng = Random(f"run {seed}")
        self._open: dict[Call, Arrival] = {}
        self._coming = True
        self._over = env.event()
        self._options: dict[int, CallOptions] = {}
        groups = scenario.groups()
        self._endpoints = [
            Endpoint(f"http://node-{number}:80", weight=group.weight)
            for number, group in enumerate(groups)
        ]
        self.servers = [self._server(group.slots, group.speed) for group in groups]
        self._numbers = {endpoint.url: number for number, endpoint in enumerate(self._endpoints)}
        first = self._endpoints[: scenario.fleet.nodes]
        self.cores = [
            BalancerCore(
                first, picker=picker(), clock=self._now, rng=Random(f"{seed} {number}"), **options
            )
            for number in range(scenario.clients)
        ]
        for core in self.cores:
            core.subscribe(self._noted)
        # Streams that are being sent, by the node as its client knows it.
        self._sending: dict[Node, int] = {}
        play(self, scenario)
        env.process(self._arrive())
        env.process(self._send_pieces())

    def result(self, name: str) -> Result:
        """Run it to its end; `name` is the picker's."""
        self.env.run(until=self._over)
        return self.tally.result(name, sum(core.in_flight for core in self.cores))

    def _server(self, slots: int | None, speed: float) -> Server:
        fleet = self._scenario.fleet
        server = Server(
            self.env,
            slots or fleet.slots,
            batching=fleet.batching,
            cache=fleet.cache,
            first=self._first,
            last=self._last,
        )
        server.speed = speed
        return server

    def _now(self) -> float:
        return self.env.now

    def _noted(self, event: Event) -> None:
        self.tally.ejections += event.kind is EventKind.EJECTED

    # The clients

    def _arrive(self) -> Generator[Any, Any, None]:
        for arrival in self._calls:
            if arrival.at > self.env.now:
                yield self.env.timeout(arrival.at - self.env.now)
            core = self.cores[arrival.client]
            call = Call(core, facts_of(arrival.streams, arrival.size), self._options_of(arrival))
            self._open[call] = arrival
            self._follow(call, call.begin)
        self._coming = False
        self._end_if_all_are_over()

    def _options_of(self, arrival: Arrival) -> CallOptions:
        session = arrival.session
        if session is None:
            return NO_OPTIONS if self._work.idempotent else _ONCE
        known = self._options.get(session)
        if known is None:
            idempotent = None if self._work.idempotent else False
            known = CallOptions(key=f"session-{session}", idempotent=idempotent)
            self._options[session] = known
        return known

    def _follow(self, call: Call, ask: Callable[[], Step]) -> None:
        try:
            step = ask()
        except BalancerError:
            step = None
        if isinstance(step, Attempt):
            self._send(call, step)
        elif step is None:
            self._ended(call)
            self.tally.errors += 1
        elif isinstance(step, Ticket):
            self._wait_in_line(call, step)
        else:
            self._after(step, lambda: self._follow(call, call.resume))

    def _wait_in_line(self, call: Call, ticket: Ticket) -> None:
        def resume() -> None:
            if ticket.wake is not None:
                ticket.wake = None
                self._follow(call, call.resume)

        ticket.wake = lambda: self._after(0.0, resume)
        self._after(ticket.patience(), resume)

    def _ended(self, call: Call) -> None:
        self.tally.retries += max(0, len(call.attempts) - 1)
        del self._open[call]
        self._end_if_all_are_over()

    def _end_if_all_are_over(self) -> None:
        if not self._coming and not self._open and not self._over.triggered:
            self._over.succeed()

    def _send(self, call: Call, attempt: Attempt) -> None:
        number = self._numbers[attempt.node.endpoint.url]
        server = self.servers[number]
        self.tally.picked(number, self.env.now)
        job = Try(self._open[call], call, attempt, server)
        self._reach(job)
        self._wait_for(job)

    def _reach(self, job: Try) -> None:
        server = job.server
        fleet = self._scenario.fleet
        if not server.accepts:
            self._after(_REFUSAL, lambda: self._failed(job, Failure.CONNECT))
        elif server.failing and self._rng.random() < server.failing:
            status = server.status
            self._after(server.after, lambda: self._answered(job, status))
        elif fleet.queue is not None and server.is_full(fleet.queue):
            self._after(_REFUSAL, lambda: self._answered(job, 503))
        else:
            server.take(job)

    def _wait_for(self, job: Try) -> None:
        """The shell waits for the job's next byte, and looks again when its patience ends."""
        waited = self.env.now - job.heard_at
        patience = job.attempt.patience(waited)
        left = self._work.timeout - waited
        self._after(left if patience is None else min(patience, left), lambda: self._look(job))

    def _look(self, job: Try) -> None:
        if job.over or (job.attempt.answered and job.server.speed):
            return
        waited = self.env.now - job.heard_at
        if waited >= self._work.timeout - 1e-9:
            self._failed(job, Failure.TIMEOUT)
            return
        try:
            job.attempt.check(waited)
        except Overdue as overdue:
            self._failed(job, overdue.failure)
        else:
            self._wait_for(job)

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        timer = self.env.timeout(max(0.0, seconds))
        assert timer.callbacks is not None
        timer.callbacks.append(lambda _: what())

    # What the servers tell

    def _first(self, job: Try) -> None:
        self.tally.first(job.arrival, self.env.now)
        job.call.delivered(job.attempt)
        node = job.attempt.node
        self._sending[node] = self._sending.get(node, 0) + 1

    def _last(self, job: Try) -> None:
        if job.arrival.streams:
            self._sent(job)
        else:
            self.tally.first(job.arrival, self.env.now)
        self.tally.last(job.arrival, self.env.now)
        job.call.complete(job.attempt)
        self._ended(job.call)

    def _sent(self, job: Try) -> None:
        left = self._sending[job.attempt.node] - 1
        if left:
            self._sending[job.attempt.node] = left
        else:
            del self._sending[job.attempt.node]

    def _answered(self, job: Try, status: int) -> None:
        if not job.over:
            job.over = True
            self._follow(job.call, lambda: job.call.answered(job.attempt, status))

    def _failed(self, job: Try, failure: Failure) -> None:
        if job.over:
            return
        job.server.leave(job)
        if not job.attempt.answered:
            self._follow(job.call, lambda: job.call.failed(job.attempt, failure))
            return
        self._sent(job)
        job.attempt.fault(failure)
        self.tally.interrupted += 1
        self._ended(job.call)

    def _send_pieces(self) -> Generator[Any, Any, None]:
        """Streams send all the time, and their shells note it."""
        while True:
            yield self.env.timeout(_PIECE)
            now = self.env.now
            for node in self._sending:
                server = self.servers[self._numbers[node.endpoint.url]]
                if server.speed:
                    node.last_byte_at = now

    # What happens to the fleet

    def lost(self, server: Server, jobs: list[Any]) -> None:
        """Its calls meet a broken connection."""
        for job in jobs:
            self._failed(job, Failure.RESET)

    def froze(self, server: Server) -> None:
        """The shells of its streams begin to wait."""
        for job in server.running:
            if job.attempt.answered:
                job.heard_at = self.env.now
                self._wait_for(job)

    def resized(self, count: int) -> None:
        """Every client learns it at once."""
        for core in self.cores:
            core.update(self._endpoints[:count])

    def changed(self) -> None:
        """Clients learn from their calls."""
