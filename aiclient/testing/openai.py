"""The OpenAI dialect: models, chat completions, completions, embeddings; and `/health`."""

from __future__ import annotations

import base64
import hashlib
import itertools
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from .answers import EVENT_STREAM, Answer, Refusal, Stream, encode_json
from .settings import Settings

MAX_TOKENS = 131_072
MAX_INPUTS = 2048
_DONE = b"data: [DONE]\n\n"
_MARK = "\x00"
_ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_numbers = itertools.count(1)

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
        word = {"delta": {"content": _MARK}}
        return _streamed(base, opening, word, {"delta": {}}, tokens, body, settings)
    base = _base(body, settings, "chatcmpl", "chat.completion")
    message = {"role": "assistant", "content": _text(tokens, settings)}
    return _whole(base, _choice("stop", message=message), tokens, body)


def _completion(body: Body, settings: Settings) -> Answer:
    tokens = _token_count(body, settings)
    base = _base(body, settings, "cmpl", "text_completion")
    if body.get("stream"):
        return _streamed(base, b"", {"text": _MARK}, {"text": ""}, tokens, body, settings)
    return _whole(base, _choice("stop", text=_text(tokens, settings)), tokens, body)


def _token_count(body: Body, settings: Settings) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        count = body.get(name)
        if count is None:
            continue
        if not isinstance(count, int) or not 1 <= count <= MAX_TOKENS:
            raise Refusal(400, f"{name} must be a whole number from 1 to {MAX_TOKENS}")
        return count
    return settings.tokens


def _base(body: Body, settings: Settings, prefix: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{next(_numbers):024x}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model") or settings.model,
    }


def _choice(finish: str | None = None, **part: object) -> dict[str, Any]:
    return {"index": 0, **part, "logprobs": None, "finish_reason": finish}


def _usage(body: Body, tokens: int) -> dict[str, int]:
    prompt = body.get("messages") or body.get("prompt") or body.get("input")
    words = max(1, len(str(prompt)) // 4)
    return {"prompt_tokens": words, "completion_tokens": tokens, "total_tokens": words + tokens}


def _first_words(settings: Settings) -> str:
    return f"{settings.model} on {settings.name}: tok0"


def _text(tokens: int, settings: Settings) -> str:
    return " ".join([_first_words(settings), *[f"tok{number}" for number in range(1, tokens)]])


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
    deltas = _deltas(shape, _first_words(settings), tokens)
    stream = Stream(opening, deltas, [*closing, _DONE])
    return Answer(content_type=EVENT_STREAM, tokens=tokens, stream=stream)


def _deltas(shape: bytes, first: str, tokens: int) -> Iterator[bytes]:
    # Encoding each event on its own would be most of what a stream costs.
    before, after = shape.rsplit(encode_json(_MARK)[1:-1].encode(), 1)
    yield b"%b%b%b" % (before, encode_json(first)[1:-1].encode(), after)
    for number in range(1, tokens):
        yield b"%b tok%d%b" % (before, number, after)


# vectors


def _embeddings(body: Body, settings: Settings) -> Answer:
    given = body.get("input", "")
    is_list = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    inputs = given if is_list else [given]
    if len(inputs) > MAX_INPUTS:
        raise Refusal(400, f"input may have at most {MAX_INPUTS} entries")
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
    digest = hashlib.blake2b(encode_json(entry).encode(), digest_size=8).digest()
    numbers = [byte / 128 - 1 for byte in digest]
    return base64.b64encode(struct.pack("<8f", *numbers)).decode() if in_base64 else numbers


ROUTES: dict[str, dict[str, Callable[[Body, Settings], Answer]]] = {
    "/health": {"GET": _health},
    "/v1/models": {"GET": _models},
    "/v1/chat/completions": {"POST": _chat},
    "/v1/completions": {"POST": _completion},
    "/v1/embeddings": {"POST": _embeddings},
}
