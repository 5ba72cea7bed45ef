"""The node processes as whoever measures sees them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Child:
    """A module of this package in a process of its own, told by lines and answering by lines."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.scale.{module}", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def tell(self, line: str) -> None:
        self._pipe(self.process.stdin).write(line + "\n")
        self._pipe(self.process.stdin).flush()

    def hear(self) -> str:
        line = self._pipe(self.process.stdout).readline()
        if not line:
            raise RuntimeError(f"a benchmark's process ended: {self.process.args!r}")
        return line

    def ask(self, line: str) -> Any:
        self.tell(line)
        return json.loads(self.hear())

    def close(self) -> None:
        self._pipe(self.process.stdin).close()
        self._pipe(self.process.stdout).close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class Counts(NamedTuple):
    """What all nodes have seen so far.

    Attributes:
        connections: how many they took.
        held: calls not answered yet.
        cpu: seconds, all processes together.
        at: when they were asked.
    """

    connections: int
    held: int
    cpu: float
    at: float


class Fleet:
    """Processes of nodes, each with some ports, all on this machine."""

    def __init__(self, processes: int = 1, ports: int = 3) -> None:
        self.children = [Child("nodes", str(ports)) for _ in range(processes)]
        self.ports = [int(port) for child in self.children for port in child.hear().split()]

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.close()

    def counts(self, word: str = "counts") -> Counts:
        for child in self.children:
            child.tell(word)
        told = [json.loads(child.hear()) for child in self.children]
        return Counts(
            sum(one["connections"] for one in told),
            sum(one["held"] for one in told),
            sum(one["cpu"] for one in told),
            time.perf_counter(),
        )

    def await_held(self, calls: int, timeout: float) -> int:
        """Wait until so many calls are held; how many are."""
        give_up_at = time.perf_counter() + timeout
        while True:
            counts = self.counts()
            if counts.held >= calls or counts.at > give_up_at:
                return counts.held
            time.sleep(0.005)
