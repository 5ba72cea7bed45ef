"""The findings as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .findings import Answer, Finding
from .load_signal import clean

_MOST_MODELS = 2
_WIDEST_NODE = 30
# Below this the last two columns share what the others leave.
_WIDE = 120


def print_json(findings: Sequence[Finding]) -> None:
    """One object, with all nodes in the order they were given."""
    nodes = [_as_json(finding) for finding in findings]
    good = all(finding.ok for finding in findings)
    # ASCII: what a node says cannot reach a terminal as an escape sequence.
    click.echo(json.dumps({"ok": good, "nodes": nodes}, indent=2))


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "node": finding.node,
        "ok": finding.ok,
        "reachable": finding.reachable,
        "health": _answer_as_json(finding.health),
        "inference": _answer_as_json(finding.inference),
        "models": finding.models,
        "load_signal": finding.load_signal,
        "hints": finding.hints,
    }


def _answer_as_json(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "path": answer.path,
        "status": answer.status,
        "seconds": None if answer.seconds is None else round(answer.seconds, 4),
        "error": answer.error or None,
    }


def print_table(console: Console, findings: Sequence[Finding]) -> None:
    """A row for each node; the hints, being long, below."""
    # No box: 80 columns are few.
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=not is_wide)
    table.header_style = "dim underline"
    longest = max(len(finding.node) for finding in findings)
    table.add_column("node", overflow="fold", width=min(_WIDEST_NODE, longest))
    table.add_column("reachable" if is_wide else "up", no_wrap=True)
    table.add_column("health", no_wrap=True)
    table.add_column("inference", no_wrap=True)
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("models", overflow="fold", ratio=3)
    table.add_column("load signal", overflow="fold", ratio=2)
    for finding in findings:
        table.add_row(*_row(finding))
    console.print(table)
    for finding in findings:
        if finding.hints:
            console.print()
            console.print(Text(finding.node, style="bold"))
        for hint in finding.hints:
            console.print(Padding(Text(clean(hint, most=1000)), (0, 0, 0, 2), expand=False))
    good = sum(finding.ok for finding in findings)
    colour = "bold green" if good == len(findings) else "bold red"
    console.print()
    console.print(Text(f"good nodes: {good} of {len(findings)}", style=colour))


def _row(finding: Finding) -> list[Text]:
    inference = finding.inference
    took = inference.seconds if inference and inference.ok else None
    return [
        Text(finding.node, style="green" if finding.ok else "bold red"),
        Text("yes") if finding.reachable else Text("no", style="red"),
        _status(finding.health),
        _status(inference),
        Text("-" if took is None else f"{took * 1000:.0f} ms"),
        Text(_some(finding.models)),
        Text(finding.load_signal),
    ]


def _status(answer: Answer | None) -> Text:
    if answer is None:
        return Text("-")
    what = answer.error if answer.status is None else str(answer.status)
    return Text(what, style="green" if answer.ok else "red")


def _some(models: Sequence[str]) -> str:
    if not models:
        return "-"
    more = f", and {len(models) - _MOST_MODELS} more" if len(models) > _MOST_MODELS else ""
    return ", ".join(map(clean, models[:_MOST_MODELS])) + more
