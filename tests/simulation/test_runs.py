import logging

import pytest
import simpy

from aiclient import LeastLoad, simulation
from aiclient.simulation import Event, Fleet, Group, Result, Workload
from aiclient.simulation.clients import Run
from aiclient.simulation.compare import resized
from aiclient.simulation.files import names
from aiclient.simulation.ideal import IDEAL

from .helpers import SMALL, made


def test_a_seed_repeats_a_run() -> None:
    """The same seed gives the same result to the last digit, another one another."""
    scenario = made(Event(kind="kill", at=100.0, until=200.0), clients=8)
    first, again = (simulation.run(scenario, seed=7) for _ in range(2))
    assert first == again
    assert first != simulation.run(scenario, seed=8)


@pytest.mark.parametrize("picker", [IDEAL, "LeastLoad"])
def test_what_warms_up_is_counted_but_not_timed(picker: str) -> None:
    """A stall of the fleet within the warm-up is in no time; its calls are still calls."""
    stall = Event(kind="stall", at=10.0, until=60.0, nodes="all")
    workload = Workload(load=0.5, decode_sigma=0.0)
    whole, later = (
        simulation.run(made(stall, workload=workload, warm_up=seconds), picker, seed=1)
        for seconds in (0.0, 200.0)
    )
    assert (whole.calls, whole.errors) == (later.calls, later.errors)
    assert whole.waiting.p99 > 20
    assert later.waiting.p99 < later.first_byte.p99 < later.latency.p99 < 10


def test_processes_do_not_change_what_comes_out() -> None:
    """Several processes give what one gives, in the order of the tasks."""
    scenario = made(seconds=100.0)
    tasks = [simulation.Task(scenario, name, seed) for name in (IDEAL, "Random") for seed in (1, 2)]
    done: list[int] = []
    spread = simulation.run_all(tasks, processes=2, progress=done.append)
    assert spread == [simulation.run(scenario, task.picker, seed=task.seed) for task in tasks]
    assert done == [scenario.calls] * 4


@pytest.mark.parametrize("name", names())
def test_each_shipped_scenario_runs(name: str) -> None:
    """Shrunk: every call ends once, none stays in flight, and the ideal is the least."""
    scenario = resized(simulation.load(name), seconds=300.0)
    assert scenario.what
    ideal = simulation.run(scenario, IDEAL, seed=1)
    for picker in ("LeastLoad", "RoundRobin"):
        result = simulation.run(scenario, picker, seed=1)
        assert result.in_flight == 0
        assert result.calls == scenario.calls
        assert all(0 <= part <= 1 for parts in result.shares.values() for part in parts)
        if result.errors == result.interrupted == 0:
            # Where calls slow each other down, a single quantile may be lucky.
            assert_not_better(result, ideal, luck=0.05 if scenario.fleet.batching else 0.0)


def assert_not_better(result: Result, ideal: Result, luck: float = 0.0) -> None:
    """By more than rounding. One queue spreads a wait over many calls: a quantile may differ."""
    assert result.waiting.mean >= ideal.waiting.mean * (1 - luck) - 1e-6
    assert result.waiting.p99 >= ideal.waiting.p99 * (1 - luck) - 0.1


@pytest.mark.parametrize("picker", simulation.PICKERS)
@pytest.mark.parametrize("load", [0.5, 0.95])
def test_the_ideal_is_never_beaten(picker: str, load: float) -> None:
    """Not by any policy, at little load or much, with one speed or several, alone or in batches."""
    slow = (Group(nodes=0.5, speed=0.5),)
    for fleet in (SMALL, Fleet(nodes=4, slots=4, groups=slow), Fleet(nodes=4, batching=1.0)):
        scenario = made(fleet=fleet, workload=Workload(load=load), seconds=400.0)
        ideal = simulation.run(scenario, IDEAL, seed=3)
        assert_not_better(simulation.run(scenario, picker, seed=3), ideal, fleet.batching * 0.05)


def test_one_node_is_the_ideal() -> None:
    """With nothing to choose there is nothing to lose: the same queue, the same times."""
    scenario = made(fleet=Fleet(nodes=1, slots=8), workload=Workload(load=0.8))
    ideal, real = (simulation.run(scenario, name, seed=2) for name in (IDEAL, "LeastLoad"))
    assert real.waiting.p99 == pytest.approx(ideal.waiting.p99, abs=1e-6)
    assert ideal.waiting.p99 > 1
    assert real.latency.p99 == pytest.approx(ideal.latency.p99, abs=1e-6)


def test_every_call_ends_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whole answers, errors and broken streams are all the calls there were."""
    scenario = made(
        Event(kind="kill", at=50.0, until=80.0, nodes="all"),
        Event(kind="stall", at=200.0, until=300.0, nodes=[1, 2]),
        Event(kind="brownout", at=350.0, until=500.0, nodes=0.5, share=0.5),
        workload=Workload(timeout=60.0),
    )
    caplog.set_level(logging.CRITICAL, "aiclient")
    run = Run(simpy.Environment(), scenario, LeastLoad, seed=5)
    result = run.result("LeastLoad")
    assert run.tally.whole + result.errors + result.interrupted == scenario.calls
    assert result.errors
    assert result.interrupted
    assert result.in_flight == 0
