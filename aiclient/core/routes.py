"""What a request is: its route, whether it may be sent twice, its kind.

Idempotent by RFC 9110 are the safe methods, PUT and DELETE. An inference call is a POST, and yet
asking twice costs compute and nothing else, as long as the server stores nothing: the table below
names those routes. Everything else is sent once unless the caller says otherwise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..facts import RequestFacts
from ..settings import CallOptions, RetryPolicy

__all__ = ["Profile", "Route", "profile_of", "route_of"]


class Route(NamedTuple):
    """A known stateless inference route, by the end of its path."""

    name: str
    pattern: str
    # What the server does when the body has no "stream" of its own.
    streams: bool = False
    # "store" must be switched off for the call to leave nothing behind.
    stores: bool = False


ROUTES = (
    # The first match counts: the longer endings stand first.
    Route("ollama/chat", r"/api/chat", streams=True),
    Route("ollama/generate", r"/api/generate", streams=True),
    Route("ollama/embed", r"/api/embed(?:dings)?"),
    Route("chat/completions", r"/chat/completions"),
    Route("completions", r"/completions"),
    Route("responses", r"/responses", stores=True),
    Route("embeddings", r"/embeddings"),
    Route("rerank", r"/rerank"),
    Route("score", r"/score"),
    Route("classify", r"/classify"),
    Route("pooling", r"/pooling"),
    Route("moderations", r"/moderations"),
    Route("tokenize", r"/(?:de)?tokenize"),
    Route("audio", r"/audio/(?:transcriptions|translations|speech)"),
    Route("messages", r"/messages(?:/count_tokens)?"),
    Route("generate_stream", r"/generate_stream", streams=True),
    Route("generate", r"/generate"),
    Route("infer", r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer"),
    Route("embed", r"/embed"),
    Route("cohere/chat", r"/v[12]/chat"),
    Route(
        "generateContent",
        r"/models/[^/:]+:(?:generateContent|(?:batchE|e)mbedContents?|countTokens)",
    ),
    Route("streamGenerateContent", r"/models/[^/:]+:streamGenerateContent", streams=True),
)
# Threads, runs and stored objects use some of the same endings below these.
_STATEFUL = re.compile(r"/(?:threads|files|batches|fine_tuning|conversations)(?:/|$)")
_PATTERNS = tuple((re.compile(route.pattern + r"/?$"), route) for route in ROUTES)
_STREAM = re.compile(rb'"stream"\s*:\s*(true|false)')
_STORE = re.compile(rb'"store"\s*:\s*(true|false)')
_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_known_paths: dict[str, Route | None] = {}


def route_of(path: str) -> Route | None:
    """The inference route `path` ends in, if it does."""
    try:
        return _known_paths[path]
    except KeyError:
        pass
    plain = path.partition("?")[0]
    route = None
    if not _STATEFUL.search(plain):
        route = next((known for pattern, known in _PATTERNS if pattern.search(plain)), None)
    if len(_known_paths) >= 1024:
        # Paths come from outside; the memory of them is bounded.
        _known_paths.clear()
    _known_paths[path] = route
    return route


class Profile(NamedTuple):
    """What the balancer needs to know about a request."""

    kind: tuple[str, bool, int]
    idempotent: bool
    inference: bool

    @classmethod
    def of(cls, facts: RequestFacts, *, idempotent: bool | None) -> Profile:
        """Judge a request; `idempotent`, where given, is the caller's own word."""
        body = facts.body
        route = route_of(facts.path) if facts.method == "POST" else None
        if route is None:
            if idempotent is None:
                idempotent = facts.method in _IDEMPOTENT_METHODS or _has_idempotency_key(facts)
            return cls((facts.method, False, len(body or b"").bit_length()), idempotent, False)
        streams = route.streams
        if body and b'"stream"' in body and (found := _STREAM.search(body)):
            streams = found[1] == b"true"
        if idempotent is None:
            idempotent = _stateless(route, body) or _has_idempotency_key(facts)
        return cls((route.name, streams, len(body or b"").bit_length()), idempotent, True)


def _stateless(route: Route, body: bytes | None) -> bool:
    stored = _STORE.search(body) if body and b'"store"' in body else None
    return stored[1] == b"false" if stored else not route.stores


def _has_idempotency_key(facts: RequestFacts) -> bool:
    return any(len(name) == 15 and name.lower() == b"idempotency-key" for name, _ in facts.headers)


_LEASE = Profile(("lease", False, 0), True, False)


def profile_of(facts: RequestFacts | None, options: CallOptions, policy: RetryPolicy) -> Profile:
    """Judge a call, by its own word first, then by the policy's; without facts it is a lease."""
    idempotent = options.idempotent
    if facts is None:
        return _LEASE._replace(idempotent=False) if idempotent is False else _LEASE
    if idempotent is None and policy.idempotent is not None:
        idempotent = policy.idempotent(facts)
    return Profile.of(facts, idempotent=idempotent)
