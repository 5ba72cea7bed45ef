"""What the three figures of an SLB's shared tier cost here, worked out from what was measured."""

from __future__ import annotations

from typing import Any

from .in_flight import processes_for

CALLS = CONNECTIONS = 5000
IN_FLIGHT = 50_000


def costs(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """For each contender: cores for the two rates, memory and processes for the calls in flight."""
    rows: dict[str, dict[str, Any]] = {}
    for section, a_second in (("calls", CALLS), ("connections", CONNECTIONS)):
        for row in figures.get(section, []):
            made = rows.setdefault(row["contender"], started(row))
            made[f"{section}_cores"] = row["cpu"] * a_second / 1e6
            made[f"{section}_rate"] = row["rate"]
    # The rows come with ever more calls in flight: the last of a contender stays.
    for row in figures.get("in_flight", []):
        made = rows.setdefault(row["contender"], started(row))
        made["processes"] = processes_for(IN_FLIGHT)
        base = row["base_mb"] * made["processes"]
        made["gb"] = (row["kb"] * IN_FLIGHT / 1e3 + base) / 1e3
    return [row for name, row in rows.items() if name not in ("httpx", "litellm")]


def started(row: dict[str, Any]) -> dict[str, Any]:
    return {"contender": row["contender"], "title": row["title"]}


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\nwhat the SLB's figures cost\n{'':28}{'5,000 calls/s':>16}", end="")
    print(f"{'5,000 connections/s':>22}{'50,000 in flight':>30}")
    for row in rows:
        calls = f"{row['calls_cores']:.1f} cores" if "calls_cores" in row else ""
        new = f"{row['connections_cores']:.1f} cores" if "connections_cores" in row else ""
        held = f"{row['gb']:.2f} GB, {row['processes']} processes" if "gb" in row else ""
        print(f"{row['title']:28}{calls:>16}{new:>22}{held:>30}", flush=True)
