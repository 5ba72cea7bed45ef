"""How many may be out at once, and what happens beyond it."""

from __future__ import annotations

import pytest

from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad, Random
from aiclient.core.verdict import Failure
from aiclient.settings import OutlierPolicy, RetryPolicy

from .helpers import Bench, an_attempt


@pytest.mark.parametrize(
    ("nodes", "cap"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4), (10, 5)]
)
def test_soft_ejections_beyond_the_cap_are_panic(nodes: int, cap: int) -> None:
    """At most max(1, half), never the last one: then all of them are tried by score again."""
    bench = Bench(nodes)
    names = [str(node.endpoint.name) for node in bench.core.snapshot()]
    for count, name in enumerate(names, 1):
        bench.break_down(name)
        expected = count > cap or count == nodes
        assert bench.core.panic is expected, count
        if expected:
            break
        assert bench.see(name).state is NodeState.EJECTED
        assert name not in bench.picks(nodes)
    attempt = bench.attempt()
    assert attempt.why == "panic"
    assert bench.told(EventKind.PANIC) == [None]


def test_max_ejected_is_a_setting() -> None:
    """A quarter of eight is two; a share that rounds to nothing still means one."""
    bench = Bench(8, outlier=OutlierPolicy(max_ejected=0.25))
    for name in "ab":
        bench.break_down(name)
    assert not bench.core.panic
    bench.break_down("c")
    assert bench.core.panic
    bench = Bench(8, outlier=OutlierPolicy(max_ejected=0.0))
    bench.break_down("a")
    assert not bench.core.panic
    assert bench.see("a").state is NodeState.EJECTED


def test_without_an_outlier_policy_there_is_no_cap() -> None:
    """`outlier=None`: all may be out, and then the last resort is asked."""
    bench = Bench(2, outlier=None)
    bench.break_down("a")
    bench.break_down("b")
    assert not bench.core.panic
    assert bench.attempt().why == "last resort"


def test_nodes_that_refuse_do_not_count() -> None:
    """Nothing was sent to them: all but one may be skipped, without panic."""
    bench = Bench(3)
    for name in "ab":
        bench.break_down(name, Failure.CONNECT, 2)
    assert not bench.core.panic
    assert bench.picks(3) == ["c", "c", "c"]


def test_the_last_one_in_service_is_never_taken_out_softly() -> None:
    """Two refuse, the third answers 500: it is picked all the same, and no refusing one is."""
    bench = Bench(3)
    for name in "ab":
        bench.break_down(name, Failure.CONNECT, 2)
    bench.break_down("c")
    assert bench.core.panic
    assert set(bench.picks(5)) == {"c"}


def test_panic_ends_when_enough_are_back() -> None:
    """One of two is revived by an answer; the other one is out again."""
    bench = Bench(2)
    bench.break_down("a")
    bench.break_down("b")
    assert bench.core.panic
    bench.succeed(call=bench.call(pin="a"))
    assert not bench.core.panic
    assert bench.told(EventKind.PANIC_OVER) == [None]
    assert bench.picks(3) == ["a"] * 3


def test_panic_ends_when_an_ejection_by_hand_does() -> None:
    """The only healthy node was ejected by hand; its return ends the panic."""
    bench = Bench(2)
    bench.break_down("a")
    bench.core.eject("b", 4)
    assert bench.core.panic
    bench.clock.advance(4.5)
    assert bench.attempt().node.label == "b"
    assert not bench.core.panic


def test_in_panic_the_worst_node_still_gets_least() -> None:
    """All are tried by score: faults are remembered."""
    bench = Bench(2, picker=LeastLoad())
    for name in "ab":
        bench.succeed(1.0, bench.call(pin=name))
        bench.break_down(name)
    assert bench.core.panic
    bench.clock.advance(3)
    bench.core.eject("b", 60)
    assert bench.attempt().node.label == "a"


def test_retries_stay_on_in_panic() -> None:
    """A call that fails on one of the bad nodes is tried on the other one."""
    bench = Bench(2, retry=RetryPolicy(attempts=2))
    for name in "ab":
        bench.break_down(name)
    call = bench.call()
    second = an_attempt(call.failed(an_attempt(call.begin()), Failure.RESET))
    assert second.why == "panic"


def test_everyone_out_for_connecting_is_the_last_resort() -> None:
    """All refuse: each call still tries, rather than failing unseen."""
    bench = Bench(2, picker=Random())
    for name in "ab":
        bench.break_down(name, Failure.CONNECT, 2)
    attempt = bench.attempt()
    assert attempt.why == "last resort"
    attempt.first_byte()
    assert bench.see(attempt.node.label).state is NodeState.READY


def test_available_tells_whether_a_healthy_node_is_there() -> None:
    """What `wait_ready` waits for; a node to be probed counts."""
    bench = Bench(1)
    assert bench.core.available
    bench.break_down("a", Failure.CONNECT, 2)
    assert not bench.core.available
    bench.clock.advance(6)
    assert bench.core.available
