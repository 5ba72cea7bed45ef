"""The OpenAI dialect: models, chat completions, completions, embeddings; and `/health`.

Also spoken by Mistral, Hugging Face and, below `/openai`, Groq.
"""

from __future__ import annotations

import base64
import struct
import time
from typing import Any

from . import words
from .answers import EVENT_STREAM, Answer, Routes, Stream, encode_json
from .settings import Settings

_DONE = b"data: [DONE]\n\n"
_ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}

Body = dict[str, Any]


def error(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An error object with a status that fits."""
    body = encode_json({"error": _error_object(status, message)}).encode()
    return Answer(status, body, headers=headers)


def error_in_stream(message: str) -> Answer:
    """A stream that is good by its status and holds nothing but an error."""
    event = _event({"error": _error_object(500, message)})
    return Answer(content_type=EVENT_STREAM, stream=Stream(event, (), [_DONE]))


def _error_object(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"message": message, "type": kind, "param": None, "code": status}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {encode_json(data)}\n\n".encode()


def _health(_body: Body, _settings: Settings) -> Answer:
    return Answer(body=b'{"status":"ok"}')


def _models(_body: Body, settings: Settings) -> Answer:
    model = {"id": settings.model, "object": "model", "created": 1, "owned_by": "aiclient"}
    return Answer(body=encode_json({"object": "list", "data": [model]}).encode())


# text


def _chat(body: Body, settings: Settings) -> Answer:
    tokens = _token_count(body, settings)
    if body.get("stream"):
        base = _base(body, settings, "chatcmpl", "chat.completion.chunk")
        opening = _event(base | {"choices": [_choice(delta={"role": "assistant", "content": ""})]})
        word = {"delta": {"content": words.MARK}}
        return _streamed(base, opening, word, {"delta": {}}, tokens, body, settings)
    base = _base(body, settings, "chatcmpl", "chat.completion")
    message = {"role": "assistant", "content": words.text(tokens, settings)}
    return _whole(base, _choice("stop", message=message), tokens, body)


def _completion(body: Body, settings: Settings) -> Answer:
    tokens = _token_count(body, settings)
    base = _base(body, settings, "cmpl", "text_completion")
    if body.get("stream"):
        return _streamed(base, b"", {"text": words.MARK}, {"text": ""}, tokens, body, settings)
    return _whole(base, _choice("stop", text=words.text(tokens, settings)), tokens, body)


def _token_count(body: Body, settings: Settings) -> int:
    return words.tokens_wanted(body, settings, "max_completion_tokens", "max_tokens")


def _base(body: Body, settings: Settings, prefix: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{words.next_number():024x}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model") or settings.model,
    }


def _choice(finish: str | None = None, **part: object) -> dict[str, Any]:
    return {"index": 0, **part, "logprobs": None, "finish_reason": finish}


def _usage(body: Body, tokens: int) -> dict[str, int]:
    prompt = body.get("messages") or body.get("prompt") or body.get("input")
    asked = words.prompt_tokens(prompt)
    return {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}


def _whole(base: dict[str, Any], choice: dict[str, Any], tokens: int, body: Body) -> Answer:
    whole = base | {"choices": [choice], "usage": _usage(body, tokens)}
    return Answer(body=encode_json(whole).encode(), tokens=tokens)


def _streamed(
    base: dict[str, Any],
    opening: bytes,
    word: dict[str, Any],
    end: dict[str, Any],
    tokens: int,
    body: Body,
    settings: Settings,
) -> Answer:
    closing = [_event(base | {"choices": [_choice("stop", **end)]})]
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        closing.append(_event(base | {"choices": [], "usage": _usage(body, tokens)}))
    shape = _event(base | {"choices": [_choice(**word)]})
    deltas = words.deltas(shape, tokens, settings)
    stream = Stream(opening, deltas, [*closing, _DONE])
    return Answer(content_type=EVENT_STREAM, tokens=tokens, stream=stream)


# vectors


def _embeddings(body: Body, settings: Settings) -> Answer:
    inputs = words.listed(body.get("input", ""), "input")
    in_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(entry, in_base64)}
        for index, entry in enumerate(inputs)
    ]
    usage = _usage(body, 0)
    del usage["completion_tokens"]
    model = body.get("model") or settings.model
    whole = {"object": "list", "data": data, "model": model, "usage": usage}
    return Answer(body=encode_json(whole).encode(), tokens=0)


def _vector(entry: object, in_base64: bool) -> list[float] | str:
    numbers = words.vector(entry)
    return base64.b64encode(struct.pack("<8f", *numbers)).decode() if in_base64 else numbers


_V1: Routes = {
    "/models": {"GET": _models},
    "/chat/completions": {"POST": _chat},
    "/completions": {"POST": _completion},
    "/embeddings": {"POST": _embeddings},
}
ROUTES: Routes = {
    "/health": {"GET": _health},
    **{f"/v1{path}": methods for path, methods in _V1.items()},
    **{f"/openai/v1{path}": methods for path, methods in _V1.items()},
}
