"""The calls, drawn once per seed: the same ones for every policy and for the ideal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from .scenario import Scenario

__all__ = ["Arrival", "arrivals"]

_SHORTEST, _LONGEST = 6, 16  # body sizes, as powers of two
_TYPICAL = 10


class Arrival(NamedTuple):
    """One call: when, from which client process, and what it asks for.

    `prefill` and `decode` are seconds of work on a node at speed 1; `extra` is what prefill takes
    more on a node that does not have the session's prefix. `size`: log2 of the body's bytes.
    """

    at: float
    client: int
    streams: bool
    prefill: float
    decode: float
    session: int | None
    extra: float
    size: int

    @property
    def work(self) -> float:
        """Seconds that it takes where nothing is in its way."""
        return self.prefill + self.decode


def arrivals(scenario: Scenario, seed: int) -> Iterator[Arrival]:
    """All calls of a run, in order."""
    work = scenario.workload
    rng = Random(f"arrivals {seed}")
    known: set[int] = set()
    for at in _moments(scenario, rng):
        relative = _lognormal(work.prefill_sigma, rng)
        prefill, extra = work.prefill * relative, 0.0
        session = None
        if work.sessions:
            session = int(rng.random() * work.sessions)
            if session in known:
                extra = prefill * work.shared
                prefill -= extra
            known.add(session)
        yield Arrival(
            at=at,
            client=int(rng.random() * scenario.clients),
            streams=rng.random() < work.streaming,
            prefill=prefill,
            decode=work.decode * _lognormal(work.decode_sigma, rng),
            session=session,
            extra=extra,
            size=min(max(round(math.log2(relative)) + _TYPICAL, _SHORTEST), _LONGEST),
        )


def _moments(scenario: Scenario, rng: Random) -> Iterator[float]:
    kind = scenario.workload.arrivals
    together = scenario.workload.burst if kind == "bursts" else 1
    gap = together / scenario.rate
    now = 0.0
    for number in range(scenario.calls):
        if number % together == 0:
            now += gap if kind == "even" else rng.expovariate(1.0) * gap
        yield now


def _lognormal(sigma: float, rng: Random) -> float:
    """With mean 1."""
    return rng.lognormvariate(-(sigma**2) / 2, sigma) if sigma else 1.0
