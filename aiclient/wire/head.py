"""A request as bytes, and what h11 is told of it. Shared by every shell; no I/O.

h11 checks and writes each header of each request anew, although nearly all of them are those of the
request before: that is a third of what it costs. It is asked about a header once, and of a request
it is told only what it needs to follow it.
"""

from __future__ import annotations

import h11

from .addressing import RawHeaders

__all__ = ["Heads"]

_MOST_LINES = 1024
_LONGEST_LINE = 1024
_HOST = (b"Host", b"x")
# What these say, h11 has to know; but that a connection is to be kept goes without saying.
_TELLING = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect")
)


class _Lines(dict[tuple[bytes, bytes], bytes]):
    """Headers as lines of a head; an empty one for what h11 has to see in each request."""

    def __missing__(self, header: tuple[bytes, bytes]) -> bytes:
        name, value = header[0].lower(), header[1]
        if name in _TELLING and not (name == b"connection" and value.lower() == b"keep-alive"):
            return b""
        # h11's word on it, which is an exception if it is no header.
        h11.Request(method="GET", target="/", headers=[_HOST, header])
        line = b"%s: %s\r\n" % header
        if len(line) <= _LONGEST_LINE:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[header] = line
        return line


class Heads:
    """The heads of one client's requests. What they have in common is remembered as long as it is:
    there are credentials among it.
    """

    def __init__(self) -> None:
        self._lines = _Lines()
        # Requests without a body, by method, target and Host.
        self._told: dict[tuple[bytes, bytes, bytes], h11.Request] = {}

    def compose(
        self, method: bytes, target: bytes, headers: RawHeaders, body: bytes | None
    ) -> tuple[h11.Request, bytes] | None:
        """What to tell h11 of a request, and what to send of it; its Host is its first header.

        A `body` that is there goes out with the head, and h11, which has to follow the answer, not
        the question, is told of a request without one. If it is None h11 counts what is sent of it.

        None for what is out of the ordinary and left to httpcore: a body in chunks or of another
        length than it says, an upgrade, the last request on a connection.

        Raises:
            h11.LocalProtocolError: it is no request.
        """
        lines = [b"%s %s HTTP/1.1\r\n" % (method, target)]
        length = None
        known = self._lines
        for header in headers:
            line = known[header]
            if not line:
                line = b"%s: %s\r\n" % header
                name = header[0].lower()
                if name == b"content-length" and length is None and header[1].isdigit():
                    length = header
                elif name != b"host" or len(lines) > 1:
                    return None
            lines.append(line)
        if method == b"CONNECT" or len(lines) < 2:
            return None
        lines.append(b"\r\n")
        if body is None:
            framing = headers[:1] if length is None else [headers[0], length]
            return h11.Request(method=method, target=target, headers=framing), b"".join(lines)
        if (length[1] if length is not None else b"0") != b"%d" % len(body):
            return None
        lines.append(body)
        return self._without_body(method, target, headers[0]), b"".join(lines)

    def _without_body(self, method: bytes, target: bytes, host: tuple[bytes, bytes]) -> h11.Request:
        key = (method, target, host[1])
        request = self._told.get(key)
        if request is None:
            request = h11.Request(method=method, target=target, headers=[host])
            if len(self._told) >= _MOST_LINES:
                self._told.clear()
            if len(target) <= _LONGEST_LINE:
                self._told[key] = request
        return request
