"""The table of DESIGN 3.3, row by row: what an outcome says of the node, and who may try again."""

from __future__ import annotations

import pytest

from aiclient.core.node import NodeState
from aiclient.core.verdict import Failure
from aiclient.settings import BreakerPolicy

from .helpers import Bench, an_attempt

F = Failure
FAULT, NEUTRAL, SUCCESS, FULL = "fault", "neutral", "success", "full"

# outcome, what it says of the node, and whether another node is asked: an idempotent call,
# one that is not, one whose body cannot be sent again
ROWS: list[tuple[Failure | int, str, bool, bool, bool]] = [
    (F.CONNECT, FAULT, True, True, True),
    (F.KEEPALIVE_RACE, NEUTRAL, True, False, False),
    (F.RESET, FAULT, True, False, False),
    (F.TIMEOUT, FAULT, True, False, False),
    (F.FIRST_BYTE, FAULT, True, False, False),
    (F.IDLE, FAULT, True, False, False),
    (F.TRUNCATED, FAULT, True, False, False),
    (F.GARBAGE, FAULT, True, False, False),
    (F.ERROR_EVENT, FAULT, True, False, False),
    (F.REPORTED, FAULT, True, False, False),
    (F.STALLED, NEUTRAL, True, False, False),
    (F.POOL_TIMEOUT, NEUTRAL, False, False, False),
    (F.DEADLINE, NEUTRAL, False, False, False),
    (F.CANCELLED, NEUTRAL, False, False, False),
    (F.LOCAL, NEUTRAL, False, False, False),
    (F.REDIRECT, NEUTRAL, False, False, False),
    *[(status, FAULT, True, False, False) for status in (424, 500, 502, 504, 507, 599)],
    (429, FULL, True, True, False),
    (529, FULL, True, True, False),
    (503, FULL, True, False, False),
    *[(status, NEUTRAL, True, False, False) for status in (401, 403, 404, 405, 421)],
    *[(status, NEUTRAL, True, False, False) for status in (408, 425)],
    *[(status, SUCCESS, False, False, False) for status in (400, 402, 406, 409, 413, 422)],
    *[(status, SUCCESS, False, False, False) for status in (302, 304, 307, 501, 505)],
]


def judged(bench: Bench) -> str:
    """What was made of node a."""
    node = bench.see("a")
    if node.state is NodeState.COOLING:
        return FULL
    return {None: NEUTRAL, 0.0: FAULT, 1.0: SUCCESS}[node.success_rate]


@pytest.mark.parametrize(("outcome", "health", "repeatable", "once", "streamed"), ROWS)
def test_the_table(
    outcome: Failure | int, health: str, repeatable: bool, once: bool, streamed: bool
) -> None:
    """Each outcome has the health effect and the retry decision the design gives it."""
    kinds = [
        ({"idempotent": True}, repeatable),
        ({"idempotent": False}, once),
        ({"replayable": False, "idempotent": True}, streamed),
    ]
    for options, again in kinds:
        bench = Bench(breaker=BreakerPolicy(min_samples=1, success_rate=0.0))
        call = bench.call(**options)  # type: ignore[arg-type]
        attempt = an_attempt(call.begin())
        assert attempt.node.label == "a"
        if isinstance(outcome, Failure):
            step = call.failed(attempt, outcome)
        else:
            step = call.answered(attempt, outcome)
        assert judged(bench) == health
        assert bench.see("a").in_flight == 0
        if again:
            assert an_attempt(step).node.label == "b"
        else:
            assert step is None


def test_every_failure_has_a_row() -> None:
    """The table above forgets none."""
    assert {row[0] for row in ROWS if isinstance(row[0], Failure)} == set(Failure)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 421])
def test_the_odd_one_out_is_charged_once_a_peer_succeeds(status: int) -> None:
    """One other node is asked; when it can, the first was at fault after all."""
    bench = Bench(breaker=BreakerPolicy(min_samples=1, success_rate=0.0))
    call = bench.call()
    first = an_attempt(call.begin())
    second = an_attempt(call.answered(first, status))
    assert bench.see("a").failed == 0
    call.delivered(second)
    second.finish()
    assert bench.see("a").failed == 1
    assert bench.see("a").success_rate == 0.0
    assert bench.see("b").failed == 0


def test_the_odd_one_out_gets_one_second_opinion_only() -> None:
    """Two nodes that say 404 are right, and neither is charged."""
    bench = Bench(breaker=BreakerPolicy(min_samples=1, success_rate=0.0))
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 404))
    assert call.answered(second, 404) is None
    assert [bench.see(name).success_rate for name in "ab"] == [None, None]


def test_a_second_opinion_that_fails_otherwise_is_sought_again() -> None:
    """404, then a node that cannot be reached, then a success: the first is charged."""
    bench = Bench()
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 404))
    third = an_attempt(call.failed(second, Failure.CONNECT))
    call.delivered(third)
    assert [bench.see(name).failed for name in "abc"] == [1, 1, 0]


def test_an_odd_one_out_is_taken_out() -> None:
    """A node with a stale key is ejected after five calls that its peers could answer."""
    bench = Bench()
    for _ in range(5):
        call = bench.call()
        first = an_attempt(call.begin())
        assert first.node.label == "a"
        second = an_attempt(call.answered(first, 401))
        call.delivered(second)
        second.finish()
    assert bench.see("a").state is NodeState.EJECTED
    assert bench.picks(3) == ["b", "b", "b"]


def test_a_probe_with_an_odd_answer_waits_for_its_verdict() -> None:
    """A half-open node answering 401 is not probed by the next call as well, and opens again."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    call = bench.call()
    probe = an_attempt(call.begin())
    assert (probe.node.label, probe.why) == ("a", "probe")
    second = an_attempt(call.answered(probe, 401))
    assert bench.attempt().node.label == "b"
    call.delivered(second)
    assert bench.see("a").state is NodeState.EJECTED


def test_a_probe_whose_odd_answer_a_peer_repeats_has_passed() -> None:
    """The call was wrong, not the node."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 404))
    assert call.answered(second, 404) is None
    assert bench.see("a").state is NodeState.READY


def test_the_same_5xx_from_two_nodes_is_a_poisoned_request() -> None:
    """Neither node is charged, and no third one is spoilt."""
    bench = Bench(breaker=BreakerPolicy(min_samples=1, success_rate=0.0))
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 500))
    assert bench.see("a").failed == 1
    assert call.answered(second, 500) is None
    for name in "ab":
        assert bench.see(name).failed == 0
        assert bench.see(name).success_rate is None


def test_different_5xx_are_no_poison() -> None:
    """500 and 502 are two faults; the third node is asked."""
    bench = Bench()
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 500))
    third = an_attempt(call.answered(second, 502))
    assert third.node.label == "c"
    assert [bench.see(name).failed for name in "abc"] == [1, 1, 0]


def test_a_node_that_fails_other_calls_is_no_witness() -> None:
    """Two bad nodes, met by one call: that says nothing about the call."""
    bench = Bench()
    bench.break_down("b", times=1)
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 500))
    third = an_attempt(call.answered(second, 500))
    assert third.node.label == "c"
    assert [bench.see(name).failed for name in "abc"] == [1, 2, 0]


def test_poison_is_recognised_across_another_failure() -> None:
    """500, a reset, 500: the two equal answers came from two nodes."""
    bench = Bench()
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 500))
    third = an_attempt(call.failed(second, Failure.RESET))
    assert call.answered(third, 500) is None
    assert [bench.see(name).failed for name in "abc"] == [0, 1, 0]


def test_the_same_5xx_twice_from_one_node_is_no_poison() -> None:
    """A fleet of one gets no discount."""
    bench = Bench(1)
    call = bench.call()
    wait = call.answered(an_attempt(call.begin()), 500)
    assert isinstance(wait, float)
    bench.clock.advance(wait)
    call.answered(an_attempt(call.resume()), 500)
    assert bench.see("a").failed == 2


def test_poison_closes_the_breaker_it_had_opened() -> None:
    """The fifth fault in a row was the request's: the node comes back at once."""
    bench = Bench()
    bench.break_down("a", times=4)
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 500))
    assert bench.see("a").state is NodeState.EJECTED
    call.answered(second, 500)
    assert bench.see("a").state is NodeState.READY


def test_poison_does_not_forgive_what_was_never_counted() -> None:
    """A straggler's fault, discarded because the breaker had opened meanwhile, frees nobody."""
    bench = Bench()
    call = bench.call()
    straggler = an_attempt(call.begin())
    bench.break_down("a")
    second = an_attempt(call.answered(straggler, 500))
    call.answered(second, 500)
    assert bench.see("a").state is NodeState.EJECTED
