"""How much of an answer is held back, and when its content begins."""

from __future__ import annotations

import pytest

from aiclient.core.holdback import Hold, Opening, hold_for, is_error_event

JSON = (b"content-type", b"application/json")
EVENTS = (b"Content-Type", b"text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    ("most", "method", "status", "headers", "hold"),
    [
        (100, "POST", 200, [JSON], Hold.WHOLE),
        (100, "POST", 200, [(b"Content-Type", b"application/problem+json; a=b")], Hold.WHOLE),
        (100, "POST", 200, [JSON, (b"Content-Length", b"100")], Hold.WHOLE),
        (100, "POST", 200, [JSON, (b"Content-Length", b"101")], Hold.FIRST),
        (100, "POST", 200, [(b"content-length", b"101"), JSON], Hold.FIRST),
        (100, "POST", 200, [JSON, (b"Content-Length", b"junk")], Hold.WHOLE),
        (100, "POST", 200, [EVENTS], Hold.EVENT),
        (100, "POST", 200, [(b"content-type", b"audio/mpeg")], Hold.FIRST),
        (100, "POST", 200, [], Hold.FIRST),
        (0, "POST", 200, [JSON], Hold.NOTHING),
        (100, "HEAD", 200, [JSON], Hold.NOTHING),
        (100, "POST", 204, [JSON], Hold.NOTHING),
        (100, "POST", 304, [JSON], Hold.NOTHING),
        (100, "POST", 101, [JSON], Hold.NOTHING),
    ],
)
def test_how_much_is_held(
    most: int, method: str, status: int, headers: list[tuple[bytes, bytes]], hold: Hold
) -> None:
    """A small JSON body whole, an event stream to its first event, the rest to its first byte."""
    assert hold_for(most, method, status, headers) is hold


def content_after(hold: Hold, pieces: list[bytes]) -> int | None:
    """After how many pieces there is content; None: there is none."""
    opening = Opening(hold)
    for number, piece in enumerate(pieces, 1):
        if opening.feed(piece):
            return number
    return None


@pytest.mark.parametrize(
    ("hold", "pieces", "number"),
    [
        (Hold.FIRST, [b"x"], 1),
        (Hold.FIRST, [b"", b"\n", b"  ", b"x"], 4),
        (Hold.FIRST, [b": ping\n\n", b"data: x\n"], 2),
        (Hold.FIRST, [b": pi", b"ng", b"\n", b"\n", b"x"], 5),
        (Hold.FIRST, [b": ping\nx"], 1),
        (Hold.EVENT, [b"data: x\n"], 1),
        (Hold.EVENT, [b"data: x"], None),
        (Hold.EVENT, [b"da", b"ta: x", b"\n"], 3),
        (Hold.EVENT, [b": ping\n\n: ping\n\n", b"data: {}\n\n"], 2),
        (Hold.EVENT, [b"event: message\n", b"id: 1\nretry: 5\n", b"data: {}\n"], 3),
        (Hold.EVENT, [b"event: error\n"], 1),
        (Hold.EVENT, [b"\n", b"\r\n"], None),
    ],
)
def test_when_the_content_begins(hold: Hold, pieces: list[bytes], number: int | None) -> None:
    """After blanks, comments and the lines of an event that say nothing yet."""
    assert content_after(hold, pieces) == number


def test_no_end_of_comments_is_content() -> None:
    """What is held is bounded."""
    pieces = [b": keep-alive, keep-alive, keep-alive, keep-alive\n\n"] * 5000
    for hold in (Hold.FIRST, Hold.EVENT):
        number = content_after(hold, pieces)
        assert number is not None
        assert number < 1500


@pytest.mark.parametrize(
    ("received", "error"),
    [
        (b'data: {"error": {"message": "x"}}\n', True),
        (b'data:{ "error" : "x"}\n', True),
        (b"event: error\ndata: {}\n", True),
        (b": ping\n\nevent:error\n", True),
        (b'id: 1\ndata: {"error": {"code": 500}}\n', True),
        (b'data: {"error": null, "choices": []}\n', False),
        (b'data: {"choices": [], "error": "x"}\n', False),
        (b"event: message\ndata: {}\n", False),
        (b"event: errors\n", False),
        (b"data: [DONE]\n", False),
        (b"", False),
    ],
)
def test_an_error_instead_of_content(received: bytes, error: bool) -> None:
    """As the first thing of a stream; `"error": null` is none."""
    assert is_error_event(received) is error
    opening = Opening(Hold.EVENT)
    if opening.feed(received):
        assert opening.is_error is error
