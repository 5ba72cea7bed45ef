"""What must hold after any sequence of operations (the list at the end of algorithms.md)."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiclient.core.attempt import Attempt, Overdue
from aiclient.core.breaker import BreakerState, Trip
from aiclient.core.call import Call, Step
from aiclient.core.line import Ticket
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad, Picker, PowerOfTwoChoices, RoundRobin
from aiclient.core.verdict import Failure
from aiclient.errors import NoNodeAvailable, Overloaded
from aiclient.settings import Concurrency

from .helpers import Bench, endpoint

NAMES = "abcde"
BAD = [Failure.CONNECT, Failure.RESET, Failure.TIMEOUT, Failure.CANCELLED, Failure.KEEPALIVE_RACE]
LIMITED = Concurrency(limit=2, max_wait=5.0)
STATUSES = [302, 400, 401, 404, 408, 429, 500, 502, 503]


class Fleet(RuleBasedStateMachine):
    """Calls, outcomes, time and membership in any order; the running attempts are the model."""

    def __init__(self) -> None:
        super().__init__()
        self.build(LeastLoad())

    @initialize(
        picker=st.sampled_from([LeastLoad, PowerOfTwoChoices, RoundRobin]),
        concurrency=st.sampled_from([None, Concurrency(), LIMITED]),
    )
    def choose(self, picker: type[Picker], concurrency: Concurrency | None) -> None:
        self.build(picker(), concurrency)

    def build(self, picker: Picker, concurrency: Concurrency | None = None) -> None:
        nodes = [endpoint(name) for name in NAMES]
        self.bench = Bench(nodes, picker=picker, concurrency=concurrency)
        self.limit = concurrency.limit if concurrency is not None else None
        self.fleet = self.bench.core._fleet
        self.running: list[tuple[Call, Attempt]] = []
        self.waiting: list[Call] = []
        self.tickets: list[tuple[Call, Ticket]] = []

    def follow(self, call: Call, step: Step) -> None:
        if isinstance(step, Attempt):
            assert not any(attempt.answered for attempt in call.attempts)
            self.running.append((call, step))
        elif isinstance(step, Ticket):
            assert step.until > self.bench.clock.now - 1
            self.tickets.append((call, step))
        elif step is not None:
            assert step > 0
            self.waiting.append(call)

    @property
    def held(self) -> list[Attempt]:
        """All that is held: what runs, and what those hold who do not know it yet."""
        granted = [ticket.attempt for _, ticket in self.tickets if ticket.attempt is not None]
        return [attempt for _, attempt in self.running] + granted

    def take(self, index: int) -> tuple[Call, Attempt]:
        return self.running.pop(index % len(self.running))

    # What can happen

    @rule(
        method=st.sampled_from(["POST", "GET"]),
        streams=st.booleans(),
        idempotent=st.sampled_from([None, None, None, False]),
        replayable=st.sampled_from([True, True, True, False]),
    )
    def begin(self, method: str, streams: bool, idempotent: bool | None, replayable: bool) -> None:
        body = b'{"stream": true}' if streams else b"{}"
        call = self.bench.call(method, body=body, replayable=replayable, idempotent=idempotent)
        try:
            self.follow(call, call.begin())
        except NoNodeAvailable:
            assert all(node.state is not NodeState.READY for node in self.bench.core.snapshot())

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 99))
    def resume(self, index: int) -> None:
        call = self.waiting.pop(index % len(self.waiting))
        self.bench.clock.advance(1.0)
        try:
            self.follow(call, call.resume())
        except NoNodeAvailable:
            assert not call.attempts

    @precondition(lambda self: self.tickets)
    @rule(index=st.integers(0, 99), seconds=st.sampled_from([0.0, 0.3, 5.0]))
    def ask_again(self, index: int, seconds: float) -> None:
        call, _ = self.tickets.pop(index % len(self.tickets))
        self.bench.clock.advance(seconds)
        try:
            self.follow(call, call.resume())
        except (NoNodeAvailable, Overloaded):
            assert not call.attempts

    @precondition(lambda self: self.tickets)
    @rule(index=st.integers(0, 99))
    def give_up(self, index: int) -> None:
        self.tickets.pop(index % len(self.tickets))[0].give_up()

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 99), ends=st.booleans())
    def deliver(self, index: int, ends: bool) -> None:
        call, attempt = self.take(index)
        call.delivered(attempt)
        if ends:
            attempt.finish()
        else:
            self.running.append((call, attempt))

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 99), failure=st.sampled_from(BAD))
    def fail(self, index: int, failure: Failure) -> None:
        call, attempt = self.take(index)
        delivered = attempt.answered
        step = call.failed(attempt, failure)
        assert not (delivered and step is not None), "a retry after a delivered byte"
        self.follow(call, step)

    @precondition(lambda self: self.running)
    @rule(
        index=st.integers(0, 99),
        status=st.sampled_from(STATUSES),
        after=st.sampled_from([None, None, 3.0]),
    )
    def answer(self, index: int, status: int, after: float | None) -> None:
        call, attempt = self.take(index)
        if attempt.answered:
            attempt.fault(Failure.TRUNCATED)
        else:
            self.follow(call, call.answered(attempt, status, after))

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 99), how=st.sampled_from(["release", "finish", "drop"]))
    def end(self, index: int, how: str) -> None:
        call, attempt = self.take(index)
        if how == "release":
            attempt.release("cancelled")
        elif how == "finish":
            attempt.finish()
        del call, attempt

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 3.0, 12.0, 40.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 99))
    def look(self, index: int) -> None:
        call, attempt = self.running[index % len(self.running)]
        waited = self.bench.clock.now - attempt.started
        patience = attempt.patience(waited)
        assert patience is None or patience >= 0
        try:
            attempt.check(waited)
        except Overdue as overdue:
            self.running.remove((call, attempt))
            if attempt.answered:
                attempt.fault(overdue.failure)
            else:
                self.follow(call, call.failed(attempt, overdue.failure))

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def update(self, names: set[str]) -> None:
        self.bench.core.update([endpoint(name) for name in sorted(names)])

    @rule(name=st.sampled_from(NAMES), verb=st.sampled_from(["drain", "eject", "restore"]))
    def by_hand(self, name: str, verb: str) -> None:
        assume(any(node.label == name for node in self.fleet.members.values()))
        options = (5.0,) if verb == "eject" else ()
        getattr(self.bench.core, verb)(name, *options)

    # What must hold

    @invariant()
    def in_flight_is_what_runs(self) -> None:
        nodes = self.bench.core.snapshot()
        held = self.held
        assert sum(node.in_flight for node in nodes) == sum(not a.node.gone for a in held)
        assert self.bench.core.in_flight == len(held)
        departed = [node for _, node in self.fleet._departed.values()]
        for node in (*self.fleet.members.values(), *departed):
            here = [attempt for attempt in held if attempt.node is node]
            assert node.in_flight == len(here)
            assert set(node.waiting) == {a.serial for a in here if not a.answered}
            assert node.load == (node.in_flight + len(node.ghosts) + 1) * node.factor

    @invariant()
    def the_line_is_who_waits_in_it(self) -> None:
        waiting = {ticket for _, ticket in self.tickets if ticket.attempt is None}
        assert set(self.bench.core._line.waiting) == waiting
        if self.limit is None:
            return
        for node in self.fleet.members.values():
            # A probe goes where it must.
            regular = [a for a in self.held if a.node is node and a.why != "probe"]
            assert len(regular) <= self.limit

    @invariant()
    def candidates_are_who_may_be_picked(self) -> None:
        now = self.bench.clock.now
        self.bench.core.snapshot()
        for node in self.fleet.members.values():
            assert (node in self.fleet.ready) == self.fleet._may_be_picked(node, now), node
            if node.breaker.state is not BreakerState.CLOSED:
                assert node not in self.fleet.ready or self.fleet.panic
        assert all(not node.gone for node in self.fleet.ready)
        assert all(not node.gone for node in self.fleet.probes)

    @invariant()
    def ejections_stay_below_the_cap(self) -> None:
        self.bench.core.snapshot()
        fleet = self.fleet
        out = {
            node
            for node in fleet.members.values()
            if node.breaker.state is not BreakerState.CLOSED
            and node.breaker.trip is not Trip.CONNECT
        }
        assert set(fleet._out_softly) == out
        assert fleet.panic or len(out) <= max(1, len(fleet.members) // 2)
        in_service = any(
            node.breaker.state is BreakerState.CLOSED
            and not node.drained
            and node.ejected_until <= self.bench.clock.now
            for node in fleet.members.values()
        )
        assert in_service or fleet.panic or not out

    @invariant()
    def half_open_admits_one(self) -> None:
        now = self.bench.clock.now
        for node in self.fleet.members.values():
            permits = [
                attempt
                for attempt in self.held
                if attempt.node is node
                and attempt.why == "probe"
                and attempt.generation == node.breaker.generation
                and now < attempt.started + 30
                and node.breaker.state is BreakerState.HALF_OPEN
            ]
            assert len(permits) <= 1
            if node.breaker.state is BreakerState.HALF_OPEN:
                # Either its probe is under way, or the next call is it, or time will tell.
                assert node.probe or node in self.fleet.probes or node.review_at < math.inf

    @invariant()
    def what_is_due_stays_bounded(self) -> None:
        assert len(self.fleet._due) < 500

    def teardown(self) -> None:
        """Everything ends; then every node comes back."""
        while self.tickets:
            self.tickets.pop()[0].give_up()
        for _, attempt in self.running:
            attempt.release("cancelled")
        self.running.clear()
        self.waiting.clear()
        self.in_flight_is_what_runs()
        core = self.bench.core
        for node in core.snapshot():
            if node.state is NodeState.DRAINED:
                core.restore(node.endpoint)
        # What is there now may take minutes to be over; nothing may take for ever.
        for _ in range(20):
            self.bench.clock.advance(40)
            for _ in range(5):
                self.bench.succeed()
        assert {node.state for node in core.snapshot()} == {NodeState.READY}
        assert core.in_flight == 0
        assert not core.panic


Fleet.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestFleet = Fleet.TestCase
