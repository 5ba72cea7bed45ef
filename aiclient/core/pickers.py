"""The policies that choose a node, and the protocol a user's own one satisfies.

Every built-in picker costs about the same at any number of nodes: up to 100 candidates are all
looked at (two random choices were measurably worse than a full look), above that a few dozen
distinct ones, drawn at random.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..facts import RequestFacts
from .node import Node, NodeSet

__all__ = [
    "LeastLoad",
    "LeastRequest",
    "PickContext",
    "Picker",
    "PowerOfTwoChoices",
    "Random",
    "RoundRobin",
]

_SCAN_LIMIT = 100
_SAMPLE = 32
_MOST_TURNS = 256


class PickContext:
    """What a picker may want to know beside the candidates. Valid during the pick only.

    Attributes:
        now: the balancer's clock, seconds.
        rng: the balancer's random numbers; use these, so that a seed repeats a run.
        key: the call's key, if it has one.
        facts: the HTTP request; None for a lease.
        in_flight: calls in flight on all nodes together.
        members: all nodes of the service, also those that are out.
        version: changes whenever `members` do.
    """

    __slots__ = ("facts", "in_flight", "key", "members", "now", "rng", "version")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.key: str | None = None
        self.facts: RequestFacts | None = None
        self.in_flight = 0
        self.members: list[Node] = []
        self.version = 0


@runtime_checkable
class Picker(Protocol):
    """Chooses one of the candidates.

    `pick` runs under the balancer's lock: it must be quick, must not block and must not call the
    balancer. If it raises, or returns something else than a candidate, the pick falls back to
    a random candidate and that is logged.
    """

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        """Return one of `candidates` (a non-empty sequence of nodes)."""
        ...


def to_look_at(candidates: NodeSet, rng: random.Random) -> list[Node]:
    """All of them, or of very many some at random."""
    nodes = candidates.nodes
    count = len(nodes)
    if count <= _SCAN_LIMIT:
        return nodes
    draw = rng.random
    return [nodes[place] for place in {int(draw() * count) for _ in range(_SAMPLE)}]


def _lightest(nodes: list[Node], rng: random.Random) -> Node:
    """The node with the lowest load, ties broken at random."""
    lowest = math.inf
    chosen = nodes[0]
    ties = 1
    for node in nodes:
        load = node.load
        if load < lowest:
            lowest, chosen, ties = load, node, 1
        elif load == lowest:
            ties += 1
            if rng.random() * ties < 1.0:
                chosen = node
    return chosen


class LeastLoad:
    """The default: in-flight calls per weight, times what the relative first-byte time makes of it.

    The score is `Node.load`; see `Node.reassess` for the formula.
    """

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        return _lightest(to_look_at(candidates, context.rng), context.rng)

    def __repr__(self) -> str:
        return "LeastLoad()"


class LeastRequest:
    """Fewest calls in flight per weight; an SLB's "least connections". Ties at random."""

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        rng = context.rng
        nodes = to_look_at(candidates, rng)
        lowest = math.inf
        chosen = nodes[0]
        ties = 1
        for node in nodes:
            weight = node.weight
            load = (node.in_flight + len(node.ghosts) + 1) / weight if weight else math.inf
            if load < lowest:
                lowest, chosen, ties = load, node, 1
            elif load == lowest:
                ties += 1
                if rng.random() * ties < 1.0:
                    chosen = node
        return chosen

    def __repr__(self) -> str:
        return "LeastRequest()"


class PowerOfTwoChoices:
    """Two distinct nodes at random, the one with the lower load (Mitzenmacher 2001)."""

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        nodes = candidates.nodes
        count = len(nodes)
        draw = context.rng.random
        first = int(draw() * count)
        if count == 1:
            return nodes[0]
        second = int(draw() * (count - 1))
        if second >= first:
            second += 1
        one, other = nodes[first], nodes[second]
        return one if one.load <= other.load else other

    def __repr__(self) -> str:
        return "PowerOfTwoChoices()"


class Random:
    """At random, in proportion to the weights."""

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        nodes = candidates.nodes
        draw = context.rng.random
        heaviest = max(node.weight for node in nodes[:_SCAN_LIMIT])
        # Rejection: constant in the number of nodes, exact unless weights differ enormously.
        for _ in range(_SAMPLE):
            node = nodes[int(draw() * len(nodes))]
            if draw() * heaviest <= node.weight:
                return node
        return context.rng.choices(nodes, [node.weight or 1e-9 for node in nodes])[0]

    def __repr__(self) -> str:
        return "Random()"


class RoundRobin:
    """In turn, smooth, in proportion to the weights.

    Stride scheduling: each node is due every 1/weight, the first time after a part of that which
    differs from node to node: an order as smooth as nginx's (5:1:1 -> a a a b a c a) at O(log n).
    A node that is out when its turn comes loses it, so it does not return with a burst. One
    instance serves one balancer.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Node]] = []
        self._version = -1
        self._at = 0.0

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        if context.version != self._version:
            self._merge(context)
        due = self._due
        # Bounded, for the day when nearly all of very many nodes are out.
        for _ in range(min(2 * len(due), _MOST_TURNS)):
            at, order, node = due[0]
            self._at = at
            node.stride_at = at + 1.0 / (node.weight or 1e-3)
            heapq.heapreplace(due, (node.stride_at, order, node))
            if node in candidates:
                return node
        return context.rng.choice(candidates)

    def _merge(self, context: PickContext) -> None:
        known = {node for _, _, node in self._due}
        count = len(context.members)
        for place, node in enumerate(context.members):
            if node not in known:
                node.stride_at = self._at + (place + 0.5) / count / (node.weight or 1e-3)
        self._due = [(node.stride_at, node.order, node) for node in context.members]
        heapq.heapify(self._due)
        self._version = context.version

    def __repr__(self) -> str:
        return "RoundRobin()"


def checked_picker(picker: object) -> Picker:
    """`picker`, if it is one.

    Raises:
        ConfigurationError: it has no callable `pick`.
    """
    if isinstance(picker, type) or not callable(getattr(picker, "pick", None)):
        raise ConfigurationError(
            f"picker: {picker!r} is not allowed; an object with pick(candidates, context), "
            "such as aiclient.LeastLoad()"
        )
    return picker  # type: ignore[return-value]
