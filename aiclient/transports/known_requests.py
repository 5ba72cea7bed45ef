"""Building a request as httpx does, without doing again what it did for the request before.

An SDK's calls differ in their bodies and in little else. To httpx each is new: it parses and merges
the URL, and goes through all headers a dozen times, which is a tenth of a call's cost. Here httpx
builds the first of each sort, and the others are made after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import httpx

__all__ = ["KnownRequests"]

AnyClient: TypeAlias = httpx.Client | httpx.AsyncClient
_MOST_KNOWN = 256
# By these a request is recognised, or they are set anew in each.
_UNDERSTOOD = frozenset({"content", "json", "headers", "timeout", "extensions"})
# With these it is httpx's business, unless they are None.
_LEFT_TO_HTTPX = frozenset({"data", "files", "params", "cookies"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_JSON = (b"Content-Type", b"application/json")
# As httpx has it, which makes an encoder for each body.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class _Known(NamedTuple):
    """All of a request but its body, and the header of its length, which stands before `last`."""

    url: httpx.URL
    headers: httpx.Headers
    last: tuple[tuple[bytes, bytes], ...] = ()


class _Memory:
    """What is known for one base URL and one set of default headers."""

    def __init__(self, base: httpx.URL, headers: list[tuple[bytes, bytes]]) -> None:
        self.base = base
        self.headers = headers
        # What has been asked for, and what it came to: a URL, or all of a request but its body.
        self.urls: dict[str, httpx.URL] = {}
        self.requests: dict[object, _Known] = {}


class KnownRequests:
    """The requests of one client."""

    def __init__(self) -> None:
        self._memory = _Memory(httpx.URL(""), [])

    def build(
        self,
        build: Callable[..., httpx.Request],
        client: AnyClient,
        method: str,
        url: httpx.URL | str,
        options: dict[str, Any],
    ) -> httpx.Request:
        """The request that `build`, which is httpx's, makes of these arguments."""
        if type(url) is not str:
            return build(method, url, **options)
        memory = self._remembered(client)
        body = _body_of(options)
        key = _key_of(client, method, url, body, options) if body is not None else None
        known = memory.requests.get(key) if key is not None else None
        if known is not None:
            return _like(known, client, method, body or b"", options)
        seen = memory.urls.get(url)
        request = build(method, url if seen is None else seen, **options)
        # With parameters it is another URL, and they change from call to call.
        if options.get("params") is None and not client.params:
            _learn(memory.urls, url, request.url)
            made = _without_body(request, client, body, options) if key is not None else None
            if made is not None:
                _learn(memory.requests, key, made)
        return request

    def _remembered(self, client: AnyClient) -> _Memory:
        memory = self._memory
        base, headers = client.base_url, client.headers.raw
        if memory.base is not base or memory.headers != headers:
            memory = self._memory = _Memory(base, headers)
        return memory


def _learn(known: dict[Any, Any], key: object, value: object) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()  # URLs and headers come from outside; the memory of them is bounded
    known[key] = value


def _body_of(options: dict[str, Any]) -> bytes | None:
    """The body as bytes; None where it is httpx's business to make it, or to say what is wrong."""
    content, value = options.get("content"), options.get("json")
    if value is None:
        return content if type(content) is bytes else b"" if content is None else None
    if content is not None:
        return None
    try:
        return _encode(value).encode("utf-8")
    except Exception:
        return None


def _key_of(
    client: AnyClient, method: str, url: str, body: bytes | None, options: dict[str, Any]
) -> object:
    """What a request is known by; None for one that httpx has to build."""
    for name, value in options.items():
        if name not in _UNDERSTOOD and (value is not None or name not in _LEFT_TO_HTTPX):
            return None
    if client.params or client.cookies:
        return None
    headers = options.get("headers")
    kind = type(headers)
    if headers is None:
        pairs: tuple[Any, ...] = ()
    elif kind is list:
        pairs = tuple(headers)
    elif kind is dict:
        pairs = tuple(headers.items())
    elif kind is httpx.Headers:
        pairs = tuple(headers.raw)
    else:
        return None
    key = (method, url, bool(body), options.get("json") is None, pairs)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _without_body(
    request: httpx.Request, client: AnyClient, body: bytes | None, options: dict[str, Any]
) -> _Known | None:
    """What is known of a request; None if its body, or where its length stands, is not as it was
    thought to be.
    """
    raw = request.headers.raw
    if request.content != body:
        return None
    if not body:
        return _Known(request.url, httpx.Headers(raw))
    given = [*client.headers.raw, *httpx.Headers(options.get("headers")).raw]
    names = {name.lower() for name, _ in given}
    if not names.isdisjoint(_FRAMING):
        return None  # the caller's own word stands
    last = (_JSON,) if options.get("json") is not None and b"content-type" not in names else ()
    end = len(raw) - 1 - len(last)
    if raw[end:] != [(b"Content-Length", b"%d" % len(body)), *last]:
        return None
    return _Known(request.url, httpx.Headers(raw[:end]), last)


def _like(
    known: _Known, client: AnyClient, method: str, body: bytes, options: dict[str, Any]
) -> httpx.Request:
    """A request like a known one, with a body, a timeout and extensions of its own."""
    extensions = options.get("extensions") or {}
    if "timeout" not in extensions:
        timeout = options.get("timeout", httpx.USE_CLIENT_DEFAULT)
        if timeout is httpx.USE_CLIENT_DEFAULT:
            timeout = client.timeout
        elif type(timeout) is not httpx.Timeout:
            timeout = httpx.Timeout(timeout)
        extensions = {**extensions, "timeout": timeout.as_dict()}
    request = httpx.Request(
        method,
        known.url,
        headers=known.headers,
        stream=httpx.ByteStream(body),
        extensions=extensions,
    )
    if body:
        request.headers["Content-Length"] = str(len(body))
        for name, value in known.last:
            request.headers[name.decode("ascii")] = value.decode("ascii")
    request.read()
    return request
