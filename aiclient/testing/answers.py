"""What a dialect gives back: an answer, whole or in parts, and the work it stands for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from .settings import Settings

EVENT_STREAM = "text/event-stream; charset=utf-8"
LINES_OF_JSON = "application/x-ndjson"
encode_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class Stream:
    """The parts of a streamed answer: before the first token, one for each token, the end."""

    opening: bytes
    deltas: Iterable[bytes]
    closing: list[bytes]


@dataclass(slots=True)
class Answer:
    """What to send, and how much work it is.

    `tokens` is the number of tokens to be generated; None means no work at all: the answer is
    sent at once, without a slot. With a `stream`, `body` is not used.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    tokens: int | None = None
    stream: Stream | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A request that a healthy node answers with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Headers = tuple[tuple[str, str], ...]
# Path, then method, then what answers: from the parsed body and the settings.
Routes = dict[str, dict[str, Callable[[dict[str, Any], Settings], Answer]]]


class Dialect(Protocol):
    """What a module that speaks one provider's language has to offer."""

    @property
    def ROUTES(self) -> Routes:
        """What is answered where."""
        ...

    def error(self, status: int, message: str, headers: Headers = ()) -> Answer:
        """An error in this language."""
        ...

    def error_in_stream(self, message: str) -> Answer:
        """A stream that is good by its status and holds nothing but an error."""
        ...
