"""Properties of the parts: the budget, the breaker, the bound on load, the estimate."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from aiclient.core.attempt import Attempt
from aiclient.core.breaker import Breaker
from aiclient.core.call import Step
from aiclient.core.hashing import ConsistentHash
from aiclient.core.load import Baseline, Slowness
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad
from aiclient.core.verdict import Failure
from aiclient.settings import BreakerPolicy, RetryPolicy

from .helpers import Bench, an_attempt

OUTCOMES = st.lists(st.sampled_from(["good", "bad", "connect"]), max_size=40)
FAILURES = st.sampled_from([Failure.CONNECT, Failure.RESET, 500, 502, 503, 404])


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.integers(1, 6),
    reserve=st.integers(0, 30),
    gap=st.sampled_from([0.0, 0.01, 0.2, 3.0]),
    lasts=st.sampled_from([0.0, 0.05, 2.0]),
    kinds=st.lists(FAILURES, min_size=1, max_size=5),
    count=st.integers(1, 120),
)
def test_attempts_are_bounded_when_everything_fails(
    nodes: int,
    reserve: int,
    gap: float,
    lasts: float,
    kinds: list[Failure | int],
    count: int,
) -> None:
    """At most calls * (1 + budget) + capacity, and what time pays back."""
    bench = Bench(nodes, retry=RetryPolicy(reserve=reserve), picker=LeastLoad())
    made = peak = 0
    start = bench.clock.now
    for number in range(count):
        call = bench.call()
        step: Step = call.begin()
        while step is not None:
            if isinstance(step, float):
                bench.clock.advance(step)
                step = call.resume()
                continue
            assert isinstance(step, Attempt)
            made += 1
            peak = max(peak, bench.core.in_flight)
            bench.clock.advance(lasts)
            kind = kinds[(number + made) % len(kinds)]
            if isinstance(kind, Failure):
                step = call.failed(step, kind)
            else:
                step = call.answered(step, kind)
        bench.clock.advance(gap)
    passed = bench.clock.now - start
    assert made <= count * 1.2 + max(reserve, peak) + reserve * passed / 10
    assert bench.in_flight == 0


@settings(max_examples=200, deadline=None)
@given(outcomes=OUTCOMES, gap=st.floats(0.0, 1.2), other=st.floats(0.0, 1.2))
def test_the_trip_does_not_depend_on_the_arrival_rate(
    outcomes: list[str], gap: float, other: float
) -> None:
    """The same outcomes within the window open the breaker at the same one."""
    assert tripped_at(outcomes, gap) == tripped_at(outcomes, other)


@settings(max_examples=200, deadline=None)
@given(outcomes=OUTCOMES, gap=st.floats(0.0, 10_000.0))
def test_a_row_of_faults_is_a_row_at_any_rate(outcomes: list[str], gap: float) -> None:
    """The consecutive rule knows no time at all."""
    policy = BreakerPolicy(success_rate=0.0)
    assert tripped_at(outcomes, gap, policy) == tripped_at(outcomes, 0.0, policy)


def tripped_at(
    outcomes: list[str], gap: float, policy: BreakerPolicy | None = None
) -> tuple[int, str] | None:
    """Which outcome opened the breaker, and why."""
    breaker = Breaker(policy or BreakerPolicy())
    now = 12345.6
    for number, outcome in enumerate(outcomes):
        if outcome == "good":
            breaker.success(now)
        else:
            trip = breaker.fault(now, connect=outcome == "connect")
            if trip is not None:
                return number, str(trip)
        now += gap
    return None


@settings(max_examples=100, deadline=None)
@given(events=st.lists(st.tuples(st.sampled_from("gbtf"), st.floats(0.0, 30.0)), max_size=60))
def test_the_window_is_exact_to_a_bucket(events: list[tuple[str, float]]) -> None:
    """The success rate is that of the outcomes of the last minute, less 5 s at most."""
    breaker = Breaker(BreakerPolicy(min_samples=1))
    now = 1000.0
    known: list[tuple[int, bool]] = []  # the bucket, good or bad
    for kind, gap in events:
        now += gap
        index = int(now / 5.0)
        if kind == "g":
            breaker.success(now)
            known.append((index, True))
        elif kind == "b":
            breaker.fault(now, connect=False)
            known.append((index, False))
        recent = [good for at, good in known if at > index - 12]
        rate = breaker.success_rate(now)
        assert rate == (sum(recent) / len(recent) if recent else None)


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.text(max_size=3), min_size=1, max_size=120), nodes=st.integers(1, 8))
def test_no_node_gets_more_than_its_bound(keys: list[str], nodes: int) -> None:
    """1.25 times the fair part of what is in flight, rounded up; whatever the keys are."""
    bench = Bench(nodes, picker=ConsistentHash())
    held = []
    for count, key in enumerate(keys, 1):
        held.append(bench.attempt(bench.call(key=key or "none")))
        most = max(node.in_flight for node in bench.core.snapshot())
        assert most <= -(-125 * count // (100 * nodes))


@settings(max_examples=100, deadline=None)
@given(samples=st.lists(st.tuples(st.floats(0.001, 600.0), st.floats(0.0, 60.0)), max_size=50))
def test_the_estimate_stays_within_its_samples(samples: list[tuple[float, float]]) -> None:
    """Slowness is never beyond the slowest or fastest sample, and drifts back to 1."""
    baseline, slowness = Baseline(), Slowness()
    now = 0.0
    logs = [0.0]
    for ttfb, gap in samples:
        now += gap
        log = baseline.observe("node", now - ttfb, ttfb, ttfb, now)
        logs.append(log)
        slowness.observe(log, ttfb, now, now, baseline.sigma)
        assert min(logs) - 1e-9 <= slowness._log <= max(logs) + 1e-9
    assert abs(slowness.ratio(now + 1200) - 1) < 0.01


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    probe=st.sampled_from(["success", "fault", "full", "odd", "cancel", "drop", "forget"]),
)
def test_half_open_always_resolves(seed: int, probe: str) -> None:
    """Whatever becomes of its probe, a node that works again is back within six minutes."""
    bench = Bench(3, seed=seed)
    bench.break_down("a")
    bench.clock.advance(6)
    call = bench.call()
    attempt = an_attempt(call.begin())
    assert attempt.why == "probe"
    if probe == "success":
        call.delivered(attempt)
    elif probe == "fault":
        call.failed(attempt, Failure.RESET)
    elif probe == "full":
        call.answered(attempt, 503)
    elif probe == "odd":
        call.answered(attempt, 404)
    elif probe == "cancel":
        attempt.release("cancelled")
    forgotten = attempt if probe == "forget" else None
    del attempt, call
    rng = random.Random(seed)
    for _ in range(36):
        bench.clock.advance(10 * rng.random())
        bench.succeed()
    assert bench.see("a").state is NodeState.READY
    del forgotten
