"""The Anthropic dialect: messages, plain and as a stream of named events."""

from __future__ import annotations

from typing import Any

from . import words
from .answers import EVENT_STREAM, Answer, Headers, Routes, Stream, encode_json
from .settings import Settings

Body = dict[str, Any]

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(status: int, message: str, headers: Headers = ()) -> Answer:
    """An error object with a status that fits."""
    return Answer(status, encode_json(_error_object(status, message)).encode(), headers=headers)


def error_in_stream(message: str) -> Answer:
    """A stream that is good by its status and holds nothing but an error."""
    event = _event("error", **_error_object(529, message))
    return Answer(content_type=EVENT_STREAM, stream=Stream(event, (), []))


def _error_object(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {encode_json(data | {'type': name})}\n\n".encode()


def _messages(body: Body, settings: Settings) -> Answer:
    tokens = words.tokens_wanted(body, settings, "max_tokens")
    asked = words.prompt_tokens(body.get("messages"))
    message: dict[str, Any] = {
        "id": f"msg_{words.next_number():024x}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model") or settings.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": asked, "output_tokens": 0},
    }
    if body.get("stream"):
        return _streamed(message, tokens, settings)
    message["content"] = [{"type": "text", "text": words.text(tokens, settings)}]
    message["stop_reason"] = "end_turn"
    message["usage"] = {"input_tokens": asked, "output_tokens": tokens}
    return Answer(body=encode_json(message).encode(), tokens=tokens)


def _streamed(message: dict[str, Any], tokens: int, settings: Settings) -> Answer:
    block = {"type": "text", "text": ""}
    opening = _event("message_start", message=message)
    opening += _event("content_block_start", index=0, content_block=block)
    word = {"type": "text_delta", "text": words.MARK}
    shape = _event("content_block_delta", index=0, delta=word)
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    closing = [
        _event("content_block_stop", index=0),
        _event("message_delta", delta=end, usage={"output_tokens": tokens}),
        _event("message_stop"),
    ]
    stream = Stream(opening, words.deltas(shape, tokens, settings), closing)
    return Answer(content_type=EVENT_STREAM, tokens=tokens, stream=stream)


def _count(body: Body, _settings: Settings) -> Answer:
    asked = words.prompt_tokens(body.get("messages"))
    return Answer(body=encode_json({"input_tokens": asked}).encode())


ROUTES: Routes = {
    "/v1/messages": {"POST": _messages},
    "/v1/messages/count_tokens": {"POST": _count},
}
