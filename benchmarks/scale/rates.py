"""Calls per second, and new connections per second: three nodes, 64 calls in flight."""

from __future__ import annotations

import functools
from typing import Any

from .closed_loop import Rate, measured, median, progress
from .contenders import TITLES, endpoints, make, present
from .fleet import Fleet

IN_FLIGHT = 64
ROUNDS = 5
# Per round; bare httpx gets fewer where it would take minutes.
CALLS = {
    "httpx": 600,
    "client": 6000,
    "pyreqwest": 6000,
    "aiohttp": 6000,
    "lease": 12_000,
    "litellm": 600,
}
CONNECTIONS = {"httpx": 600, "client": 3000, "pyreqwest": 3000, "aiohttp": 3000, "lease": 3000}
QUICK = {"httpx": 30}

HEAD = (
    f"{'':28}{'CPU/call':>12}{'rate':>11}{'client':>13}{'nodes':>13}"
    f"{'connections':>13}{'errors':>8}"
)


def calls(quick: bool) -> list[dict[str, Any]]:
    """Calls on connections that are kept."""
    print(f"\ncalls: {IN_FLIGHT} in flight, connections are kept\n{HEAD}", flush=True)
    return compared(CALLS, quick, keep=True)


def connections(quick: bool) -> list[dict[str, Any]]:
    """Each call on a connection of its own."""
    print(f"\nconnections: {IN_FLIGHT} in flight, a new one for each call\n{HEAD}", flush=True)
    return compared(CONNECTIONS, quick, keep=False)


def compared(sizes: dict[str, int], quick: bool, *, keep: bool) -> list[dict[str, Any]]:
    """All contenders, their rounds alternating: a machine's speed changes while it runs."""
    names = present(sizes)
    taken: dict[str, list[Rate]] = {name: [] for name in names}
    with Fleet() as fleet:
        nodes = endpoints(fleet.ports)
        for number in range(1 if quick else ROUNDS):
            for name in names:
                progress(f"round {number + 1}, {TITLES[name]}")
                maker = functools.partial(make, name, nodes, keep=keep)
                size = QUICK.get(name, 200) if quick else sizes[name]
                taken[name].append(measured(maker, IN_FLIGHT, size, fleet))
    progress("")
    rows = []
    for name in names:
        rate = median(taken[name])
        show(TITLES[name], rate)
        rows.append({"contender": name, "title": TITLES[name], **rate.figures()})
    return rows


def show(title: str, rate: Rate) -> None:
    print(
        f"{title:28}{rate.cpu:9.0f} us{rate.rate:9.0f}/s{rate.client_busy:7.2f} cores"
        f"{rate.nodes_busy:7.2f} cores{rate.connections:13.3f}{rate.errors:8}"
        + (f"  {rate.failure}" if rate.failure else ""),
        flush=True,
    )
