"""What an outcome does to its node: cooling, occupied slots, penalties."""

from __future__ import annotations

import pytest

from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad, LeastRequest
from aiclient.core.verdict import Failure
from aiclient.settings import BreakerPolicy, RetryPolicy

from .helpers import Bench, an_attempt, endpoint


def full(bench: Bench, name: str = "a", retry_after: float | None = None) -> None:
    """The node says it is full."""
    call = bench.call(pin=name)
    call.answered(an_attempt(call.begin()), 503, retry_after)


def cools_for(bench: Bench, name: str = "a") -> float:
    """Seconds it will rest; 0 when it does not."""
    until = bench.see(name).ejected_until
    return 0.0 if until is None else until - bench.clock.now


def test_cooling_doubles_while_there_is_no_success() -> None:
    """0.5, 1, 2... to 60 s; a success starts again."""
    bench = Bench()
    rests = []
    for _ in range(9):
        full(bench)
        rests.append(cools_for(bench))
        bench.clock.advance(rests[-1])
    assert rests == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60])
    bench.succeed()
    full(bench)
    assert cools_for(bench) == pytest.approx(0.5)


def test_retry_after_counts_where_it_is_longer() -> None:
    """A node knows best, within a minute."""
    for said, expected in ((0.1, 0.5), (7.0, 7.0), (3600.0, 60.0)):
        bench = Bench()
        full(bench, retry_after=said)
        assert cools_for(bench) == pytest.approx(expected)


def test_a_burst_of_refusals_is_one_offence() -> None:
    """Calls that had left before it began to cool do not double the rest."""
    bench = Bench()
    calls = [bench.call(pin="a") for _ in range(10)]
    attempts = [an_attempt(call.begin()) for call in calls]
    for call, attempt in zip(calls, attempts, strict=True):
        bench.clock.advance(0.01)
        call.answered(attempt, 429)
    assert cools_for(bench) == pytest.approx(0.5 - 0.09)
    assert bench.told(EventKind.COOLING) == ["a"]


def test_back_pressure_is_no_fault() -> None:
    """Neither the rate nor the row, and no cap or panic."""
    bench = Bench(2, breaker=BreakerPolicy(min_samples=1))
    for name in "ab":
        for _ in range(8):
            full(bench, name)
    assert [node.failed for node in bench.core.snapshot()] == [0, 0]
    assert bench.see("a").success_rate is None
    assert not bench.core.panic
    assert bench.see("a").state is NodeState.COOLING


def test_back_pressure_does_not_break_a_row_of_faults() -> None:
    """Four faults, a 429, a fault: five."""
    bench = Bench()
    bench.break_down("a", times=4)
    full(bench)
    bench.break_down("a", times=1)
    assert bench.see("a").state is NodeState.EJECTED


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 302])
@pytest.mark.parametrize("picker", [LeastLoad(), LeastRequest()])
def test_a_bad_answer_keeps_its_slot_occupied(status: int, picker: object) -> None:
    """For as long as a good answer would have taken: a quick failure is no light load."""
    bench = Bench(2, picker=picker, breaker=BreakerPolicy(cool_for=1e-6, max_cool=1e-6))
    for name in "ab":
        bench.succeed(4.0, bench.call(pin=name))
    for _ in range(2):
        call = bench.call(pin="a")
        call.answered(an_attempt(call.begin()), status)
    bench.clock.advance(0.01)
    assert bench.picks(2) == ["b", "b"]
    for attempt in bench.held:
        attempt.release("cancelled")
    bench.clock.advance(60)
    assert "a" in bench.picks(2)


def test_a_verdict_reconsidered_occupies_no_second_slot() -> None:
    """The odd one out had its slot occupied when it answered."""
    bench = Bench(2)
    bench.succeed(4.0)
    call = bench.call()
    first = an_attempt(call.begin())
    second = an_attempt(call.answered(first, 401))
    assert len(first.node.ghosts) == 1
    call.delivered(second)
    assert bench.see("a").failed == 1
    assert len(first.node.ghosts) == 1


def test_a_fault_makes_a_node_less_likely_for_a_while() -> None:
    """A penalty that expires, not a sample in the average."""
    bench = Bench(2, picker=LeastLoad())
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
    bench.break_down("a", times=1)
    assert bench.see("a").slowness == pytest.approx(2.0)
    bench.clock.advance(2.5)
    assert bench.see("a").slowness == pytest.approx(1.0)
    assert bench.see("a").load == pytest.approx(1.0)


def test_a_long_wait_in_vain_weighs_more() -> None:
    """As long as it took, up to a minute."""
    bench = Bench(2)
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
    attempt = bench.attempt()
    bench.clock.advance(20)
    attempt.fault(Failure.FIRST_BYTE)
    assert bench.see("a").slowness == pytest.approx(20.0)
    bench.clock.advance(19)
    assert bench.see("a").slowness == pytest.approx(20.0)
    bench.clock.advance(1.5)
    assert bench.see("a").slowness == pytest.approx(1.0)


def test_a_stream_that_breaks_late_is_punished_for_its_first_byte_only() -> None:
    """The length of its answer says nothing about how slow it is."""
    bench = Bench(2)
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
    attempt = bench.attempt()
    bench.clock.advance(1.0)
    attempt.first_byte()
    bench.clock.advance(50.0)
    attempt.fault(Failure.RESET)
    assert bench.see("a").slowness == pytest.approx(2.0)


def test_the_time_a_peer_took_is_not_held_against_the_odd_one_out() -> None:
    """It answered at once; that its peer took a minute to prove it wrong is the peer's time."""
    bench = Bench(2)
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
    call = bench.call()
    second = an_attempt(call.answered(an_attempt(call.begin()), 404))
    bench.clock.advance(60)
    call.delivered(second)
    assert bench.see("a").slowness == pytest.approx(2.0)


def test_a_good_answer_without_content_counts() -> None:
    """A 204: the node is proven, its back-pressure forgotten."""
    bench = Bench(2, breaker=BreakerPolicy(min_samples=1))
    full(bench)
    bench.clock.advance(0.6)
    attempt = bench.attempt()
    attempt.status = 204
    attempt.finish()
    assert bench.see("a").succeeded == 1
    assert bench.see("a").success_rate == 1.0
    full(bench)
    assert cools_for(bench) == pytest.approx(0.5)


def test_first_byte_and_end_count_once() -> None:
    """Telling it twice changes nothing."""
    bench = Bench()
    attempt = bench.attempt()
    attempt.first_byte()
    attempt.first_byte()
    attempt.finish()
    attempt.finish()
    attempt.fault(Failure.RESET)
    attempt.release("cancelled")
    assert (bench.see("a").succeeded, bench.see("a").failed, bench.in_flight) == (1, 0, 0)
    assert attempt.record().outcome == "ok"


def test_a_slow_node_without_traffic_drifts_back() -> None:
    """Within minutes it is worth a call again, without anyone asking it."""
    bench = Bench(2, picker=LeastLoad())
    for _ in range(20):
        bench.succeed(1.0, bench.call(pin="b"))
        bench.succeed(9.0, bench.call(pin="a"))
    for _ in range(5):
        assert bench.succeed(1.0) == "b"
    before = bench.see("a").load
    for _ in range(60):
        bench.succeed(1.0, bench.call(pin="b"))
        bench.clock.advance(5)
    assert bench.see("a").load < 1.1 < 1.4 < before
    assert "a" in bench.picks(2)


def test_a_penalty_ends_by_itself_whatever_happens_meanwhile() -> None:
    """A node reviewed for another reason still gets its calls back when the penalty is over."""
    bench = Bench(2, picker=LeastLoad())
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
    bench.break_down("a", times=1)
    bench.core.update([endpoint("a"), endpoint("b")])
    assert bench.see("a").load > 1.3
    bench.clock.advance(2.5)
    assert bench.see("a").load == pytest.approx(1.0)


def test_a_revived_node_starts_at_its_peers_level() -> None:
    """It may be another machine by now: how slow it was is forgotten."""
    bench = Bench(2)
    for _ in range(20):
        bench.succeed(1.0, bench.call(pin="b"))
        bench.succeed(9.0, bench.call(pin="a"))
    assert bench.see("a").slowness > 2
    bench.break_down("a")
    bench.clock.advance(6)
    bench.attempt().release("cancelled")
    call = bench.call(pin="a")
    call.answered(an_attempt(call.begin()), 400)
    assert bench.see("a").state is NodeState.READY
    assert bench.see("a").slowness == 1.0


def test_asked_while_it_rests_a_node_rests_longer_but_commits_no_second_offence() -> None:
    """The next rest doubles once, not twice."""
    bench = Bench()
    full(bench)
    bench.clock.advance(0.2)
    full(bench)
    assert cools_for(bench) == pytest.approx(1.0)
    bench.clock.advance(1.0)
    full(bench)
    assert cools_for(bench) == pytest.approx(1.0)


def test_a_success_pays_into_the_budget() -> None:
    """With `budget=1` one success buys one retry."""
    bench = Bench(retry=RetryPolicy(reserve=1, budget=1.0))

    def retried() -> bool:
        call = bench.call()
        step = call.failed(an_attempt(call.begin()), Failure.RESET)
        call.attempts[-1].release("cancelled")
        return step is not None

    assert [retried(), retried()] == [True, False]
    bench.succeed(0.0)
    assert [retried(), retried()] == [True, False]
