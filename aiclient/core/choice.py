"""Which node a call goes to. Every method's precondition: the balancer's lock is held.

The order: a node whose breaker waits for a probe, if the call may serve as one; then the healthy
nodes not tried yet, by the picker; then newcomers over their limit; then, after a backoff, the
healthy ones again; then the first to end its cooling; and as the last resort whoever is left.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from random import Random
from typing import Protocol

from ..errors import NoNodeAvailable
from ..facts import RequestFacts
from ..settings import RetryPolicy
from .breaker import BreakerState
from .events import EventKind
from .fleet import Fleet
from .node import Node, NodeSet, NodeState
from .pickers import PickContext, Picker

__all__ = ["Chooser", "Wanted"]

logger = logging.getLogger("aiclient")

_MOST_REASONS = 10


class Wanted(Protocol):
    """What the choice needs to know of a call."""

    key: str | None
    facts: RequestFacts | None
    policy: RetryPolicy
    tried: list[Node]
    # May be sent to a node of which nobody knows whether it works.
    may_probe: bool
    # The backoff has been waited: nodes may be asked again.
    may_repeat: bool
    # Do not wait for cooling nodes any more.
    impatient: bool


class Chooser:
    """Finds the node for a call, or how long to wait for one."""

    def __init__(self, fleet: Fleet, picker: Picker, rng: Random) -> None:
        self.picker = picker
        self._fleet = fleet
        self._rng = rng
        self._context = PickContext(rng)

    def choose(self, call: Wanted, in_flight: int, now: float) -> tuple[Node, str] | float:
        """A node and why it, or the seconds to wait before asking again.

        Raises:
            NoNodeAvailable: there is none, and waiting would not help.
        """
        fleet = self._fleet
        if fleet.probes and call.may_probe:
            for node in fleet.probes:
                if node not in call.tried and self._is_wanted(node, now):
                    return node, "probe"
        candidates = fleet.ready
        why = "panic" if fleet.panic else "picked"
        if call.tried or fleet.levels:
            candidates = fleet.candidates(call.tried)
        if not candidates.nodes:
            found = self._second_best(call, now)
            if not isinstance(found, tuple):
                return found
            candidates, why = found
        return self.among(candidates, call, in_flight, now), why

    def among(self, candidates: NodeSet, call: Wanted, in_flight: int, now: float) -> Node:
        """The picker's choice; at random where it makes none."""
        fleet = self._fleet
        context = self._context
        context.now = now
        context.key = call.key
        context.facts = call.facts
        context.in_flight = in_flight
        if context.version != fleet.version:
            context.members = list(fleet.members.values())
            context.version = fleet.version
        try:
            node = self.picker.pick(candidates, context)
            if node in candidates:
                return node
            raise LookupError(f"it returned {node!r}, which is no candidate")
        except Exception as exc:
            fleet.tell(EventKind.PICKER_FAILED, now, None, f"{self.picker!r}: {exc!r}")
            return self._rng.choice(candidates.nodes)

    def _second_best(self, call: Wanted, now: float) -> tuple[NodeSet, str] | float:
        fleet = self._fleet
        usable = [node for node in fleet.members.values() if self._is_wanted(node, now)]
        limited = [
            node for node in usable if node.state(now) is NodeState.NEW and node not in call.tried
        ]
        if limited:
            return NodeSet(limited), "picked"
        if fleet.ready.nodes:
            # Only such as had this call already.
            if call.may_repeat:
                return fleet.candidates(()), "picked again"
            return self._backoff(call)
        return self._wait_or_last_resort(call, usable, now)

    def _is_wanted(self, node: Node, now: float) -> bool:
        if node.unhealthy and not self._fleet.checks_ignored:
            return False
        return not node.drained and bool(node.weight) and now >= node.ejected_until

    def _backoff(self, call: Wanted) -> float:
        policy = call.policy
        longest = min(policy.max_backoff, policy.backoff * 2.0 ** len(call.tried))
        return policy.backoff + self._rng.random() * (longest - policy.backoff)

    def _wait_or_last_resort(
        self, call: Wanted, usable: list[Node], now: float
    ) -> tuple[NodeSet, str] | float:
        cooling = [node for node in usable if node.state(now) is NodeState.COOLING]
        if cooling:
            first = min(cooling, key=lambda node: node.cooling_until)
            wait = first.cooling_until - now
            if not call.impatient:
                # Spread a little: everybody else waits for the same moment.
                return wait * (1.0 + 0.1 * self._rng.random())
            if call.tried:
                raise NoNodeAvailable(self._reasons(cooling, now))
            return NodeSet([first]), "last resort"
        if not usable or (self._fleet.outlier is not None and self._fleet.outlier.fail_fast):
            raise NoNodeAvailable(self._reasons(self._fleet.members.values(), now))
        left = usable
        if not call.may_repeat:
            left = [node for node in usable if node not in call.tried]
            if not left:
                return self._backoff(call)
        # One that is still being probed has its call; the others are more likely to be back.
        waiting = [node for node in left if node.breaker.state is not BreakerState.HALF_OPEN]
        return NodeSet(waiting or left), "last resort"

    def _reasons(self, nodes: Collection[Node] | Iterable[Node], now: float) -> str:
        listed = list(nodes)
        reasons = [
            f"{node.label} ({state}{': ' + why if (why := node.reason(state)) else ''})"
            for node in listed[:_MOST_REASONS]
            for state in (node.state(now),)
        ]
        if len(listed) > _MOST_REASONS:
            reasons.append(f"and {len(listed) - _MOST_REASONS} more")
        return f"no node may take this call now: {'; '.join(reasons)}"
