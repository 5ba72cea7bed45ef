"""The latency estimate of one node, relative to its peers.

Calls differ: a stream's first byte comes after prefill, a plain answer's after all of decoding, a
long prompt's later than a short one's. So first-byte times are compared within a *kind* only
(route, streaming or not, log2 of the body's size): a `Baseline` holds what the kind takes over the
whole fleet, and a node keeps one number, how much slower than the baselines it has been. That makes
every sample of every kind count, and one number per node is what keeps a pick cheap.

Both are averages of logarithms: first-byte times are about lognormal, and a factor of two up then
weighs as much as a factor of two down.
"""

from __future__ import annotations

import math

__all__ = ["Baseline", "Slowest", "Slowness", "burden"]

# Below this many seconds differences are the network's and the client's own, not the node's.
_FLOOR = 0.002
# Nobody is called late before this many seconds: looking more often would cost more than it tells.
_LATE_FLOOR = 0.05
# Nodes whose first-byte times differ by less than this, as a logarithm (28%), are alike.
_ALIKE = 0.25
# What is slower than this is no longer noise.
_CLEARLY_SLOW = 1.5
_BASELINE_MEMORY = 64
_ROLL_SECONDS = 30.0
_ENOUGH_SAMPLES = 8
# Of "twice as slow" against "like its peers": the evidence that makes it an even chance, and the
# most that one call and all calls together may bring.
_SHIFT = math.log(2.0)
_EVEN_CHANCE = 3.0
_MOST_FROM_ONE = 3.0
_MOST_EVIDENCE = 8.0
_LEAST_SIGMA = 0.25
_LEAST_SPREAD = 0.06


def burden(slowness: float) -> float:
    """By how much a slow node's load counts for more: the root up to 1.5, from there the cube.

    Near the peers' level an estimate is mostly noise, and following it costs more than it brings;
    what is clearly slow must lose its calls before a few of them have shown it. Of the forms
    compared by simulation (docs/default-picker.md) this one makes the slowest calls wait least.
    """
    if slowness <= _CLEARLY_SLOW:
        return math.sqrt(slowness)
    return math.sqrt(_CLEARLY_SLOW) * (slowness / _CLEARLY_SLOW) ** 3


class Slowest:
    """The slowest first byte of the last 30 to 60 s in which there were any."""

    __slots__ = ("_before", "_current", "_turn_at")

    def __init__(self) -> None:
        self._current = 0.0
        self._before = 0.0
        self._turn_at = -math.inf

    def observe(self, ttfb: float, now: float) -> None:
        if now >= self._turn_at:
            idle = now >= self._turn_at + _ROLL_SECONDS
            self._before = ttfb if idle else self._current
            self._current = ttfb
            self._turn_at = now + _ROLL_SECONDS
        elif ttfb > self._current:
            self._current = ttfb

    @property
    def seconds(self) -> float:
        return max(self._current, self._before)


class Baseline:
    """What one kind of call takes over all nodes. Guarded by the balancer's lock."""

    __slots__ = ("_count", "_mean", "_slowest", "_spread", "answers")

    def __init__(self) -> None:
        self._mean = 0.0
        self._spread = 0.0
        self._count = 0
        self._slowest = Slowest()
        # The latest-started answered call of three nodes at most, latest first: (started, node).
        # Three are enough to know of any one node whether two others answered a later call.
        self.answers: list[tuple[float, object]] = []

    def observe(
        self, node: object, started: float, ttfb: float, worked: float, now: float
    ) -> float:
        """Take a sample, of which the node worked on the call for `worked` seconds; returns
        log(worked / baseline).
        """
        value = math.log(max(worked, _FLOOR))
        self._count = min(self._count + 1, _BASELINE_MEMORY)
        share = 1.0 / self._count
        deviation = value - self._mean if self._count > 1 else 0.0
        self._mean += share * (value - self._mean)
        self._spread += share * (abs(deviation) - self._spread)
        self._slowest.observe(ttfb, now)
        self._remember(node, started)
        return value - self._mean

    def _remember(self, node: object, started: float) -> None:
        answers = self.answers
        if len(answers) == 3 and started <= answers[2][0]:
            return
        for position, (known_start, known) in enumerate(answers):
            if known is node:
                if started <= known_start:
                    return
                del answers[position]
                break
        place = 0
        while place < len(answers) and answers[place][0] >= started:
            place += 1
        answers.insert(place, (started, node))
        del answers[3:]

    @property
    def known(self) -> bool:
        return self._count > 0

    @property
    def typical(self) -> float:
        """Seconds to the first byte, geometric mean over the fleet."""
        return math.exp(self._mean)

    @property
    def late(self) -> float:
        """Seconds after which a call is later than calls of this kind usually are."""
        return max(_LATE_FLOOR, math.exp(self._mean + 2.5 * self._spread))

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithms, from their mean absolute one."""
        return max(_LEAST_SIGMA, 1.25 * self._spread)

    @property
    def well_known(self) -> bool:
        """Whether there were enough calls to say how they spread."""
        return self._count >= _ENOUGH_SAMPLES

    def likelier(self, one: float, other: float) -> float:
        """By how much, as a logarithm, a call is likelier to take `one` second than `other`.

        The ratio of two lognormal densities, bounded: one odd call decides nothing.
        """
        first, second = math.log(max(one, _FLOOR)), math.log(max(other, _FLOOR))
        squares = (second - self._mean) ** 2 - (first - self._mean) ** 2
        sigma = max(_LEAST_SPREAD, 1.25 * self._spread)
        found = second - first + squares / (2 * sigma * sigma)
        return max(-_MOST_FROM_ONE, min(_MOST_FROM_ONE, found))

    @property
    def slowest(self) -> float:
        """Seconds the slowest first byte of late took."""
        return self._slowest.seconds

    def peers_answered_after(self, node: object, started: float, needed: int) -> bool:
        """Whether `needed` other nodes answered calls of this kind that started later."""
        others = sum(1 for began, who in self.answers if who is not node and began > started)
        return others >= needed


class Slowness:
    """How much slower than its peers one node is. Guarded by the balancer's lock.

    The weight of a sample, 0.02 to 0.5, grows with the rounds since the node's last one: in a round
    there are as many samples as nodes, so a node that has fallen behind its peers is believed
    sooner than one of many quick answers. It grows with the time, too, but slowly: AI calls are so
    few that else nearly every sample would replace the average, and a nervous estimate sends calls
    to nodes that are full. Where a client makes few calls to many nodes, time is what counts.
    One sample counts as a factor of e at most: a call that queued says little about the node.

    That a few calls in a row are long ones happens to some node at any time, and a node thought
    slow gets few calls that could show otherwise. So beside how slow it seems there is the evidence
    that it is slow at all: a cumulative sum of log-likelihood ratios (Page's CUSUM, 1954), with
    lognormal first-byte times. Slowness counts with the probability that this gives it.

    What is not refreshed drifts back to the peers' level within minutes, so that the node is
    explored again; a busy node's estimate is never decayed.
    """

    __slots__ = ("_evidence", "_log", "_penalty", "_round", "_sampled_at", "penalty_until", "ttfb")

    _ROUNDS = 10.0
    _SECONDS = 50.0
    _DRIFT = 120.0
    _PENALTY_CAP = 1000.0

    def __init__(self) -> None:
        self.ttfb: float | None = None
        self.restart(0.0)

    def restart(self, now: float) -> None:
        """Forget: the node starts again at its peers' level."""
        self._log = 0.0
        self._evidence = 0.0
        self._round: float | None = None
        self._sampled_at = now
        self._penalty = 0.0
        self.penalty_until = 0.0

    def observe(
        self, log_ratio: float, ttfb: float, now: float, round_: float, sigma: float
    ) -> None:
        """A good first byte arrived, `exp(log_ratio)` times as late as the baseline.

        `round_`: the samples of the whole fleet so far, per node; `sigma`: the baseline's.
        """
        if self._round is None:
            age = 1.0 / self._ROUNDS  # the first one: what was before says nothing
        else:
            elapsed = now - self._sampled_at
            age = max((round_ - self._round) / self._ROUNDS, elapsed / self._SECONDS)
        share = min(0.5, max(0.02, 1.0 - math.exp(-age)))
        self._round = round_
        self._log += share * min(1.0, max(-1.0, log_ratio - self._log))
        found = _SHIFT * (log_ratio - _SHIFT / 2) / (sigma * sigma)
        found = max(-_MOST_FROM_ONE, min(_MOST_FROM_ONE, found))
        self._evidence = max(0.0, min(_MOST_EVIDENCE, self._evidence + found))
        self._sampled_at = now
        self.ttfb = ttfb if self.ttfb is None else self.ttfb + share * (ttfb - self.ttfb)

    def penalise(self, seconds: float, typical: float, now: float) -> float:
        """A fault: the node counts as this late for this long. Returns when that ends."""
        ratio = min(seconds / max(typical, _FLOOR), self._PENALTY_CAP)
        if now >= self.penalty_until or ratio > self._penalty:
            self._penalty = ratio
        self.penalty_until = max(self.penalty_until, now + seconds)
        return self.penalty_until

    @property
    def drifting(self) -> bool:
        """Whether it is far enough from the peers' level for its drift back to matter."""
        return abs(self._log) > _ALIKE

    def estimate(self, now: float) -> float:
        """From good answers alone: 1 is the peers' level, 2 twice as slow."""
        idle = now - self._sampled_at
        fresh = math.exp(-idle / self._DRIFT) if idle > 1.0 else 1.0
        log = self._log * fresh
        # The remainder of what is within the noise: else one of several idle nodes that are alike
        # would get every call of a caller who makes one at a time.
        beyond = log - max(-_ALIKE, min(_ALIKE, log))
        if beyond > 0.0:
            beyond /= 1.0 + math.exp(_EVEN_CHANCE - self._evidence * fresh)
        return math.exp(beyond)

    def ratio(self, now: float) -> float:
        """The estimate, or the penalty while it lasts."""
        ratio = self.estimate(now)
        return max(ratio, self._penalty) if now < self.penalty_until else ratio
