"""Calls that wait in the client until a node has a place for them."""

from __future__ import annotations

from typing import Any

import pytest

from aiclient.core.attempt import Attempt
from aiclient.core.call import Call
from aiclient.core.line import Ticket
from aiclient.core.pickers import LeastLoad, RoundRobin
from aiclient.core.verdict import Failure
from aiclient.errors import (
    BalancerError,
    ConfigurationError,
    DeadlineExceeded,
    NoNodeAvailable,
    Overloaded,
)
from aiclient.facts import RequestFacts
from aiclient.settings import NO_OPTIONS, Concurrency, RetryPolicy

from .helpers import CHAT, Bench, an_attempt, endpoint

ONE_EACH = Concurrency(limit=1)


def a_ticket(step: object) -> Ticket:
    """The step, which has to be a place in the line."""
    assert isinstance(step, Ticket), f"a ticket was expected, not {step!r}"
    return step


def full(nodes: int = 2, concurrency: Concurrency = ONE_EACH) -> tuple[Bench, list[Attempt]]:
    """All nodes have the call they may have."""
    bench = Bench(nodes, concurrency=concurrency)
    return bench, [bench.attempt() for _ in range(nodes)]


# A limit that is set


def test_a_call_beyond_the_limit_waits_for_the_first_place() -> None:
    """At whichever node that is, and it is told."""
    bench, running = full()
    call = bench.call()
    ticket = a_ticket(call.begin())
    woken: list[str] = []
    ticket.wake = lambda: woken.append(str(bench.in_flight))
    assert bench.core.snapshot().waiting == 1
    running[1].finish()
    assert woken == ["2"]
    attempt = an_attempt(call.resume())
    assert attempt.node.label == "b"
    assert attempt.number == 1
    assert bench.core.snapshot().waiting == 0


def test_nodes_with_a_place_are_picked_before_anybody_waits() -> None:
    """By the picker, among those."""
    bench = Bench(3, concurrency=Concurrency(limit=2))
    assert bench.picks(6) == ["a", "a", "b", "b", "c", "c"]
    a_ticket(bench.call().begin())


def test_first_come_first_served() -> None:
    """However many wait."""
    bench, running = full(1)
    calls = [bench.call() for _ in range(3)]
    tickets = [a_ticket(call.begin()) for call in calls]
    for ticket, call in zip(tickets, calls, strict=True):
        running.pop().finish()
        assert [t.attempt is not None for t in tickets].count(True) == 1 + tickets.index(ticket)
        running.append(an_attempt(call.resume()))


def test_it_waits_no_longer_than_it_may() -> None:
    """And is told what kept it."""
    bench, _ = full(concurrency=Concurrency(limit=1, max_wait=5))
    call = bench.call()
    ticket = a_ticket(call.begin())
    # It looks again each second: time alone may bring a node back.
    assert ticket.patience() == 1.0
    bench.clock.advance(4.9)
    assert call.resume() is ticket
    assert ticket.patience() == pytest.approx(0.1)
    bench.clock.advance(0.2)
    with pytest.raises(Overloaded, match=r"as many calls as it may have \(1\), for 5 s now"):
        call.resume()
    assert bench.in_flight == 2


def test_its_own_deadline_comes_first() -> None:
    """It is no use waiting beyond that."""
    bench, _ = full()
    call = bench.call(deadline=2.0)
    a_ticket(call.begin())
    bench.clock.advance(2.1)
    with pytest.raises(DeadlineExceeded):
        call.resume()


def test_the_line_may_be_bounded() -> None:
    """Who comes then is refused at once."""
    bench, _ = full(concurrency=Concurrency(limit=1, queue=1))
    a_ticket(bench.call().begin())
    with pytest.raises(Overloaded, match=r"so many wait as may \(1\)"):
        bench.call().begin()


def test_a_retry_waits_too_and_keeps_the_last_failure() -> None:
    """If there is no place in time, that failure is the caller's."""
    one = Bench(2, concurrency=Concurrency(limit=1, max_wait=5.0))
    call, other = one.call(), one.call()
    first = an_attempt(call.begin())
    an_attempt(other.begin())
    a_ticket(call.answered(first, 503))
    one.clock.advance(6.0)
    assert call.resume() is None
    assert one.in_flight == 1


def test_who_gives_up_leaves_the_line() -> None:
    """And passes on what was held for him meanwhile."""
    bench, running = full(1)
    gone, granted, last = (bench.call() for _ in range(3))
    a_ticket(gone.begin())
    held = a_ticket(granted.begin())
    a_ticket(last.begin())
    gone.give_up()
    running[0].finish()
    assert held.attempt is not None
    granted.give_up()
    assert an_attempt(last.resume()).node.label == "a"
    assert bench.in_flight == 1


def test_a_ticket_that_is_dropped_gives_its_place_back() -> None:
    """As an attempt does: whoever waited is gone, with his thread or his event loop."""
    bench, running = full(1)
    call = bench.call()
    ticket = a_ticket(call.begin())
    running[0].finish()
    assert bench.in_flight == 1
    del call, ticket
    assert bench.in_flight == 0


def test_probes_and_pins_take_no_turn() -> None:
    """They ask about one node."""
    bench, _ = full()
    assert an_attempt(bench.call(pin="a").begin()).why == "pinned"


def test_a_place_is_free_again_when_a_node_comes_back() -> None:
    """Restored by hand, or joined."""
    bench, _ = full(1)
    call = bench.call()
    a_ticket(call.begin())
    bench.core.update(["http://a.test:8000", "http://b.test:8000"])
    assert isinstance(call.resume(), Attempt)


def test_closing_ends_all_waits() -> None:
    """They are woken, and told."""
    bench, _ = full()
    call = bench.call()
    ticket = a_ticket(call.begin())
    woken: list[bool] = []
    ticket.wake = lambda: woken.append(True)
    bench.core.mark_closed()
    assert woken == [True]
    with pytest.raises(BalancerError, match="closed"):
        call.resume()


def test_leases_wait_under_a_limit() -> None:
    """Whether or not they tell of their first byte."""
    bench, _ = full()
    a_ticket(Call(bench.core, None, NO_OPTIONS, watched=False).begin())


def test_one_that_cannot_go_where_there_is_a_place_keeps_nobody() -> None:
    """A retry waits for the node that it has not been to; those behind it go to the other."""
    bench, running = full()
    retried, behind = bench.call(), bench.call()
    running[0].finish()
    first = an_attempt(retried.begin())
    assert first.node.label == "a"
    keeps = a_ticket(retried.failed(first, Failure.RESET))
    bench.held = [bench.attempt()]
    assert bench.held[0].node.label == "a"
    waiting = a_ticket(behind.begin())
    bench.held[0].finish()
    assert keeps.attempt is None
    assert waiting.attempt is not None
    assert waiting.attempt.node.label == "a"


def test_of_very_many_nodes_the_one_with_a_place_is_found() -> None:
    """By the call that comes, and by the one that waits."""
    nodes = [endpoint(f"n{number}") for number in range(300)]
    bench = Bench(nodes, concurrency=ONE_EACH, picker=LeastLoad())
    held = [bench.attempt() for _ in range(300)]
    ticket = a_ticket(bench.call().begin())
    held[7].finish()
    assert ticket.attempt is not None
    assert ticket.attempt.node is held[7].node
    held[8].finish()
    assert an_attempt(bench.call().begin()).node is held[8].node


def test_the_next_level_is_asked_before_anybody_waits() -> None:
    """Under a limit a full level cannot take the call."""
    nodes = [endpoint("a"), endpoint("spare", priority=1)]
    bench = Bench(nodes, concurrency=ONE_EACH)
    assert bench.picks(2) == ["a", "spare"]
    a_ticket(bench.call().begin())


def test_who_waits_in_vain_is_told_at_once() -> None:
    """When the last node is taken away."""
    bench, _ = full(1)
    call = bench.call()
    ticket = a_ticket(call.begin())
    woken: list[bool] = []
    ticket.wake = lambda: woken.append(True)
    bench.core.drain("a")
    assert woken == [True]
    with pytest.raises(NoNodeAvailable, match="drained by hand"):
        call.resume()


@pytest.mark.parametrize("verb", ["restore", "update"])
def test_a_place_without_a_call_ending_is_given_at_once(verb: str) -> None:
    """Nobody has to look again for that."""
    bench, running = full()
    bench.core.drain("b")
    running[1].finish()
    ticket = a_ticket(bench.call().begin())
    if verb == "restore":
        bench.core.restore("b")
    else:
        bench.core.update([endpoint("a"), endpoint("c")])
    assert ticket.attempt is not None


def test_permits_come_back_from_the_line() -> None:
    """Of an SDK's retries that found no place, and of our own that were given up there."""
    bench, running = full(1, Concurrency(limit=1, queue=0))
    for _ in range(30):
        facts = RequestFacts("POST", CHAT, (), b"{}", True)
        with pytest.raises(Overloaded):
            Call(bench.core, facts, NO_OPTIONS, resent=True).begin()
    assert len(running) == bench.in_flight
    assert bench.core._budget.left(bench.clock.now) == 20
    two = Bench(2, concurrency=ONE_EACH)
    retried, other = two.call(), two.call()
    first = an_attempt(retried.begin())
    two.held = [an_attempt(other.begin())]
    a_ticket(retried.answered(first, 503))
    assert two.core._budget.left(two.clock.now) == 19
    retried.give_up()
    assert two.core._budget.left(two.clock.now) == 20


def test_who_looks_again_wakes_those_that_are_served_meanwhile() -> None:
    """Also if there is nothing for him."""
    bench, running = full()
    retried, behind = bench.call(), bench.call()
    running[0].finish()
    a_ticket(retried.failed(an_attempt(retried.begin()), Failure.RESET))
    bench.held = [bench.attempt()]
    ticket = a_ticket(behind.begin())
    woken: list[bool] = []
    ticket.wake = lambda: woken.append(True)
    # Given back by nobody: the next operation finds out.
    bench.held.clear()
    assert isinstance(retried.resume(), Ticket)
    assert woken == [True]


def test_a_long_line_looks_no_more_often_than_a_short_one() -> None:
    """As a whole: each of a thousand calls looks again every ten seconds."""
    bench, _ = full()
    tickets = [a_ticket(bench.call().begin()) for _ in range(1001)]
    assert tickets[0].patience() == 1.0
    assert tickets[-1].patience() == 10.0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"limit": 0}, "limit: 0 is not allowed; a whole number >= 1, or None"),
        ({"limit": 2.5}, "limit: 2.5 is not allowed"),
        ({"max_wait": 0}, "max_wait: 0 is not allowed; seconds > 0"),
        ({"queue": -1}, "queue: -1 is not allowed; a whole number >= 0, or None"),
    ],
)
def test_a_bad_setting_is_named(values: dict[str, float], told: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=told.replace("(", r"\(")):
        Concurrency(**values)  # type: ignore[arg-type]


# Learnt from the answers


def learnt(odds: float, *, nodes: int = 3, typical: float = 1.0, **options: Any) -> Bench:
    """Each node has one call, and whether it would begin with another is known like that."""
    options.setdefault("picker", LeastLoad())
    bench = Bench(nodes, concurrency=Concurrency(), retry=RetryPolicy(), **options)
    for _ in range(12):
        bench.succeed(typical)
    bench.held = [bench.attempt() for _ in range(nodes)]
    bench.core._fleet._slots._levels = [[-6.0, 1e9], [odds, bench.clock.now]]
    for node in bench.core._fleet.members.values():
        node.slots.low = 1
        node.slots._levels = [[-6.0, 1e9], [-1.5, bench.clock.now]]
    return bench


def waits(bench: Bench, calls: int = 40) -> list[Ticket]:
    """The places in the line of those calls that wait; the others give their nodes back."""
    tickets = []
    for _ in range(calls):
        call = bench.call()
        step = call.begin()
        if isinstance(step, Ticket):
            tickets.append(step)
            call.give_up()
        else:
            an_attempt(step).release("not needed")
    return tickets


def test_calls_wait_where_no_node_would_begin() -> None:
    """Nearly all of them: some go all the same, and would show that it is not so."""
    tickets = waits(learnt(3.0))
    assert 30 <= len(tickets) < 40
    # Never longer than such a call takes.
    assert all(ticket.until - 1000.0 <= 13.0 + 1.0 for ticket in tickets)


def test_they_go_where_a_node_would_begin() -> None:
    """None waits for what is there."""
    assert waits(learnt(-6.0)) == []


def test_while_nothing_is_known_few_wait_and_not_for_long() -> None:
    """At prior odds of a fifth, a fifth of the calls, for a fifth of what could be won."""
    tickets = waits(learnt(-1.5))
    assert 2 <= len(tickets) <= 16
    assert all(ticket.patience() < 0.2 for ticket in tickets)


def test_a_single_node_is_never_waited_for() -> None:
    """Its own queue is as good."""
    assert waits(learnt(3.0, nodes=1)) == []


def test_who_has_waited_long_enough_goes_to_the_best_node() -> None:
    """The belief may be wrong."""
    bench = learnt(3.0)
    call = bench.call()
    while not isinstance(step := call.begin(), Ticket):
        an_attempt(step).release("it went all the same")
        call = bench.call()
    bench.clock.advance(step.patience())
    attempt = an_attempt(call.resume())
    assert attempt.why == "picked"


@pytest.mark.parametrize("served", [True, False])
def test_nobody_waits_where_waking_takes_longer_than_it_brings(served: bool) -> None:
    """A process short of CPU time would leave the places idle; it may have some again later."""
    bench = learnt(3.0)
    call = bench.call()
    while not isinstance(step := call.begin(), Ticket):
        an_attempt(step).release("it went all the same")
        call = bench.call()
    if served:
        bench.held.pop().finish()
    else:
        bench.clock.advance(step.until - bench.clock.now)
    bench.clock.advance(5.0)
    bench.held.append(an_attempt(call.resume()))
    assert waits(bench) == []
    bench.clock.advance(60.0)
    assert len(waits(bench)) >= 30


def test_a_picker_that_does_not_balance_by_load_gets_the_node_it_wants() -> None:
    """It has its reasons: a prefix that is there, or a turn."""
    assert waits(learnt(3.0, picker=RoundRobin())) == []


def test_unwatched_leases_do_not_wait() -> None:
    """Nobody knows what such a call takes."""
    bench = learnt(3.0)
    for _ in range(20):
        step = Call(bench.core, None, NO_OPTIONS, watched=False).begin()
        an_attempt(step).release("not needed")


def test_a_node_on_its_way_to_its_full_share_has_a_share_of_its_places() -> None:
    """Of four places two, after half of the slow start."""
    bench = learnt(3.0)
    back = bench.held[0].node
    back.slots.low = 4
    back.ramp_from = bench.clock.now - 5.0
    back.reassess(bench.clock.now, 10.0)
    bench.held.append(bench.attempt())
    assert bench.held[-1].node is back
    assert len(waits(bench)) >= 30
    back.reassess(bench.clock.now + 5.0, 10.0)
    bench.held += [bench.attempt() for _ in range(2)]
    assert back.in_flight == 4


def test_a_slow_node_is_no_place_to_go_to() -> None:
    """Not for the sake of the little that the others are waited for."""
    bench = learnt(3.0)
    slow = bench.held[0].node
    bench.held.pop(0).release("it has a place")
    assert waits(bench) == []
    slow.slowness._log, slow.slowness._evidence = 1.4, 8.0
    slow.reassess(bench.clock.now, 0.0)
    assert len(waits(bench)) > 25
