"""Calls in flight: all open at the same time, on nodes that answer only when told.

Memory is the client's process's own, beyond what it had after its first calls; the kernel's socket
buffers are not in it.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from typing import Any

from .closed_loop import progress
from .contenders import TITLES, present
from .fleet import Child, Fleet
from .machine import most_calls

Told = dict[str, Any]  # what a holder says of itself

STEP = 500
# Bare httpx looks through all its connections for each call: minutes for 10,000 of them.
BARE = 2000
ONE_PROCESS = 10_000
ALL = 50_000
QUICK = {BARE: 100, ALL: 200}
QUICK_PROCESSES = 2
# Of the calls its file-descriptor limit allows, so that no node is at its own when some get more.
SHARE = 0.8
PATIENCE = 120.0
# How long they are left alone before they are answered: what they cost meanwhile is measured.
WAITING = 5.0

HEAD = (
    f"{'':28}{'in flight':>10}{'processes':>10}{'KB/call':>9}{'to httpx':>10}"
    f"{'MB in all':>10}{'CPU/call':>12}{'waiting':>13}{'open':>9}{'answered':>10}"
    f"{'200':>8}{'errors':>8}"
)


def in_flight(quick: bool) -> list[dict[str, Any]]:
    """One process at the most bare httpx can do, then at 10,000; then 50,000 over processes."""
    print(f"\nin flight: all open at once, then all answered\n{HEAD}", flush=True)
    rows: list[dict[str, Any]] = []
    bare: float | None = None
    for wanted in QUICK if quick else (BARE, ONE_PROCESS, ALL):
        calls = QUICK[wanted] if quick else wanted
        if wanted != ALL:
            calls = min(calls, most_calls())
        processes = QUICK_PROCESSES if quick and wanted == ALL else processes_for(calls)
        for name in present():
            if name == "httpx" and wanted != BARE:
                continue
            progress(f"{calls} in flight, {TITLES[name]}")
            row = held(name, calls, processes, 0.2 if quick else WAITING)
            bare = row["kb"] if name == "httpx" else bare
            above = None if bare is None or name == "httpx" else row["kb"] - bare
            row["above_httpx"] = above
            rows.append(row)
            progress("")
            show(row)
    return rows


def processes_for(calls: int) -> int:
    return 1 if calls <= most_calls() else math.ceil(calls / (SHARE * most_calls()))


@contextlib.contextmanager
def holders(name: str, processes: int, ports: list[int]) -> Iterator[list[Child]]:
    """Client processes; they have said that they are ready."""
    children = [Child("holder", name, *map(str, ports)) for _ in range(processes)]
    try:
        yield children
    finally:
        for child in children:
            child.close()


def held(name: str, calls: int, processes: int, waiting: float) -> dict[str, Any]:
    """Open so many calls, leave them alone for some seconds, and have them answered."""
    with Fleet(processes) as fleet, holders(name, processes, fleet.ports) as children:
        before = [json.loads(child.hear()) for child in children]
        shares = [calls // processes + (n < calls % processes) for n in range(processes)]
        fleet.counts("hold")
        start = time.perf_counter()
        most = opened(children, shares, fleet)
        opening = time.perf_counter() - start
        during = [child.ask("report") for child in children]
        time.sleep(waiting)
        waited = [child.ask("cpu") for child in children]
        start = time.perf_counter()
        fleet.counts("answer")
        for child in children:
            child.tell("finish")
        after = [json.loads(child.hear()) for child in children]
        answering = time.perf_counter() - start
    return {
        "contender": name,
        "title": TITLES[name],
        "in_flight": most,
        "processes": processes,
        **costs(before, during, waited, after, most, waiting),
        "opening": opening,
        "answering": answering,
        **{key: total(after, key) for key in ("good", "errors")},
        "failure": next((one["failure"] for one in after if one["failure"]), ""),
    }


def costs(
    before: list[Told],
    during: list[Told],
    waited: list[Told],
    after: list[Told],
    calls: int,
    waiting: float,
) -> dict[str, float]:
    """Memory for each open call; CPU to open and end it; CPU while nothing happened."""
    held, idle = total(during, "resident"), total(waited, "cpu") - total(during, "cpu")
    base, busy = total(before, "resident"), total(after, "cpu") - total(before, "cpu") - idle
    return {
        "kb": (held - base) / max(calls, 1) / 1e3,
        "mb": held / 1e6,
        "base_mb": base / len(before) / 1e6,
        "cpu": busy / max(calls, 1) * 1e6,
        "waiting": idle / waiting,
    }


def opened(children: list[Child], shares: list[int], fleet: Fleet) -> int:
    """Open the calls a few at a time, so that no node's backlog overflows; how many are held."""
    started = most = 0
    left = list(shares)
    while any(left):
        for index, child in enumerate(children):
            step = min(STEP, left[index])
            left[index] -= step
            started += step
            child.tell(f"open {step}")
        for child in children:
            child.hear()
        most = fleet.await_held(started, PATIENCE)
        if most < started:
            break  # some have failed already: `finish` tells how
    return most


def total(told: list[Told], key: str) -> Any:
    return sum(one[key] for one in told)


def show(row: dict[str, Any]) -> None:
    above = "" if row["above_httpx"] is None else f"{row['above_httpx']:+.1f}"
    failure = f"  {row['failure']}" if row["failure"] else ""
    print(
        f"{row['title']:28}{row['in_flight']:10}{row['processes']:10}{row['kb']:9.1f}{above:>10}"
        f"{row['mb']:10.0f}{row['cpu']:9.0f} us{row['waiting']:7.2f} cores{row['opening']:7.1f} s"
        f"{row['answering']:8.1f} s{row['good']:8}{row['errors']:8}{failure}",
        flush=True,
    )
