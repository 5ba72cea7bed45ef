"""The examples run as they are, without a warning, and print what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
URL = r"\w+://127\.0\.0\.1:\d+"

# What each of them prints, in this order; other lines may stand between.
PRINTED = {
    "async_streaming.py": [
        *[rf"^{URL}: first token \d+\.\d\d s, 16 pieces in \d+\.\d\d s$"] * 8,
        *[rf"^{URL}: \d+ calls, 0 in flight$"] * 3,
    ],
    "failover_story.py": [
        r"^  the caller sees: 200$",
        r"^  1\. a: cannot connect: .+ \(picked\)$",
        r"^  2\. b: http 503 \(retry of \[cannot connect: .+\]\)$",
        r"^  3\. c: ok \(retry of \[http 503\]\)$",
        r"^  the caller sees: ConnectError: ",
        r"^  3\. \w: cannot connect: ",
    ],
    "own_picker.py": [
        *[r"^call [1-4]: reserved-[12]$"] * 4,
        *[r"^call [56]: rented-[12]$"] * 2,
        r"^<Balancer ReservedFirst\(room=2\) in_flight=6: ",
        r"^in flight at the end: 0$",
    ],
    "replace_an_slb.py": [r"tok0 tok1", *[rf"^{URL}: \d+ calls$"] * 3],
    "rolling_update.py": [
        r"^joined: new$",
        r"^drained: old has nothing in flight$",
        r"^left: old is stopped$",
        r"^calls: \d+  failed: 0$",
        r"^served by old [1-9]\d*, kept [1-9]\d*, new [1-9]\d*$",
    ],
    "session_affinity.py": [
        *[rf"^user-\d: {URL}, three more calls: the same$"] * 8,
        rf"^drained {URL}$",
        r"^moved: user-1\b",
        r"^only its own users moved: True$",
    ],
    "status_page.py": [
        rf"^the page: {URL}/balancer/$",
        r"^node-2 is killed$",
        r"^node-1 ready: [1-9]\d* calls, share \d+%$",
        r"^node-2 (ejected|half-open): \d+ calls, share \d+%$",
        r"^node-3 ready: [1-9]\d* calls, share \d+%$",
        r"^\d+\.\d s ago: ejected node-2: cannot connect: .+$",
    ],
    "tcp_lease.py": [
        rf"^{URL} has died, after \d+ calls$",
        r"^calls: 320  lost: 0$",
        rf"^{URL} (ejected|half-open): picked \d+, failed [1-9]\d*, in flight 0$",
        *[rf"^{URL} ready: picked \d+, failed 0, in flight 0$"] * 2,
    ],
    "tracing.py": [
        r"^ +\d+ ms  aiclient POST: 3 attempts$",
        r"^ +\d+ ms    picked a$",
        r"^ +\d+ ms      ejected: cannot connect$",
        r"^ +\d+ ms      ConnectError$",
        r"^ +\d+ ms    picked b, instead of \[cannot connect\]$",
        r"^ +\d+ ms      ejected: consecutive faults$",
        r"^ +\d+ ms      500$",
        r"^ +\d+ ms    picked c, instead of \[http 500\]$",
        r"^ +\d+ ms      first byte$",
        r"^ +\d+ ms      200$",
        r"^ +\d+ ms  the caller has 200$",
    ],
}


def test_every_example_is_tested() -> None:
    """No example is left out."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_example(name: str) -> None:
    """It ends with status 0 and prints what it should; a warning is an error."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # What Python says of an error that nobody can catch: a socket left open, for example.
    assert "Exception ignored" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = iter(done.stdout.splitlines())
    for pattern in PRINTED[name]:
        assert any(re.search(pattern, line) for line in lines), (pattern, done.stdout)


def test_an_example_takes_the_nodes_it_is_given() -> None:
    """URLs on the command line take the place of its own nodes: here, one that refuses."""
    command = [sys.executable, str(EXAMPLES / "replace_an_slb.py"), "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "127.0.0.1:9" in done.stderr.splitlines()[-2] + done.stderr.splitlines()[-1]
