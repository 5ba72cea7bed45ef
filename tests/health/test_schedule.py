"""Who is checked when, in virtual time."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from random import Random

import pytest

from aiclient.endpoint import Endpoint
from aiclient.health.schedule import Schedule
from aiclient.health_check import HealthCheck


def nodes(count: int) -> list[Endpoint]:
    """So many of them."""
    return [Endpoint(f"http://10.0.0.1:{port}") for port in range(1, count + 1)]


def run(schedule: Schedule, start: float, end: float, took: float = 0.0) -> list[tuple[float, int]]:
    """All checks from `start` to `end`, each of which takes so long: when, and whose."""
    made = []
    while (now := max(start, schedule.next_due)) <= end:
        endpoint = schedule.take(now)
        assert endpoint is not None
        made.append((now, endpoint.port))
        schedule.done(endpoint, now, now + took, soon=False)
    return made


def test_each_node_once_an_interval() -> None:
    """Whatever the number; the jitter is the only difference."""
    schedule = Schedule(HealthCheck(interval=10, jitter=0.1), Random(1))
    schedule.follow(nodes(50), 0.0)
    made = run(schedule, 0.0, 1000.0)
    for port, count in Counter(port for _, port in made).items():
        times = [when for when, whose in made if whose == port]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert 95 <= count <= 105
        assert min(gaps) >= 9
        assert max(gaps) <= 11
        assert max(gaps) - min(gaps) > 1


def test_a_few_nodes_are_checked_at_once() -> None:
    """The first checks of three nodes come within 2% of the interval."""
    schedule = Schedule(HealthCheck(interval=10), Random(1))
    schedule.follow(nodes(3), 0.0)
    assert [whose for when, whose in run(schedule, 0.0, 0.2)] == [1, 2, 3]


def test_thousands_are_spread_over_the_interval() -> None:
    """No second of the first hundred has more than three times its part of 5000."""
    schedule = Schedule(HealthCheck(interval=10), Random(1))
    schedule.follow(nodes(5000), 0.0)
    seconds = Counter(int(when) for when, _ in run(schedule, 0.0, 99.99))
    assert max(seconds.values()) < 1500
    assert min(seconds[second] for second in range(100)) > 100


def test_those_in_step_drift_apart() -> None:
    """Many clients that start together do not check together for ever."""
    due = []
    for seed in range(50):
        schedule = Schedule(HealthCheck(interval=10), Random(seed))
        schedule.follow(nodes(1), 0.0)
        due.append(run(schedule, 0.0, 300.0)[-1][0])
    assert max(due) - min(due) > 5


def test_a_result_to_be_confirmed_is_looked_at_soon() -> None:
    """After a quarter of the interval."""
    schedule = Schedule(HealthCheck(interval=8, jitter=0), Random(1))
    schedule.follow(nodes(1), 0.0)
    endpoint = schedule.take(0.0)
    assert endpoint is not None
    schedule.done(endpoint, 0.0, 0.5, soon=True)
    assert schedule.next_due == pytest.approx(2.0)


def test_a_node_is_never_checked_twice_at_a_time() -> None:
    """A check that takes longer than the interval is followed by the next one at once."""
    schedule = Schedule(HealthCheck(interval=1, jitter=0), Random(1))
    schedule.follow(nodes(1), 0.0)
    endpoint = schedule.take(0.0)
    assert endpoint is not None
    assert schedule.next_due == math.inf
    assert schedule.take(100.0) is None
    schedule.done(endpoint, 0.0, 3.0, soon=False)
    assert schedule.next_due == 3.0


def test_who_is_gone_is_not_checked_and_who_is_new_is() -> None:
    """The others keep their time; one that returns is new, its old check does not count."""
    schedule = Schedule(HealthCheck(interval=10, jitter=0), Random(1))
    first, second, third = nodes(3)
    schedule.follow([first, second], 0.0)
    run(schedule, 0.0, 5.0)
    schedule.follow([second, third], 6.0)
    assert {port for _, port in run(schedule, 6.0, 7.0)} == {third.port}
    assert {port for _, port in run(schedule, 7.0, 30.0)} == {second.port, third.port}
    schedule = Schedule(HealthCheck(interval=10, jitter=0), Random(1))
    schedule.follow([first], 0.0)
    under_way = schedule.take(0.0)
    assert under_way is not None
    schedule.follow([second], 1.0)
    schedule.follow([first], 2.0)
    schedule.done(under_way, 0.0, 2.5, soon=False)
    assert schedule.take(3.0) == first
    assert schedule.next_due == math.inf
