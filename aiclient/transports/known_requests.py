"""Building a request as httpx does, without doing again what it did for the request before.

An SDK's calls differ in their bodies and in little else. To httpx each is new: it parses and merges
the URL, and goes through all headers a dozen times, which is a tenth of a call's cost. Here httpx
builds the first of each sort, and the others are made after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import httpx

__all__ = ["KnownRequests"]

AnyClient: TypeAlias = httpx.Client | httpx.AsyncClient
_MOST_KNOWN = 256
# By these a request is recognised, or they are set anew in each.
_UNDERSTOOD = frozenset({"content", "headers", "timeout", "extensions"})
# With these it is httpx's business, unless they are None.
_LEFT_TO_HTTPX = frozenset({"data", "files", "json", "params", "cookies"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class _Memory:
    """What is known for one base URL and one set of default headers."""

    def __init__(self, base: httpx.URL, headers: list[tuple[bytes, bytes]]) -> None:
        self.base = base
        self.headers = headers
        # What has been asked for, and what it came to: a URL, or all of a request but its body.
        self.urls: dict[str, httpx.URL] = {}
        self.requests: dict[object, tuple[httpx.URL, httpx.Headers]] = {}


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
        key = _key_of(client, method, url, options)
        known = memory.requests.get(key) if key is not None else None
        if known is not None:
            return _like(known, client, method, options)
        seen = memory.urls.get(url)
        request = build(method, url if seen is None else seen, **options)
        # With parameters it is another URL, and they change from call to call.
        if options.get("params") is None and not client.params:
            _learn(memory.urls, url, request.url)
            headers = _without_length(request, client, options) if key is not None else None
            if headers is not None:
                _learn(memory.requests, key, (request.url, headers))
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


def _key_of(client: AnyClient, method: str, url: str, options: dict[str, Any]) -> object:
    """What a request with a body of bytes is known by; None for one that httpx has to build."""
    for name, value in options.items():
        if name not in _UNDERSTOOD and (value is not None or name not in _LEFT_TO_HTTPX):
            return None
    content = options.get("content")
    if not (content is None or type(content) is bytes) or client.params or client.cookies:
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
    key = (method, url, bool(content), pairs)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _without_length(
    request: httpx.Request, client: AnyClient, options: dict[str, Any]
) -> httpx.Headers | None:
    """A request's headers as they are before its length is added; None if that is not to be had."""
    raw = request.headers.raw
    if not options.get("content"):
        return httpx.Headers(raw)
    given = [*client.headers.raw, *httpx.Headers(options.get("headers")).raw]
    if any(name.lower() in _FRAMING for name, _ in given):
        return None  # the caller's own word stands
    if raw[-1] != (b"Content-Length", b"%d" % len(request.content)):
        return None
    return httpx.Headers(raw[:-1])


def _like(
    known: tuple[httpx.URL, httpx.Headers],
    client: AnyClient,
    method: str,
    options: dict[str, Any],
) -> httpx.Request:
    """A request like a known one, with a body, a timeout and extensions of its own."""
    url, headers = known
    body = options.get("content") or b""
    extensions = options.get("extensions") or {}
    if "timeout" not in extensions:
        timeout = options.get("timeout", httpx.USE_CLIENT_DEFAULT)
        if timeout is httpx.USE_CLIENT_DEFAULT:
            timeout = client.timeout
        elif type(timeout) is not httpx.Timeout:
            timeout = httpx.Timeout(timeout)
        extensions = {**extensions, "timeout": timeout.as_dict()}
    stream = httpx.ByteStream(body)
    request = httpx.Request(method, url, headers=headers, stream=stream, extensions=extensions)
    if body:
        request.headers["Content-Length"] = str(len(body))
    request.read()
    return request
