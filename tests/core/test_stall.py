"""A node that fell silent loses its traffic before any timeout, and its waiting calls move."""

from __future__ import annotations

from typing import Any

import pytest

from aiclient.core.attempt import Attempt, Overdue
from aiclient.core.call import Call
from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.verdict import Failure, Health
from aiclient.settings import BreakerPolicy, RetryPolicy

from .helpers import Stall, an_attempt


def test_two_silent_calls_make_a_suspect() -> None:
    """After two seconds, while two peers answered calls that started later."""
    stall = Stall()
    stall.pass_time(1.8)
    assert [stall.overdue(attempt) for attempt in stall.waiting] == [None, None]
    stall.pass_time(0.5)
    assert [stall.overdue(attempt) for attempt in stall.waiting] == [Failure.STALLED] * 2
    assert stall.bench.see("a").state is NodeState.STALLED
    assert stall.bench.told(EventKind.STALLED) == ["a"]
    assert stall.bench.attempt().node.label == "b"


def test_the_moved_calls_succeed_elsewhere_and_only_then_it_is_a_fault() -> None:
    """The suspicion itself charges nothing."""
    stall = Stall()
    stall.pass_time(2.5)
    call = stall.calls[0]
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    moved = an_attempt(call.failed(stall.waiting[0], Failure.STALLED))
    assert stall.overdue(stall.waiting[1]) is Failure.STALLED
    assert moved.node.label == "b"
    assert stall.bench.see("a").failed == 0
    stall.bench.clock.advance(0.2)
    call.delivered(moved)
    assert stall.bench.see("a").failed == 1
    assert stall.bench.see("a").state is NodeState.EJECTED
    assert stall.bench.see("a").why.startswith("stalled")


def test_a_moved_call_that_takes_as_long_elsewhere_charges_nobody() -> None:
    """It was the call, not the node."""
    stall = Stall()
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    moved = an_attempt(stall.calls[0].failed(stall.waiting[0], Failure.STALLED))
    stall.bench.clock.advance(2.6)
    stall.calls[0].delivered(moved)
    assert stall.bench.see("a").failed == 0


def test_a_byte_clears_the_suspicion() -> None:
    """Whoever receives it."""
    stall = Stall()
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    stall.waiting[1].first_byte()
    assert stall.bench.see("a").state is NodeState.READY
    assert stall.overdue(stall.waiting[1]) is None


def test_a_node_that_sends_to_anyone_has_not_stalled() -> None:
    """A running stream's bytes are noted without the lock."""
    stall = Stall()
    stall.pass_time(2.5)
    stall.waiting[0].node.last_byte_at = stall.bench.clock.now - 0.5
    assert stall.overdue(stall.waiting[0]) is None


def test_silence_while_the_peers_are_silent_too_is_no_stall() -> None:
    """Nobody answered a call that started later."""
    stall = Stall()
    stall.bench.clock.advance(60)
    assert stall.overdue(stall.waiting[0]) is None


def test_one_peer_of_two_is_not_enough() -> None:
    """Unless it is the only one."""
    stall = Stall()
    stall.peers = ["b"]
    stall.pass_time(3)
    assert stall.overdue(stall.waiting[0]) is None
    stall = Stall(nodes=2)
    stall.pass_time(3)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED


def test_peers_that_are_out_are_not_waited_for() -> None:
    """Three nodes, one of them dead: the other peer's word is enough."""
    stall = Stall()
    stall.peers = ["b"]
    stall.bench.break_down("c", Failure.CONNECT, 2)
    stall.pass_time(3)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED


def test_peers_answering_another_kind_say_nothing() -> None:
    """Streams answer at once, plain calls after all of decoding."""
    stall = Stall()
    for _ in range(40):
        for name in stall.peers:
            call = stall.bench.call(pin=name, body=b'{"stream": true}')
            stall.bench.succeed(0.01, call)
        stall.bench.clock.advance(0.1)
    assert stall.overdue(stall.waiting[0]) is None


def test_a_call_moves_at_most_once() -> None:
    """After that it waits as long as its deadlines say, wherever it is."""
    stall = Stall()
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    moved = an_attempt(stall.calls[0].failed(stall.waiting[0], Failure.STALLED))
    assert (moved.number, moved.movable) == (2, False)


@pytest.mark.parametrize(
    "options",
    [
        {"idempotent": False},
        {"replayable": False},
        {"pin": "a"},
        {"retry": RetryPolicy(attempts=1)},
    ],
)
def test_a_call_that_may_not_be_sent_twice_is_not_moved(options: dict[str, Any]) -> None:
    """Nor a pinned one, nor one on its last attempt; but all of them notice the stall."""
    stall = Stall(waiting=0)
    stall.began = stall.bench.clock.now
    waiting = [stall.bench.attempt(stall.bench.call(**options)) for _ in range(2)]
    stall.pass_time(2.5)
    assert [stall.overdue(attempt) for attempt in waiting] == [None, None]
    assert stall.bench.see("a").state is NodeState.STALLED


def test_a_stream_on_a_stalled_node_is_given_up() -> None:
    """Once the stall is confirmed, and after five more silent seconds: it would wait in vain."""
    stall = Stall(waiting=3)
    stream = stall.waiting.pop()
    stream.first_byte()
    begun = stall.bench.clock.now
    stall.pass_time(0.1)
    late = stall.bench.call()
    waiting = [an_attempt(late.begin()), stall.bench.attempt()]
    stall.pass_time(2.5)
    assert stall.overdue(waiting[0]) is Failure.STALLED
    moved = an_attempt(late.failed(waiting[0], Failure.STALLED))
    stall.bench.clock.advance(0.1)
    late.delivered(moved)
    assert stall.bench.see("a").why.startswith("stalled")
    stream.check(stall.bench.clock.now - begun)
    stall.bench.clock.advance(2.5)
    with pytest.raises(Overdue) as overdue:
        stream.check(stall.bench.clock.now - begun)
    assert overdue.value.failure is Failure.STALLED


def test_nobody_moves_without_budget_or_without_a_place_to_go() -> None:
    """The suspicion stands, the calls stay."""
    stall = Stall(retry=RetryPolicy(reserve=0, budget=0.0))
    stall.bench.core._budget._debt = 1000.0
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is None
    assert stall.bench.see("a").state is NodeState.STALLED
    stall = Stall()
    stall.pass_time(2.5)
    for name in "bc":
        stall.bench.core.eject(name, 60)
    assert stall.overdue(stall.waiting[0]) is None


def test_the_budget_is_refilled_for_moves_too() -> None:
    """Time pays debts back even when nobody withdraws."""
    stall = Stall()
    stall.bench.core._budget._debt = 20.0
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED


def test_an_unconfirmed_suspicion_ends_in_a_probe() -> None:
    """Ten seconds later its next call decides; silence again opens the breaker."""
    stall = Stall()
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    for attempt in stall.waiting:
        attempt.release("cancelled")
    stall.pass_time(10.5)
    assert stall.bench.see("a").state is NodeState.PROBING
    call = stall.bench.call()
    probe = an_attempt(call.begin())
    assert (probe.node.label, probe.why) == ("a", "probe")
    stall.began = stall.bench.clock.now
    stall.pass_time(2.5)
    assert stall.overdue(probe) is Failure.STALLED
    assert stall.bench.see("a").state is NodeState.EJECTED


def test_late_calls_lower_a_nodes_share_before_it_is_suspect() -> None:
    """The age of its oldest waiting call is in its load."""
    stall = Stall()
    before = stall.bench.see("a").load
    stall.pass_time(1.5)
    after = stall.bench.see("a")
    assert after.state is NodeState.READY
    assert after.load > 2 * before


def test_stall_detection_can_be_switched_off() -> None:
    """`stall_after=None`."""
    stall = Stall(breaker=BreakerPolicy(stall_after=None))
    stall.pass_time(60)
    assert stall.waiting[0].patience(60.0) is None
    assert stall.overdue(stall.waiting[0]) is None


def test_a_long_call_on_a_node_that_sends_is_not_late() -> None:
    """Its load stays what it was while others hear from it."""
    stall = Stall()
    before = stall.bench.see("a").load
    for _ in range(15):
        stall.pass_time(0.1)
        stall.waiting[0].node.last_byte_at = stall.bench.clock.now
    assert stall.bench.see("a").load == pytest.approx(before)


def test_an_unconfirmed_suspect_counts_as_out() -> None:
    """When it is to be probed and the only other node is out too, that is panic."""
    stall = Stall(nodes=2)
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    stall.bench.break_down("b")
    for attempt in stall.waiting:
        attempt.release("cancelled")
    stall.bench.clock.advance(3.0)
    node = stall.waiting[0].node
    assert node.suspect_until
    stall.bench.clock.advance(7.5)
    stall.bench.core.snapshot()
    assert stall.bench.core.panic


def test_a_byte_from_before_its_silence_does_not_refute_a_stall() -> None:
    """The node was serving others when it fell silent: the moved call still confirms it."""
    stall = Stall()
    stall.bench.clock.advance(0.1)
    stall.waiting[0].node.last_byte_at = stall.bench.clock.now
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    moved = an_attempt(stall.calls[0].failed(stall.waiting[0], Failure.STALLED))
    stall.bench.clock.advance(0.2)
    stall.calls[0].delivered(moved)
    assert stall.bench.see("a").state is NodeState.EJECTED


def test_a_lone_call_is_not_left_at_the_node_it_probes() -> None:
    """The node is known to have stalled: nobody else has to answer a later call first."""
    stall = Stall()
    stall.pass_time(2.5)
    assert stall.overdue(stall.waiting[0]) is Failure.STALLED
    moved = an_attempt(stall.calls[0].failed(stall.waiting[0], Failure.STALLED))
    stall.bench.clock.advance(0.2)
    stall.calls[0].delivered(moved)
    stall.waiting[1].release("cancelled")
    stall.pass_time(6.0)
    probe = an_attempt(stall.bench.call().begin())
    assert (probe.node.label, probe.why) == ("a", "probe")
    stall.began = stall.bench.clock.now
    stall.bench.clock.advance(2.5)
    assert stall.overdue(probe) is Failure.STALLED


def a_silent_probe() -> tuple[Stall, Call, Attempt]:
    """Node a, out because it answered 500, is silent to the call that probes it."""
    stall = Stall(waiting=0)
    stall.pass_time(0.5)
    for _ in range(5):
        attempt = an_attempt(stall.bench.call(pin="a").begin())
        stall.bench.core.settle(attempt, Health.FAULT, "http 500")
        attempt.finish()
    stall.pass_time(6.0)
    call = stall.bench.call()
    probe = an_attempt(call.begin())
    assert (probe.node.label, probe.why) == ("a", "probe")
    stall.began = stall.bench.clock.now
    stall.pass_time(3.0)
    assert stall.overdue(probe) is Failure.STALLED
    return stall, call, probe


def test_a_long_call_that_probes_does_not_put_the_node_out_again() -> None:
    """Where it takes as long elsewhere, the node was not to blame: the next call probes it."""
    stall, call, probe = a_silent_probe()
    moved = an_attempt(call.failed(probe, Failure.STALLED))
    assert stall.bench.see("a").state is NodeState.PROBING
    stall.bench.clock.advance(3.5)
    call.delivered(moved)
    assert stall.bench.see("a").state is NodeState.PROBING
    again = an_attempt(stall.bench.call().begin())
    assert (again.node.label, again.why) == ("a", "probe")


def test_a_probe_answered_sooner_elsewhere_puts_it_out_as_stalled() -> None:
    """That is the proof."""
    stall, call, probe = a_silent_probe()
    moved = an_attempt(call.failed(probe, Failure.STALLED))
    stall.bench.clock.advance(0.2)
    call.delivered(moved)
    assert stall.bench.see("a").state is NodeState.EJECTED
    assert stall.bench.see("a").why.startswith("stalled")
