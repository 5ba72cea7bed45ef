"""One call: how often it is tried, how long it waits, what it says about itself."""

from __future__ import annotations

import pytest

from aiclient.core.attempt import Attempt
from aiclient.core.call import CallReport
from aiclient.core.node import NodeState
from aiclient.core.verdict import Failure
from aiclient.errors import BalancerError, ConfigurationError, DeadlineExceeded, NoNodeAvailable
from aiclient.facts import RequestFacts
from aiclient.settings import Deadlines, OutlierPolicy, RetryPolicy

from .helpers import Bench, a_wait, an_attempt


def test_it_is_tried_three_times_and_each_time_on_another_node() -> None:
    """The default: three attempts, never twice on one node while another is left."""
    bench = Bench(5)
    call = bench.call()
    step = call.begin()
    for _ in range(2):
        step = an_attempt(call.failed(an_attempt(step), Failure.RESET))
    assert call.failed(an_attempt(step), Failure.RESET) is None
    assert [attempt.node.label for attempt in call.attempts] == ["a", "b", "c"]


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_attempts_is_a_setting_also_of_one_call(attempts: int) -> None:
    """`CallOptions.retry` overrides the balancer's policy."""
    bench = Bench(5)
    call = bench.call(retry=RetryPolicy(attempts=attempts))
    step: object = call.begin()
    made = 0
    while step is not None:
        made += 1
        step = call.failed(an_attempt(step), Failure.CONNECT)  # type: ignore[arg-type]
    assert made == attempts


def test_without_a_retry_policy_nothing_is_tried_twice() -> None:
    """`retry=None`."""
    bench = Bench(retry=None)
    call = bench.call()
    assert call.failed(an_attempt(call.begin()), Failure.CONNECT) is None


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


def test_an_empty_budget_lets_the_failure_stand() -> None:
    """With 2 permits and no success, the third retry is refused."""
    bench = Bench(retry=RetryPolicy(reserve=2, budget=0.2))
    outcomes = []
    for _ in range(3):
        call = bench.call()
        outcomes.append(call.failed(an_attempt(call.begin()), Failure.RESET))
        call.attempts[-1].release("cancelled")
    assert [outcome is None for outcome in outcomes] == [False, False, True]


def test_a_retry_that_is_answered_gives_its_permit_back() -> None:
    """One permit serves any number of calls in a row, as long as the retries succeed."""
    bench = Bench(retry=RetryPolicy(reserve=1, budget=0.0))
    for _ in range(5):
        call = bench.call()
        second = an_attempt(call.answered(an_attempt(call.begin()), 408))
        call.delivered(second)
        second.finish()


def test_a_retry_that_finds_no_node_gives_its_permit_back() -> None:
    """At once, and also when the wait for a node was in vain."""
    bench = Bench(1, retry=RetryPolicy(reserve=1, budget=0.0, max_wait=1.0))
    for _ in range(3):
        call = bench.call()
        wait = a_wait(call.answered(an_attempt(call.begin()), 429))
        bench.core.eject("a", 100)
        bench.clock.advance(wait)
        assert call.resume() is None
        bench.core.restore("a")
    call = bench.call(deadline=0.01)
    for _ in range(3):
        call = bench.call(deadline=0.01)
        assert call.failed(an_attempt(call.begin()), Failure.RESET) is None
    call = bench.call()
    a_wait(call.failed(an_attempt(call.begin()), Failure.RESET))


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
    step: Attempt | float | None = call.begin()
    start = bench.clock.now
    for _ in range(100):
        if step is None:
            break
        if isinstance(step, float):
            bench.clock.advance(step)
            step = call.resume()
        else:
            step = call.answered(step, 503)
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


def test_a_pinned_call_goes_to_its_node_whatever_its_state() -> None:
    """Also an ejected or drained one; it is never moved."""
    bench = Bench()
    bench.core.eject("b", 60)
    for name in ("b", "http://b.test:8000", "b.test:8000"):
        call = bench.call(pin=name)
        attempt = an_attempt(call.begin())
        assert (attempt.node.label, attempt.why) == ("b", "pinned")
        assert call.failed(attempt, Failure.CONNECT) is None


def test_a_pin_to_an_unknown_node_is_said() -> None:
    """The message lists the nodes there are."""
    with pytest.raises(ConfigurationError, match="'x'.* a, b, c"):
        Bench().call(pin="x").begin()


def test_a_non_idempotent_call_is_never_a_probe() -> None:
    """Nor one that cannot be replayed, nor one on its last attempt."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    for call in (
        bench.call(idempotent=False),
        bench.call(replayable=False),
        bench.call(retry=RetryPolicy(attempts=1)),
    ):
        assert bench.attempt(call).node.label == "b"
    assert bench.attempt().node.label == "a"


def test_when_all_nodes_are_gone_the_reasons_are_given() -> None:
    """`NoNodeAvailable` names each node, its state and why."""
    bench = Bench(2)
    bench.core.drain("a")
    bench.core.eject("b", 60)
    with pytest.raises(
        NoNodeAvailable, match=r"a \(drained: drained by hand\); b \(ejected: ejected by hand\)"
    ):
        bench.call().begin()


def test_with_fail_fast_it_raises_instead_of_trying_the_dead() -> None:
    """`OutlierPolicy(fail_fast=True)`."""
    bench = Bench(1, outlier=OutlierPolicy(fail_fast=True))
    bench.break_down("a", Failure.CONNECT, 2)
    with pytest.raises(NoNodeAvailable, match="cannot connect"):
        bench.call().begin()


def test_a_closed_balancer_takes_no_call() -> None:
    """Not even a pinned one; those under way end in peace."""
    bench = Bench()
    attempt = bench.attempt()
    bench.core.mark_closed()
    for pin in (None, "a"):
        with pytest.raises(BalancerError, match="closed"):
            bench.call(pin=pin).begin()
    attempt.finish()
    assert bench.in_flight == 0


def test_only_a_replaceable_inference_answer_is_held_back() -> None:
    """And not on the last attempt: there is nothing to replace it with."""
    bench = Bench()
    assert bench.call().hold == 1024 * 1024
    assert bench.call(retry=RetryPolicy(hold_body=5)).hold == 5
    assert bench.call(replayable=False).hold == 0
    assert bench.call(idempotent=False).hold == 0
    assert bench.call("GET", "/v1/models").hold == 0
    call = bench.call(retry=RetryPolicy(attempts=1))
    call.begin()
    assert call.hold == 0


def test_could_retry_foresees_and_changes_nothing() -> None:
    """What a shell asks before it reads an error's body."""
    bench = Bench()
    call = bench.call()
    attempt = an_attempt(call.begin())
    assert [call.could_retry(status) for status in (503, 404, 400)] == [True, True, False]
    assert bench.see("a").state is NodeState.READY
    attempt.finish()


def test_a_final_answer_is_judged_but_not_retried() -> None:
    """A body too long to be read ahead goes to the caller, and the node is charged."""
    bench = Bench()
    call = bench.call()
    assert call.answered(an_attempt(call.begin()), 500, final=True) is None
    assert bench.see("a").failed == 1


def test_the_users_predicate_decides_on_idempotency() -> None:
    """True, False, or None: leave it to the table."""

    def judge(facts: RequestFacts) -> bool | None:
        return {"/yes": True, "/no": False}.get(facts.path)

    bench = Bench(retry=RetryPolicy(idempotent=judge))
    assert bench.call("POST", "/yes").idempotent
    assert not bench.call("GET", "/no").idempotent
    assert bench.call("GET", "/other").idempotent
    assert bench.call("GET", "/no", idempotent=True).idempotent


def test_the_report_tells_every_attempt() -> None:
    """What `response.extensions["aiclient"]` holds."""
    bench = Bench()
    call = bench.call()
    first = an_attempt(call.begin())
    bench.clock.advance(0.5)
    second = an_attempt(call.failed(first, Failure.CONNECT, "refused"))
    bench.clock.advance(1.0)
    call.delivered(second)
    bench.clock.advance(2.0)
    second.finish()
    one, two = CallReport(call).attempts
    assert (one.number, one.node, one.why) == (1, "a", "picked")
    assert (one.outcome, one.ttfb, one.duration) == ("cannot connect: refused", None, 0.5)
    assert (two.number, two.node, two.retry_of) == (2, "b", "cannot connect: refused")
    assert (two.outcome, two.started, two.ttfb, two.duration) == ("ok", 0.5, 1.0, 3.0)
    assert CallReport(call).node == "b"
    assert "b (ok after 3000 ms)" in repr(CallReport(call))


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
