"""How much of a good answer is held back before it is the caller's.

Until its first content has been handed over, an answer can still be replaced by another node's. An
event stream is held until its first event, a small JSON body until it is whole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

__all__ = ["Hold", "Opening", "hold_for", "is_error_event"]

_MOST_BEFORE_CONTENT = 64 * 1024
# What may stand before the first content: blanks, comments, and in an event the lines that say
# nothing yet.
_COMMENTS = re.compile(rb"(?:\s|:[^\n]*\n)*")
_PRELUDE = re.compile(rb"(?:\s|(?::|id:|retry:|event:(?!\s*error\b))[^\n]*\n)*")
# An event stream's, or Ollama's line of JSON.
_ERROR_EVENT = re.compile(rb"(?:event:\s*error\b|(?:data:\s*)?\{\s*\"error\"\s*:\s*[^\sn])")


class Hold(enum.Enum):
    """What is read before the answer is handed over."""

    NOTHING = "nothing"
    FIRST = "first content"
    EVENT = "first event"
    WHOLE = "whole body"


def hold_for(most: int, method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Hold:
    """How to hold an answer of which at most `most` bytes may be read ahead."""
    if not most or method == "HEAD" or status in (204, 304) or status < 200:
        return Hold.NOTHING
    hold = Hold.FIRST
    for name, value in headers:
        size = len(name)
        if size == 12 and name.lower() == b"content-type":
            media = value.partition(b";")[0].strip().lower()
            if media == b"text/event-stream":
                hold = Hold.EVENT
            elif media == b"application/json" or media.endswith(b"+json"):
                hold = Hold.WHOLE
        elif size == 14 and name.lower() == b"content-length":
            if value.isdigit() and int(value) > most:
                return Hold.FIRST
    return hold


class Opening:
    """The beginning of an answer, as far as it says nothing yet.

    In an event stream that lasts to the end of the first line that means something: half a line
    might yet become an error. Elsewhere any byte is content that is no blank and no comment.
    """

    __slots__ = ("_hold", "_rest", "_seen")

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._seen = 0
        # What has come, but for what is known to say nothing.
        self._rest = b""

    def feed(self, piece: bytes) -> bool:
        """Take the next piece; whether there is content now."""
        self._seen += len(piece)
        self._rest += piece
        if self._seen > _MOST_BEFORE_CONTENT:
            return True
        if self._hold is Hold.EVENT:
            if b"\n" not in piece:
                return False
            self._skip(_PRELUDE)
            return b"\n" in self._rest
        if self._rest[:1] in b": \r\n":
            if b"\n" not in piece and self._rest[:1] == b":":
                return False
            self._skip(_COMMENTS)
        return bool(self._rest) and not self._rest.startswith(b":")

    def _skip(self, blank: re.Pattern[bytes]) -> None:
        skipped = blank.match(self._rest)
        if skipped:
            self._rest = self._rest[skipped.end() :]

    @property
    def is_error(self) -> bool:
        """Whether the content begins with an error event."""
        return is_error_event(self._rest)


def is_error_event(received: bytes) -> bool:
    """Whether an event stream begins with an error instead of content."""
    prelude = _PRELUDE.match(received)
    return _ERROR_EVENT.match(received, prelude.end() if prelude else 0) is not None
