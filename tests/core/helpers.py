"""A balancer on a bench: a clock to turn, nodes called a, b, c, and the events it told."""

from __future__ import annotations

import random
import string
from collections.abc import Iterable
from typing import Any

from aiclient.core.attempt import Attempt, Overdue
from aiclient.core.balancer import BalancerCore
from aiclient.core.call import Call, Step
from aiclient.core.events import Event, EventKind
from aiclient.core.node import Node, NodeSet, NodeSnapshot
from aiclient.core.pickers import PickContext
from aiclient.core.verdict import Failure
from aiclient.endpoint import Endpoint
from aiclient.facts import RequestFacts
from aiclient.settings import CallOptions

CHAT = "/v1/chat/completions"


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Alphabetical:
    """Always the first candidate by name, so that a test knows who is next."""

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        return min(candidates, key=lambda node: node.label)


def endpoint(name: str, **options: Any) -> Endpoint:
    """The node of that name."""
    return Endpoint(f"http://{name}.test:8000", name=name, **options)


class Bench:
    def __init__(
        self, nodes: int | Iterable[Endpoint] = 3, *, seed: int = 1, **options: Any
    ) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        if isinstance(nodes, int):
            nodes = [endpoint(name) for name in string.ascii_lowercase[:nodes]]
        options.setdefault("picker", Alphabetical())
        options.setdefault("concurrency", None)
        self.core = BalancerCore(nodes, clock=self.clock, rng=random.Random(seed), **options)
        self.core.subscribe(self.events.append)

    def call(
        self,
        method: str = "POST",
        path: str = CHAT,
        *,
        body: bytes | None = b"{}",
        headers: Iterable[tuple[bytes, bytes]] = (),
        replayable: bool = True,
        **options: Any,
    ) -> Call:
        facts = RequestFacts(method, path, tuple(headers), body, replayable)
        return Call(self.core, facts, CallOptions(**options))

    def attempt(self, call: Call | None = None) -> Attempt:
        return an_attempt((call or self.call()).begin())

    def succeed(self, ttfb: float = 0.1, call: Call | None = None) -> str:
        """One whole call; returns the name of the node that took it."""
        call = call or self.call()
        attempt = an_attempt(call.begin())
        self.clock.advance(ttfb)
        call.delivered(attempt)
        attempt.finish()
        return attempt.node.label

    def break_down(self, name: str, failure: Failure = Failure.RESET, times: int = 5) -> None:
        """Let the node fail until its breaker opens."""
        for _ in range(times):
            attempt = an_attempt(self.call(pin=name).begin())
            attempt.fault(failure)

    def picks(self, count: int) -> list[str]:
        """Where the next calls go, none of which is ended."""
        self.held = [self.attempt() for _ in range(count)]
        return [attempt.node.label for attempt in self.held]

    def picks_of(self, key: str, count: int) -> list[str]:
        """Where the next calls with this key go, none of which is ended."""
        self.held = [self.attempt(self.call(key=key)) for _ in range(count)]
        return [attempt.node.label for attempt in self.held]

    def see(self, name: str) -> NodeSnapshot:
        return next(node for node in self.core.snapshot() if node.endpoint.name == name)

    def told(self, kind: EventKind) -> list[str | None]:
        """The nodes of the events of this kind, in order."""
        return [event.node for event in self.events if event.kind is kind]

    @property
    def in_flight(self) -> int:
        total = sum(node.in_flight for node in self.core.snapshot())
        assert total == self.core.in_flight
        return total


class Stall:
    """Node a falls silent with some calls waiting, while its peers go on answering."""

    def __init__(self, waiting: int = 2, nodes: int = 3, ttfb: float = 0.2, **options: Any) -> None:
        self.bench = bench = Bench(nodes, **options)
        names = [str(node.endpoint.name) for node in bench.core.snapshot()]
        for name in names * 3:
            bench.succeed(ttfb, bench.call(pin=name))
        self.calls: list[Call] = [bench.call() for _ in range(waiting)]
        self.waiting: list[Attempt] = [an_attempt(call.begin()) for call in self.calls]
        assert {attempt.node.label for attempt in self.waiting} <= {"a"}
        self.began = bench.clock.now
        self.peers = names[1:]
        self.ttfb = ttfb

    def pass_time(self, seconds: float) -> None:
        end = self.bench.clock.now + seconds
        while self.bench.clock.now < end - 1e-9:
            for name in self.peers:
                self.bench.succeed(self.ttfb / 10, self.bench.call(pin=name))
            self.bench.clock.advance(min(0.1, max(0.0, end - self.bench.clock.now)))

    def overdue(self, attempt: Attempt) -> Failure | None:
        try:
            attempt.check(self.bench.clock.now - self.began)
        except Overdue as overdue:
            return overdue.failure
        return None


def an_attempt(step: Step) -> Attempt:
    """The step, which has to be an attempt."""
    assert isinstance(step, Attempt), f"an attempt was expected, not {step!r}"
    return step


def a_wait(step: Step) -> float:
    """The step, which has to be a wait."""
    assert isinstance(step, float), f"a wait was expected, not {step!r}"
    return step
