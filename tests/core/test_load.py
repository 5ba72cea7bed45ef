"""The estimate of a node's slowness."""

from __future__ import annotations

import math
import random

import pytest

from aiclient.core.load import Baseline, Slowest, Slowness, burden


def test_the_baseline_is_what_is_usual() -> None:
    """A geometric mean over the fleet."""
    baseline = Baseline()
    assert not baseline.known
    for number in range(100):
        ttfb = 2.0 if number % 2 else 0.5
        baseline.observe(number % 4, number, ttfb, ttfb, number)
    assert baseline.known
    assert baseline.typical == pytest.approx(1.0, rel=0.05)


def test_late_is_later_than_nearly_all() -> None:
    """Of lognormal first-byte times about two in a hundred are late."""
    rng = random.Random(1)
    baseline = Baseline()
    late = 0
    for number in range(3000):
        ttfb = rng.lognormvariate(0.0, 1.0)
        late += number > 200 and ttfb > baseline.late
        baseline.observe("node", number, ttfb, ttfb, number)
    assert 0.01 < late / 2800 < 0.06


def test_the_slowest_is_remembered_for_half_a_minute_at_least() -> None:
    """And for a minute at most, as long as there are others."""
    slowest = Slowest()
    slowest.observe(9.0, 100.0)
    for now in range(101, 130):
        slowest.observe(1.0, float(now))
    assert slowest.seconds == 9.0
    slowest.observe(1.0, 131.0)
    assert slowest.seconds == 9.0
    slowest.observe(1.0, 162.0)
    assert slowest.seconds == 1.0
    slowest.observe(2.0, 1000.0)
    assert slowest.seconds == 2.0


def test_who_answered_later_calls() -> None:
    """Two others, whatever else the node itself and earlier calls did."""
    baseline = Baseline()
    for node, started in (("b", 5.0), ("a", 6.0), ("b", 7.0), ("c", 1.0), ("d", 4.0)):
        baseline.observe(node, started, 0.1, 0.1, 8.0)
    assert baseline.peers_answered_after("a", 3.0, 2)
    assert not baseline.peers_answered_after("a", 4.5, 2)
    assert baseline.peers_answered_after("a", 4.5, 1)
    assert not baseline.peers_answered_after("b", 6.5, 1)


# Of first-byte times that differ little: an odd one means something.
SIGMA = 0.3


def slow_node(factor: float, samples: int, gap: float, rounds: float = 1.0) -> Slowness:
    """A node of which all samples were that much slower: seconds and rounds between them."""
    slowness = Slowness()
    for number in range(samples):
        slowness.observe(math.log(factor), 1.0, number * gap, number * rounds, SIGMA)
    return slowness


def test_a_slow_node_is_known_after_a_few_calls() -> None:
    """Four times as slow: most of it after ten calls at one a second or slower."""
    assert slow_node(4.0, 30, 2.0).estimate(58.0) > 2.0
    assert slow_node(4.0, 10, 10.0).estimate(90.0) > 2.0
    assert slow_node(0.25, 30, 2.0).estimate(58.0) < 0.5


def test_it_is_known_after_four_when_its_peers_answered_four_times_more() -> None:
    """However little time that took."""
    assert slow_node(4.0, 4, 0.1, rounds=4.0).estimate(0.3) > 2.0
    assert slow_node(0.25, 4, 0.1, rounds=4.0).estimate(0.3) < 0.5


def test_many_calls_at_once_are_no_proof() -> None:
    """Ten in the same moment, before the peers gave one, weigh about as much as a few over time."""
    assert slow_node(4.0, 10, 0.0, rounds=0.0).estimate(0.0) < 1.6


def test_one_sample_counts_as_e_at_most() -> None:
    """A call that queued for a minute says little about the node, also after a long silence."""
    once = Slowness()
    once.observe(math.log(1000.0), 60.0, 100.0, 1.0, SIGMA)
    assert once.estimate(100.0) <= math.exp(0.3)
    late = Slowness()
    late.observe(0.0, 0.1, 100.0, 0.0, SIGMA)
    late.observe(math.log(1000.0), 60.0, 160.0, 1000.0, SIGMA)
    assert late.estimate(160.0) <= math.exp(0.3)


def test_a_first_sample_is_no_proof() -> None:
    """However long the clock ran before: a first call opens a connection, and more."""
    slowness = Slowness()
    slowness.observe(math.log(5.0), 0.05, 1e6, 7.0, SIGMA)
    assert slowness.estimate(1e6) == 1.0


def test_a_slight_difference_is_none() -> None:
    """Nodes that are alike share alike."""
    assert slow_node(1.05, 100, 1.0).estimate(99.0) == 1.0


def test_it_drifts_back_when_nobody_asks() -> None:
    """Within minutes, not seconds; a busy node's estimate never does."""
    slowness = slow_node(8.0, 100, 1.0)
    fresh = slowness.estimate(99.5)
    assert slowness.drifting
    assert slowness.estimate(110.0) > 0.8 * fresh
    assert slowness.estimate(99.5 + 600) < 1.1
    assert slow_node(8.0, 1000, 1.0).estimate(999.5) == pytest.approx(fresh, rel=0.1)


def test_a_penalty_expires() -> None:
    """And a smaller one does not shorten a larger."""
    slowness = Slowness()
    assert slowness.penalise(10.0, 1.0, 100.0) == 110.0
    assert slowness.penalise(2.0, 1.0, 101.0) == 110.0
    assert slowness.ratio(109.0) == 10.0
    assert slowness.ratio(110.0) == 1.0
    assert slowness.estimate(105.0) == 1.0


def test_a_penalty_is_capped() -> None:
    """However quick the kind is."""
    slowness = Slowness()
    slowness.penalise(60.0, 1e-9, 0.0)
    assert slowness.ratio(1.0) <= 1000.0


def test_what_is_clearly_slow_counts_for_more_than_it_is() -> None:
    """And what is within the noise for less; it grows without a jump."""
    assert burden(1.0) == 1.0
    assert burden(1.44) == pytest.approx(1.2)
    assert burden(0.25) == 0.5
    assert burden(3.0) == pytest.approx(8 * math.sqrt(1.5))
    assert burden(1.5) == pytest.approx(burden(math.nextafter(1.5, 2.0)))
