"""The nodes, as processes, and what is done to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiclient.testing import NodeProcess

PATIENCE = 30.0
TOKENS = 4


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Ask until `condition` holds: each asks a process, so that the loop does not spin."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at, f"it never came true: {what}"


class Fleet:
    """Nodes that are mended after each run, because starting a process costs more than a run."""

    def __init__(self, size: int) -> None:
        self.nodes = [NodeProcess(tokens=TOKENS, keepalive=3600) for _ in range(size)]

    def __enter__(self) -> Fleet:
        with ThreadPoolExecutor() as threads:
            list(threads.map(NodeProcess.start, self.nodes))
        return self

    def __exit__(self, *_exc: object) -> None:
        for node in self.nodes:
            _resume(node)
            node.stop()

    def mend(self, service: float) -> None:
        """Bring all nodes back, idle, and such that an answer takes `service` seconds."""
        for node in self.nodes:
            _resume(node)
            node.start()
            node.heal()
            node.set(slots=1000, prefill=service / 2, token_time=service / 2 / TOKENS)
        eventually(lambda: all(_is_idle(node) for node in self.nodes), "all nodes are idle")


def _resume(node: NodeProcess) -> None:
    if node.pid is not None:
        os.kill(node.pid, signal.SIGCONT)


def _is_idle(node: NodeProcess) -> bool:
    stats = node.stats()
    return not stats.active and not stats.connections


def wait_until_busy(nodes: Sequence[NodeProcess], calls: int) -> int:
    """Wait until each of them works on at least `calls` calls; returns how many it is in all."""
    active = [0]

    def busy() -> bool:
        active[:] = [node.stats().active for node in nodes]
        return min(active) >= calls

    eventually(busy, f"{calls} calls are in flight on each victim")
    return sum(active)


def wound(node: NodeProcess, what: str) -> None:
    """Do to the node what the cell says."""
    if what == "SIGKILL":
        node.kill()
    elif what == "SIGSTOP":
        assert node.pid is not None
        os.kill(node.pid, signal.SIGSTOP)
    else:
        node.fault(what)
