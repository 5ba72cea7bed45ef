"""How long silence means nothing, and what ends a wait."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aiclient.core.attempt import Attempt, Overdue
from aiclient.core.call import Call
from aiclient.core.verdict import Failure
from aiclient.settings import NO_OPTIONS, Deadlines

from .helpers import Bench, Stall


def test_a_waiting_call_is_told_when_to_look() -> None:
    """`patience` leads to the first look after two seconds, then again, ever less often."""
    stall = Stall()
    attempt = stall.waiting[0]
    assert attempt.patience(0.0) == pytest.approx(2.0)
    stall.bench.clock.advance(2.0)
    assert attempt.patience(2.0) == 0.0
    attempt.check(2.0)
    assert attempt.patience(2.0) == pytest.approx(0.5)
    stall.bench.clock.advance(10.0)
    attempt.check(12.0)
    assert attempt.patience(12.0) == pytest.approx(3.0)


def test_a_single_silent_call_needs_more_time() -> None:
    """A long answer looks the same: four seconds, and nine times the slowest first byte."""
    stall = Stall(waiting=1)
    stall.pass_time(3.8)
    assert stall.overdue(stall.waiting[0]) is None
    stall.pass_time(1.2)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    stall = Stall(waiting=1, ttfb=1.0)
    stall.pass_time(8.5)
    assert stall.overdue(stall.waiting[0]) is None
    stall.pass_time(3.0)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED


def test_three_times_the_slowest_first_byte_is_no_stall_yet() -> None:
    """Where first bytes take 4 s, silence is no news before 12 s."""
    stall = Stall(ttfb=4.0)
    stall.pass_time(11)
    assert stall.overdue(stall.waiting[0]) is None
    stall.pass_time(3)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED


def test_a_node_may_be_busy_with_slower_calls() -> None:
    """Plain answers of 10 s wait there too: streams may be behind them in its queue."""
    stall = Stall(waiting=0)
    stream: dict[str, Any] = {"body": b'{"stream": true}'}
    for name in "abc":
        stall.bench.succeed(10.0, stall.bench.call(pin=name))
        for _ in range(3):
            stall.bench.succeed(0.2, stall.bench.call(pin=name, **stream))
    stall.began = stall.bench.clock.now
    waiting = [stall.bench.attempt(stall.bench.call(**stream)) for _ in range(2)]
    plain = stall.bench.attempt()
    for seconds in (0.1, 9.0):
        for name in stall.peers:
            stall.bench.succeed(0.1, stall.bench.call(pin=name, **stream))
        stall.bench.clock.advance(seconds)
    assert stall.overdue(waiting[0]) is None
    plain.release("cancelled")
    stall.bench.clock.advance(3.0)
    assert stall.overdue(waiting[0]) is None
    stall.bench.clock.advance(4.0)
    assert stall.overdue(waiting[0]) is Failure.STALLED


def test_a_call_of_an_unknown_kind_may_take_a_minute() -> None:
    """Nobody has answered one like it yet: it may be what keeps the node busy."""
    stall = Stall()
    unknown = stall.bench.attempt(stall.bench.call("POST", "/v1/embeddings"))
    stall.pass_time(30)
    assert stall.overdue(stall.waiting[0]) is None
    stall.pass_time(40)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    unknown.release("cancelled")


def test_an_unwatched_lease_enters_neither_age_nor_stall() -> None:
    """It will not say when the first byte comes."""
    bench = Bench()
    for name in "abc" * 3:
        bench.succeed(0.2, bench.call(pin=name))
    node = Call(bench.core, None, NO_OPTIONS, watched=False).begin()
    assert isinstance(node, Attempt)
    assert not node.node.waiting


def test_deadlines_end_a_wait() -> None:
    """First byte and total before it, idle after it."""
    bench = Bench(deadlines=Deadlines(first_byte=3.0, idle=1.0, total=10.0))
    attempt = bench.attempt()
    attempt.next_check = math.inf
    assert attempt.limited
    assert attempt.patience(0.0) == pytest.approx(3.0)
    bench.clock.advance(3.0)
    with pytest.raises(Overdue) as first:
        attempt.check(3.0)
    assert first.value.failure is Failure.FIRST_BYTE
    attempt.first_byte()
    assert attempt.patience(0.25) == pytest.approx(0.75)
    attempt.check(0.25)
    with pytest.raises(Overdue) as idle:
        attempt.check(1.0)
    assert idle.value.failure is Failure.IDLE
    bench.clock.advance(7.0)
    with pytest.raises(Overdue) as total:
        attempt.check(0.0)
    assert total.value.failure is Failure.DEADLINE


def test_the_four_timeouts_are_shortened_to_what_is_left() -> None:
    """For transports that cannot be asked to check."""
    bench = Bench(deadlines=Deadlines(first_byte=3.0, idle=1.0, total=10.0))
    attempt = bench.attempt()
    given = {"connect": 5.0, "read": 600.0, "write": None, "pool": 2.0}
    assert attempt.timeouts(given) == {"connect": 3.0, "pool": 2.0, "write": 3.0, "read": 1.0}
    assert Bench().attempt().timeouts(given) == given
