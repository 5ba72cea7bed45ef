"""What a watch has missed in a row: how long to wait before the next try, and what to report."""

from __future__ import annotations

import random

from ..errors import DiscoveryError
from .protocol import Signal

__all__ = ["Misses"]

_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Misses:
    """The failures since a registry last answered.

    Args:
        signal: Takes the reports, and ends the pauses.
        members: How many servers there are to ask in turn.
    """

    def __init__(self, signal: Signal, members: int = 1) -> None:
        self._signal = signal
        self._members = members
        self._problems: dict[int, str] = {}
        self._count = 0
        # Whose turn it is; it stays with the one that answers.
        self.turn = random.randrange(members)

    def __bool__(self) -> bool:
        return self._count > 0

    def clear(self) -> None:
        """It has answered."""
        self._count = 0
        self._problems.clear()

    def gap(self) -> None:
        """It has answered, but everything is to be listed anew."""
        self._count += 1

    def add(self, problem: DiscoveryError, *, known: bool) -> None:
        """A request has failed. One member that is down is what the others are for, and a watch
        that broke off is no news where its nodes are `known` and the next one succeeds.
        """
        self._count += 1
        self._problems[self.turn] = str(problem)
        self.turn = (self.turn + 1) % self._members
        if self._count >= max(self._members, 2 if known else 1):
            problems = "; ".join(self._problems[turn] for turn in sorted(self._problems))
            self._signal.report(DiscoveryError(problems))

    def pause(self) -> None:
        """Wait before the next request: hardly at first, then longer."""
        rounds = self._count // self._members
        seconds = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2.0 ** min(rounds, 10))
        self._signal.wait(seconds * (1 + 0.2 * random.random()), at_least=_SHORTEST_PAUSE)
