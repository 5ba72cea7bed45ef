"""How long a call waits for a node, and when it does not."""

from __future__ import annotations

import pytest

from aiclient.core.call import Step
from aiclient.core.node import NodeState
from aiclient.core.verdict import Failure
from aiclient.errors import DeadlineExceeded
from aiclient.settings import Deadlines, RetryPolicy

from .helpers import Bench, a_wait, an_attempt


def test_only_when_every_node_was_tried_it_waits() -> None:
    """Two nodes, three attempts: the third one comes after a backoff."""
    bench = Bench(2)
    call = bench.call()
    second = an_attempt(call.failed(an_attempt(call.begin()), Failure.RESET))
    wait = a_wait(call.failed(second, Failure.RESET))
    assert 0.05 <= wait <= 0.2
    bench.clock.advance(wait)
    third = an_attempt(call.resume())
    assert third.why == "picked again"


def test_a_backoff_is_spread() -> None:
    """Full jitter: a hundred calls do not come back together."""
    waits = set()
    for seed in range(20):
        bench = Bench(1, seed=seed)
        call = bench.call()
        waits.add(round(a_wait(call.failed(an_attempt(call.begin()), Failure.RESET)), 3))
    assert len(waits) > 10


def test_a_single_refusing_node_is_tried_again_after_a_backoff() -> None:
    """Only tried nodes are left, and out at that: a restart of a moment is survived."""
    bench = Bench(1)
    call = bench.call()
    step = call.failed(an_attempt(call.begin()), Failure.CONNECT)
    bench.clock.advance(a_wait(step))
    step = call.failed(an_attempt(call.resume()), Failure.CONNECT)
    assert bench.see("a").state is NodeState.EJECTED
    bench.clock.advance(a_wait(step))
    third = an_attempt(call.resume())
    assert third.why == "last resort"
    call.delivered(third)
    assert bench.see("a").state is NodeState.READY


def test_a_full_node_is_left_at_once_for_another() -> None:
    """429: no wait while another node is there."""
    bench = Bench()
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 429))
    assert second.node.label == "b"
    assert bench.see("a").state is NodeState.COOLING
    assert bench.picks(2) == ["b", "b"]


def test_when_all_are_full_it_waits_for_the_first_to_cool_off() -> None:
    """About half a second, and then the same node may be asked again."""
    bench = Bench(2)
    call = bench.call()
    first = an_attempt(call.begin())
    bench.clock.advance(0.2)
    second = an_attempt(call.answered(first, 429))
    bench.clock.advance(0.1)
    wait = a_wait(call.answered(second, 503))
    assert 0.4 <= wait <= 0.44
    bench.clock.advance(wait)
    assert an_attempt(call.resume()).node.label == "a"


def test_a_call_that_comes_while_all_are_full_waits_too() -> None:
    """It made no attempt yet, and still gets one later."""
    bench = Bench(1)
    full = bench.call(retry=RetryPolicy(attempts=1))
    assert full.answered(an_attempt(full.begin()), 503, 4.0) is None
    call = bench.call()
    wait = a_wait(call.begin())
    assert 4.0 <= wait <= 4.4
    bench.clock.advance(wait)
    assert an_attempt(call.resume()).why == "picked"


def test_who_cannot_wait_asks_a_full_node_all_the_same() -> None:
    """The node says how long; that is beyond the deadline or `max_wait`: it answers for itself."""
    for deadline in (5.0, None):
        bench = Bench(1)
        full = bench.call(retry=RetryPolicy(attempts=1))
        full.answered(an_attempt(full.begin()), 429, 30.0)
        call = bench.call(deadline=deadline)
        attempt = an_attempt(call.begin())
        assert attempt.why == "last resort"
        assert call.answered(attempt, 429, 30.0) is None


def test_waits_add_up_to_max_wait() -> None:
    """A node that is full again each time is not waited for without end."""
    bench = Bench(1, retry=RetryPolicy(attempts=100, max_wait=10.0, reserve=100))
    call = bench.call()
    step: Step = call.begin()
    start = bench.clock.now
    for _ in range(100):
        if step is None:
            break
        if isinstance(step, float):
            bench.clock.advance(step)
            step = call.resume()
        else:
            step = call.answered(an_attempt(step), 503)
    assert step is None
    assert 3.0 < bench.clock.now - start <= 10.0


def test_a_deadline_spans_all_attempts() -> None:
    """No retry after it, and each attempt may wait just as long as the call has left."""
    bench = Bench()
    call = bench.call(deadline=10.0)
    first = an_attempt(call.begin())
    bench.clock.advance(4)
    second = an_attempt(call.failed(first, Failure.CONNECT))
    second.next_check = float("inf")
    assert second.patience(0.0) == pytest.approx(6.0)
    bench.clock.advance(7)
    assert call.failed(second, Failure.RESET) is None
    # After the deadline it is the deadline that ended it, whatever it looked like.
    assert bench.see("b").failed == 0
    assert second.record().outcome == str(Failure.DEADLINE)


def test_no_backoff_that_would_end_after_the_deadline() -> None:
    """The failure stands instead."""
    bench = Bench(1)
    call = bench.call(deadline=0.04)
    assert call.failed(an_attempt(call.begin()), Failure.RESET) is None


def test_options_beat_the_deadlines_of_the_balancer() -> None:
    """`CallOptions.deadline` overrides `Deadlines.total`."""
    bench = Bench(deadlines=Deadlines(total=60.0, header="x-deadline-ms"))
    assert bench.call().deadline_at == bench.clock.now + 60
    call = bench.call(deadline=2.5)
    assert call.deadline_at == bench.clock.now + 2.5
    bench.clock.advance(0.5)
    assert call.deadline_header() == (b"x-deadline-ms", b"2000")


def test_no_deadline_no_header() -> None:
    """The header is sent only where there is something to tell."""
    assert Bench(deadlines=Deadlines(header="x-deadline-ms")).call().deadline_header() is None
    assert Bench().call(deadline=1.0).deadline_header() is None


def test_a_wait_that_outlives_the_deadline_raises() -> None:
    """The shell slept too long and no attempt was made: that is a deadline, not an answer."""
    bench = Bench(1)
    full = bench.call(retry=RetryPolicy(attempts=1))
    full.answered(an_attempt(full.begin()), 429, 1.0)
    call = bench.call(deadline=2.0)
    bench.clock.advance(a_wait(call.begin()) + 5)
    full = bench.call(pin="a")
    full.answered(an_attempt(full.begin()), 429, 30.0)
    with pytest.raises(DeadlineExceeded):
        call.resume()
