"""The two curves: what a call costs as calls in flight grow, and as nodes grow."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

# Told apart without colour too.
MARKS = {"httpx": ("#888888", "s"), "client": ("#1f6fb2", "o"), "lease": ("#d1701f", "^")}
PICK = ("#3b8f4a", "D")


def plots(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Write scale-in-flight.svg and scale-nodes.svg, as far as they were measured."""
    made = []
    if figures.get("by_in_flight"):
        lines = lines_of(figures["by_in_flight"], "in_flight")
        made.append(drawn(folder / "scale-in-flight.svg", lines, "calls in flight"))
    if figures.get("by_nodes") or figures.get("picks"):
        lines = lines_of(figures.get("by_nodes", []), "nodes")
        picks = [(row["nodes"], row["best"]) for row in figures.get("picks", [])]
        if picks:
            lines["one pick and its release"] = (picks, PICK)
        made.append(drawn(folder / "scale-nodes.svg", lines, "nodes"))
    return made


Lines = dict[str, tuple[list[tuple[float, float]], tuple[str, str]]]


def lines_of(rows: list[dict[str, Any]], by: str) -> Lines:
    lines: Lines = {}
    for row in rows:
        mark = MARKS[row["contender"]]
        lines.setdefault(row["title"], ([], mark))[0].append((row[by], row["cpu"]))
    return lines


def drawn(file: Path, lines: Lines, what: str) -> Path:
    """Both axes are logarithmic: from 50 us to 10 ms the lines would else be one."""
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    # Text stays text, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "aiclient"}):
        figure = figures.Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for title, (points, (colour, marker)) in lines.items():
            sizes, costs = zip(*points, strict=True)
            axes.plot(sizes, costs, marker=marker, color=colour, label=title)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel(what)
        axes.set_ylabel("client CPU per call, microseconds")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend()
        figure.savefig(file, metadata={"Date": None})
    return file
