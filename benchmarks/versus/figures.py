"""What is kept of a run."""

from __future__ import annotations

import collections
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from aiclient.simulation import Times

__all__ = ["about", "row_of"]

_PACKAGES = ("aiclient", "httpx", "litellm", "sglang-router", "vllm-router")
_COMMANDS = {
    "nginx": ["nginx", "-v"],
    "haproxy": ["haproxy", "-v"],
    "envoy": ["envoy", "--version"],
}


def row_of(
    trial: str, name: str, runs: list[dict[str, Any]], ideals: list[Times] | None = None
) -> dict[str, Any]:
    """All runs of a contender in a trial: the mean of each figure, the sum of what was lost."""
    row: dict[str, Any] = {"trial": trial, "contender": name, "errors": {}}
    if ideals is not None:
        row["wait_p90"] = fmean(times.p90 for times in ideals)
        row["wait_p99"] = fmean(times.p99 for times in ideals)
        return row
    latencies = [Times.of(run["latencies"]) for run in runs]
    waits = [Times.of(run["waits"]) for run in runs]
    errors: collections.Counter[str] = collections.Counter()
    for run in runs:
        errors.update(run["errors"])
    row["errors"] = dict(errors)
    row["answered"] = sum(len(run["waits"]) for run in runs)
    row["p50"] = fmean(times.p50 for times in latencies)
    row["p99"] = fmean(times.p99 for times in latencies)
    row["wait_p90"] = fmean(times.p90 for times in waits)
    row["wait_p99"] = fmean(times.p99 for times in waits)
    row["wait_max"] = max((value for run in runs for value in run["waits"]), default=0.0)
    row["cpu"] = fmean(run["cpu"] for run in runs)
    return row


def about() -> dict[str, Any]:
    """On what, with what and when it was measured."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, command in _COMMANDS.items():
        beside = Path(sys.executable).with_name(command[0])
        if beside.exists():
            command = [str(beside), *command[1:]]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if number := re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr):
            versions[name] = number[0]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions,
    }
