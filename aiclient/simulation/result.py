"""What came of a run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import attrs

from .arrivals import Arrival
from .scenario import Scenario

__all__ = ["Result", "Tally", "Times", "mean_of"]

_PERIODS = 20
_MOST_SHOWN = 16


@attrs.frozen
class Times:
    """Seconds: the mean; and half of the calls took `p50` or less, 90% `p90`, 99% `p99`."""

    mean: float
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Times:
        """Nearest rank; zeros of no values."""
        ordered = sorted(values)
        if not ordered:
            return cls(0.0, 0.0, 0.0, 0.0)
        last = len(ordered) - 1
        ranks = (ordered[min(last, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99))
        return cls(fmean(ordered), *ranks)


@attrs.frozen(kw_only=True)
class Result:
    """One run, or the mean of several.

    Attributes:
        scenario, picker: their names; of the ideal: "ideal".
        clients, nodes, calls: as simulated.
        seeds: of how many runs this is the mean.
        latency: from a call's arrival to its last byte.
        first_byte: from a call's arrival to its first byte; of a plain call that is its last.
        waiting: latency less the work of the call itself on an idle node of speed 1.
        errors: calls of which the caller got nothing but an error.
        interrupted: streams that broke after their first byte.
        retries: attempts beyond each call's first.
        ejections: nodes taken out, over all clients.
        in_flight: calls that the balancers still count at the end; 0, or something is wrong.
        seconds: the time simulated.
        shares: of the attempts in each twentieth of it, by node; in a large fleet of the nodes
            that events happen to together, and of the others.
    """

    scenario: str
    picker: str
    clients: int
    nodes: int
    calls: int
    seeds: int
    latency: Times
    first_byte: Times
    waiting: Times
    errors: float
    interrupted: float
    retries: float
    ejections: float
    in_flight: int
    seconds: float
    shares: dict[str, list[float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return attrs.asdict(self)


class Tally:
    """Counts while a run goes on."""

    def __init__(self, scenario: Scenario, touched: Sequence[int]) -> None:
        self._scenario = scenario
        self.errors = self.interrupted = self.retries = self.ejections = 0
        self.ended = 0.0
        # How many calls got their whole answer.
        self.whole = 0
        self._latency = array("d")
        self._first_byte = array("d")
        self._waiting = array("d")
        self._period = scenario.seconds / _PERIODS
        self._labels = [f"node {number}" for number in range(scenario.largest)]
        if scenario.largest > _MOST_SHOWN:
            self._labels = ["others"] * scenario.largest
            for number in touched:
                self._labels[number] = "touched"
        self._picks: dict[str, list[int]] = {label: [0] * _PERIODS for label in self._labels}

    def picked(self, number: int, now: float) -> None:
        """An attempt was made."""
        self._picks[self._labels[number]][min(_PERIODS - 1, int(now / self._period))] += 1

    def first(self, arrival: Arrival, now: float) -> None:
        """Its caller has the first byte."""
        if arrival.at >= self._scenario.warm_up:
            self._first_byte.append(now - arrival.at)

    def last(self, arrival: Arrival, now: float) -> None:
        """Its caller has all of it."""
        self.ended = now
        self.whole += 1
        if arrival.at < self._scenario.warm_up:
            return
        self._latency.append(now - arrival.at)
        self._waiting.append(max(0.0, now - arrival.at - arrival.work))

    def result(self, picker: str, in_flight: int) -> Result:
        """All of it."""
        totals = [sum(column) or 1 for column in zip(*self._picks.values(), strict=True)]
        return Result(
            scenario=self._scenario.name,
            picker=picker,
            clients=self._scenario.clients,
            nodes=self._scenario.fleet.nodes,
            calls=self._scenario.calls,
            seeds=1,
            latency=Times.of(self._latency),
            first_byte=Times.of(self._first_byte),
            waiting=Times.of(self._waiting),
            errors=self.errors,
            interrupted=self.interrupted,
            retries=self.retries,
            ejections=self.ejections,
            in_flight=in_flight,
            seconds=self.ended,
            shares={
                label: [count / total for count, total in zip(counts, totals, strict=True)]
                for label, counts in self._picks.items()
            },
        )


def mean_of(results: Sequence[Result]) -> Result:
    """The mean of runs that differ in their seeds only."""

    def times(name: str) -> Times:
        return Times(*(fmean(getattr(getattr(one, name), q) for one in results) for q in _TIMES))

    def mean(name: str) -> float:
        return fmean(getattr(one, name) for one in results)

    return attrs.evolve(
        results[0],
        seeds=len(results),
        latency=times("latency"),
        first_byte=times("first_byte"),
        waiting=times("waiting"),
        errors=mean("errors"),
        interrupted=mean("interrupted"),
        retries=mean("retries"),
        ejections=mean("ejections"),
        in_flight=sum(one.in_flight for one in results),
        seconds=mean("seconds"),
        shares={
            label: [
                fmean(values) for values in zip(*(r.shares[label] for r in results), strict=True)
            ]
            for label in results[0].shares
        },
    )


_TIMES = tuple(field.name for field in attrs.fields(Times))
