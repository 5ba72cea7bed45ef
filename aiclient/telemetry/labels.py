"""The values of metric attributes: few of them, whatever comes from outside.

A metrics SDK keeps one series for each combination of values as long as the process lives, so what
others choose, nodes' names and methods, is bounded here; and texts become the words they begin
with.
"""

from __future__ import annotations

import re

from ..core.breaker import Trip
from ..core.verdict import Failure

__all__ = ["METHODS", "MODELS", "NODES", "OTHER", "SERVICES", "Labels", "reason_of"]

OTHER = "other"

_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
METHODS = {method: method for method in _METHODS}

_REASONS = {reason.value for reason in (*Failure, *Trip)}
_REASONS |= {"by hand", "closed before its end", "dropped without being closed"}
_STATUS = re.compile(r"http [1-5]\d\d")


class Labels:
    """The values of one attribute: the first `most` of them, and "other" for every later one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        known = self._known
        if value not in known:
            # Threads that come at once may each add one more: a bound all the same.
            if len(known) >= self._most:
                return OTHER
            known.add(value)
        return value


NODES = Labels(200)
SERVICES = Labels(50)
MODELS = Labels(100)


def reason_of(text: str) -> str:
    """What a text of the core begins with, as one of a known set of words.

    "cannot connect: [Errno 111] Connection refused" is "cannot connect"; what is not known is
    "other". Nothing of what another program wrote is left in it.
    """
    word = text.partition(":")[0].partition(",")[0]
    return word if word in _REASONS or _STATUS.fullmatch(word) else OTHER
