"""Each event does what it says; a part of the run is told as from where to where, 0 to 1."""

from statistics import fmean

import attrs
import pytest

from aiclient import simulation
from aiclient.simulation import Event, Fleet, Result, Workload

from .helpers import SMALL, made, share

# Of ten minutes: the second and the third hundred seconds.
BEFORE, DURING, AFTER = (0.0, 0.3), (0.4, 0.6), (0.8, 1.0)


def happens(kind: str, until: float | None = 400.0, **values: object) -> Result:
    """To node 0, from 180 s on."""
    event = Event(kind=kind, at=180.0, until=until, **values)  # type: ignore[arg-type]
    return simulation.run(made(event), "LeastRequest", seed=4)


def test_without_events_all_get_alike() -> None:
    """What the tests below compare with."""
    result = simulation.run(made(), "LeastRequest", seed=4)
    for part in (BEFORE, DURING, AFTER):
        assert share(result, 0, *part) == pytest.approx(0.25, abs=0.05)
    assert result.retries == result.errors == result.interrupted == result.ejections == 0


def test_slow() -> None:
    """At a tenth of the speed it takes few calls, and those take long; then it is as before."""
    result, even = happens("slow", speed=0.1), simulation.run(made(), "LeastRequest", seed=4)
    assert share(result, 0, *DURING) < 0.15
    assert share(result, 0, *AFTER) == pytest.approx(0.25, abs=0.06)
    assert result.latency.p99 > 1.5 * even.latency.p99


def test_stall() -> None:
    """It gets next to nothing, nobody gets an error, and it comes back."""
    result = happens("stall")
    assert share(result, 0, *DURING) < 0.03
    assert share(result, 0, *AFTER) == pytest.approx(0.25, abs=0.06)
    assert result.errors == 0


def test_a_stall_without_end() -> None:
    """Streams that had begun there are broken when their callers have waited long enough."""
    # Long ones: nobody has looked at most of them since their first byte.
    work = Workload(streaming=1.0, timeout=60.0, decode=40.0, decode_sigma=0.2)
    result = simulation.run(made(Event(kind="stall", at=180.0), workload=work), seed=4)
    assert result.interrupted > 0
    assert result.errors == 0
    assert result.seconds < 800


def test_a_fleet_that_is_dead_for_ever() -> None:
    """Everybody gets an error from then on, and so says the ideal; the runs end."""
    scenario = made(Event(kind="kill", at=300.0, nodes="all"))
    for name in ("ideal", "LeastLoad"):
        assert 0.4 < simulation.run(scenario, name, seed=4).errors / scenario.calls < 0.55


@pytest.mark.parametrize("status", [500, 503])
def test_fail(status: int) -> None:
    """Its calls are made again elsewhere; what runs on it goes on."""
    result = happens("fail", status=status)
    assert share(result, 0, *DURING) < 0.05
    assert result.retries > 0
    assert result.errors == result.interrupted == 0


def test_kill_and_revive() -> None:
    """It breaks what runs, refuses from then on, and is back when it is revived."""
    dead = simulation.run(
        made(Event(kind="kill", at=180.0), workload=Workload(streaming=1.0)), seed=4
    )
    assert dead.interrupted > 0
    assert dead.errors == 0
    assert share(dead, 0, 0.4, 1.0) < 0.05
    events = (Event(kind="kill", at=180.0), Event(kind="revive", at=400.0))
    # One run of two clients leaves each node anything from 0.2 to 0.3 of the calls.
    runs = [simulation.run(made(*events), seed=seed) for seed in range(4, 8)]
    assert all(share(back, 0, *DURING) < 0.05 for back in runs)
    assert fmean(share(back, 0, *AFTER) for back in runs) == pytest.approx(0.25, abs=0.06)


def test_deploy() -> None:
    """One after the other is away; nobody gets an error, and nothing breaks that ends in time."""
    event = Event(kind="deploy", at=60.0, every=120.0, down=100.0, nodes="all")
    result = simulation.run(made(event, workload=Workload(load=0.5, decode_sigma=0.5)), seed=4)
    for node in range(4):
        start = (60 + 120 * node) / 600
        assert share(result, node, start + 0.05, start + 0.15) < 0.05, node
    assert share(result, 0, *AFTER) > 0.15
    assert result.errors == result.interrupted == 0


def test_scale() -> None:
    """New nodes get calls from when they join, and none from when they leave."""
    result = simulation.run(
        made(Event(kind="scale", at=180.0, to=8), Event(kind="scale", at=400.0, to=4)), seed=4
    )
    assert share(result, 7, *BEFORE) == 0
    assert share(result, 7, *DURING) == pytest.approx(0.125, abs=0.05)
    assert share(result, 7, 0.7, 1.0) == 0
    assert result.errors == result.interrupted == 0


def test_the_ideal_scales_too() -> None:
    """An overloaded fleet that doubles: even one queue waits less for it."""
    work = Workload(load=1.3)
    small, doubled = (
        simulation.run(made(*events, workload=work), "ideal", seed=4).waiting.p99
        for events in ((), (Event(kind="scale", at=100.0, to=8),))
    )
    assert doubled < 0.5 * small


def test_brownout() -> None:
    """Some of its calls fail, the others are slow."""
    result = happens("brownout", speed=0.5, share=0.3)
    assert 0 < result.retries < 150
    assert 0.02 < share(result, 0, *DURING) < 0.22


def test_cold() -> None:
    """It begins slowly and becomes as fast as the others."""
    result = happens("cold", until=500.0, speed=0.05)
    assert share(result, 0, 0.3, 0.4) < share(result, 0, 0.85, 1.0) - 0.05


def test_a_full_node_says_so() -> None:
    """With a queue of none a call that meets no free slot is answered 503 and made elsewhere."""
    fleet = attrs.evolve(SMALL, queue=0)  # type: ignore[misc]
    result = simulation.run(made(fleet=fleet), "Random", seed=4)
    assert result.retries > 50
    assert simulation.run(made(), "Random", seed=4).retries == 0


def test_batching_makes_calls_longer() -> None:
    """At the same rate: with batching the calls of a busy node take longer."""
    rate = made().rate
    alone, batched = (
        made(fleet=Fleet(nodes=4, slots=4, batching=factor), workload=Workload(load=load))
        for factor, load in ((0.0, 0.35), (1.0, 0.7))
    )
    assert alone.rate == batched.rate == rate / 2
    longer = simulation.run(batched, seed=4).latency.p50
    assert longer > 1.1 * simulation.run(alone, seed=4).latency.p50


def test_a_prefix_that_is_at_hand_is_not_computed_again() -> None:
    """The node of a session answers sooner than any node: consistent hashing wins."""
    work = Workload(sessions=200, prefill=4.0, decode=0.5, streaming=1.0, load=0.3)
    scenario = made(workload=work, fleet=Fleet(nodes=4, slots=4, cache=60))
    kept, scattered = (
        simulation.run(scenario, name, seed=4).first_byte.p50
        for name in ("ConsistentHash", "Random")
    )
    assert kept < 1.2 < 3.0 < scattered


def test_clients_know_only_their_own_calls() -> None:
    """Many processes choose nearly blind: they wait longer than one that sees everything."""
    one, many = (simulation.run(made(clients=count), seed=4) for count in (1, 200))
    assert one.waiting.p99 < many.waiting.p99
