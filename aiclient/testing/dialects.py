"""What a node answers: from a request and the settings to an `Answer`; no I/O, no time.

A dialect is a module with a table of routes: path, then method, then a function of the parsed
body and the settings. To add one, add its table to `_ROUTES`.
"""

from __future__ import annotations

import json
from typing import Any

from . import openai
from .answers import Answer, Refusal
from .http1 import Request
from .settings import Settings

error = openai.error
_ROUTES = {**openai.ROUTES}
_TOLD_TO_FAIL = "the fake node was told to fail"


def answer(request: Request, settings: Settings) -> Answer:
    """The answer of a healthy node."""
    path = request.path.partition("?")[0]
    if "://" in path:  # the form a proxy is sent
        path = "/" + path.partition("://")[2].partition("/")[2]
    try:
        return _routed(path, request, settings)
    except Refusal as refusal:
        return error(refusal.status, str(refusal))


def told_to(status: int, retry_after: float | None = None) -> Answer:
    """The answer of a node whose fault is a status."""
    headers = () if retry_after is None else (("retry-after", f"{retry_after:g}"),)
    return error(status, _TOLD_TO_FAIL, headers)


def told_to_fail_in_stream() -> Answer:
    """The answer of a node whose fault is an error event."""
    return openai.error_in_stream(_TOLD_TO_FAIL)


def _routed(path: str, request: Request, settings: Settings) -> Answer:
    key = settings.api_key
    is_allowed = key is None or request.headers.get("authorization") == f"Bearer {key}"
    if path.startswith("/v1/") and not is_allowed:
        raise Refusal(401, "the API key is missing or wrong")
    methods = _ROUTES.get(path)
    if methods is None:
        raise Refusal(404, f"there is nothing at {path}")
    route = methods.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise Refusal(405, f"{request.method} is not allowed at {path}")
    return route(_parsed(request) if request.method == "POST" else {}, settings)


def _parsed(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    return body
