"""What the demo shows at one moment, whatever shows it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import aiclient

from .traffic import Tally

_SHARE_SECONDS = 4.0
_MATTERS = (
    None,
    aiclient.EventKind.EJECTED,
    aiclient.EventKind.REVIVED,
    aiclient.EventKind.STALLED,
    aiclient.EventKind.PANIC,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, `at` seconds after the start. `kind`: None if it was our doing."""

    at: float
    text: str
    kind: aiclient.EventKind | None

    @property
    def ours(self) -> bool:
        """Done by us, not by the client."""
        return self.kind is None

    @property
    def matters(self) -> bool:
        """Belongs in a short account of it all."""
        return self.kind in _MATTERS

    def __str__(self) -> str:
        who = "demo" if self.ours else "aiclient"
        return f"{self.at:5.1f} s  {who:<8}  {self.text}"


class Log:
    """What happened so far. `tell` is for us, `hear` is a subscriber of the balancer."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def tell(self, text: str) -> None:
        """Note what we did to the nodes."""
        self.entries.append(Entry(self.elapsed, text, None))

    def hear(self, event: aiclient.Event) -> None:
        """Note what the client did about it."""
        # A probe says nothing; its outcome follows at once.
        if event.kind is not aiclient.EventKind.PROBING:
            self.entries.append(Entry(event.at - self._begun, str(event), event.kind))


@dataclass(frozen=True, slots=True)
class Row:
    """One node.

    `share`: of the calls of the last seconds; `first_byte`: seconds, of its streams;
    `out_for`: seconds until it is asked again.
    """

    name: str
    state: aiclient.NodeState
    share: float
    in_flight: int
    first_byte: float | None
    why: str
    out_for: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    elapsed: float
    seconds: float
    rows: Sequence[Row]
    tally: Tally
    entries: Sequence[Entry]

    @property
    def now(self) -> str:
        """What we did last."""
        last = next((entry for entry in reversed(self.entries) if entry.ours), None)
        return f"{last.at:.0f} s: {last.text}" if last else "all nodes are well"


class Observer:
    """Takes the pictures."""

    def __init__(
        self, client: aiclient.AsyncClient, tally: Tally, log: Log, seconds: float
    ) -> None:
        self._balancer = client.balancer
        self._tally = tally
        self._log = log
        self._seconds = seconds
        # (when, calls picked until then by node), oldest first. The snapshot's own share has a
        # memory of 10 s: too slow for a film of 30 s.
        self._picked: deque[tuple[float, dict[str, int]]] = deque()

    def picture(self) -> Picture:
        """How it looks now."""
        nodes = self._balancer.snapshot()
        shares = self._shares({str(node.endpoint): node.picked for node in nodes})
        rows = [self._row(node, shares[str(node.endpoint)]) for node in nodes]
        return Picture(self._log.elapsed, self._seconds, rows, self._tally, self._log.entries)

    def _row(self, node: aiclient.NodeSnapshot, share: float) -> Row:
        name = str(node.endpoint)
        known = self._tally.nodes.get(name)
        until = node.ejected_until
        return Row(
            name,
            node.state,
            share,
            node.in_flight,
            known.first_byte if known else None,
            node.why,
            None if until is None else max(0.0, until - time.monotonic()),
        )

    def _shares(self, picked: dict[str, int]) -> dict[str, float]:
        now = time.monotonic()
        samples = self._picked
        samples.append((now, picked))
        while len(samples) > 2 and samples[1][0] <= now - _SHARE_SECONDS:
            samples.popleft()
        before = samples[0][1] if len(samples) > 1 else {}
        lately = {name: count - before.get(name, 0) for name, count in picked.items()}
        total = sum(lately.values())
        return {name: count / total if total else 0.0 for name, count in lately.items()}
