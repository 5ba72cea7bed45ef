"""How a request is addressed to one node. Shared by every shell; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..endpoint import Endpoint

__all__ = ["Address", "Outgoing", "RawHeaders"]

RawHeaders = list[tuple[bytes, bytes]]
_OWN_PREFIX = b"x-aiclient-"


class Address:
    """What replaces the logical service's name in a request to this node."""

    __slots__ = ("_host", "_own", "_replaced", "endpoint", "path", "tls_name")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.path = endpoint.path.encode("ascii")
        self.tls_name = endpoint.tls_name or endpoint.host
        self._host = (b"Host", (endpoint.host_header or endpoint.netloc).encode("latin-1"))
        self._own = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in endpoint.headers
        ]
        self._replaced = {b"host", *(name.lower() for name, _ in self._own)}

    def target(self, path: str) -> bytes:
        """The request target on this node: its own path first."""
        return self.path + path.encode("ascii")

    def headers(self, given: Iterable[tuple[bytes, bytes]], added: RawHeaders) -> RawHeaders:
        """The request's headers as this node gets them.

        Its own Host and credentials replace the request's; `added` come on top, replacing what
        has their name; `x-aiclient-*` is for the balancer alone and is never sent on.
        """
        replaced = self._replaced
        if added:
            replaced = replaced | {name.lower() for name, _ in added}
        headers: RawHeaders = [self._host]
        for pair in given:
            name = pair[0].lower()
            if name not in replaced and not name.startswith(_OWN_PREFIX):
                headers.append(pair)
        return headers + self._own + added if self._own else headers + added


class Outgoing:
    """What httpcore's connections read of a request, and of its URL.

    Its own classes would check once more, header by header, what the caller's library has checked.
    """

    __slots__ = ("extensions", "headers", "method", "origin", "stream", "target")

    def __init__(
        self,
        method: str,
        origin: Any,
        target: bytes,
        headers: RawHeaders,
        stream: Any,
        extensions: dict[str, Any],
    ) -> None:
        self.method = method.encode("ascii")
        self.origin = origin
        self.target = target
        self.headers = headers
        self.stream = stream
        self.extensions = extensions

    @property
    def url(self) -> Outgoing:
        return self
