"""How much of a good answer is held back before it is the caller's.

Until its first content has been handed over, an answer can still be replaced by another node's. An
event stream is held until its first event, a small JSON body until it is whole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

__all__ = ["Hold", "hold_for", "is_content", "is_error_event"]

_MOST_BEFORE_CONTENT = 64 * 1024
_COMMENTS = re.compile(rb"(?:\s|:[^\n]*\n)*")
_ERROR_EVENT = re.compile(rb"(?:event:\s*error\b|data:\s*\{\s*\"error\"\s*:\s*[^\sn])")


class Hold(enum.Enum):
    """What is read before the answer is handed over."""

    NOTHING = "nothing"
    FIRST = "first content"
    WHOLE = "whole body"


def hold_for(most: int, method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Hold:
    """How to hold an answer of which at most `most` bytes may be read ahead."""
    if not most or method == "HEAD" or status in (204, 304) or status < 200:
        return Hold.NOTHING
    json = False
    for name, value in headers:
        size = len(name)
        if size == 12 and name.lower() == b"content-type":
            media = value.partition(b";")[0].strip().lower()
            json = media == b"application/json" or media.endswith(b"+json")
        elif size == 14 and name.lower() == b"content-length":
            if value.isdigit() and int(value) > most:
                return Hold.FIRST
    return Hold.WHOLE if json else Hold.FIRST


def is_content(received: bytes) -> bool:
    """Whether what has come of an answer is more than blanks and event-stream comments."""
    if len(received) > _MOST_BEFORE_CONTENT:
        return True
    if received[:1] not in b": \r\n":
        return bool(received)
    blank = _COMMENTS.match(received)
    rest = received[blank.end() if blank else 0 :]
    return bool(rest) and not rest.startswith(b":")


def is_error_event(received: bytes) -> bool:
    """Whether an event stream begins with an error instead of content."""
    blank = _COMMENTS.match(received)
    return _ERROR_EVENT.match(received, blank.end() if blank else 0) is not None
