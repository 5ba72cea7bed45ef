"""What health checks say about a node, and what they may not say."""

from __future__ import annotations

from typing import Any

import pytest

from aiclient.core.breaker import Trip
from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad, RoundRobin
from aiclient.core.verdict import Failure
from aiclient.errors import ConfigurationError
from aiclient.health_check import HealthCheck
from aiclient.settings import BreakerPolicy, OutlierPolicy

from .helpers import Bench, endpoint


class CheckBench(Bench):
    """A bench whose nodes are checked every 10 s."""

    def __init__(self, nodes: int = 3, **options: Any) -> None:
        options.setdefault("health_check", HealthCheck())
        super().__init__(nodes, **options)

    def check(self, name: str, problem: str = "", *, after: float = 10.0) -> bool:
        """A check of that node after a while, at once done; whether to confirm it soon."""
        self.clock.advance(after)
        return self.core.checked(endpoint(name), problem, self.clock.now)

    def all_well(self) -> None:
        """Each node passes its first check."""
        for node in self.core.snapshot():
            assert not self.check(str(node.endpoint.name), after=0)

    def state(self, name: str) -> NodeState:
        """The state the node is in."""
        return self.see(name).state


def test_a_failing_first_check_takes_a_node_out_before_any_call() -> None:
    """Nobody knows anything good of it; no call goes there, and nothing waits."""
    bench = CheckBench()
    assert not bench.check("a", "connecting: Connection refused", after=0)
    assert bench.state("a") is NodeState.UNHEALTHY
    assert bench.see("a").why == "health check: connecting: Connection refused"
    assert bench.picks(4) == ["b"] * 4
    assert bench.told(EventKind.UNHEALTHY) == ["a"]


def test_later_it_takes_as_many_as_fall_says_in_a_row() -> None:
    """One is to be confirmed soon; a good one in between begins the count anew."""
    bench = CheckBench(health_check=HealthCheck(fall=3))
    bench.all_well()
    assert bench.check("a", "http 500")
    assert bench.check("a", "http 500")
    assert not bench.check("a")
    for _ in range(2):
        assert bench.check("a", "http 500")
        assert bench.state("a") is NodeState.READY
    assert not bench.check("a", "http 500")
    assert bench.state("a") is NodeState.UNHEALTHY


def test_it_is_back_after_as_many_as_rise_says_in_a_row() -> None:
    """With its full share at once: the ramp is for nodes whose calls have failed."""
    bench = CheckBench(2, picker=RoundRobin())
    bench.check("a", "http 500", after=0)
    assert bench.check("a")
    bench.check("a", "http 500")
    assert bench.check("a")
    assert bench.state("a") is NodeState.UNHEALTHY
    assert not bench.check("a", after=2.5)
    assert bench.state("a") is NodeState.READY
    assert sorted(bench.picks(10)) == ["a"] * 5 + ["b"] * 5
    assert bench.told(EventKind.HEALTHY) == ["a"]


# Calls say more than checks


def test_a_node_that_answers_calls_is_not_taken_out() -> None:
    """However many checks fail, as long as a call has gone well since the last one."""
    bench = CheckBench()
    bench.all_well()
    for _ in range(5):
        bench.succeed(call=bench.call(pin="a"))
        bench.check("a", "http 500")
        assert bench.state("a") is NodeState.READY
    bench.check("a", "http 500")
    assert bench.state("a") is NodeState.UNHEALTHY


def test_a_stream_that_goes_on_is_an_answer() -> None:
    """Its bytes count like a new call's first one; those of a call that failed do not."""
    bench = CheckBench()
    bench.all_well()
    running = bench.attempt(bench.call(pin="a"))
    running.first_byte()
    for _ in range(4):
        bench.clock.advance(5)
        running.node.last_byte_at = bench.clock.now
        bench.check("a", "its answer: timed out after 2 s", after=5)
        assert bench.state("a") is NodeState.READY
    running.fault(Failure.RESET)
    bench.check("a", "its answer: timed out after 2 s")
    assert bench.state("a") is NodeState.UNHEALTHY


def test_a_stream_says_nothing_where_another_call_failed() -> None:
    """Its node may be about to die."""
    bench = CheckBench()
    bench.all_well()
    running = bench.attempt(bench.call(pin="a"))
    running.first_byte()
    bench.check("a")
    for _ in range(2):
        bench.attempt(bench.call(pin="a")).fault(Failure.RESET)
        bench.clock.advance(5)
        running.node.last_byte_at = bench.clock.now
        bench.check("a", "http 500", after=5)
    assert bench.state("a") is NodeState.UNHEALTHY


def test_a_good_call_brings_a_node_back() -> None:
    """One that was pinned to it, for instance; the next check sees that."""
    bench = CheckBench()
    bench.check("a", "http 500", after=0)
    bench.succeed(call=bench.call(pin="a"))
    bench.check("a", "http 500")
    assert bench.state("a") is NodeState.READY


def test_a_good_check_does_not_keep_a_node_in_whose_calls_fail() -> None:
    """200 at /health, 500 for inference: the breaker opens, and stays open."""
    bench = CheckBench()
    bench.all_well()
    for _ in range(4):
        bench.succeed(call=bench.call(pin="a"))
        bench.check("a", after=0.1)
    bench.break_down("a", Failure.RESET, 10)
    opened = bench.see("a")
    for _ in range(4):
        bench.check("a", after=1)
        assert bench.see("a").ejected_until == opened.ejected_until
        assert bench.state("a") is NodeState.EJECTED
    assert "a" not in bench.picks(4)
    bench.clock.advance(60)
    bench.break_down("a", Failure.RESET, 1)
    bench.check("a", after=0.1)
    assert bench.state("a") is not NodeState.READY


def test_a_good_check_does_not_end_a_success_rate_s_time_out() -> None:
    """Nor any other than those for silence."""
    bench = CheckBench(breaker=BreakerPolicy(consecutive=100))
    bench.all_well()
    for name in "bc":
        for _ in range(9):
            bench.succeed(call=bench.call(pin=name))
    bench.break_down("a", Failure.RESET, 6)
    assert bench.state("a") is NodeState.EJECTED
    bench.check("a", after=1)
    assert bench.state("a") is NodeState.EJECTED


# Quicker back


def test_a_good_check_ends_the_time_out_of_a_node_that_refused() -> None:
    """Half-open at once; the next call decides, and then it has its full share at once."""
    bench = CheckBench(2, picker=LeastLoad())
    bench.all_well()
    for name in "ab":
        bench.succeed(call=bench.call(pin=name))
    bench.break_down("a", Failure.CONNECT, 2)
    assert bench.state("a") is NodeState.EJECTED
    bench.check("a", after=1)
    assert bench.state("a") is NodeState.PROBING
    assert bench.succeed() == "a"
    assert bench.state("a") is NodeState.READY
    assert bench.see("a").load == pytest.approx(bench.see("b").load)


def test_one_found_again_after_its_time_out_has_its_share_at_once_too() -> None:
    """Its checks failed until then, so it was not probed."""
    bench = CheckBench(2, picker=LeastLoad())
    bench.succeed(call=bench.call(pin="b"))
    bench.break_down("a", Failure.CONNECT, 2)
    bench.check("a", "connecting: Connection refused", after=6)
    assert bench.see("a").breaker == "half-open"
    assert bench.state("a") is NodeState.UNHEALTHY
    assert bench.check("a")
    bench.check("a", after=2.5)
    assert bench.succeed() == "a"
    assert bench.see("a").load == pytest.approx(bench.see("b").load)


@pytest.mark.parametrize("trip", Trip)
def test_only_silence_is_refuted_by_a_check(trip: Trip) -> None:
    """That a node can be connected to says nothing about its answers."""
    bench = CheckBench()
    bench.all_well()
    node = bench.attempt(bench.call(pin="a")).node
    bench.core._fleet.trip(node, trip, bench.clock.now, "as found")
    bench.check("a", after=0.1)
    silent = trip in (Trip.CONNECT, Trip.STALLED)
    assert bench.state("a") is (NodeState.PROBING if silent else NodeState.EJECTED)


def test_only_once_until_a_check_fails() -> None:
    """The node's own port refuses still: the check on another one has been wrong."""
    bench = CheckBench()
    bench.all_well()
    bench.break_down("a", Failure.CONNECT, 2)
    bench.check("a", after=1)
    assert bench.state("a") is NodeState.PROBING
    bench.break_down("a", Failure.CONNECT, 1)
    call = bench.attempt()
    call.fault(Failure.CONNECT)
    assert bench.state("a") is NodeState.EJECTED
    bench.check("a", after=1)
    assert bench.state("a") is NodeState.EJECTED
    bench.check("a", "connecting: Connection refused", after=1)
    bench.check("a", after=1)
    assert bench.see("a").breaker == "half-open"


def test_a_check_from_before_says_nothing_of_after() -> None:
    """It began before the breaker opened."""
    bench = CheckBench()
    began = bench.clock.now
    bench.clock.advance(1)
    bench.break_down("a", Failure.CONNECT, 2)
    bench.core.checked(endpoint("a"), "", began)
    assert bench.state("a") is NodeState.EJECTED


def test_a_failing_node_is_not_probed() -> None:
    """Its time out is over, its check fails: a call would be wasted on it."""
    bench = CheckBench()
    bench.break_down("a", Failure.CONNECT, 2)
    bench.check("a", "connecting: Connection refused", after=60)
    assert bench.picks(3) == ["b"] * 3


# All of them


def test_when_all_fail_checks_are_ignored() -> None:
    """A broken health endpoint stops no traffic, and nothing crowds on the first that answers."""
    bench = CheckBench(3, picker=RoundRobin())
    for name in "abc":
        bench.check(name, "http 404", after=0)
    assert bench.told(EventKind.CHECKS_IGNORED) == [None]
    assert sorted(bench.picks(9)) == sorted("abc" * 3)
    bench.succeed(call=bench.call(pin="a"))
    for name in "abc":
        bench.check(name, "http 404", after=0.1)
    assert bench.state("a") is NodeState.READY
    assert sorted(bench.picks(9)) == sorted("abc" * 3)
    assert bench.told(EventKind.HEALTHY) == []
    for name in "bb":
        bench.check(name, after=1)
    assert bench.told(EventKind.CHECKS_HEEDED) == [None]
    assert set(bench.picks(9)) == {"a", "b"}


def test_all_but_one_may_be_out_by_their_checks() -> None:
    """They are outside of the cap on ejections, as nodes are that refuse."""
    bench = CheckBench(4, outlier=OutlierPolicy(max_ejected=0.25))
    for name in "abc":
        bench.check(name, "http 500", after=0)
    assert bench.picks(3) == ["d"] * 3
    assert not bench.core.panic


@pytest.mark.parametrize("outlier", [None, OutlierPolicy(fail_fast=True), OutlierPolicy()])
def test_the_last_one_that_passes_leaves(outlier: OutlierPolicy | None) -> None:
    """Its breaker opens, or it is drained: then those whose checks fail are better than none."""
    for leave in ("break_down", "drain", "eject"):
        bench = CheckBench(2, outlier=outlier)
        bench.check("a", "http 500", after=0)
        if leave == "break_down":
            bench.break_down("b", Failure.CONNECT, 2)
        elif leave == "drain":
            bench.core.drain("b")
        else:
            bench.core.eject("b", 5)
        assert bench.picks(2) == ["a", "a"]
        bench.core.restore("b")
        assert bench.picks(2) == ["b", "b"]


def test_a_lower_level_takes_over_when_a_whole_level_fails() -> None:
    """Checks are ignored only where no node of any level passes them."""
    bench = Bench([endpoint("a"), endpoint("b", priority=1)], health_check=HealthCheck())
    bench.core.checked(endpoint("a"), "http 500", bench.clock.now)
    assert bench.picks(2) == ["b", "b"]


# Membership and by hand


def test_of_a_node_that_has_left_a_check_says_nothing() -> None:
    """Its result comes late."""
    bench = CheckBench(2)
    bench.core.update([endpoint("b")])
    assert not bench.core.checked(endpoint("a"), "http 500", bench.clock.now)
    assert bench.told(EventKind.UNHEALTHY) == []


def test_who_returns_finds_its_record() -> None:
    """Out it was, out it is, until its next checks succeed; and it is counted in between."""
    bench = CheckBench(2)
    bench.check("a", "http 500", after=0)
    bench.core.update([endpoint("b")])
    bench.core.update([endpoint("a"), endpoint("b")])
    assert bench.state("a") is NodeState.UNHEALTHY
    assert bench.picks(2) == ["b", "b"]
    bench.check("b", "http 500", after=0)
    assert bench.told(EventKind.CHECKS_IGNORED) == [None]


def test_restore_takes_it_back() -> None:
    """By hand, until the next check says otherwise."""
    bench = CheckBench()
    bench.check("a", "http 500", after=0)
    bench.core.restore("a")
    assert bench.state("a") is NodeState.READY
    assert bench.attempt().node.label == "a"
    bench.check("a", "http 500", after=0)
    assert bench.state("a") is NodeState.UNHEALTHY


def test_restoring_one_of_all_that_fail_does_not_crowd_on_it() -> None:
    """It is no node that passes its checks."""
    bench = CheckBench(2, picker=RoundRobin())
    for name in "ab":
        bench.check(name, "http 500", after=0)
    bench.core.restore("a")
    assert sorted(bench.picks(4)) == ["a", "a", "b", "b"]


def test_without_a_health_check_results_mean_nothing() -> None:
    """Nobody asked for them."""
    bench = Bench(2)
    assert not bench.core.checked(endpoint("a"), "http 500", bench.clock.now)
    assert bench.see("a").state is NodeState.READY


# The setting


@pytest.mark.parametrize(
    "values",
    [
        {"path": "health"},
        {"path": ""},
        {"path": "/he alth"},
        {"path": 7},
        {"model": ""},
        {"model": "m", "path": None},
        {"model": "m", "path": "/v1/models"},
        {"statuses": 200},
        {"statuses": []},
        {"statuses": "200"},
        {"statuses": [200, 700]},
        {"port": 0},
        {"port": 8000.5},
        {"interval": 0},
        {"timeout": float("nan")},
        {"fall": 0},
        {"rise": True},
        {"jitter": 1.5},
        {"verify": "ca.pem"},
        {"pathh": "/"},
    ],
)
def test_bad_values_are_refused(values: dict[str, object]) -> None:
    """With the field's name in the error."""
    with pytest.raises(ConfigurationError, match=next(iter(values)) + "|path"):
        HealthCheck(**values)  # type: ignore[arg-type]


def test_a_model_is_asked_where_chats_go() -> None:
    """Unless another route is named."""
    assert HealthCheck(model="m").path == "/v1/chat/completions"
    assert HealthCheck(model="m", path="/v1/embeddings").path == "/v1/embeddings"
    assert HealthCheck().path == "/health"


def test_it_is_a_health_check_or_none() -> None:
    """A dict, or True, is a mistake."""
    with pytest.raises(ConfigurationError, match="health_check"):
        Bench(1, health_check=True)
