"""The head of a request, as bytes. Shared by every shell; no I/O.

h11 checks and writes each header of each request anew, although nearly all of them are those of the
request before: that is a third of what it costs. It is asked about a header once, and of a request
it is told only what it needs to follow it.
"""

from __future__ import annotations

import h11

from .addressing import RawHeaders

__all__ = ["compose"]

_MOST_LINES = 1024
_LONGEST_LINE = 1024
_HOST = (b"Host", b"x")
# What these say, h11 has to know; but that a connection is to be kept goes without saying.
_TELLING = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect")
)
_SIMPLE = ([b"host"], [b"host", b"content-length"])


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


_lines = _Lines()


def compose(method: bytes, target: bytes, headers: RawHeaders) -> tuple[h11.Request, bytes] | None:
    """What to tell h11 of a request whose first header is its Host, and its head.

    None for what is out of the ordinary and left to httpcore: a body in chunks, an upgrade, the
    last request on a connection.

    Raises:
        h11.LocalProtocolError: it is no request.
    """
    told = []
    lines = [b"%s %s HTTP/1.1\r\n" % (method, target)]
    known = _lines
    for header in headers:
        line = known[header]
        if not line:
            told.append(header)
            line = b"%s: %s\r\n" % header
        lines.append(line)
    if method == b"CONNECT" or [name.lower() for name, _ in told] not in _SIMPLE:
        return None
    if len(told) == 2 and not told[1][1].isdigit():
        return None
    lines.append(b"\r\n")
    return h11.Request(method=method, target=target, headers=told), b"".join(lines)
