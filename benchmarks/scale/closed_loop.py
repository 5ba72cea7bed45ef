"""A closed loop: so many tasks, each making one call after another."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .contenders import FAILURES, Caller
from .fleet import Fleet


class Rate(NamedTuple):
    """One round, or the median of some.

    Attributes:
        cpu: microseconds of the client's CPU per good call.
        rate: good calls per second.
        client_busy: cores the client kept busy, all its threads together.
        nodes_busy: cores that one process of the nodes kept busy; near 1 they were the limit.
        connections: opened per good call.
        errors: calls that failed, or were answered with something else than 200.
        failure: the first of them.
    """

    cpu: float
    rate: float
    client_busy: float
    nodes_busy: float
    connections: float
    errors: int
    failure: str

    def figures(self) -> dict[str, Any]:
        return self._asdict()


class Loop:
    """Counts what becomes of the calls of one contender."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.errors = 0
        self.failure = ""

    async def run(self, in_flight: int, calls: int) -> None:
        turns = iter(range(calls))
        await asyncio.gather(*(self._worker(turns) for _ in range(in_flight)))

    async def _worker(self, turns: Iterator[int]) -> None:
        for _ in turns:
            try:
                status = await self.caller.call()
                if status != 200:
                    self.failed(f"http {status}")
            except FAILURES as exc:
                self.failed(f"{type(exc).__name__}: {exc}")

    def failed(self, why: str) -> None:
        self.errors += 1
        self.failure = self.failure or why


async def one_round(
    make: Callable[[], Caller], in_flight: int, calls: int, warm: int, fleet: Fleet
) -> Rate:
    caller = make()
    try:
        await Loop(caller).run(in_flight, warm)
        loop = Loop(caller)
        before = fleet.counts()
        cpu, start = time.process_time(), time.perf_counter()
        await loop.run(in_flight, calls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - start
        after = fleet.counts()
    finally:
        await caller.aclose()
    good = max(calls - loop.errors, 1)
    return Rate(
        cpu / good * 1e6,
        (calls - loop.errors) / wall,
        cpu / wall,
        (after.cpu - before.cpu) / len(fleet.children) / wall,
        (after.connections - before.connections) / good,
        loop.errors,
        loop.failure,
    )


def measured(
    make: Callable[[], Caller],
    in_flight: int,
    calls: int,
    fleet: Fleet,
    *,
    warm: int | None = None,
) -> Rate:
    """A round in an event loop of its own; `warm` calls come before it."""
    if warm is None:
        warm = max(in_flight, 20)
    return asyncio.run(one_round(make, in_flight, calls, warm, fleet))


def median(rounds: list[Rate]) -> Rate:
    """The median of each figure; errors are added up."""
    return Rate(
        statistics.median(taken.cpu for taken in rounds),
        statistics.median(taken.rate for taken in rounds),
        statistics.median(taken.client_busy for taken in rounds),
        statistics.median(taken.nodes_busy for taken in rounds),
        statistics.median(taken.connections for taken in rounds),
        sum(taken.errors for taken in rounds),
        next((taken.failure for taken in rounds if taken.failure), ""),
    )


def progress(text: str) -> None:
    """Where we are, for who watches; an empty text wipes it out."""
    if sys.stderr.isatty():
        print(f"\r{text:70}" if text else "\r" + " " * 70 + "\r", end="", file=sys.stderr)
