"""One attempt at a simulated server, and the request that it stands for."""

from __future__ import annotations

from functools import lru_cache

from ..core.attempt import Attempt
from ..core.call import Call
from ..facts import RequestFacts
from .arrivals import Arrival
from .server import Job, Server

__all__ = ["Try", "facts_of"]


@lru_cache(maxsize=256)
def facts_of(streams: bool, size: int) -> RequestFacts:
    """A chat request with a body of 2**size bytes."""
    text = b'{"stream": true, "messages": []}' if streams else b'{"messages": []}'
    return RequestFacts("POST", "/v1/chat/completions", (), text.ljust((1 << size) - 1))


class Try(Job):
    """One attempt at a server, and what its shell remembers of it."""

    __slots__ = ("attempt", "call", "heard_at", "server")

    def __init__(self, arrival: Arrival, call: Call, attempt: Attempt, server: Server) -> None:
        super().__init__(arrival, arrival.extra)
        self.call = call
        self.attempt = attempt
        self.server = server
        # Since when the shell waits for its next byte.
        self.heard_at = attempt.started
