"""One cell, run: the load, the wound in the middle of it, and what was left afterwards."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

import aiclient
from aiclient.core.node import NodeSnapshot
from aiclient.testing import NodeProcess

from .load import Book, load_async, load_sync
from .matrix import BY_ITSELF, Cell
from .nodes import Fleet, wait_until_busy, wound

MOST_ATTEMPTS = 1.3
MOST_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a cell came to.

    Attributes:
        hit: calls the victims worked on when they were wounded.
        left: calls in flight afterwards, by the balancer and by each node's snapshot.
        picked: attempts, as the nodes' snapshots count them.
        leaked: file descriptors open afterwards that were not before.
    """

    cell: Cell
    failures: tuple[str, ...]
    attempts: int
    interrupted: int
    slowest: float
    wall: float
    hit: int
    left: tuple[int, ...]
    picked: int
    leaked: int

    def problems(self) -> list[str]:
        """What is not as it has to be."""
        checks = {
            f"{len(self.failures)} calls failed: {'; '.join(self.failures[:3])}": not self.failures,
            "too many attempts": self.attempts <= MOST_ATTEMPTS * self.cell.calls,
            f"the nodes count {self.picked} attempts, not {self.attempts}": (
                self.picked == self.attempts
            ),
            f"left in flight: {self.left}": not any(self.left),
            f"{self.leaked} file descriptors leaked": not self.leaked,
            "no call met the wound": self.attempts + self.interrupted > self.cell.calls,
            # Whoever met it got away long before the read timeout, and streams ended.
            "a call hung": self.slowest < MOST_SECONDS,
        }
        return [problem for problem, fine in checks.items() if not fine]

    def row(self) -> str:
        """One line of the table; `HEADING` names its columns."""
        cell = self.cell
        what = f"{cell.wound}, from the start" if cell.from_start else cell.wound
        return (
            f"| {cell.way:<7} | {f'{cell.victims} of {cell.nodes}':>6} | {what:<28} "
            f"| {cell.in_flight:>9} | {self.hit:>3} | {cell.calls:>5} | {len(self.failures):>6} "
            f"| {self.attempts / cell.calls:>13.3f} | {self.interrupted:>11} "
            f"| {self.slowest:>7.2f} | {self.wall:>6.1f} |"
        )


HEADING = (
    "| way     |  nodes | what happens                 | in flight | hit | calls | failed "
    "| attempts/call | interrupted | slowest | wall s |\n"
    "|---------|-------:|------------------------------|----------:|----:|------:|-------:"
    "|--------------:|------------:|--------:|-------:|"
)


def open_files() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/dev/fd"))


def run(cell: Cell, fleet: Fleet) -> Outcome:
    """Run the cell. Its victims are the first nodes of the fleet."""
    # So long that a client of a thousand calls a second keeps as many in flight.
    service = cell.in_flight / 1000
    fleet.mend(service)
    files = open_files()
    nodes = fleet.nodes[: cell.nodes]
    book = Book(cell.calls)
    saboteur = Saboteur(cell, nodes[: cell.victims], book)
    started = time.monotonic()
    snapshots, left = _load(cell, [node.url for node in nodes], book, saboteur)
    wall = time.monotonic() - started
    fleet.mend(service)
    return Outcome(
        cell=cell,
        failures=tuple(book.failures),
        attempts=book.attempts,
        interrupted=book.interrupted,
        slowest=book.slowest,
        wall=wall,
        hit=saboteur.hit,
        left=(left, *(node.in_flight for node in snapshots)),
        picked=sum(node.picked for node in snapshots),
        leaked=open_files() - files,
    )


class Saboteur:
    """Wounds the victims when a fifth of the calls are done and some are in flight on them."""

    def __init__(self, cell: Cell, victims: Sequence[NodeProcess], book: Book) -> None:
        self.hit = 0
        self._cell = cell
        self._victims = victims
        self._book = book
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._wait_and_wound, daemon=True)

    def __enter__(self) -> None:
        cell = self._cell
        if cell.wound in BY_ITSELF:
            for victim in self._victims:
                victim.fault(cell.wound.split()[0], after=cell.calls // 5 // cell.nodes)
        elif cell.from_start:
            self._wound()
        else:
            self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        if self._thread.ident is not None:
            self._thread.join()
        if self._problem is not None:
            raise self._problem

    def _wait_and_wound(self) -> None:
        try:
            self._book.under_way.wait()
            if self._book.closed:
                return  # it hung before that
            share = self._cell.in_flight // self._cell.nodes
            self.hit = wait_until_busy(self._victims, max(1, share // 4))
            self._wound()
        except BaseException as exc:
            self._problem = exc

    def _wound(self) -> None:
        for victim in self._victims:
            wound(victim, self._cell.wound)


def _load(
    cell: Cell, urls: list[str], book: Book, saboteur: Saboteur
) -> tuple[Sequence[NodeSnapshot], int]:
    """Drive the load; the nodes' snapshots at its end, and the balancer's calls in flight."""
    if cell.way == "sync":
        with aiclient.Client(urls) as client, saboteur:
            load_sync(client, book, cell.in_flight)
            return client.balancer.snapshot(), client.balancer.in_flight

    async def drive() -> tuple[Sequence[NodeSnapshot], int]:
        async with aiclient.AsyncClient(urls) as client:
            with saboteur:
                await load_async(client, book, cell.in_flight)
            return client.balancer.snapshot(), client.balancer.in_flight

    return anyio.run(drive, backend=cell.way)
