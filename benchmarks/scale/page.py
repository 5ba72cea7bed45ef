"""The figures as a page in Markdown, and the two curves as pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.document import table

from .plots import plots

__all__ = ["page", "plots"]

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]

RATES: list[Column] = [
    ("", lambda row: row["title"]),
    ("CPU per call", lambda row: f"{row['cpu']:,.0f} us"),
    ("per second", lambda row: f"{row['rate']:,.0f}"),
    ("client busy", lambda row: f"{row['client_busy']:.2f} cores"),
    ("nodes busy", lambda row: f"{row['nodes_busy']:.2f} cores"),
    ("connections per call", lambda row: f"{row['connections']:.3f}"),
    ("errors", lambda row: f"{row['errors']:,}"),
]
IN_FLIGHT: list[Column] = [
    ("", lambda row: row["title"]),
    ("in flight", lambda row: f"{row['in_flight']:,}"),
    ("processes", lambda row: f"{row['processes']}"),
    ("memory per call", lambda row: f"{row['kb']:.1f} KB"),
    (
        "above bare httpx",
        lambda row: "" if row["above_httpx"] is None else f"{row['above_httpx']:+.1f} KB",
    ),
    ("memory in all", lambda row: f"{row['mb']:,.0f} MB"),
    ("CPU per call", lambda row: f"{row['cpu']:,.0f} us"),
    ("CPU while waiting", lambda row: f"{row['waiting']:.2f} cores"),
    ("answered with 200", lambda row: f"{row['good']:,}"),
    ("errors", lambda row: f"{row['errors']:,}"),
]
PICKS: list[Column] = [
    ("nodes", lambda row: f"{row['nodes']:,}"),
    ("best", lambda row: f"{row['best']:.1f} us"),
    ("median", lambda row: f"{row['median']:.1f} us"),
    ("while others are held", lambda row: f"{row['held']:.1f} us"),
    ("to build the balancer", lambda row: f"{row['build']:.1f} ms"),
]
SLB: list[Column] = [
    ("", lambda row: row["title"]),
    ("5,000 calls/s", lambda row: cores(row.get("calls_cores"))),
    ("5,000 new connections/s", lambda row: cores(row.get("connections_cores"))),
    ("50,000 calls in flight", lambda row: memory(row)),
]

PICTURES = {"by_in_flight": "scale-in-flight.svg", "by_nodes": "scale-nodes.svg"}
TEXTS = {
    "calls": "A closed loop of 64 tasks over three nodes; connections are kept. The nodes are "
    "another process: where it is busy with nearly one core, it is the limit and not the client.",
    "connections": "The same, but every call is made on a connection of its own.",
    "in_flight": "Nodes that answer only when told. Memory is what the client's process holds "
    "beyond what it held after its first calls, without the kernel's socket buffers. All calls "
    "are open at the same time, wait for five seconds, and then all are answered; CPU per call is "
    "without that wait. It grows with the calls open in one process because Python's cyclic "
    "garbage collector looks through what they hold. Bare httpx looks through all its connections "
    "for each call, so it is measured with fewer calls in flight than the others.",
    "by_in_flight": "CPU of the client's process per call, in a closed loop over three nodes, "
    "by the number of calls in flight. Bare httpx is left out where it would take minutes.",
    "by_nodes": "CPU of the client's process per call, 64 in flight, by the number of nodes. The "
    "nodes share three ports. With very many nodes each is called so rarely that some calls open a "
    "connection; where more than one in twenty did, it is said behind the cost.",
    "picks": "One `with balancer.lease(): pass`: a pick and its release, in short rounds of 1,000. "
    "The fourth column is measured while 10,000 other leases are held, which is when a balancer "
    "has something to compare.",
    "slb": "What the three figures of an SLB's shared tier cost in the caller's processes, worked "
    "out from the tables below. CPU is in cores of this machine; memory is that of the clients.",
}


def page(figures: dict[str, Any]) -> str:
    """The sections that were measured, each with its table."""
    sections = [
        section("What the SLB's figures cost", "slb", figures, SLB),
        section("Calls per second", "calls", figures, RATES),
        section("New connections per second", "connections", figures, RATES),
        section("Calls in flight", "in_flight", figures, IN_FLIGHT),
        curve("As calls in flight grow", "by_in_flight", "in_flight", figures),
        curve("As nodes grow", "by_nodes", "nodes", figures),
        section("One pick", "picks", figures, PICKS),
    ]
    return "\n\n".join([origin(figures["about"]), *(text for text in sections if text)])


def origin(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['python']} on {about['system']} {about['machine']}, {about['cores']} cores, "
        f"on {about['date']}, with {versions}. A process may have {about['open_files']:,} files "
        "open."
    )


def section(title: str, name: str, figures: dict[str, Any], columns: list[Column]) -> str:
    rows: list[Row] = figures.get(name, [])
    if not rows:
        return ""
    body = [[show(row) for _, show in columns] for row in rows]
    return "\n\n".join(
        [f"### {title}", TEXTS[name], table([heading for heading, _ in columns], body)]
    )


def curve(title: str, name: str, by: str, figures: dict[str, Any]) -> str:
    """A row for each size, a column for each contender."""
    rows: list[Row] = figures.get(name, [])
    if not rows:
        return ""
    titles = list(dict.fromkeys(row["title"] for row in rows))
    known = {(row[by], row["title"]): row for row in rows}
    body = [
        [f"{size:,}", *(point(known.get((size, one))) for one in titles)]
        for size in dict.fromkeys(row[by] for row in rows)
    ]
    heading = [by.replace("_", " "), *titles]
    picture = f"```{{image}} {PICTURES[name]}\n:alt: {title}\n```"
    return "\n\n".join([f"### {title}", TEXTS[name], table(heading, body), picture])


def point(row: Row | None) -> str:
    if row is None:
        return ""
    told = f"{row['cpu']:,.0f} us"
    if row["connections"] >= 0.05:
        told += f" ({row['connections']:.2f} connections)"
    return told + (f" ({row['errors']:,} errors)" if row["errors"] else "")


def cores(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} cores"


def memory(row: Row) -> str:
    if "gb" not in row:
        return ""
    return f"{row['gb']:.2f} GB in {row['processes']} processes"
