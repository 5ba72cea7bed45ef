"""How many calls a node works on at once, from when its answers come."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest

from aiclient.core.load import Baseline
from aiclient.core.slots import Slots

Draw = Callable[[random.Random], float]


def lognormal(rng: random.Random) -> float:
    """Answers of very different lengths, as those of a language model are."""
    return math.exp(rng.gauss(0.0, 0.8))


def alike(rng: random.Random) -> float:
    """Answers that all take the same time, as embeddings do."""
    return 1.0 + 0.01 * rng.random()


class Server:
    """A node that works on the oldest of its calls, and a client that learns from it."""

    def __init__(self, places: int, draw: Draw, seed: int, fleet: Slots | None = None) -> None:
        self.slots = Slots(fleet or Slots())
        self.baseline = Baseline()
        self._rng = random.Random(seed)
        self._draw = draw
        self._places = places
        self._free_at = [0.0] * places
        # The calls under way: when they end, their number, when they were picked.
        self._running: list[tuple[float, int, float, int]] = []
        self._ended: list[tuple[float, int]] = []

    def call(self, at: float, number: int) -> None:
        """Make a call; those that have ended before it are learnt from."""
        self.end_until(at)
        begins = max(at, heapq.heappop(self._free_at))
        ends = begins + self._draw(self._rng)
        heapq.heappush(self._free_at, ends)
        heapq.heappush(self._running, (ends, number, at, len(self._running)))

    def end_until(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            ends, number, picked, older = heapq.heappop(self._running)
            times = [at for at, who in self._ended if who < number and at >= picked]
            worked = self.slots.learn(older, 0, times, picked, ends, self.baseline)
            self.baseline.observe("node", picked, ends - picked, worked, ends)
            self._ended.append((ends, number))

    def load(self, calls: int, gap: float, *, start: float = 0.0) -> float:
        """Poisson arrivals; returns when the last one came."""
        now = start
        for number in range(calls):
            now += self._rng.expovariate(1.0 / gap)
            self.call(now, number + int(start * 1000))
        return now


@pytest.mark.parametrize("draw", [lognormal, alike])
@pytest.mark.parametrize("places", [1, 2, 4])
def test_few_slots_are_found(places: int, draw: Draw) -> None:
    """Not fewer than there are, and that there are no more."""
    right = 0
    for seed in range(20):
        server = Server(places, draw, seed)
        now = server.load(400, 1.5 / places)
        assert server.slots.odds(places - 1, now) < -2.0
        right += server.slots.odds(places, now) > 0.0
    assert right >= 16


@pytest.mark.parametrize("draw", [lognormal, alike])
def test_a_node_that_works_on_all_at_once_is_not_taken_for_a_small_one(draw: Draw) -> None:
    """Also where answers come in the order of the calls, which shows nobody overtaking."""
    wrong = 0
    for seed in range(20):
        server = Server(200, draw, seed)
        now = server.load(600, 0.15)
        wrong += any(server.slots.odds(busy, now) > 0.0 for busy in range(1, 8))
    assert wrong <= 1


def test_overtaking_is_proof() -> None:
    """Who is answered while three older calls are under way was the fourth to be worked on."""
    slots = Slots()
    slots.learn(3, 0, [], 0.0, 1.0, Baseline())
    assert slots.low == 4
    assert slots.odds(3, 1.0) == pytest.approx(-6.0)
    assert slots.odds(4, 1.0) > -6.0


def test_calls_picked_at_once_overtake_nobody() -> None:
    """They reach the node in any order."""
    slots = Slots()
    slots.learn(3, 3, [], 0.0, 1.0, Baseline())
    assert slots.low == 1
    slots.learn(3, 1, [], 0.0, 1.0, Baseline())
    assert slots.low == 3


def test_a_proof_ends_a_belief_and_what_was_built_on_it() -> None:
    """A node restarted with more slots is believed at its first such answer."""
    server = Server(1, alike, 1)
    now = server.load(100, 1.2)
    assert server.slots.odds(1, now) > 0.0
    server.slots.learn(2, 0, [], now, now + 1.0, server.baseline)
    assert server.slots.odds(1, now) < -4.0
    assert server.slots.odds(2, now) < -4.0
    assert server.slots.odds(3, now) < 0.0


def test_a_new_node_starts_from_what_the_fleet_has_shown() -> None:
    """Eight nodes learn eight times as fast as one."""
    fleet = Slots()
    now = Server(2, alike, 1, fleet).load(300, 0.8)
    assert Slots(fleet).odds(2, now) > 0.0
    assert Slots().odds(2, now) < 0.0


def test_one_odd_node_is_not_taken_for_the_fleet() -> None:
    """What others have proved weighs against the few calls of one node."""
    fleet = Slots()
    for _ in range(4):
        Slots(fleet).learn(3, 0, [], 0.0, 1.0, Baseline())
    odd = Server(1, alike, 1, fleet)
    odd.load(12, 1.2)
    assert odd.slots.odds(1, 20.0) < 0.0
    assert Slots(fleet).odds(1, 20.0) < -1.0


def test_what_is_known_fades() -> None:
    """Towards where it began, within a quarter of an hour."""
    server = Server(1, alike, 1)
    now = server.load(100, 1.2)
    fresh = server.slots.odds(1, now)
    assert server.slots.odds(1, now + 60) > 0.8 * fresh
    assert server.slots.odds(1, now + 3600) == pytest.approx(Slots().odds(1, 0.0), abs=0.1)


def test_the_work_on_a_call_is_told_by_what_is_believed() -> None:
    """From when its turn came, not from when it was picked."""
    server = Server(1, alike, 1)
    now = server.load(100, 1.2)
    assert server.slots.learn(1, 0, [now + 0.8], now, now + 1.8, server.baseline) == pytest.approx(
        1.0
    )
    assert Slots().learn(1, 0, [0.8], 0.0, 1.8, Baseline()) == 1.8
