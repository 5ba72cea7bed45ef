"""What the demo says at its end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .picture import Entry
from .traffic import Tally


def first_line(tally: Tally) -> str:
    """The line that others read: its form never changes."""
    return (
        f"calls: {tally.calls}  failed: {tally.failed}  "
        f"retried: {tally.retried}  interrupted: {tally.interrupted}"
    )


def print_summary(
    console: Console, tally: Tally, names: Sequence[str], entries: Sequence[Entry]
) -> None:
    """The totals, each node, and what happened."""
    _say(console, first_line(tally))
    _say(console, "")
    console.print(_nodes(tally, names))
    _say(console, "")
    for entry in entries:
        if entry.matters:
            _say(console, str(entry), cut=True)
    if tally.interrupted:
        _say(console, "")
        _say(console, _about_interrupted(tally.interrupted))
    for failure in tally.failures:
        _say(console, f"failed: {failure}")


def _nodes(tally: Tally, names: Sequence[str]) -> Table:
    total = sum(node.served for node in tally.nodes.values()) or 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim underline")
    table.add_column("node")
    for name in ("served", "share", "plain", "streams", "passed on", "interrupted"):
        table.add_column(name, justify="right")
    for name in names:
        node = tally.nodes[name]
        counts = (node.plain, node.streams, node.passed_on, node.interrupted)
        share = f"{node.served / total:.0%}"
        table.add_row(name, str(node.served), share, *map(str, counts))
    return table


def _about_interrupted(count: int) -> str:
    streams = "stream" if count == 1 else "streams"
    return (
        f"The {count} interrupted {streams} had begun on the killed node: the callers had a part "
        "of the answer and were told so (aiclient.StreamInterrupted). Every other call that met a "
        "dead or full node was answered by another one."
    )


def _say(console: Console, line: str, *, cut: bool = False) -> None:
    """A line: whole in a file, on a terminal wrapped between words, or `cut` where it ends."""
    if console.is_terminal:
        console.print(Text(line), no_wrap=cut, overflow="ellipsis" if cut else "fold")
    else:
        console.print(Text(line), soft_wrap=True)


def shortcomings(tally: Tally, killed_streams: int, missing: list[str], broken: str) -> list[str]:
    """Why the demo did not show what it promised; empty if it did."""
    found = []
    if broken:
        found.append(f"the demo itself broke: {broken}")
    if tally.failed:
        found.append(f"{tally.failed} of {tally.calls} calls failed")
    if missing:
        found.append(f"there was no time for: {', '.join(missing)}")
    if killed_streams and not tally.interrupted:
        found.append("the killed node had ended its streams a moment before")
    return found
