"""The Gemini dialect: generateContent, plain and streamed (`?alt=sse`), and embeddings.

The model stands in the path; the routes have `*` in its place and find it as `model` in the body.
"""

from __future__ import annotations

from typing import Any

from . import words
from .answers import EVENT_STREAM, Answer, Headers, Routes, Stream, encode_json
from .settings import Settings

Body = dict[str, Any]

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error(status: int, message: str, headers: Headers = ()) -> Answer:
    """An error object with a status that fits."""
    return Answer(status, encode_json(_error_object(status, message)).encode(), headers=headers)


def error_in_stream(message: str) -> Answer:
    """A stream that is good by its status and holds nothing but an error."""
    stream = Stream(_event(_error_object(503, message)), (), [])
    return Answer(content_type=EVENT_STREAM, stream=stream)


def _error_object(status: int, message: str) -> dict[str, Any]:
    name = _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    return {"error": {"code": status, "message": message, "status": name}}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {encode_json(data)}\n\n".encode()


# text


def _generate(body: Body, settings: Settings) -> Answer:
    tokens = _token_count(body, settings)
    candidate = _candidate(words.text(tokens, settings)) | {"finishReason": "STOP"}
    whole = _whole(body, settings, candidate) | {"usageMetadata": _usage(body, tokens)}
    return Answer(body=encode_json(whole).encode(), tokens=tokens)


def _stream(body: Body, settings: Settings) -> Answer:
    tokens = _token_count(body, settings)
    shape = _event(_whole(body, settings, _candidate(words.MARK)))
    end = _whole(body, settings, _candidate("") | {"finishReason": "STOP"})
    closing = [_event(end | {"usageMetadata": _usage(body, tokens)})]
    stream = Stream(b"", words.deltas(shape, tokens, settings), closing)
    return Answer(content_type=EVENT_STREAM, tokens=tokens, stream=stream)


def _token_count(body: Body, settings: Settings) -> int:
    return words.tokens_wanted(body.get("generationConfig"), settings, "maxOutputTokens")


def _candidate(text: str) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}


def _whole(body: Body, settings: Settings, candidate: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": [candidate],
        "modelVersion": body.get("model") or settings.model,
        "responseId": f"{words.next_number():024x}",
    }


def _usage(body: Body, tokens: int) -> dict[str, int]:
    asked = words.prompt_tokens(body.get("contents"))
    return {
        "promptTokenCount": asked,
        "candidatesTokenCount": tokens,
        "totalTokenCount": asked + tokens,
    }


# vectors


def _embed(body: Body, _settings: Settings) -> Answer:
    embedding = {"values": words.vector(body.get("content"))}
    return Answer(body=encode_json({"embedding": embedding}).encode(), tokens=0)


def _embed_all(body: Body, _settings: Settings) -> Answer:
    entries = words.listed(body.get("requests", []), "requests")
    vectors = [
        words.vector(entry.get("content") if isinstance(entry, dict) else entry)
        for entry in entries
    ]
    embeddings = [{"values": vector} for vector in vectors]
    return Answer(body=encode_json({"embeddings": embeddings}).encode(), tokens=0)


_VERBS: Routes = {
    "generateContent": {"POST": _generate},
    "streamGenerateContent": {"POST": _stream},
    "embedContent": {"POST": _embed},
    "batchEmbedContents": {"POST": _embed_all},
}
ROUTES: Routes = {
    f"/{version}/models/*:{verb}": methods
    for version in ("v1", "v1beta")
    for verb, methods in _VERBS.items()
}
