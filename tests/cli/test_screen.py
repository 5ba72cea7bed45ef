import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from aiclient import EventKind, NodeState
from aiclient.cli.picture import Entry, Picture, Row
from aiclient.cli.screen import LiveScreen, PlainScreen, screen_for
from aiclient.cli.summary import print_summary
from aiclient.cli.traffic import Tally

WHY = "consecutive faults: cannot connect: Connection refused, and so on and on and on"


def terminal(width: int, height: int) -> tuple[Console, io.StringIO]:
    """A terminal that remembers what was written to it."""
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=True, width=width, height=height, legacy_windows=False
    )
    return console, written


def picture(nodes: int = 5, entries: int = 20) -> Picture:
    """A picture in which every state, and much of everything, is to be seen."""
    states = list(NodeState)
    rows = [
        Row(f"node-{number}", states[number % len(states)], 0.2, 12, 0.0631, WHY, 5.2)
        for number in range(1, nodes + 1)
    ]
    told = [
        Entry(float(at), f"event {at}: {WHY}", EventKind.EJECTED if at % 2 else None)
        for at in range(entries)
    ]
    return Picture(12.3, 30.0, rows, Tally(calls=412, running=17, retried=9, interrupted=3), told)


def rendered(console: Console, shown: Picture) -> list[str]:
    """The lines of a picture, without colours."""
    lines = console.render_lines(LiveScreen(console).drawn(shown))
    return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize("nodes", [4, 5])
@pytest.mark.parametrize("entries", [0, 3, 20])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 50)])
def test_a_picture_fits_the_terminal(width: int, height: int, nodes: int, entries: int) -> None:
    """At 80x24 and above nothing is wrapped or cut off at the bottom."""
    console, _ = terminal(width, height)
    lines = rendered(console, picture(nodes, entries))
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for part in ("share of calls", "in flight", "first byte", "63 ms", " node-4 ", "failed"):
        assert part in text
    if entries:
        assert f"  event {entries - 1}: " in text


def test_every_picture_has_the_same_height() -> None:
    """A node that joins and the first event move nothing."""
    console, _ = terminal(80, 24)
    shapes = ((4, 0), (4, 3), (5, 20))
    assert len({len(rendered(console, picture(*shape))) for shape in shapes}) == 1


def test_a_terminal_too_small_does_not_break_it() -> None:
    """It is cut, not a traceback."""
    console, written = terminal(30, 6)
    with LiveScreen(console) as screen:
        screen.note("starting")
        screen.show(picture())
    assert "aiclient demo" in written.getvalue()


def test_plain_lines_say_everything_once() -> None:
    """An event is told once, the totals every five seconds; no control characters."""
    written = io.StringIO()
    screen = screen_for(Console(file=written, force_terminal=False, width=20))
    assert isinstance(screen, PlainScreen)
    shown = picture(entries=3)
    with screen:
        screen.show(shown)
        screen.show(shown)
    lines = written.getvalue().splitlines()
    assert [line.split()[2] for line in lines] == ["demo", "aiclient", "demo", "calls:", "calls:"]
    assert all(line.isprintable() for line in lines)


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb cannot move the cursor."""
    monkeypatch.setenv("TERM", "dumb")
    console, _ = terminal(80, 24)
    assert isinstance(screen_for(console), PlainScreen)


def test_the_summary_fits_a_terminal_and_begins_with_its_line() -> None:
    """The first line is plain on a terminal too; with all that usually happens it fits 80x24."""
    console, written = terminal(80, 24)
    names = [f"node-{number}" for number in range(1, 6)]
    print_summary(console, Tally(calls=3, interrupted=1), names, picture(entries=9).entries)
    lines = written.getvalue().splitlines()
    assert lines[0] == "calls: 3  failed: 0  retried: 0  interrupted: 1"
    assert len(lines) <= 22
    assert [line.split()[0] for line in lines[3:8]] == names


def test_the_summary_in_a_file_is_not_cut() -> None:
    """Where nobody looks at a terminal every line is whole."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=False, width=80)
    print_summary(console, Tally(failures=["x" * 300]), [], picture(entries=2).entries)
    text = written.getvalue()
    assert f"event 1: {WHY}" in text
    assert "x" * 300 in text
