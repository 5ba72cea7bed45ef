"""The lock and what happens around it: events, dropped attempts, threads, forks."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading

import pytest

from aiclient.core.attempt import Attempt
from aiclient.core.events import Event, EventKind
from aiclient.core.node import NodeState
from aiclient.core.verdict import Failure
from aiclient.errors import ConfigurationError

from .helpers import Bench, an_attempt, endpoint


def test_a_subscriber_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the others are told, the call goes on."""
    bench = Bench()

    def broken(event: Event) -> None:
        raise RuntimeError("boom")

    later: list[Event] = []
    bench.core.subscribe(broken)
    bench.core.subscribe(later.append)
    bench.break_down("a")
    assert bench.told(EventKind.EJECTED) == ["a"]
    assert [event.kind for event in later] == [EventKind.EJECTED]
    assert any(record.exc_info and "subscriber" in record.message for record in caplog.records)


def test_events_are_delivered_outside_the_lock() -> None:
    """A subscriber may ask the balancer, and even change it."""
    bench = Bench()
    seen = []

    def curious(event: Event) -> None:
        seen.append((event.kind, bench.see("a").state))
        if event.kind is EventKind.EJECTED:
            bench.core.restore("a")

    bench.core.subscribe(curious)
    bench.break_down("a")
    assert seen[0] == (EventKind.EJECTED, NodeState.EJECTED)
    assert bench.see("a").state is NodeState.READY


def test_a_subscription_can_be_ended() -> None:
    """Also from within."""
    bench = Bench()
    seen: list[Event] = []
    end = bench.core.subscribe(seen.append)
    bench.core.drain("a")
    end()
    end()
    bench.core.drain("b")
    assert len(seen) == 1


def test_what_happens_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Ejections and panic as warnings, the rest as information."""
    caplog.set_level(logging.DEBUG, logger="aiclient")
    bench = Bench(2)
    bench.core.update([endpoint("a"), endpoint("b")])
    bench.break_down("a")
    bench.clock.advance(6)
    bench.succeed()
    call = bench.call()
    call.answered(an_attempt(call.begin()), 503)
    lines = [(record.levelname, record.message) for record in caplog.records]
    assert ("INFO", "update: 2 nodes: 0 joined, 0 left") in lines
    assert lines[1][0] == "WARNING"
    assert lines[1][1].startswith("ejected a: consecutive faults: connection broken, for 5.")
    assert [line[1].split(":")[0] for line in lines[2:]] == ["probing a", "revived a", "cooling a"]


@pytest.mark.parametrize("answered", [False, True])
def test_a_dropped_attempt_is_released(answered: bool) -> None:
    """Garbage collection gives the slot back with the next operation, and counts nothing."""
    bench = Bench()
    call = bench.call()
    attempt = an_attempt(call.begin())
    if answered:
        call.delivered(attempt)
    assert bench.in_flight == 1
    del attempt, call
    assert bench.in_flight == 0
    assert bench.see("a").failed == 0
    assert not bench.core._fleet.members[endpoint("a").identity].waiting


def test_a_dropped_attempt_in_a_cycle_is_released_by_the_collector() -> None:
    """Whoever runs the collector: it may be a thread that holds the lock."""
    bench = Bench()
    cycle: list[object] = [bench.attempt()]
    cycle.append(cycle)
    with bench.core._lock:
        del cycle
        gc.collect()
    assert bench.in_flight == 0


def test_the_core_keeps_no_attempt_alive() -> None:
    """Not as a probe, not as a waiting call, not as an ended one."""
    bench = Bench()
    bench.break_down("a")
    bench.clock.advance(6)
    held = [bench.attempt() for _ in range(5)]
    held[1].first_byte()
    held[2].release("cancelled")
    del held
    gc.collect()
    assert bench.in_flight == 0
    left = [thing for thing in gc.get_objects() if isinstance(thing, Attempt)]
    assert not [attempt for attempt in left if attempt.balancer is bench.core]


def test_many_threads_lose_nothing() -> None:
    """Calls of all kinds of ends from eight threads, while nodes come and go."""
    bench = Bench(4)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(200):
                call = bench.call()
                attempt = an_attempt(call.begin())
                match (turn + number) % 5:
                    case 0:
                        attempt.release("cancelled")
                    case 1:
                        attempt.fault(Failure.RESET)
                    case 2:
                        call.delivered(attempt)
                        attempt.finish()
                    case 3:
                        del attempt, call
                    case 4:
                        attempt.finish()
                if turn % 50 == 0:
                    names = "abcdef"[number % 3 :]
                    bench.core.update([endpoint(name) for name in names])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert bench.in_flight == 0
    departed = [node for _, node in bench.core._fleet._departed.values()]
    assert [node.in_flight for node in departed] == [0] * len(departed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_clean() -> None:
    """Its lock works although the parent held it; the parent's calls are none of its own."""
    bench = Bench(3)
    bench.break_down("c")
    bench.clock.advance(6)
    probe = bench.attempt()
    assert probe.why == "probe"
    parents = [probe, bench.attempt(), bench.attempt(bench.call(pin="b"))]
    bench.core.update([endpoint("a"), endpoint("c")])
    with bench.core._lock:
        child = os.fork()
        if child == 0:
            # A lock that is still held would keep it for ever.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            os._exit(0 if child_is_clean(bench, parents) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.core.in_flight == 3
    for attempt in parents:
        attempt.finish()
    assert bench.in_flight == 0


def child_is_clean(bench: Bench, parents: list[Attempt]) -> bool:
    """What the child asserts; it must not raise into pytest."""
    try:
        assert bench.in_flight == 0
        parents[0].first_byte()
        parents[1].fault(Failure.RESET)
        assert bench.in_flight == 0
        assert bench.see("a").failed == 0
        probe = bench.attempt()
        assert probe.why == "probe"
        probe.first_byte()
        probe.finish()
        bench.core.update([endpoint("a"), endpoint("b"), endpoint("c")])
        assert bench.in_flight == 0
        parents.clear()
        assert bench.in_flight == 0
        bench.succeed()
    except BaseException:
        return False
    return True


def test_a_clock_that_stands_still_does_no_harm() -> None:
    """Nor does one that goes back a little."""
    bench = Bench(2)
    for _ in range(50):
        bench.succeed(0.0)
        bench.break_down("b", times=1)
        bench.clock.advance(-0.001)
    assert bench.in_flight == 0


def test_a_user_may_bring_clock_and_seed() -> None:
    """The same seed and clock make the same run; the snapshot is taken on that clock."""

    def run() -> list[str]:
        bench = Bench(8, seed=5, picker=None)
        return [bench.succeed() for _ in range(100)]

    assert run() == run()


def test_a_snapshot_is_a_picture() -> None:
    """Frozen, in the order of joining, with shares that add up."""
    bench = Bench(3)
    for name in "aab":
        bench.succeed(2.0, bench.call(pin=name))
    picture = bench.core.snapshot()
    assert [node.endpoint.name for node in picture] == ["a", "b", "c"]
    assert sum(node.share for node in picture) == pytest.approx(1.0)
    assert picture[0].share > picture[1].share > picture[2].share == 0.0
    assert (picture[0].picked, picture[0].succeeded, picture[0].ttfb) == (2, 2, 2.0)
    assert picture[2].ttfb is None
    with pytest.raises(AttributeError):
        picture[0].in_flight = 5  # type: ignore[misc]


def test_nothing_secret_in_reprs() -> None:
    """Of nodes, attempts, snapshots and reports."""
    secret = endpoint("a", headers={"authorization": "Bearer s3cret"})
    bench = Bench([secret])
    call = bench.call(key="user-42")
    attempt = an_attempt(call.begin())
    text = f"{attempt!r} {attempt.node!r} {bench.core.snapshot()!r} {attempt.record()!r}"
    assert "a" in text
    assert "s3cret" not in text
    assert "user-42" not in text


def test_a_wrong_node_name_type_is_said() -> None:
    """Not a KeyError or a TypeError."""
    for name in (5, None, b"a", object()):
        with pytest.raises(ConfigurationError, match="is not one of the nodes"):
            Bench().core.drain(name)  # type: ignore[arg-type]
