"""The head of an ordinary answer, read in one go. Shared by every shell; no I/O.

h11 takes a head apart line by line and follows each step through its tables, which is most of what
reading a short answer costs, and the more so the longer its code has lain idle. Nearly all answers
that are not streamed look alike: one read brings the whole head, and it says how long the body is.
Whatever is not quite like that is h11's to judge.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .addressing import RawHeaders

__all__ = ["PlainHead", "plain_head"]

# A little stricter than h11 is, so that all that passes means the same to both. What a character
# class has taken it keeps: no head, whatever it is made of, is tried in more ways than it has
# words.
_NAME = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]++"
_TEXT = rb"[!-~\x80-\xff]"
_VALUE = rb"%b*+(?:[ \t]++%b++)*" % (_TEXT, _TEXT)
_FIELD = rb"%b:[ \t]*+%b[ \t]*+\r\n"
_FIELDS = re.compile(_FIELD % (rb"(%b)" % _NAME, rb"(%b)" % _VALUE))
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?\r\n((?:%b)*)\r\n"
    % (_FIELD % (_NAME, _VALUE))
)
# These say how long the body is, or whether the connection is kept.
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_SIZES = frozenset(map(len, _FRAMING))
_MOST_DIGITS = 18
_NO_BODY = (b"204", b"304")


class PlainHead(NamedTuple):
    """An answer's head.

    Attributes:
        length: of the body.
        size: of the head itself.
    """

    status: int
    reason: bytes
    headers: RawHeaders
    length: int
    size: int


def plain_head(data: bytes) -> PlainHead | None:
    """The head that `data`, the beginning of an answer to anything but HEAD and CONNECT, has.

    None if it is not all there, leaves the body's length to be found out, or is the connection's
    last; and for all that h11 might object to.
    """
    found = _HEAD.match(data)
    if found is None:
        return None
    status, reason, lines = found[1], found[2], found[3]
    headers: RawHeaders = _FIELDS.findall(lines)
    length = None
    for name, value in headers:
        if len(name) not in _SIZES or (lower := name.lower()) not in _FRAMING:
            continue
        if lower == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = int(value)
        elif lower != b"connection" or value.lower() != b"keep-alive":
            return None
    if length is None or status in _NO_BODY:
        return None
    return PlainHead(int(status), reason or b"", headers, length, found.end())
