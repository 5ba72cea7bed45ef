"""`aiclient top`: a service's status page in a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .screen import COLOURS, ONE_LINE, bar
from .watched import Fleet, Happening, Member, NoPictureError, Watch

_BAR_CELLS = 10
_MOST_EVENTS = 10
_WIDTH_OF_A_PIPE = 160


def run(url: str, interval: float, *, once: bool) -> int:
    """Show the page until Ctrl-C; the exit status."""
    watch = Watch(url)
    # Not left to rich, which takes a pipe for a terminal when FORCE_COLOR is set.
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_PIPE)
    with contextlib.closing(watch):
        try:
            first = watch.look()
        except NoPictureError as exc:
            raise click.ClickException(str(exc)) from exc
        if once:
            console.print(drawn(first, console, watch.shown))
            return 0
        is_live = console.is_terminal and not console.is_dumb_terminal
        follow = _follow_live if is_live else _follow_plainly
        # Ctrl-C is how it is meant to end.
        with contextlib.suppress(KeyboardInterrupt):
            follow(console, watch, first, interval)
    return 0


def _follow_live(console: Console, watch: Watch, first: list[Fleet], interval: float) -> None:
    with Live(console=console, auto_refresh=False, screen=True) as live:
        fleets = first
        for found in _looks(watch, interval):
            if isinstance(found, str):
                problem = Text(f" {found}", style="bold red", **ONE_LINE)
                live.update(Group(problem, drawn(fleets, console, watch.shown)), refresh=True)
            else:
                fleets = found
                live.update(drawn(fleets, console, watch.shown), refresh=True)


def _follow_plainly(console: Console, watch: Watch, first: list[Fleet], interval: float) -> None:
    """A line for each balancer, and one for each event that is news."""
    told = max((each.at for fleet in first for each in fleet.happenings), default=0.0)
    for found in _looks(watch, interval):
        now = time.strftime("%H:%M:%S")
        if isinstance(found, str):
            _say(console, f"{now}  {found}")
            continue
        news = [each for fleet in found for each in fleet.happenings if each.at > told]
        for each in news:
            _say(console, str(each))
        told = max([told, *(each.at for each in news)])
        for fleet in found:
            _say(console, f"{now}  {_line(fleet)}")


def _looks(watch: Watch, interval: float) -> Iterator[list[Fleet] | str]:
    """What is seen, or why nothing is, at every interval."""
    due = time.monotonic()
    while True:
        try:
            yield watch.look()
        except NoPictureError as exc:
            yield str(exc)
        due = max(due + interval, time.monotonic())
        time.sleep(due - time.monotonic() if due > time.monotonic() else 0)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
    console.file.flush()


def _line(fleet: Fleet) -> str:
    nodes = "  ".join(
        f"{member.name} {_state(member)} {member.share:.0%} {member.in_flight} {_ttfb(member)}"
        for member in fleet.members
    )
    head = [fleet.title, *(alarm.upper() for alarm in fleet.alarms), f"in flight {fleet.in_flight}"]
    return f"{'  '.join(part for part in head if part)}  |  {nodes}"


# the picture's parts


def drawn(fleets: Sequence[Fleet], console: Console, where: str) -> RenderableType:
    """All balancers, one below the other, as much of them as the terminal has room for."""
    room = console.height - 2 if console.is_terminal else sys.maxsize
    process = ", ".join(sorted({str(fleet.process) for fleet in fleets}))
    parts: list[RenderableType] = [
        Text.assemble(
            (" aiclient top ", "bold"), (f"{where}  process {process}", "dim"), **ONE_LINE
        )
    ]
    for fleet in fleets:
        # Five lines are its title, the table's head and blanks; a few are for the events.
        share = room // len(fleets) - 5
        events = min(_MOST_EVENTS, max(1, share // 3), len(fleet.happenings))
        parts += _fleet(fleet, max(1, share - events), events, console.options.ascii_only)
    return Group(*parts)


def _fleet(fleet: Fleet, rows: int, events: int, ascii_only: bool) -> list[RenderableType]:
    head = Text(" ", **ONE_LINE)
    for part in (fleet.title, f"{fleet.total} nodes", f"in flight {fleet.in_flight}", fleet.picker):
        head.append(f"{part}  " if part else "")
    for alarm in fleet.alarms:
        head.append(f"{alarm}  ", style="bold red")
    shown = fleet.members[:rows]
    parts: list[RenderableType] = ["", head, _table(shown, ascii_only=ascii_only)]
    if len(shown) < fleet.total:
        parts.append(Text(f" and {fleet.total - len(shown)} more", style="dim"))
    latest: Sequence[Happening] = fleet.happenings[len(fleet.happenings) - events :]
    return [*parts, "", *(Text(f" {each}", **ONE_LINE) for each in reversed(latest))]


def _table(members: Sequence[Member], *, ascii_only: bool) -> Table:
    # No box: 80 columns are few.
    table = Table(
        box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim underline"
    )
    table.add_column(" node", no_wrap=True, overflow="ellipsis", max_width=44)
    table.add_column("state", no_wrap=True, min_width=11)
    table.add_column("share of calls", no_wrap=True, min_width=_BAR_CELLS + 5)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("first byte", justify="right", no_wrap=True)
    table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
    for member in members:
        colour = COLOURS.get(member.state, "")
        table.add_row(
            Text(f" {member.name}"),
            Text(_state(member), style=colour),
            Text.assemble((bar(member.share, ascii_only), colour), f" {member.share:4.0%}"),
            str(member.in_flight),
            _ttfb(member),
            Text(member.why, style="dim"),
        )
    return table


def _state(member: Member) -> str:
    return member.state if member.out_for is None else f"{member.state} {member.out_for:.0f} s"


def _ttfb(member: Member) -> str:
    return "-" if member.ttfb is None else f"{member.ttfb * 1000:.0f} ms"
