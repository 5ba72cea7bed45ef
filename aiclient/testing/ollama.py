"""The Ollama dialect: chat, generate, embed, tags; streams are lines of JSON, and the default."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from . import words
from .answers import LINES_OF_JSON, Answer, Headers, Routes, Stream, encode_json
from .settings import Settings

Body = dict[str, Any]

_LONG_AGO = "2026-01-01T00:00:00Z"
_NANOSECONDS = 1_000_000  # Ollama reports times in them; a fake node's are made up


def error(status: int, message: str, headers: Headers = ()) -> Answer:
    """An error object; the status says the rest."""
    return Answer(status, encode_json({"error": message}).encode(), headers=headers)


def error_in_stream(message: str) -> Answer:
    """A stream that is good by its status and holds nothing but an error."""
    return Answer(content_type=LINES_OF_JSON, stream=Stream(_line({"error": message}), (), []))


def _line(data: dict[str, Any]) -> bytes:
    return f"{encode_json(data)}\n".encode()


# text


def _chat(body: Body, settings: Settings) -> Answer:
    def said(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    return _text(body, settings, body.get("messages"), said)


def _generate(body: Body, settings: Settings) -> Answer:
    return _text(body, settings, body.get("prompt"), lambda text: {"response": text})


def _text(
    body: Body, settings: Settings, prompt: object, said: Callable[[str], dict[str, Any]]
) -> Answer:
    tokens = words.tokens_wanted(body.get("options"), settings, "num_predict")
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    base = {"model": body.get("model") or settings.model, "created_at": now}
    end = {"done": True, "done_reason": "stop", **_counts(prompt, tokens)}
    if body.get("stream", True):
        shape = _line(base | said(words.MARK) | {"done": False})
        closing = [_line(base | said("") | end)]
        stream = Stream(b"", words.deltas(shape, tokens, settings), closing)
        return Answer(content_type=LINES_OF_JSON, tokens=tokens, stream=stream)
    whole = base | said(words.text(tokens, settings)) | end
    return Answer(body=encode_json(whole).encode(), tokens=tokens)


def _counts(prompt: object, tokens: int) -> dict[str, int]:
    return {
        "total_duration": _NANOSECONDS * (tokens + 1),
        "load_duration": 0,
        "prompt_eval_count": words.prompt_tokens(prompt),
        "prompt_eval_duration": _NANOSECONDS,
        "eval_count": tokens,
        "eval_duration": _NANOSECONDS * tokens,
    }


# vectors, models


def _embed(body: Body, settings: Settings) -> Answer:
    inputs = words.listed(body.get("input", ""), "input")
    whole = {
        "model": body.get("model") or settings.model,
        "embeddings": [words.vector(entry) for entry in inputs],
        "total_duration": _NANOSECONDS,
        "load_duration": 0,
        "prompt_eval_count": words.prompt_tokens(inputs),
    }
    return Answer(body=encode_json(whole).encode(), tokens=0)


def _tags(_body: Body, settings: Settings) -> Answer:
    model = {
        "name": settings.model,
        "model": settings.model,
        "modified_at": _LONG_AGO,
        "size": 1,
        "digest": "0" * 64,
        "details": {"format": "gguf", "family": "fake"},
    }
    return Answer(body=encode_json({"models": [model]}).encode())


ROUTES: Routes = {
    "/api/chat": {"POST": _chat},
    "/api/generate": {"POST": _generate},
    "/api/embed": {"POST": _embed},
    "/api/tags": {"GET": _tags},
}
