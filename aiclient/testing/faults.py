"""What can be made to go wrong on a fake node.

| fault | what a client meets |
|---|---|
| `refuse` | connection refused: the listening socket and idle connections are closed; requests under way are still answered, their connections closed after that; `heal()` listens again on the same port |
| `reset` | RST right after the request was read |
| `hang` | the request is read, nothing is ever answered |
| `hang_mid_stream` | a stream falls silent after `tokens` tokens; a plain answer after its headers and half its body |
| `cut_mid_stream` | the same, but the connection is closed there |
| `cut_mid_body` | a plain answer: `Content-Length` promised, half of it sent, closed; a stream: closed in the middle of a chunk, after `tokens` tokens |
| `garbage` | bytes that are no HTTP, then closed |
| `close_idle` | a good answer, then the connection is closed without `Connection: close` having been said |
| `error_event` | a stream: 200 and an event stream whose first event is an error object; a plain request: 500 |
| `401`, `404`, `429`, `500`, `503` and any other status from 400 to 599 | that status and an error object, at once, without a slot |

The options of a fault:

| option | meaning | default | of which faults |
|---|---|---|---|
| `times` | how many requests it strikes before it heals by itself (>= 1) | None: until `heal()` | all but `refuse` |
| `after` | how many requests are still served before it (>= 0) | 0 | all but `refuse` |
| `share` | the part of the requests it strikes, evenly spread (> 0, <= 1) | 1.0 | all but `refuse` |
| `delay` | seconds before the faulty answer (>= 0) | 0.0 | all but `refuse` |
| `paths` | prefixes of the paths it strikes | None: all but `/_fake/*` | all but `refuse` |
| `tokens` | content tokens sent before it bites (>= 0) | 2 | `hang_mid_stream`, `cut_mid_stream`, `cut_mid_body` |
| `retry_after` | seconds for the `Retry-After` header (>= 0) | None: no such header | statuses |

A node has one fault at a time; a new one replaces the old one. The mid-stream and mid-body faults
take a slot as a real answer does, and a hanging one keeps it until the client goes away.
"""  # noqa: E501 - a table row cannot be wrapped

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from .settings import check_seconds

_ANY = frozenset({"times", "after", "share", "delay", "paths"})
_MIDWAY = _ANY | {"tokens"}
_STATUS = _ANY | {"retry_after"}
_STATUS_NAME = re.compile(r"[45][0-9][0-9]")
_OPTIONS: dict[str, frozenset[str]] = {
    "refuse": frozenset(),
    "reset": _ANY,
    "hang": _ANY,
    "hang_mid_stream": _MIDWAY,
    "cut_mid_stream": _MIDWAY,
    "cut_mid_body": _MIDWAY,
    "garbage": _ANY,
    "close_idle": _ANY,
    "error_event": _ANY,
}


class FaultOptions(TypedDict, total=False):
    """The options of a fault; the table above gives their meaning and defaults."""

    times: int | None
    retry_after: float | None
    after: int
    share: float
    tokens: int
    delay: float
    paths: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, validated. The table above gives the meaning of each field."""

    name: str
    times: int | None = None
    retry_after: float | None = None
    after: int = 0
    share: float = 1.0
    tokens: int = 2
    delay: float = 0.0
    paths: Sequence[str] | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status it answers with, if it is that kind of fault."""
        return int(self.name) if self.name.isdigit() else None

    @classmethod
    def of(cls, name: str, options: FaultOptions) -> Fault:
        """A fault from its name and options. Raises ValueError saying what is allowed."""
        allowed = _allowed_options(name)
        for option in options:
            if option not in allowed:
                names = ", ".join(sorted(allowed)) or "none"
                raise ValueError(f"fault {name!r} has no option {option!r}; allowed: {names}")
        fault = cls(name, **options)
        fault._check()
        return fault

    def _check(self) -> None:
        if self.times is not None and not _is_count(self.times, 1):
            raise ValueError(f"times must be a whole number >= 1 or None, not {self.times!r}")
        for name, value in (("after", self.after), ("tokens", self.tokens)):
            if not _is_count(value, 0):
                raise ValueError(f"{name} must be a whole number >= 0, not {value!r}")
        if not (isinstance(self.share, int | float) and 0 < self.share <= 1):
            raise ValueError(f"share must be a number > 0 and <= 1, not {self.share!r}")
        check_seconds("delay", self.delay)
        if self.retry_after is not None:
            check_seconds("retry_after", self.retry_after)
        if self.paths is not None and not _are_texts(self.paths):
            raise ValueError(f"paths must be a list of path prefixes, not {self.paths!r}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value)


def _allowed_options(name: str) -> frozenset[str]:
    if isinstance(name, str) and name in _OPTIONS:
        return _OPTIONS[name]
    if isinstance(name, str) and _STATUS_NAME.fullmatch(name):
        return _STATUS
    known = ", ".join(_OPTIONS)
    raise ValueError(f"unknown fault {name!r}; allowed: {known}, or a status from '400' to '599'")


class FaultPlan:
    """The fault a node has at the moment, and how often it struck."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._spared = 0
        self._struck = 0
        self._pending = 0.0  # grows by the fault's share, and is a strike when it reaches 1

    @property
    def current(self) -> Fault | None:
        """The fault that is on, if any."""
        return self._fault

    def begin(self, fault: Fault) -> None:
        """Let `fault` replace whatever was on."""
        self._fault, self._spared, self._struck, self._pending = fault, 0, 0, 0.0

    def heal(self) -> None:
        """No fault any more."""
        self._fault = None

    def strike(self, path: str) -> Fault | None:
        """The fault this request meets, if any; counts it."""
        fault = self._fault
        if fault is None or fault.name == "refuse":
            return None
        if fault.paths is not None and not path.startswith(tuple(fault.paths)):
            return None
        if self._spared < fault.after:
            self._spared += 1
            return None
        self._pending += fault.share
        if self._pending < 1 - 1e-9:
            return None
        self._pending -= 1
        self._struck += 1
        if self._struck == fault.times:
            self._fault = None
        return fault
