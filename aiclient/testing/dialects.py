"""What a node answers: from a request and the settings to an `Answer`; no I/O, no time.

A dialect is a module with a table of routes (path, then method, then a function of the parsed
body and the settings) and with its own way to say that something went wrong. To add one, add it
to `_SPOKEN`.
"""

from __future__ import annotations

import json
from typing import Any

from . import anthropic, cohere, gemini, ollama, openai
from .answers import Answer, Dialect, Refusal
from .http1 import Request
from .settings import Settings

# The first whose prefix a path has; OpenAI's is what is spoken everywhere else.
_SPOKEN: tuple[tuple[str, Dialect], ...] = (
    ("/v1/messages", anthropic),
    ("/api/", ollama),
    ("/v1beta/", gemini),
    ("/v1/models/", gemini),
    ("/v2/", cohere),
    ("/", openai),
)
_KEY_HEADERS = ("x-api-key", "x-goog-api-key")
_TOLD_TO_FAIL = "the fake node was told to fail"
_BUSY = "server busy"

# For what belongs to no dialect: bytes that are no request, and the control endpoint.
error = openai.error


def answer(request: Request, settings: Settings) -> Answer:
    """The answer of a healthy node."""
    path = _path(request, settings)
    try:
        return _routed(path, request, settings)
    except Refusal as refusal:
        return _dialect(path).error(refusal.status, str(refusal))


def busy(request: Request, settings: Settings) -> Answer:
    """The answer of a node whose queue is full."""
    return _dialect(_path(request, settings)).error(503, _BUSY)


def told_to(
    request: Request, settings: Settings, status: int, retry_after: float | None = None
) -> Answer:
    """The answer of a node whose fault is a status."""
    headers = () if retry_after is None else (("retry-after", f"{retry_after:g}"),)
    return _dialect(_path(request, settings)).error(status, _TOLD_TO_FAIL, headers)


def told_to_fail_in_stream(request: Request, settings: Settings) -> Answer:
    """The answer of a node whose fault is an error event."""
    return _dialect(_path(request, settings)).error_in_stream(_TOLD_TO_FAIL)


def _path(request: Request, settings: Settings) -> str:
    """The path without the query and the node's own prefix; empty if it is not below that."""
    path = request.path.partition("?")[0]
    if "://" in path:  # the form a proxy is sent
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.startswith(settings.prefix + "/"):
        return ""
    return path[len(settings.prefix) :]


def _dialect(path: str) -> Dialect:
    return next((spoken for prefix, spoken in _SPOKEN if path.startswith(prefix)), openai)


def _routed(path: str, request: Request, settings: Settings) -> Answer:
    if path != "/health" and not _is_allowed(request, settings.api_key):
        raise Refusal(401, "the API key is missing or wrong")
    route_path, model = _generic(path)
    methods = _dialect(path).ROUTES.get(route_path)
    if methods is None:
        raise Refusal(404, f"there is nothing at {path or request.path.partition('?')[0]}")
    route = methods.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise Refusal(405, f"{request.method} is not allowed at {path}")
    body = _parsed(request) if request.method == "POST" else {}
    return route({"model": model} | body if model else body, settings)


def _is_allowed(request: Request, key: str | None) -> bool:
    if key is None or request.headers.get("authorization") == f"Bearer {key}":
        return True
    return any(request.headers.get(name) == key for name in _KEY_HEADERS)


def _generic(path: str) -> tuple[str, str | None]:
    """`/v1beta/models/MODEL:verb` with `*` for the model, and the model; others as they are."""
    resource, colon, verb = path.rpartition(":")
    if not colon:
        return path, None
    collection, _, model = resource.rpartition("/")
    return f"{collection}/*:{verb}", model


def _parsed(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    return body
