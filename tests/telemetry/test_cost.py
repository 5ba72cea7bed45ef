"""The benchmark of telemetry's cost runs; and what costs nothing is not built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aiclient
from aiclient.telemetry import calls, metrics
from aiclient.testing import FakeNode

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks/telemetry.py"


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    """It prints a figure for each set-up; its limits are for a quiet machine."""
    command = [sys.executable, "-W", "error", str(BENCHMARK), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all(re.search(r"adds +-?[\d.]+ us to a call of \d+ us", line) for line in lines)


def test_where_nobody_listens_nothing_is_built(
    nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an instrument nor anything that would follow a call."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("something was built")

    monkeypatch.setattr(calls, "CallTelemetry", refuse)
    monkeypatch.setattr(metrics, "Instruments", refuse)
    with aiclient.Client(nodes[0].url) as client:
        client.post("/v1/chat/completions", json={}).raise_for_status()
        with client.balancer.lease():
            pass


def test_importing_aiclient_loads_no_telemetry() -> None:
    """Nor does a balancer alone."""
    code = (
        "import sys, aiclient; aiclient.Balancer('http://10.0.0.1:8000');"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
