"""The demo while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TypedDict

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiclient import NodeState

from .picture import Entry, Picture, Row
from .traffic import Tally


class _OneLine(TypedDict):
    no_wrap: bool
    overflow: Literal["ellipsis"]


COLOURS: Mapping[str, str] = {
    NodeState.READY: "green",
    NodeState.NEW: "cyan",
    NodeState.PROBING: "yellow",
    NodeState.COOLING: "yellow",
    NodeState.STALLED: "magenta",
    NodeState.EJECTED: "bold red",
    NodeState.UNHEALTHY: "bold red",
    NodeState.DRAINED: "dim",
}
# Room for the node that joins later, so that nothing jumps when it does.
_ROWS = 5
# Lines of the picture beside the events, the line below it included.
_FIXED_LINES = 14
_MOST_EVENTS = 10
_BAR_CELLS = 10
_WIDEST = 110
# A full bar is this share: with four or five nodes nobody gets much more.
_FULL_BAR = 0.6
ONE_LINE: _OneLine = {"no_wrap": True, "overflow": "ellipsis"}
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Screen(Protocol):
    """Shows pictures, every so many seconds."""

    every: float

    def note(self, text: str) -> None:
        """Say what takes a moment, before there is a picture."""

    def show(self, picture: Picture) -> None:
        """Show how it is now."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def screen_for(console: Console) -> Screen:
    """The screen that suits where the output goes."""
    is_live = console.is_terminal and not console.is_dumb_terminal
    return LiveScreen(console) if is_live else PlainScreen(console)


class LiveScreen:
    """A picture that moves. It is gone at the end, and leaves the place to the summary."""

    every = 0.125

    def __init__(self, console: Console) -> None:
        self._console = console
        # Drawn by `show` alone: no thread of rich's own.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def note(self, text: str) -> None:
        """As `Screen.note`."""
        self._live.update(Text(f" {text}"), refresh=True)

    def show(self, picture: Picture) -> None:
        """Draw it over the last one."""
        self._live.update(Constrain(self.drawn(picture), _WIDEST), refresh=True)

    def drawn(self, picture: Picture) -> RenderableType:
        """What `show` draws."""
        lines = min(_MOST_EVENTS, max(1, self._console.height - _FIXED_LINES))
        return Group(
            _title(picture),
            "",
            _table(picture.rows, ascii_only=self._console.options.ascii_only),
            "",
            Text.assemble(" ", ("now  ", "dim"), (picture.now, "bold"), **ONE_LINE),
            "",
            _totals(picture.tally),
            "",
            *_events(picture.entries, lines),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class PlainScreen:
    """One line for everything that happens, and one every five seconds."""

    every = 0.25
    progress_every = 5.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = 0
        self._next = self.progress_every

    def note(self, text: str) -> None:
        """As `Screen.note`."""
        self._say(text)

    def show(self, picture: Picture) -> None:
        """Say what is new since the last one."""
        for entry in picture.entries[self._said :]:
            self._say(str(entry))
        self._said = len(picture.entries)
        if picture.elapsed >= self._next:
            self._next += self.progress_every
            nodes = "  ".join(f"{row.name} {row.share:.0%}" for row in picture.rows)
            self._say(f"{picture.elapsed:5.1f} s  {'':<8}  {counts(picture.tally)}  |  {nodes}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def counts(tally: Tally) -> str:
    """The running totals in one line."""
    return (
        f"calls: {tally.calls}  running: {tally.running}  failed: {tally.failed}  "
        f"retried: {tally.retried}  interrupted: {tally.interrupted}"
    )


# the picture's parts


def _title(picture: Picture) -> RenderableType:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    elapsed = min(picture.elapsed, picture.seconds)
    bar = ProgressBar(total=picture.seconds, completed=elapsed)
    clock = f"{elapsed:.0f} of {picture.seconds:.0f} s "
    line.add_row(Text(" aiclient demo", style="bold"), bar, clock)
    return line


def _table(rows: Sequence[Row], *, ascii_only: bool) -> Table:
    # No box: 80 columns are few.
    table = Table(
        box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim underline"
    )
    table.add_column(" node", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=11)
    table.add_column("share of calls", no_wrap=True, min_width=_BAR_CELLS + 5)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("first byte", justify="right", no_wrap=True)
    table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        colour = COLOURS.get(row.state, "")
        table.add_row(
            f" {row.name}",
            Text(_state(row), style=colour),
            Text.assemble((bar(row.share, ascii_only), colour), f" {row.share:4.0%}"),
            str(row.in_flight),
            "-" if row.first_byte is None else f"{row.first_byte * 1000:.0f} ms",
            Text(row.why, style="dim"),
        )
    for _ in range(_ROWS - len(rows)):
        table.add_row("")
    return table


def bar(share: float, ascii_only: bool) -> str:
    """A share as a bar of ten cells."""
    eighths = round(min(1.0, share / _FULL_BAR) * _BAR_CELLS * 8)
    if ascii_only:
        return ("#" * (eighths // 8)).ljust(_BAR_CELLS)
    tip = _EIGHTHS[eighths % 8] if eighths % 8 else ""
    return ("█" * (eighths // 8) + tip).ljust(_BAR_CELLS)


def _state(row: Row) -> str:
    return row.state if row.out_for is None else f"{row.state} {row.out_for:.0f} s"


def _totals(tally: Tally) -> Text:
    good, bad = "bold green", "bold red"
    parts = [
        ("calls", tally.calls, "bold"),
        ("running", tally.running, "bold"),
        ("retried", tally.retried, "bold"),
        ("interrupted", tally.interrupted, "bold yellow" if tally.interrupted else "bold"),
        ("failed", tally.failed, bad if tally.failed else good),
    ]
    line = Text(" ", **ONE_LINE)
    for name, value, style in parts:
        line.append(f"{name} ", style="dim")
        line.append(f"{value:<6}", style=style)
    return line


def _events(entries: Sequence[Entry], lines: int) -> list[Text]:
    shown = [
        Text(f" {entry}", style="bold" if entry.ours else "", **ONE_LINE)
        for entry in entries[-lines:]
    ]
    return shown + [Text("")] * (lines - len(shown))
