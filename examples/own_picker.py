"""A picker of your own: reserved nodes first, rented ones only when those are busy.

Leases stand for the calls here, so nothing is sent and no node is needed; a `Client` takes the
same `picker=`.
"""

from contextlib import ExitStack

import aiclient


class ReservedFirst:
    """The least busy reserved node with room to spare; when there is none, the least loaded.

    Runs under the balancer's lock: it only looks and returns, it never waits.
    """

    def __init__(self, room: int) -> None:
        self._room = room

    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        reserved = [
            node
            for node in candidates
            if dict(node.endpoint.labels).get("tier") == "reserved" and node.in_flight < self._room
        ]
        if reserved:
            return min(reserved, key=lambda node: (node.in_flight, context.rng.random()))
        return min(candidates, key=lambda node: (node.load, context.rng.random()))

    def __repr__(self) -> str:
        return f"ReservedFirst(room={self._room})"


balancer = aiclient.Balancer(
    [
        aiclient.Endpoint(f"http://{tier}-{number}:8000", labels={"tier": tier})
        for tier in ("reserved", "rented")
        for number in (1, 2)
    ],
    picker=ReservedFirst(room=2),
)
with ExitStack() as held:
    for call in range(1, 7):
        lease = held.enter_context(balancer.lease())
        print(f"call {call}: {lease.endpoint.host}")
    print(balancer)
print(f"in flight at the end: {balancer.in_flight}")
