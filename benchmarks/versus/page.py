"""The figures as Markdown tables and a picture."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.document import FOLDER, table, write

from .trials import LOAD, NODES, SLOTS, TRIALS

__all__ = ["page", "plot", "summary"]

Row = dict[str, Any]
# The best there could be, ours, what needs no balancer, proxies, libraries.
_COLOURS = {
    "ideal": "#999999",
    "informed": "#cccccc",
    "aiclient": "#d1701f",
    "round-robin": "#bbbbbb",
}
_MARKS = "ovs^D<>Pp*X"


def summary(figures: dict[str, Any]) -> str:
    """p99 of the waiting time by trial and contender, and the callers' CPU."""
    rows: list[Row] = figures["rows"]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    known = {(row["trial"], row["contender"]): row for row in rows}
    trials = list(dict.fromkeys(row["trial"] for row in rows))
    body = [[trial, *(_cell(known[trial, name]) for name in names)] for trial in trials]
    costs = ["CPU per call"]
    for name in names:
        cpu = [row["cpu"] for row in rows if row["contender"] == name and "cpu" in row]
        costs.append(f"{sum(cpu) / len(cpu) / 1000:.2f} ms" if cpu else "")
    return table(["p99 wait [s]", *names], [*body, costs])


def _cell(row: Row) -> str:
    lost = sum(row["errors"].values())
    return f"{row['wait_p99']:.2f}" + (f" ({lost} lost)" if lost else "")


def page(figures: dict[str, Any]) -> None:
    """Write our part of docs/benchmarks.md."""
    about, rows = figures["about"], figures["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    calls = max(row.get("answered", 0) for row in rows)
    seeds = figures["seeds"]
    parts = [
        f"{about['python']}, {about['machine']}, on {about['date']}: {versions}. {NODES} nodes "
        f"with {SLOTS} slots each at {LOAD:.0%} load, {calls:,} calls in {figures['seconds']:g} s "
        f"after a warm-up of {figures['warm_up']:g} s"
        + (f", the means of {seeds} such runs" if seeds > 1 else "")
        + f"; {figures['at_once']} contenders were measured side by side.",
        summary(figures),
        "```{image} benchmarks-waits.svg\n:alt: p99 of the waiting time of each contender in each "
        "trial\n```",
    ]
    for trial in TRIALS:
        chosen = [row for row in rows if row["trial"] == trial.name]
        if chosen:
            parts += [f"### {trial.name}: {trial.what}", _details(chosen)]
    write("versus", "\n\n".join(parts))


def _details(rows: list[Row]) -> str:
    heading = ["", "errors", "p50", "p99", "wait p90", "wait p99", "longest wait", "CPU per call"]
    body = []
    for row in rows:
        if "p50" not in row:
            waits = [f"{row['wait_p90']:.3f} s", f"{row['wait_p99']:.3f} s"]
            body.append([row["contender"], "", "", "", *waits, "", ""])
            continue
        errors = ", ".join(f"{count} {kind}" for kind, count in row["errors"].items())
        seconds = [row[key] for key in ("p50", "p99", "wait_p90", "wait_p99", "wait_max")]
        times = [f"{value:.3f} s" for value in seconds]
        body.append([row["contender"], errors or "0", *times, f"{row['cpu'] / 1000:.2f} ms"])
    return table(heading, body)


def plot(figures: dict[str, Any]) -> None:
    """Write docs/benchmarks-waits.svg."""
    matplotlib: Any = importlib.import_module("matplotlib")
    drawing: Any = importlib.import_module("matplotlib.figure")
    rows: list[Row] = figures["rows"]
    trials = list(dict.fromkeys(row["trial"] for row in rows))
    names = list(dict.fromkeys(row["contender"] for row in rows))
    # Text stays text, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "aiclient"}):
        figure = drawing.Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(names):
            mine = {row["trial"]: row for row in rows if row["contender"] == name}
            axes.plot(
                [place + (number - len(names) / 2) * 0.06 for place in range(len(trials))],
                [max(0.005, mine[trial]["wait_p99"]) for trial in trials],
                linestyle="",
                marker=_MARKS[number % len(_MARKS)],
                color=_COLOURS.get(name),
                markersize=9 if name == "aiclient" else 6,
                label=name,
            )
        axes.set_yscale("log")
        axes.set_xticks(range(len(trials)), trials)
        axes.set_ylabel("p99 of the waiting time, seconds")
        axes.grid(visible=True, axis="y", alpha=0.3)
        axes.legend(ncols=2, fontsize="small")
        figure.savefig(FOLDER / "benchmarks-waits.svg", metadata={"Date": None})
