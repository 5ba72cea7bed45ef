"""A source followed without a balancer, and a patient wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from aiclient import Discovery, Endpoint, Signal
from aiclient.endpoint import endpoints_from

PATIENCE = 20.0


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until the condition holds, and return what it returned."""
    give_up_at = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < give_up_at, f"{what} has not happened"
        time.sleep(0.005)
    return result


def threads() -> list[threading.Thread]:
    """The threads that follow a source."""
    return [thread for thread in threading.enumerate() if thread.name == "aiclient discovery"]


class Following:
    """Follows a source as the balancer's thread does, and keeps all that it says."""

    def __init__(self, discovery: Discovery) -> None:
        self.discovery = discovery
        self.problems: list[str] = []
        self.sets: list[tuple[Endpoint, ...]] = []
        self.signal = Signal(lambda problem: self.problems.append(str(problem)))
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.signal.over:
            try:
                for found in self.discovery.watch(self.signal):
                    self.sets.append(endpoints_from(found))
            except Exception as exc:
                self.problems.append(str(exc))
                self.signal.wait(0.05, at_least=0.05)

    @property
    def urls(self) -> set[str]:
        """Where the nodes are, by the last answer."""
        return {endpoint.url for endpoint in self.sets[-1]} if self.sets else set()

    def until(self, *urls: str) -> None:
        """Wait until these are the nodes."""
        wanted = set(urls)
        eventually(lambda: self.urls == wanted, f"{wanted}, but {self.sets[-1:]}, {self.problems}")

    def problem(self, text: str) -> str:
        """Wait for a problem with such a text, and return it."""
        return eventually(
            lambda: next((p for p in self.problems if text in p), None),
            f"{text!r}: {self.problems}",
        )

    def another_problem(self, known: int) -> str:
        """Wait until there are more problems than that, and return the next one."""
        eventually(lambda: len(self.problems) > known, "another problem")
        return self.problems[known]

    def __enter__(self) -> Following:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        started = time.monotonic()
        self.signal.end()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it does not end"
        assert time.monotonic() - started < 2, "it took long to end"
