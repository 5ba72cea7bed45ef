import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

import aiclient
from aiclient.cli.top import drawn
from aiclient.cli.watched import NoPictureError, Watch
from aiclient.status import serve

from .helpers import COMMAND, PATIENCE, SECRET, call, run, start


@pytest.fixture
def balancer() -> aiclient.Balancer:
    """Three nodes, of which one is out."""
    nodes = [aiclient.Endpoint(f"http://10.0.0.{n}:8000", name=f"node-{n}") for n in (1, 2, 3)]
    balancer = aiclient.Balancer(nodes)
    balancer.eject("node-2", 600)
    return balancer


class Says:
    """A server that answers whatever is asked with one body."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "Says":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_one_look(
    balancer: aiclient.Balancer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--once prints the nodes, the totals and the events; a scheme is not needed."""
    with serve(balancer, port=0) as server:
        for url in (server.url, f"127.0.0.1:{server.port}", f"{server.url}status.json"):
            outcome = call(monkeypatch, capsys, "top", "--once", url)
            assert (outcome.status, outcome.err) == (0, "")
            assert re.search(r"node-1 +ready +", outcome.out)
            assert re.search(r"node-2 +ejected \d+ s .*ejected by hand", outcome.out)
            assert "3 nodes  in flight 0  LeastLoad()" in outcome.out
            assert "ejected node-2: by hand, for 600 s" in outcome.out


def test_lines_where_there_is_no_terminal(balancer: aiclient.Balancer) -> None:
    """A line at each look, one for each event that is news; Ctrl-C ends it well."""
    with serve(balancer, port=0) as server:
        process = start("top", "--interval", "0.1", server.url)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert re.match(r"\d\d:\d\d:\d\d  in flight 0  \|  node-1 ready 0% 0 -  node-2 ", line)
            balancer.drain("node-3")
            while "drained node-3" not in line:
                assert "by hand" not in line, "that was no news"
                line = process.stdout.readline()
                assert line
            assert "node-3 drained" in process.stdout.readline()
            server.close()
            while "no answer" not in line:
                line = process.stdout.readline()
                assert line
            process.send_signal(signal.SIGINT)
            rest, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in rest


def test_live_in_a_terminal(balancer: aiclient.Balancer) -> None:
    """The picture follows the balancer, says when nobody answers, and leaves the screen tidy."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    written = b""

    def wait_for(what: bytes) -> None:
        nonlocal written
        seen = b""
        while what not in seen:
            assert select.select([ours], [], [], PATIENCE)[0], (what, seen)
            seen += os.read(ours, 65536)
        written += seen

    with serve(balancer, port=0) as server:
        process = subprocess.Popen(
            [*COMMAND, "top", "--interval", "0.1", server.url],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            wait_for(b"node-2")
            balancer.drain("node-3")
            wait_for(b"drained by hand")
            server.close()
            wait_for(b"no answer")
            process.send_signal(signal.SIGINT)
            wait_for(b"\x1b[?1049l")  # back to the screen as it was
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
            os.close(theirs)
            os.close(ours)
    assert b"\x1b[?1049h" in written
    assert b"Traceback" not in written


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", f"http://user:{SECRET}@127.0.0.1:9/?{SECRET}"]
)
def test_nothing_answers(url: str) -> None:
    """One line, without what may be secret in the URL; status 1."""
    outcome = run("top", url)
    assert (outcome.status, outcome.out) == (1, "")
    assert re.fullmatch(r"Error: http://127\.0\.0\.1:9/?: no answer: .*refused.*\n", outcome.err)
    assert SECRET not in outcome.err


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://[", "http://a:99999", "a b:c"])
def test_a_url_that_is_none(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said what is needed, or that nothing is there; no traceback."""
    outcome = call(monkeypatch, capsys, "top", "--once", url)
    assert outcome.status == 1
    assert outcome.err.startswith("Error: ")


GOOD: dict[str, Any] = {
    "kind": "aiclient status",
    "process": 1,
    "balancers": [aiclient.Balancer(["http://a:1"]).snapshot().as_dict() | {"name": ""}],
}


def broken() -> Iterator[object]:
    """JSON that is almost a picture."""
    yield from ([], None, 1, "aiclient status", {}, {"kind": "another"})
    yield {"kind": "aiclient status", "process": 1}
    yield GOOD | {"kind": "another"}
    yield GOOD | {"balancers": [1]}
    yield GOOD | {"process": []}
    for field in ("nodes", "events", "states", "discovery", "at"):
        yield GOOD | {"balancers": [GOOD["balancers"][0] | {field: "?"}]}
    event = {"ago": 1e300, "kind": "x", "node": None, "detail": ""}
    yield GOOD | {"balancers": [GOOD["balancers"][0] | {"events": [event]}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        *(json.dumps(each).encode() for each in broken()),
    ],
)
def test_what_answers_is_no_status_page(body: bytes) -> None:
    """Whatever it is: an error that says so."""
    with Says(body) as server:
        watch = Watch(server.url)
        with pytest.raises(NoPictureError, match=r"no status page|RecursionError"):
            watch.look()
        watch.close()


def test_the_picture_above_would_do() -> None:
    """The test above can fail: unbroken, it is a picture."""
    with Says(json.dumps(GOOD).encode()) as server:
        watch = Watch(server.url)
        (fleet,) = watch.look()
        watch.close()
    assert [member.name for member in fleet.members] == ["http://a:1"]


def test_another_status_is_named() -> None:
    """Somebody else's 404, or a log-in."""
    with Says(b"who are you?", 401) as server:
        outcome = run("top", server.url)
    assert (outcome.status, outcome.err) == (1, f"Error: {server.url}: http 401\n")


def test_a_body_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to what a picture may weigh."""
    monkeypatch.setattr("aiclient.cli.watched._MOST_BYTES", 100)
    with Says(json.dumps(GOOD).encode()) as server:
        watch = Watch(server.url)
        with pytest.raises(NoPictureError, match="no status page"):
            watch.look()
        watch.close()


def test_names_cannot_write_to_the_terminal() -> None:
    """Escape sequences in a page that is not ours, and markup of rich's."""
    wicked = GOOD["balancers"][0] | {
        "name": "\x1b[31m[bold]",
        "nodes": [GOOD["balancers"][0]["nodes"][0] | {"name": "\x1b]0;x\x07[red]n[/red]"}],
        "events": [{"ago": 1, "kind": "\x1b[2J", "node": "[/nope]", "detail": "\r\n"}],
    }
    with Says(json.dumps(GOOD | {"balancers": [wicked]}).encode()) as server:
        outcome = run("top", "--once", server.url)
    assert outcome.status == 0
    assert "\x1b" not in outcome.out
    assert "[red]n[/red]" in outcome.out


@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_a_picture_fits_the_terminal(width: int, height: int, count: int) -> None:
    """At 80x24 and above nothing is wrapped or cut off at the bottom."""
    nodes = [aiclient.Endpoint(f"http://10.0.0.{n}:8000", name=f"gpu-{n}") for n in range(count)]
    balancer = aiclient.Balancer(nodes)
    for _ in range(30):
        balancer.note(aiclient.EventKind.DISCOVERY, "a long story " * 20)
    with serve(balancer, port=0) as server:
        watch = Watch(server.url)
        fleets = watch.look()
        watch.close()
    console = Console(force_terminal=True, width=width, height=height, legacy_windows=False)
    lines = [
        "".join(segment.text for segment in line)
        for line in console.render_lines(drawn(fleets, console, watch.shown))
    ]
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "gpu-0 " in text
    assert f"{count} nodes" in text
    assert "discovery: a long story" in text
    assert ("more" in text) == (count == 200)
