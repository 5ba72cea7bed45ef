import re
import signal

import pytest

from .helpers import PATIENCE, start

FIRST_LINE = re.compile(r"calls: (\d+)  failed: (\d+)  retried: (\d+)  interrupted: (\d+)")
STORY = (
    r"node-1 slowed down 4x",
    r"node-2 killed \(SIGKILL\) in the middle of \d+ streams?",
    r"node-2 started again",
    r"node-1 back at full speed",
    r"node-3 answers 503 to every new call",
    r"node-5 added with client\.balancer\.update",
    r"node-3 takes calls again",
)


@pytest.mark.slow
def test_the_demo_kills_a_node_and_loses_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole story in a short run: no call fails but for the streams on the killed node."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with start("demo", "--seconds", "6", "--seed", "1") as process:
        assert process.stdout
        first = [process.stdout.readline(), process.stdout.readline()]
        assert process.poll() is None  # what happens is told while it happens
        rest, err = process.communicate(timeout=PATIENCE)
    out = "".join([*first, rest])
    assert (process.returncode, err) == (0, ""), out
    lines = out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert re.search(".*".join(["starting 4 AI nodes", *STORY]), out, re.DOTALL)
    totals = re.findall(r"^ +5\.\d s +calls: \d+  running: \d+  failed: 0 ", out, re.MULTILINE)
    assert len(totals) == 1
    (summary,) = [line for line in lines if line.startswith("calls: ")]
    found = FIRST_LINE.fullmatch(summary)
    assert found
    calls, failed, _, interrupted = map(int, found.groups())
    assert (calls > 20, failed, interrupted >= 1) == (True, 0, True)
    told = "\n".join(lines[lines.index(summary) :])
    assert re.search(".*".join(STORY), told, re.DOTALL)
    assert [name for name in map("node-{}".format, range(1, 6)) if f"\n{name} " not in told] == []


def test_ctrl_c_ends_it_and_leaves_no_process_behind() -> None:
    """Status 130, no traceback; the nodes are gone too, or standard error would stay open."""
    with start("demo", "--seconds", "8") as process:
        assert process.stdout
        process.stdout.readline()
        assert "slowed down" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.strip() == "stopped"


def test_ctrl_c_while_the_nodes_start() -> None:
    """The same at the earliest moment."""
    with start("demo") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.strip() == "stopped"


def test_it_ends_when_nobody_reads() -> None:
    """`aiclient demo | head -1`: no traceback, no node left."""
    with start("demo", "--seconds", "8") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
