"""The machine and what it allows."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import aiclient

PACKAGES = ("httpx", "httpcore", "anyio", "pyreqwest", "httpx-aiohttp", "aiohttp")
# What a process has open besides its calls: its interpreter, event loop, pipes, listening sockets.
SPARE_FILES = 200


def raise_file_limit() -> int:
    """As many open files as this process may have: the soft limit goes up to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def most_calls() -> int:
    """Calls that one process can have open at once."""
    return raise_file_limit() - SPARE_FILES


def resident() -> int:
    """Bytes of memory this process holds now; where the system does not say, its peak."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def about() -> dict[str, Any]:
    """On what, with what and when it was measured."""
    versions = {"aiclient": aiclient.__version__}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "open_files": raise_file_limit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions,
    }
