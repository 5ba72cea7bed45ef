"""The Cohere dialect, version 2: chat, plain and as a stream of named events, and embed."""

from __future__ import annotations

from typing import Any

from . import words
from .answers import EVENT_STREAM, Answer, Headers, Routes, Stream, encode_json
from .settings import Settings

Body = dict[str, Any]


def error(status: int, message: str, headers: Headers = ()) -> Answer:
    """An error object; the status says the rest."""
    body = {"id": f"{words.next_number():032x}", "message": message}
    return Answer(status, encode_json(body).encode(), headers=headers)


def error_in_stream(message: str) -> Answer:
    """A stream that is good by its status and holds nothing but an error."""
    event = f"event: error\ndata: {encode_json({'message': message})}\n\n".encode()
    return Answer(content_type=EVENT_STREAM, stream=Stream(event, (), []))


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {encode_json({'type': name} | data)}\n\n".encode()


# text


def _chat(body: Body, settings: Settings) -> Answer:
    tokens = words.tokens_wanted(body, settings, "max_tokens")
    name = f"{words.next_number():032x}"
    if body.get("stream"):
        return _streamed(name, body, tokens, settings)
    content = [{"type": "text", "text": words.text(tokens, settings)}]
    whole = {
        "id": name,
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": content},
        "usage": _usage(body, tokens),
    }
    return Answer(body=encode_json(whole).encode(), tokens=tokens)


def _streamed(name: str, body: Body, tokens: int, settings: Settings) -> Answer:
    message: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": ""}
    message |= {"tool_calls": [], "citations": []}
    opening = _event("message-start", id=name, delta={"message": message})
    opening += _content("content-start", {"type": "text", "text": ""})
    shape = _content("content-delta", {"text": words.MARK})
    end = {"finish_reason": "COMPLETE", "usage": _usage(body, tokens)}
    closing = [
        _event("content-end", index=0),
        _event("message-end", id=name, delta=end),
        b"data: [DONE]\n\n",
    ]
    stream = Stream(opening, words.deltas(shape, tokens, settings), closing)
    return Answer(content_type=EVENT_STREAM, tokens=tokens, stream=stream)


def _content(name: str, content: dict[str, str]) -> bytes:
    return _event(name, index=0, delta={"message": {"content": content}})


def _usage(body: Body, tokens: int) -> dict[str, Any]:
    counts = {
        "input_tokens": words.prompt_tokens(body.get("messages")),
        "output_tokens": tokens,
    }
    return {"billed_units": counts, "tokens": counts}


# vectors


def _embed(body: Body, _settings: Settings) -> Answer:
    texts = words.listed(body.get("texts") or body.get("inputs") or [], "texts")
    whole = {
        "id": f"{words.next_number():032x}",
        "response_type": "embeddings_by_type",
        "embeddings": {"float": [words.vector(text) for text in texts]},
        "texts": [text for text in texts if isinstance(text, str)],
        "meta": {"api_version": {"version": "2"}},
    }
    return Answer(body=encode_json(whole).encode(), tokens=0)


ROUTES: Routes = {
    "/v2/chat": {"POST": _chat},
    "/v2/embed": {"POST": _embed},
}
