"""Consistent hashing with bounded load: the SLB's IP hash, by any key.

A ring (Karger 1997) of 128 points per node places each key in the same way in every process, and
moves only the keys of the node that comes or goes. A node with more than `bound` times its fair
part of the calls in flight is passed over (Mirrokni 2016); the next place is drawn by hashing
again rather than by walking on, so that what it cannot take spreads over all the others.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect
from collections.abc import Callable
from hashlib import blake2b

from ..errors import ConfigurationError
from ..facts import RequestFacts
from .node import Node, NodeSet
from .pickers import PickContext

__all__ = ["ConsistentHash"]

_POINTS = 128
_PER_DIGEST = 8
_JUMPS = 64
_MASK = 2**64 - 1


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _jump(place: int) -> int:
    """The next place of the key whose last one was `place` (splitmix64's step)."""
    place = (place + 0x9E3779B97F4A7C15) & _MASK
    place = ((place ^ (place >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    place = ((place ^ (place >> 27)) * 0x94D049BB133111EB) & _MASK
    return place ^ (place >> 31)


def _points(node: Node, count: int) -> list[int]:
    name = repr(node.endpoint.identity).encode("utf-8", "surrogatepass")
    points: list[int] = []
    for block in range(-(-count // _PER_DIGEST)):
        digest = blake2b(name, digest_size=64, salt=block.to_bytes(8, "big")).digest()
        points += struct.unpack(">8Q", digest)
    return points[:count]


class ConsistentHash:
    """The same key goes to the same node, in every process, as long as the node can take it.

    Args:
        key: Where the key comes from when the call brings none of its own
            (`CallOptions(key=...)`, `aiclient.options(key=...)`, `x-aiclient-key`): the name of a
            request header, or a function of the request's facts. A call without any key goes to
            a random node.
        bound: How many times its fair part of the calls in flight a node may hold before a key
            moves on, > 1. Default 1.25.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        key: str | Callable[[RequestFacts], str | None] | None = None,
        *,
        bound: float = 1.25,
    ) -> None:
        if not (key is None or callable(key) or (isinstance(key, str) and key)):
            raise ConfigurationError(
                f"ConsistentHash.key: {key!r} is not allowed; a header's name, a callable or None"
            )
        if not isinstance(bound, (int, float)) or not 1 < bound < math.inf:
            raise ConfigurationError(
                f"ConsistentHash.bound: {bound!r} is not allowed; a finite number > 1"
            )
        self._key = key
        self._bound = bound
        self._version = -1
        self._places: list[int] = []
        self._owners: list[Node] = []
        self._weights = 1.0

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        key = self._key_of(context)
        if not key:
            return candidates[int(context.rng.random() * len(candidates))]
        if context.version != self._version:
            self._build(context)
        place = _hash(key)
        fair = self._bound * (context.in_flight + 1) / self._weights
        fallback: Node | None = None
        for _ in range(_JUMPS):
            index = bisect(self._places, place)
            node = self._owners[index if index < len(self._owners) else 0]
            if node in candidates:
                if node.in_flight + 1 <= math.ceil(fair * node.weight):
                    return node
                fallback = fallback or node
            place = _jump(place)
        return fallback or min(candidates, key=lambda node: (node.in_flight, node.order))

    def _key_of(self, context: PickContext) -> str | None:
        if context.key is not None or context.facts is None or self._key is None:
            return context.key
        if isinstance(self._key, str):
            return context.facts.header(self._key)
        key = self._key(context.facts)
        return None if key is None else str(key)

    def _build(self, context: PickContext) -> None:
        members = [node for node in context.members if node.weight]
        heaviest = max((node.weight for node in members), default=1.0)
        ring = sorted(
            (place, node.order, node)
            for node in members
            for place in _points(node, max(1, round(_POINTS * node.weight / heaviest)))
        )
        self._places = [place for place, _, _ in ring]
        self._owners = [node for _, _, node in ring]
        self._weights = sum(node.weight for node in members) or 1.0
        self._version = context.version

    def __repr__(self) -> str:
        source = self._key if isinstance(self._key, str) else getattr(self._key, "__name__", None)
        return f"ConsistentHash(key={source!r}, bound={self._bound:g})"
