"""Who may be picked: openings, the cap on them and panic, half-open."""

from __future__ import annotations

import math

import pytest

from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad
from aiclient.core.verdict import Failure
from aiclient.settings import BreakerPolicy

from .helpers import Bench, an_attempt


def states(bench: Bench) -> list[str]:
    """Of all nodes, in order."""
    return [node.state.value for node in bench.core.snapshot()]


@pytest.mark.timeout(20)
def test_a_node_that_is_due_is_reviewed_once() -> None:
    """Also where rounding puts its call on both sides of late: it looked for ever, once."""
    for number in range(300):
        bench = Bench()
        bench.clock.advance(number * 0.123456789)
        bench.succeed(0.1 + number / 1000)
        held = bench.attempt()
        fleet = bench.core._fleet
        for _ in range(3):
            bench.clock.now = fleet.next_due
            bench.core.snapshot()
            assert bench.clock.now < fleet.next_due < math.inf
        held.finish()


def test_five_faults_in_a_row_open_the_breaker() -> None:
    """And not four; a success in between starts the row again."""
    bench = Bench(breaker=BreakerPolicy(success_rate=0.0))
    bench.break_down("a", times=4)
    bench.succeed(call=bench.call(pin="a"))
    bench.break_down("a", times=4)
    assert bench.see("a").state is NodeState.READY
    bench.break_down("a", times=1)
    assert bench.see("a").state is NodeState.EJECTED
    assert bench.told(EventKind.EJECTED) == ["a"]
    assert bench.see("a").why == "consecutive faults: connection broken"


def test_two_refused_connections_open_it() -> None:
    """Nothing was sent: there is little doubt."""
    bench = Bench()
    bench.break_down("a", Failure.CONNECT, 1)
    assert bench.see("a").state is NodeState.READY
    bench.break_down("a", Failure.CONNECT, 1)
    assert bench.see("a").state is NodeState.EJECTED


def test_a_success_rate_far_below_the_peers_opens_it() -> None:
    """Two faults for each success, never five in a row."""
    bench = Bench()
    for _ in range(3):
        bench.succeed(call=bench.call(pin="b"))
        bench.succeed(call=bench.call(pin="b"))
    for _ in range(2):
        bench.succeed(call=bench.call(pin="a"))
        bench.break_down("a", times=2)
    assert bench.see("a").state is NodeState.EJECTED
    assert bench.see("a").why.startswith("success rate")


def test_a_success_rate_as_bad_as_the_peers_does_not() -> None:
    """The service is at fault, not this node."""
    bench = Bench()
    for _ in range(6):
        for name in "abc":
            bench.succeed(call=bench.call(pin=name))
            bench.break_down(name, times=2)
    assert states(bench) == ["ready"] * 3


def test_without_a_breaker_policy_nothing_is_taken_out() -> None:
    """`breaker=None`: neither faults nor back-pressure."""
    bench = Bench(breaker=None)
    bench.break_down("a", Failure.CONNECT, 50)
    call = bench.call()
    call.answered(an_attempt(call.begin()), 503)
    assert states(bench) == ["ready"] * 3


def test_open_doubles_up_to_its_limit() -> None:
    """5, 10, 20... jittered by 10%: to 300 s; to 30 s for one that refuses."""
    for failure, longest in ((Failure.RESET, 300.0), (Failure.CONNECT, 30.0)):
        bench = Bench(2)
        bench.break_down("a", failure)
        expected = 5.0
        for _ in range(8):
            until = bench.see("a").ejected_until
            assert until is not None
            seconds = until - bench.clock.now
            assert expected <= seconds <= expected * 1.1 + 1e-9
            bench.clock.advance(seconds)
            probe = bench.attempt()
            assert probe.why == "probe"
            probe.fault(failure)
            expected = min(2 * expected, longest)


def test_one_that_refuses_is_asked_again_soon() -> None:
    """After a fifth of the time it has been out: 5 s at first, 30 s at last."""
    bench = Bench(2)
    bench.break_down("a", Failure.CONNECT)
    began = bench.clock.now
    for _ in range(40):
        expected = min(30.0, max(5.0, 0.2 * (bench.clock.now - began)))
        assert expected <= reopened(bench, Failure.CONNECT, calls=50) <= expected * 1.1 + 1e-9
    assert bench.clock.now - began > 300


@pytest.mark.parametrize(("out", "calls"), [("a", 49), ("ab", 99)])
def test_one_call_in_fifty_asks_those_that_refuse(out: str, calls: int) -> None:
    """Where calls are fewer, or nodes that are out more, the time doubles as for any other."""
    for less, expected in ((0, 5.0), (1, 10.0)):
        bench = Bench(3)
        bench.break_down("a", Failure.CONNECT, times=2)
        for name in out[1:]:
            bench.core.eject(name, 100.0)
        assert reopened(bench, Failure.CONNECT, calls=calls - less) <= 5.5
        assert expected <= reopened(bench, Failure.CONNECT) <= 1.1 * expected


def test_one_that_begins_to_let_callers_wait_is_asked_more_rarely() -> None:
    """It doubles from there on."""
    bench = Bench(2)
    bench.break_down("a", Failure.CONNECT)
    assert reopened(bench, Failure.CONNECT, takes=0.2, calls=50) <= 5.5
    assert 10.0 <= reopened(bench, Failure.CONNECT, takes=0.2, calls=50) <= 11.0
    assert 20.0 <= reopened(bench, Failure.CONNECT, calls=50) <= 22.0


def reopened(bench: Bench, failure: Failure, *, takes: float = 0.0, calls: int = 0) -> float:
    """Seconds that the breaker is open, while others take calls; then the probe fails, too."""
    until = bench.see("a").ejected_until
    assert until is not None
    seconds = until - bench.clock.now
    for _ in range(calls):
        bench.succeed(ttfb=0.01)
    bench.clock.advance(until - bench.clock.now)
    probe = bench.attempt()
    assert probe.why == "probe"
    bench.clock.advance(takes)
    probe.fault(failure)
    return seconds


def test_a_node_that_did_well_for_a_minute_is_forgiven() -> None:
    """Its next opening is a short one again."""
    bench = Bench(2)
    for pause in (0.0, 61.0):
        bench.break_down("a")
        bench.clock.advance(12)
        assert bench.succeed() == "a"
        bench.clock.advance(pause)
    bench.break_down("a")
    until = bench.see("a").ejected_until
    assert until is not None
    assert until - bench.clock.now <= 5.5


def test_half_open_admits_exactly_one() -> None:
    """The next call is the probe, and no other one until it is decided."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    calls = [bench.attempt() for _ in range(5)]
    assert [call.node.label for call in calls] == ["a", "b", "b", "b", "b"]
    assert bench.see("a").state is NodeState.PROBING
    calls[0].first_byte()
    assert bench.see("a").state is NodeState.READY
    assert bench.told(EventKind.REVIVED) == ["a"]


@pytest.mark.parametrize("end", ["release", "drop", "408"])
def test_a_neutral_probe_returns_the_permit(end: str) -> None:
    """Cancelled, dropped or undecided: the next call is the probe."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    call = bench.call()
    probe = an_attempt(call.begin())
    assert probe.why == "probe"
    if end == "release":
        probe.release("cancelled")
    elif end == "408":
        assert an_attempt(call.answered(probe, 408)).node.label == "b"
    del probe, call
    assert bench.attempt().why == "probe"


def test_a_probe_that_never_ends_loses_its_permit() -> None:
    """After half a minute another call may try."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    first = bench.attempt()
    bench.clock.advance(29)
    assert bench.attempt().node.label == "b"
    bench.clock.advance(2)
    second = bench.attempt()
    assert (second.node.label, second.why) == ("a", "probe")
    first.release("late")
    assert bench.attempt().node.label == "b"
    second.first_byte()
    assert bench.see("a").state is NodeState.READY


def test_a_probe_may_take_as_long_as_its_kind_does() -> None:
    """Where plain answers take a minute the permit lasts longer."""
    bench = Bench()
    for _ in range(5):
        bench.succeed(60.0, bench.call(pin="b"))
    bench.break_down("a")
    bench.clock.advance(6)
    probe = bench.attempt()
    bench.clock.advance(100)
    assert bench.attempt().node.label == "b"
    probe.first_byte()
    assert bench.see("a").state is NodeState.READY


def test_without_a_call_that_may_probe_it_is_let_in_one_call_at_a_time() -> None:
    """A service of calls that may not be sent twice gets its node back too."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    assert bench.attempt(bench.call(idempotent=False)).node.label == "b"
    bench.clock.advance(31)
    held = [bench.attempt(bench.call(idempotent=False)) for _ in range(3)]
    assert [attempt.node.label for attempt in held] == ["a", "b", "b"]
    assert bench.see("a").state is NodeState.NEW


def test_a_full_probe_lives() -> None:
    """429 closes the breaker; the node cools like any other full one."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    call = bench.call()
    call.answered(an_attempt(call.begin()), 429)
    assert bench.see("a").state is NodeState.COOLING
    bench.clock.advance(1)
    assert bench.see("a").state is NodeState.READY


def test_outcomes_of_an_older_generation_are_discarded() -> None:
    """Calls picked before the opening neither close nor reopen the breaker."""
    bench = Bench()
    early = [bench.attempt(bench.call(pin="a")) for _ in range(8)]
    bench.break_down("a")
    early[0].first_byte()
    assert bench.see("a").state is NodeState.EJECTED
    bench.clock.advance(6)
    bench.succeed()
    assert bench.see("a").state is NodeState.READY
    for attempt in early[1:]:
        attempt.fault(Failure.RESET)
    assert bench.see("a").state is NodeState.READY


def test_a_break_after_the_first_byte_takes_the_success_back() -> None:
    """One call is one outcome."""
    bench = Bench(breaker=BreakerPolicy(min_samples=1, success_rate=0.0))
    call = bench.call()
    attempt = an_attempt(call.begin())
    call.delivered(attempt)
    assert bench.see("a").success_rate == 1.0
    attempt.fault(Failure.RESET)
    assert bench.see("a").success_rate == 0.0


def test_a_probe_that_breaks_after_its_first_byte_counts_in_the_new_generation() -> None:
    """It closed the breaker, and its fault is the first one of the new row."""
    bench = Bench(breaker=BreakerPolicy(consecutive=1))
    bench.break_down("a", times=1)
    bench.clock.advance(6)
    probe = bench.attempt()
    probe.first_byte()
    probe.fault(Failure.RESET)
    assert bench.see("a").state is NodeState.EJECTED


def test_a_revived_node_is_brought_up_over_the_ramp() -> None:
    """A tenth of its weight at first, all of it after `slow_start` seconds."""
    bench = Bench(2, picker=LeastLoad())
    bench.break_down("a")
    bench.clock.advance(6)
    bench.succeed()
    loads = []
    for _ in range(6):
        loads.append(bench.see("a").load)
        bench.clock.advance(2)
        bench.core.snapshot()
    assert loads[0] == pytest.approx(10.0)
    assert loads == sorted(loads, reverse=True)
    assert bench.see("a").load == pytest.approx(1.0, rel=0.05)
    assert bench.see("b").load == pytest.approx(1.0, rel=0.05)
