"""What a dialect gives back: an answer, whole or in parts, and the work it stands for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

EVENT_STREAM = "text/event-stream; charset=utf-8"
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
