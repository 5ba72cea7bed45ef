"""Eight node processes, and what happens to some of them while the calls arrive."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from aiclient.simulation import Event
from aiclient.testing import NodeProcess

from .trials import NODES, PREFILL, SLOTS, TOKEN_TIME, Trial

__all__ = ["Fleet", "fleet"]

_BROWNOUT_SHARE = 0.1


class Fleet:
    """The nodes of one contender."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        self.nodes = nodes
        self.urls = [node.url for node in nodes]

    @contextlib.contextmanager
    def living_through(self, trial: Trial, events: tuple[Event, ...]) -> Iterator[None]:
        """Events happen when they are due, counted from here."""
        over = threading.Event()
        thread = threading.Thread(target=self._live, args=(trial, events, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _live(self, trial: Trial, events: tuple[Event, ...], over: threading.Event) -> None:
        began = time.monotonic()
        for event in events:
            over.wait(began + event.at - time.monotonic())
            for node in event.among(NODES):
                self._begin(self.nodes[node], event, trial.fault)
            if event.until is not None:
                over.wait(began + event.until - time.monotonic())
                for node in event.among(NODES):
                    self._end(self.nodes[node])

    def _begin(self, node: NodeProcess, event: Event, fault: str) -> None:
        if event.kind in ("slow", "brownout"):
            node.set(prefill=PREFILL / event.speed, token_time=TOKEN_TIME / event.speed)
        if event.kind == "brownout":
            node.fault(str(event.status), delay=event.after, share=_BROWNOUT_SHARE)
        elif event.kind == "fail" and fault:
            node.fault(fault)
        elif event.kind == "fail":
            node.fault(str(event.status), delay=event.after)
        elif event.kind == "stall":
            node.fault("hang")
        elif event.kind == "kill":
            node.kill()

    def _end(self, node: NodeProcess) -> None:
        node.start()
        node.heal()
        node.set(prefill=PREFILL, token_time=TOKEN_TIME)


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """It ends with the block."""
    with contextlib.ExitStack() as stack:
        nodes = [
            # Longer than any pause: idle connections are not the question here.
            NodeProcess(slots=SLOTS, prefill=PREFILL, token_time=TOKEN_TIME, keepalive=75.0)
            for _ in range(NODES)
        ]
        yield Fleet([stack.enter_context(node) for node in nodes])
