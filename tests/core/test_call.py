"""One call: how often it is tried, how long it waits, what it says about itself."""

from __future__ import annotations

import pytest

from aiclient.core.call import Call
from aiclient.core.node import NodeState
from aiclient.core.report import CallReport
from aiclient.core.verdict import Failure
from aiclient.errors import BalancerError, ConfigurationError, NoNodeAvailable
from aiclient.facts import RequestFacts
from aiclient.settings import CallOptions, OutlierPolicy, RetryPolicy

from .helpers import CHAT, Bench, a_wait, an_attempt


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
    with pytest.raises(ConfigurationError, match=r"'x'.* a, b, c"):
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


def test_what_an_sdk_sends_again_is_a_retry_too() -> None:
    """It takes a permit; without one it is tried once, and gives none back."""
    bench = Bench(retry=RetryPolicy(reserve=2, budget=0.0))
    facts = RequestFacts("POST", CHAT, (), b"{}")

    def again() -> Call:
        return Call(bench.core, facts, CallOptions(), resent=True)

    for _ in range(2):
        call = again()
        assert call.failed(an_attempt(call.begin()), Failure.RESET) is not None
        call.attempts[-1].release("cancelled")
        bench.core.restore("a")
        bench.core._budget._debt = 0.0
    bench.core._budget._debt = 2.0
    call = again()
    attempt = an_attempt(call.begin())
    call.delivered(attempt)
    assert bench.core._budget._debt == 2.0
    attempt.finish()
    call = again()
    assert call.failed(an_attempt(call.begin()), Failure.RESET) is None
