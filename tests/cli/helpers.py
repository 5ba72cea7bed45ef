"""The command line as its users meet it: as a process, or called in this one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from aiclient.cli import main

COMMAND = [sys.executable, "-m", "aiclient.cli"]
PATIENCE = 60.0
CHAT = "/v1/chat/completions"
SECRET = "s3cret-value"


@dataclass
class Outcome:
    status: int
    out: str
    err: str


Check = Callable[..., Outcome]


def run(*arguments: str, env: dict[str, str] | None = None) -> Outcome:
    """Run a command as a process.

    The processes it starts inherit its standard error: that ends when all of them have ended.
    """
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a command as a process in a session of its own, with pipes to read from."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Not what a test runner in the background may have set.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Outcome:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "argv", ["aiclient", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, captured.out, captured.err)


def finding(outcome: Outcome) -> dict[str, Any]:
    """What --json says about the only node."""
    (only,) = json.loads(outcome.out)["nodes"]
    return only
