"""What a call costs as more of them are in flight, and as there are more nodes."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from typing import Any

import aiclient

from .closed_loop import Rate, measured, median, progress
from .contenders import TITLES, endpoints, make
from .fleet import Fleet
from .machine import most_calls

SIZES = (1, 10, 100, 1000, 10_000)
NODES = (3, 10, 100, 1000, 10_000)
QUICK_SIZES = (1, 20)
QUICK_NODES = (3, 100)
CONTENDERS = ("httpx", "client", "lease")
# Beyond, a round of bare httpx takes minutes: for each call it looks through all connections.
BARE_MOST = 100
ROUNDS = 3
SEVERAL = 1000  # nodes; to warm up more takes so long that one round has to do
IN_FLIGHT = 64
PICKS = 1000
PICK_ROUNDS = 20
OTHERS = 10_000
HEAD = f"{'':28}{'CPU/call':>12}{'rate':>11}{'nodes':>13}{'connections':>13}{'errors':>8}"


def by_in_flight(quick: bool) -> list[dict[str, Any]]:
    """A closed loop over three nodes, with ever more tasks."""
    print(f"\nas calls in flight grow: 3 nodes\n{HEAD}", flush=True)
    rows = []
    with Fleet() as fleet:
        nodes = endpoints(fleet.ports)
        for size in (size for size in (QUICK_SIZES if quick else SIZES) if size <= most_calls()):
            for name in CONTENDERS:
                if name == "httpx" and size > BARE_MOST:
                    continue
                maker = functools.partial(make, name, nodes)
                taken = []
                for number in range(1 if quick else ROUNDS):
                    progress(f"{size} in flight, {TITLES[name]}, round {number + 1}")
                    calls = calls_of(name, size, quick)
                    taken.append(measured(maker, size, calls, fleet))
                rows.append(shown({"in_flight": size}, name, median(taken)))
    return rows


def calls_of(name: str, size: int, quick: bool) -> int:
    if quick:
        return 2 * size + 50
    if name == "httpx":
        return max(600, size)
    return max(3000, 2 * size)


def by_nodes(quick: bool) -> list[dict[str, Any]]:
    """A closed loop of 64 tasks, over ever more nodes that share three ports."""
    print(f"\nas nodes grow: {IN_FLIGHT} in flight, connections are kept\n{HEAD}", flush=True)
    rows = []
    with Fleet() as fleet:
        for count in QUICK_NODES if quick else NODES:
            nodes = endpoints(fleet.ports, count)
            for name in CONTENDERS[1:]:
                progress(f"{count} nodes, {TITLES[name]}")
                maker = functools.partial(make, name, nodes)
                calls = 100 if quick else 6000
                # Most nodes have a connection then: not each call is to open one.
                warm = 100 if quick else max(1000, 3 * count)
                rounds = 1 if quick or count > SEVERAL else ROUNDS
                taken = [measured(maker, IN_FLIGHT, calls, fleet, warm=warm) for _ in range(rounds)]
                rows.append(shown({"nodes": count}, name, median(taken)))
    return rows


def shown(at: dict[str, int], name: str, rate: Rate) -> dict[str, Any]:
    progress("")
    ((_, size),) = at.items()
    print(
        f"{TITLES[name]:20}{size:8}{rate.cpu:9.0f} us{rate.rate:9.0f}/s{rate.nodes_busy:7.2f} cores"
        f"{rate.connections:13.3f}{rate.errors:8}" + (f"  {rate.failure}" if rate.failure else ""),
        flush=True,
    )
    return {"contender": name, "title": TITLES[name], **at, **rate.figures()}


def picks(quick: bool) -> list[dict[str, Any]]:
    """A lease entered and left, with nothing else in flight, and with 10,000 others held."""
    print("\nas nodes grow: a lease entered and left", flush=True)
    print(f"{'nodes':>8}{'best':>12}{'median':>12}{'others held':>14}{'to build':>12}", flush=True)
    rows = []
    for count in QUICK_NODES if quick else NODES:
        progress(f"{count} nodes, picks")
        row = picked(count, quick)
        progress("")
        print(
            f"{count:8}{row['best']:9.1f} us{row['median']:9.1f} us{row['held']:11.1f} us"
            f"{row['build']:9.1f} ms",
            flush=True,
        )
        rows.append(row)
    return rows


def picked(nodes: int, quick: bool) -> dict[str, Any]:
    given = endpoints([8000], nodes)
    start = time.perf_counter()
    balancer = aiclient.Balancer(given)
    build = (time.perf_counter() - start) * 1e3
    rounds, size = (3, 50) if quick else (PICK_ROUNDS, PICKS)
    alone = pick_cost(balancer, rounds, size)
    with contextlib.ExitStack() as others:
        for _ in range(100 if quick else OTHERS):
            others.enter_context(balancer.lease())
        held = pick_cost(balancer, rounds, size)
    return {
        "nodes": nodes,
        "best": min(alone),
        "median": statistics.median(alone),
        "held": min(held),
        "build": build,
    }


def pick_cost(balancer: aiclient.Balancer, rounds: int, size: int) -> list[float]:
    """Microseconds of one lease, for each of some short rounds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(size):
            with balancer.lease():
                pass
        taken.append((time.perf_counter() - start) / size * 1e6)
    return taken
