"""What is told to the user's own functions, and what is reported of a call: plain values."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .endpoint import Endpoint

__all__ = ["AttemptRecord", "RequestFacts"]


class RequestFacts:
    """What a predicate or a hash-key function may look at.

    Attributes:
        method: upper case.
        path: with the query, as sent.
        headers: raw pairs, in order.
        body: the whole body, or None where it is a stream.
        replayable: whether the body can be sent a second time.
    """

    __slots__ = ("body", "headers", "method", "path", "replayable")

    def __init__(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = b"",
        replayable: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.replayable = replayable

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in any case."""
        wanted = name.lower().encode("latin-1")
        for raw, value in self.headers:
            if raw.lower() == wanted:
                return value.decode("latin-1")
        return None


@attrs.frozen
class AttemptRecord:
    """One attempt of a call, as it is reported.

    Attributes:
        number: 1 for the first.
        node: the node's name.
        endpoint: where it is.
        why: why this node: "picked", "probe", "pinned", "panic", "picked again" or "last
            resort".
        retry_of: what had gone wrong before, for a retry; else empty.
        outcome: "ok", "http 503", "cannot connect: ...", "running", ...
        status: the HTTP status, when there was one.
        started: seconds from the call's start to the pick.
        ttfb: seconds from the pick to the first content byte; None when there was none.
        duration: seconds from the pick to the attempt's end, or to now while it runs.
    """

    number: int
    node: str
    endpoint: Endpoint
    why: str
    retry_of: str
    outcome: str
    status: int | None
    started: float
    ttfb: float | None
    duration: float

    def __str__(self) -> str:
        return f"{self.node} ({self.outcome} after {self.duration * 1000:.0f} ms)"
