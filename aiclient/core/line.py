"""The line: calls that wait in the client until a node has a place for them.

A call bound to a busy node waits for the next of that node's calls to end; one that waits here is
begun by whichever node has a place first, which with many nodes takes a fraction of that. How many
places a node has is learnt (`slots`), or set (`Concurrency.limit`). While it is not certain, some
calls are sent at once: in proportion to the doubt (Thompson sampling), and they show what is true.

Every method's precondition: the balancer's lock is held.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from ..settings import Concurrency
from .node import Node, NodeSet
from .pickers import LeastLoad, LeastRequest, Picker, PowerOfTwoChoices, to_look_at

if TYPE_CHECKING:
    from .attempt import Attempt
    from .call import Call

__all__ = ["Line", "Ticket"]

# At a node with more calls the next one ends so soon that there is nothing to be won.
_MOST_BUSY = 16
# Waiting less costs more than it may bring.
_LEAST_WAIT = 0.002
# How late calls awake: the share of one sample, and the seconds in which an estimate is forgotten.
_LAG_SHARE, _LAG_MEMORY = 0.25, 10.0
# Waiting calls look again after so many seconds: time alone may have brought a node back.
_LOOK_AGAIN = 1.0
_LONG_LINE = 100
# A node that seems slow is slow with about this probability: so much sooner it is tried again.
_DOUBT = 5.0
_CLEARLY_SLOW = 1.5
_RETRY_SLOW, _MOST_RETRY_SLOW = 2.0, 60.0
_BY_LOAD = (LeastLoad, LeastRequest, PowerOfTwoChoices)


class Ticket:
    """A call's place in the line: until when it waits, and in the end the node that it holds.

    The call knows its ticket, not the other way round: whoever drops the call drops its hold.
    """

    __slots__ = ("_clock", "_look_again", "attempt", "until", "wake")

    def __init__(self, until: float, ahead: int, clock: Callable[[], float]) -> None:
        self.until = until
        self._clock = clock
        # All of a long line together look no more often than some of a short one.
        self._look_again = _LOOK_AGAIN * max(1.0, ahead / _LONG_LINE)
        self.attempt: Attempt | None = None
        # Called once there is something to know, without the lock, by whatever thread that is in.
        self.wake: Callable[[], object] | None = None

    def patience(self) -> float:
        """Seconds to wait for `wake` before asking the call to `resume`."""
        return max(0.0, min(self.until - self._clock(), self._look_again))

    def __repr__(self) -> str:
        if self.attempt is not None:
            return f"<Ticket for {self.attempt!r}>"
        return f"<Ticket, {self.patience():.3f} s to wait>"


class Line:
    """Says which calls wait, and for how long."""

    def __init__(self, policy: Concurrency | None, picker: Picker, rng: Random) -> None:
        self.waiting: OrderedDict[Ticket, Call] = OrderedDict()
        self.limit = policy.limit if policy is not None else None
        self.most = policy.queue if policy is not None else None
        self.max_wait = policy.max_wait if policy is not None else 0.0
        self._rng = rng
        # Who picks by something else than load has reasons to want that very node.
        self._by_load = isinstance(picker, _BY_LOAD)
        self._learns = policy is not None and policy.limit is None and self._by_load
        # Seconds between what wakes a call and its going on, and when they were found.
        self._lag, self._lagged_at = 0.0, 0.0

    def awoke(self, ticket: Ticket, now: float) -> None:
        """A call that waited goes on: at once, or late, where the process is short of CPU time."""
        held = ticket.attempt
        late = now - (held.started if held is not None else ticket.until)
        lag = self._lag_now(now)
        self._lag = lag + _LAG_SHARE * (max(0.0, late) - lag)
        self._lagged_at = now

    def _lag_now(self, now: float) -> float:
        return self._lag * math.exp((self._lagged_at - now) / _LAG_MEMORY) if self._lag else 0.0

    def takes(self, node: Node) -> bool:
        """Whether the node has a place beyond doubt."""
        if self._learns:
            return node.in_flight < node.slots.low
        return self.limit is None or node.in_flight < self.limit

    def admit(
        self, call: Call, node: Node, others: NodeSet, typical: float, in_flight: int, now: float
    ) -> list[Node] | float:
        """The nodes that may take the call, or the seconds to wait for one at most.

        `node` is the one picked from `others`, and may have no place; `typical`: the seconds such a
        call takes, 0 if that is not known; `in_flight`: at all nodes.
        """
        if self.limit is not None:
            free = self._below_limit(to_look_at(others, self._rng))
            # What some at random do not show, all of them may.
            free = free or self._below_limit(others.nodes)
            return self._quick_ones(free, in_flight, now) or self.max_wait
        if not call.watched:
            return [node]
        seconds = self._worth_waiting(node, len(others), typical, now)
        if not seconds:
            return [node]
        seen = to_look_at(others, self._rng)
        free = [other for other in seen if self._has_place(other, now)]
        return self._quick_ones(free, in_flight, now) or seconds

    def _below_limit(self, nodes: list[Node]) -> list[Node]:
        limit = self.limit or 0
        return [node for node in nodes if node.in_flight < limit]

    def sends_anyway(self, node: Node, now: float) -> bool:
        """Whether a call that had better wait goes to the node all the same, to see."""
        return self._rng.random() * (1.0 + math.exp(node.slots.odds(node.in_flight, now))) < 1.0

    def _worth_waiting(self, node: Node, peers: int, typical: float, now: float) -> float:
        """Seconds that a call may wait for any node's place rather than at this one.

        There it would wait for the next of its calls to end, about `typical / in_flight`; here, for
        that of any node, `1 / peers` of it, and until it awakes: so long the place lies idle. If
        the node would begin at once, all waiting is lost: so it is for as long as the odds are
        worth.
        """
        busy = node.in_flight
        if busy < node.slots.low or busy > _MOST_BUSY or peers < 2:
            return 0.0
        gain = typical / busy * (1.0 - 1.0 / peers) - self._lag_now(now)
        seconds = min(typical, math.exp(node.slots.odds(busy, now)) * gain)
        return seconds if seconds >= _LEAST_WAIT else 0.0

    def _quick_ones(self, free: list[Node], in_flight: int, now: float) -> list[Node]:
        if not self._by_load:
            return free
        # What waiting costs, as a part of what a call takes: all that is in flight ends meanwhile.
        cost = (len(self.waiting) + 1) / max(1, in_flight)
        return [node for node in free if self._is_quick_enough(node, cost, now)]

    @staticmethod
    def _has_place(node: Node, now: float) -> bool:
        busy = node.in_flight
        if busy < node.slots.low * node.ramp or not busy:
            return True
        return node.ramp >= 1.0 and busy <= _MOST_BUSY and node.slots.has_place(busy, now)

    @staticmethod
    def _is_quick_enough(node: Node, cost: float, now: float) -> bool:
        """Whether what a slow node takes longer is less than what waiting costs.

        One that has been idle for long may not be slow any more, or never was: it is tried now and
        then, the more rarely the more often it turned out slow.
        """
        longer = node.slowed - 1.0
        if longer <= cost:
            return True
        return longer <= _DOUBT * cost and not node.in_flight and now >= node.retry_slow_at

    @staticmethod
    def took(node: Node, now: float) -> None:
        """A call that would have waited goes to this node instead."""
        if node.slowed <= _CLEARLY_SLOW:
            node.retry_slow_after = 0.0
        else:
            after = min(_MOST_RETRY_SLOW, max(_RETRY_SLOW, 2.0 * node.retry_slow_after))
            node.retry_slow_after, node.retry_slow_at = after, now + after
