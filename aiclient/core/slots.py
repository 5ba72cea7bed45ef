"""How many calls a node works on at once, learnt from when its answers come.

A node with few slots works on the oldest of its calls; the others wait there for one of those to
end. So for each number of slots one question is kept, as log-odds: is it that many, or more?

- A call that is answered while `n` older ones are still under way proves more than `n`.
- Else each number gives the moment at which the call would have been begun: when enough of the
  older ones had ended. The time from there to its answer is more like what calls take, or the
  time from its pick is: the ratio of the two densities is the evidence (a likelihood ratio of
  lognormal densities, bounded: one odd call decides nothing).

Both leave it open what other clients do there. What is known fades, for nodes change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load import Baseline

__all__ = ["MOST_SLOTS", "Slots"]

# Of nodes with more slots than this nobody needs to know how many.
MOST_SLOTS = 64
_PRIOR = -1.5
_REFUTED = -4.5
# Never surer than that: so one call in thirteen is sent at once, and shows when it is not so.
_LEAST, _MOST = -6.0, 2.5
_MEMORY = 600.0
# Less than these seconds fade nothing worth the arithmetic.
_FRESH = 1.0
# Below it a node is taken to begin with a call at once.
_HAS_PLACE = -3.5
# Of what such calls take; what is less says nothing. It is much only where slots are few.
_LEAST_SHIFT = 0.1
# So many numbers of slots are weighed at once, from the lowest that is not refuted.
_WEIGHED = 4


class Slots:
    """Log-odds for each number of slots. Guarded by the balancer's lock.

    One of these belongs to a node, and one, `fleet`, to all nodes together: what is known of the
    others is where a node starts from.
    """

    __slots__ = ("_fleet", "_levels", "_lowered_at", "low")

    def __init__(self, fleet: Slots | None = None) -> None:
        self._fleet = fleet
        # By number of slots: [log-odds, when they were found].
        self._levels: list[list[float]] = [[_LEAST, 0.0]]
        # No lower number has to be asked about.
        self.low = 1
        self._lowered_at = 0.0

    def odds(self, busy: int, now: float) -> float:
        """Log-odds that a node with `busy` calls would not begin with another one."""
        known = self._known()
        best = _PRIOR if known <= busy else _LEAST
        for number in range(self.low, min(busy + 1, known)):
            best = max(best, self._both(number, now))
        return best

    def has_place(self, busy: int, now: float) -> bool:
        """Whether these log-odds are so low that it would begin at once: cheaper to ask."""
        if self._known() <= busy:
            return False
        return all(self._both(number, now) < _HAS_PLACE for number in range(self.low, busy + 1))

    def _known(self) -> int:
        """The first number of slots of which nothing is known."""
        known = max(len(self._levels), self.low)
        return known if self._fleet is None else max(known, len(self._fleet._levels))

    def learn(
        self,
        older: int,
        abreast: int,
        ends: Sequence[float],
        picked: float,
        now: float,
        baseline: Baseline,
    ) -> float:
        """A call was answered: `older` were under way when it was picked, some ended at `ends`.

        `abreast`: so many of them had been picked so shortly before that this call may have reached
        the node before they did: over them it has not overtaken anybody.

        Returns the seconds that the node has worked on it, by what is known now.
        """
        parts = (self,) if self._fleet is None else (self, self._fleet)
        rank = older + 1 - len(ends)
        for part in parts:
            part._prove(rank - abreast, now)
        begun, best = picked, 0.0
        for number in range(max(rank, self.low), min(older, self.low + _WEIGHED - 1) + 1):
            began = ends[older - number]
            if baseline.well_known and began - picked > _LEAST_SHIFT * baseline.typical:
                evidence = baseline.likelier(now - began, now - picked)
                for part in parts:
                    part._weigh(number, evidence, now)
            if self._both(number, now) > best:
                begun, best = began, self._both(number, now)
        while self.low <= older and self._both(self.low, now) <= _REFUTED:
            self.low += 1
        return now - begun

    def _weigh(self, number: int, evidence: float, now: float) -> None:
        levels = self._levels
        while len(levels) <= number:
            levels.append([_PRIOR, now])
        levels[number] = [max(_LEAST, min(_MOST, self._odds(number, now) + evidence)), now]

    def _prove(self, rank: int, now: float) -> None:
        if now >= self._lowered_at + _MEMORY:
            self.low, self._lowered_at = 1, now
        believed = any(odds > 0 for odds, _ in self._levels[1:rank])
        for number in range(1, rank):
            if number < len(self._levels):
                self._levels[number] = [_LEAST, now]
            else:
                self._levels.append([_LEAST, now])
        if believed:  # the node has changed: what was known of more slots is past, too
            del self._levels[rank:]
        self.low = max(self.low, rank)

    def _both(self, number: int, now: float) -> float:
        if self._fleet is None:
            return self._odds(number, now)
        both = self._odds(number, now) + self._fleet._odds(number, now) - _PRIOR
        return max(_LEAST, min(_MOST, both))

    def _odds(self, number: int, now: float) -> float:
        if number >= len(self._levels):
            return _PRIOR
        level = self._levels[number]
        if now >= level[1] + _FRESH:
            level[0] = _PRIOR + (level[0] - _PRIOR) * math.exp((level[1] - now) / _MEMORY)
            level[1] = now
        return level[0]
