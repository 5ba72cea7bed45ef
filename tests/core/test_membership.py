"""Nodes that come, go, change, and are taken out by hand."""

from __future__ import annotations

import pytest

from aiclient.core.events import EventKind
from aiclient.core.node import NodeState
from aiclient.core.pickers import LeastLoad
from aiclient.core.verdict import Failure
from aiclient.errors import ConfigurationError, NoNodeAvailable

from .helpers import Bench, an_attempt, endpoint


def test_who_stays_keeps_everything_known() -> None:
    """Statistics, calls under way, and its breaker."""
    bench = Bench(2)
    bench.succeed(call=bench.call(pin="a"))
    running = bench.attempt(bench.call(pin="a"))
    bench.break_down("b")
    bench.core.update([endpoint("c"), endpoint("b"), endpoint("a", weight=2.0)])
    kept = bench.see("a")
    assert (kept.picked, kept.succeeded, kept.in_flight) == (2, 1, 1)
    assert kept.endpoint.weight == 2.0
    assert bench.see("b").state is NodeState.EJECTED
    assert bench.told(EventKind.UPDATE) == [None]
    running.finish()
    assert bench.see("a").in_flight == 0


def test_who_leaves_finishes_its_calls() -> None:
    """It gets nothing new, and its end is counted."""
    bench = Bench(2)
    running = bench.attempt()
    assert running.node.label == "a"
    bench.core.update([endpoint("b")])
    assert bench.picks(3) == ["b"] * 3
    running.first_byte()
    running.finish()
    assert running.node.in_flight == 0
    assert bench.core.in_flight == 3


def test_who_returns_within_ten_minutes_finds_its_record() -> None:
    """Also the calls that were under way all the time."""
    bench = Bench(2)
    running = bench.attempt()
    bench.core.update([endpoint("b")])
    bench.clock.advance(599)
    bench.core.update([endpoint("a"), endpoint("b")])
    assert (bench.see("a").picked, bench.see("a").in_flight) == (1, 1)
    running.finish()
    assert bench.see("a").in_flight == 0


def test_after_ten_minutes_it_is_a_new_node() -> None:
    """And a late call of the old one does not disturb its counters."""
    bench = Bench(2)
    running = bench.attempt()
    bench.core.update([endpoint("b")])
    bench.clock.advance(601)
    bench.core.update([endpoint("a"), endpoint("b")])
    assert bench.see("a").picked == 0
    running.finish()
    assert bench.see("a").in_flight == 0
    assert bench.in_flight == 0


def test_an_ejected_node_cannot_wash_itself_clean_by_leaving() -> None:
    """It comes back ejected, and counts against the cap again."""
    bench = Bench(4)
    others = [endpoint(name) for name in "bcd"]
    bench.break_down("a")
    bench.core.update(others)
    bench.core.update([endpoint("a"), *others])
    assert bench.see("a").state is NodeState.EJECTED
    bench.break_down("b")
    assert not bench.core.panic
    bench.break_down("c")
    assert bench.core.panic


def test_a_half_open_node_is_probed_again_when_it_returns() -> None:
    """Its probe was cancelled while it was away."""
    bench = Bench(2)
    bench.break_down("a")
    bench.clock.advance(6)
    probe = bench.attempt()
    assert probe.why == "probe"
    bench.core.update([endpoint("b")])
    probe.release("cancelled")
    bench.core.update([endpoint("a"), endpoint("b")])
    assert bench.attempt().why == "probe"


def test_a_suspect_that_left_does_not_count_as_out() -> None:
    """The cap counts members only."""
    bench = Bench(3)
    node = bench.attempt().node
    bench.core.update([endpoint("b"), endpoint("c")])
    node.suspect_until = bench.clock.now + 5
    bench.core._fleet.review(node, bench.clock.now)
    bench.core._fleet.due_by(node, bench.clock.now + 5)
    bench.clock.advance(6)
    bench.core.snapshot()
    assert not bench.core._fleet._out_softly


def test_an_empty_update_is_an_error_and_changes_nothing() -> None:
    """The SLB's deletion protection."""
    bench = Bench(2)
    with pytest.raises(ConfigurationError, match="empty"):
        bench.core.update([])
    with pytest.raises(ConfigurationError, match="twice"):
        bench.core.update([endpoint("c"), endpoint("c")])
    assert [node.endpoint.name for node in bench.core.snapshot()] == ["a", "b"]


def test_weight_zero_drains() -> None:
    """It finishes what it has and gets nothing new; any weight brings it back."""
    bench = Bench(2)
    running = bench.attempt()
    bench.core.update([endpoint("a", weight=0), endpoint("b")])
    assert bench.see("a").state is NodeState.DRAINED
    assert bench.picks(2) == ["b", "b"]
    running.finish()
    bench.core.update([endpoint("a", weight=0.1), endpoint("b")])
    assert bench.attempt().node.label == "a"


def test_a_newcomer_is_offered_one_call_until_it_has_answered() -> None:
    """Among proven peers; then it comes up over the ramp."""
    bench = Bench(1)
    bench.succeed()
    bench.core.update([endpoint("a"), endpoint("0")])
    assert bench.see("0").state is NodeState.NEW
    first = bench.attempt()
    assert first.node.label == "0"
    assert bench.picks(5) == ["a"] * 5
    first.release("cancelled")
    first = bench.attempt()
    assert first.node.label == "0"
    first.first_byte()
    assert bench.see("0").state is NodeState.READY
    assert bench.picks(2) == ["0", "0"]
    assert bench.see("0").load > 10


def test_a_lease_without_a_first_byte_proves_a_newcomer_too() -> None:
    """`finish` says that all went well; there need not be a first byte."""
    bench = Bench(1)
    bench.succeed()
    bench.core.update([endpoint("a"), endpoint("0")])
    bench.attempt().finish()
    assert bench.see("0").state is NodeState.READY
    assert bench.see("0").succeeded == 1
    assert bench.picks(2) == ["0", "0"]


def test_when_all_are_new_all_are_offered_alike() -> None:
    """A fresh balancer knows nobody: no limit of one call each."""
    bench = Bench(2)
    assert bench.picks(4) == ["a"] * 4


def test_a_fleet_replaced_as_a_whole_takes_all_calls() -> None:
    """All are newcomers then, and more calls come than there are nodes."""
    bench = Bench(2, picker=LeastLoad())
    bench.succeed()
    bench.core.update([endpoint("x"), endpoint("y")])
    labels = bench.picks(8)
    assert sorted(labels) == ["x"] * 4 + ["y"] * 4


def test_drain_and_restore() -> None:
    """By name, URL, `host:port` or the endpoint itself."""
    bench = Bench(2)
    for node in ("a", "http://a.test:8000", "a.test:8000", endpoint("a")):
        bench.core.drain(node)
        assert bench.see("a").state is NodeState.DRAINED
        assert bench.attempt().node.label == "b"
        bench.core.restore(node)
        assert bench.attempt().node.label == "a"
    assert bench.told(EventKind.DRAINED) == ["a"] * 4


def test_eject_takes_out_for_that_long() -> None:
    """Then it is back by itself."""
    bench = Bench(2)
    bench.core.eject("a", 7)
    assert bench.see("a").ejected_until == bench.clock.now + 7
    assert bench.attempt().node.label == "b"
    bench.clock.advance(7)
    assert bench.attempt().node.label == "a"


def test_an_ejected_node_is_not_probed_either() -> None:
    """Nothing new for that long, whatever its breaker waits for."""
    bench = Bench(2)
    bench.break_down("a")
    bench.core.eject("a", 60)
    bench.clock.advance(6)
    assert bench.attempt().node.label == "b"


def test_restore_forgets_whatever_kept_it_out() -> None:
    """An open breaker, cooling, an ejection."""
    bench = Bench(2)
    bench.break_down("a")
    bench.core.eject("a", 60)
    call = bench.call(pin="a")
    call.answered(an_attempt(call.begin()), 429, 50.0)
    bench.core.restore("a")
    assert bench.see("a").state is NodeState.READY
    assert bench.picks(3) == ["a"] * 3


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_eject_wants_a_positive_number(seconds: object) -> None:
    """Anything else is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="seconds"):
        Bench().core.eject("a", seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_an_unknown_node_is_said(verb: str) -> None:
    """With the ones there are."""
    with pytest.raises(ConfigurationError, match=r"'z' is not one of the nodes.* a, b, c"):
        getattr(Bench().core, verb)("z")


def test_draining_the_last_one_leaves_nobody() -> None:
    """What a user did by hand is obeyed."""
    bench = Bench(1)
    bench.core.drain("a")
    with pytest.raises(NoNodeAvailable):
        bench.call().begin()


def test_a_drained_node_in_panic_stays_drained() -> None:
    """Panic relaxes ejections, not the user's word."""
    bench = Bench(2)
    bench.core.drain("a")
    bench.break_down("b", Failure.RESET)
    assert bench.core.panic
    assert bench.picks(3) == ["b"] * 3
