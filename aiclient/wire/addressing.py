"""How a request is addressed to one node. Shared by every shell; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..endpoint import Endpoint

__all__ = ["Address", "Outgoing", "RawHeaders"]

RawHeaders = list[tuple[bytes, bytes]]
_OWN_PREFIX = b"x-aiclient-"
_MOST_NAMES = 256


class _Kept(dict[bytes, bool]):
    """Whether a header of the caller's is sent on, by its name as the caller writes it."""

    def __init__(self, replaced: set[bytes]) -> None:
        super().__init__()
        self._replaced = replaced

    def __missing__(self, name: bytes) -> bool:
        lower = name.lower()
        kept = lower not in self._replaced and not lower.startswith(_OWN_PREFIX)
        if len(self) >= _MOST_NAMES:
            self.clear()
        self[name] = kept
        return kept


class Address:
    """What replaces the logical service's name in a request to this node."""

    __slots__ = ("_host", "_kept", "_own", "endpoint", "path", "tls_name")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.path = endpoint.path.encode("ascii")
        self.tls_name = endpoint.tls_name or endpoint.host
        self._host = (b"Host", (endpoint.host_header or endpoint.netloc).encode("latin-1"))
        self._own = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in endpoint.headers
        ]
        self._kept = _Kept({b"host", *(name.lower() for name, _ in self._own)})

    def target(self, path: str) -> bytes:
        """The request target on this node: its own path first."""
        return self.path + path.encode("ascii")

    def headers(self, given: Iterable[tuple[bytes, bytes]], added: RawHeaders) -> RawHeaders:
        """The request's headers as this node gets them.

        Its own Host and credentials replace the request's; `added` come on top, replacing what
        has their name; `x-aiclient-*` is for the balancer alone and is never sent on.
        """
        kept = self._kept
        headers = [pair for pair in given if kept[pair[0]]]
        if added:
            replaced = {name.lower() for name, _ in added}
            headers = [pair for pair in headers if pair[0].lower() not in replaced]
        return [self._host, *headers, *self._own, *added]


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
