"""What a request is: its route, whether it may be sent twice, its kind."""

from __future__ import annotations

import pytest

from aiclient.core import routes
from aiclient.core.routes import Profile, route_of
from aiclient.facts import RequestFacts

# path, idempotent as a POST, streams by itself
TABLE: list[tuple[str, bool, bool]] = [
    ("/v1/chat/completions", True, False),
    ("/chat/completions", True, False),
    ("/openai/deployments/gpt/chat/completions?api-version=1", True, False),
    ("/v1/chat/completions/", True, False),
    ("/v1/completions", True, False),
    ("/v1/embeddings", True, False),
    ("/v1/rerank", True, False),
    ("/v2/rerank", True, False),
    ("/v1/score", True, False),
    ("/classify", True, False),
    ("/v1/moderations", True, False),
    ("/v1/audio/transcriptions", True, False),
    ("/v1/audio/translations", True, False),
    ("/v1/audio/speech", True, False),
    ("/v1/messages", True, False),
    ("/v1/messages/count_tokens", True, False),
    ("/api/generate", True, True),
    ("/api/chat", True, True),
    ("/api/embed", True, False),
    ("/api/embeddings", True, False),
    ("/generate", True, False),
    ("/generate_stream", True, True),
    ("/tokenize", True, False),
    ("/v2/models/bert/infer", True, False),
    ("/v2/models/bert/versions/3/infer", True, False),
    ("/v1beta/models/gemini:generateContent", True, False),
    ("/v1beta/models/gemini:streamGenerateContent", True, True),
    ("/v1/responses", False, False),
    ("/v1/responses/resp_1/cancel", False, False),
    ("/v1/files", False, False),
    ("/v1/batches", False, False),
    ("/v1/messages/batches", False, False),
    ("/v1/fine_tuning/jobs", False, False),
    ("/v1/threads", False, False),
    ("/v1/threads/t_1/messages", False, False),
    ("/v1/conversations/c_1/messages", False, False),
    ("/v1/images/generations", False, False),
    ("/v1/completions/extra", False, False),
    ("/v1/xcompletions", False, False),
    ("/", False, False),
    ("/v2/models/bert/load", False, False),
]


def profile(
    method: str,
    path: str,
    body: bytes | None = b"{}",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    idempotent: bool | None = None,
) -> Profile:
    """What is made of a request."""
    return Profile.of(RequestFacts(method, path, headers, body), idempotent=idempotent)


@pytest.mark.parametrize(("path", "idempotent", "streams"), TABLE)
def test_the_table_of_routes(path: str, idempotent: bool, streams: bool) -> None:
    """Known stateless inference routes may be sent twice, nothing else that is a POST."""
    found = profile("POST", path)
    assert found.idempotent is idempotent
    assert found.kind[1] is streams
    assert not profile("PATCH", path).idempotent


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_idempotent_methods(method: str) -> None:
    """By RFC 9110, whatever the path; none of them is an inference call."""
    for path in ("/v1/files/f_1", "/v1/chat/completions"):
        found = profile(method, path)
        assert found.idempotent
        assert not found.inference


@pytest.mark.parametrize(
    ("path", "body", "idempotent"),
    [
        ("/v1/chat/completions", b'{"store": true}', False),
        ("/v1/chat/completions", b'{"store":\n true}', False),
        ("/v1/chat/completions", b'{"store": false}', True),
        ("/v1/chat/completions", b'{"storex": true}', True),
        ("/v1/responses", b'{"store": false}', True),
        ("/v1/responses", b'{"store": true}', False),
        ("/v1/responses", b"{}", False),
        ("/v1/chat/completions", None, True),
    ],
)
def test_what_is_stored_is_not_repeated(path: str, body: bytes | None, idempotent: bool) -> None:
    """`store` decides; its default is the route's."""
    assert profile("POST", path, body).idempotent is idempotent


def test_an_idempotency_key_makes_anything_repeatable() -> None:
    """Whatever its case."""
    for name in (b"Idempotency-Key", b"idempotency-key"):
        for path in ("/v1/files", "/v1/responses"):
            assert profile("POST", path, headers=((name, b"k"),)).idempotent
    assert not profile("POST", "/v1/files", headers=((b"idempotency", b"k"),)).idempotent


def test_the_callers_word_counts_most() -> None:
    """Both ways."""
    assert profile("POST", "/v1/files", idempotent=True).idempotent
    assert not profile("GET", "/", idempotent=False).idempotent
    assert not profile("POST", "/v1/embeddings", idempotent=False).idempotent


def test_streams_are_another_kind() -> None:
    """As the body says, else as the route does."""
    plain = profile("POST", "/v1/chat/completions", b'{"stream": false, "a": "bcd"}')
    stream = profile("POST", "/v1/chat/completions", b'{"stream": true,  "a": "bcd"}')
    assert plain.kind[1] is False
    assert stream.kind[1] is True
    assert profile("POST", "/api/chat", b'{"stream":false}').kind[1] is False
    assert profile("POST", "/api/chat", b"{}").kind[1] is True


def test_sizes_are_compared_by_their_logarithm() -> None:
    """Bodies of 900 and 1000 bytes are alike, of 100 and 1000 not."""
    kinds = [profile("POST", "/v1/embeddings", b"x" * size).kind for size in (100, 900, 1000)]
    assert kinds[0] != kinds[1] == kinds[2]


def test_the_memory_of_paths_is_bounded() -> None:
    """They come from outside."""
    for number in range(5000):
        route_of(f"/v1/{number}/completions")
        route_of(f"/v1/files/{number}")
    assert len(routes._known_paths) <= 1024
    assert route_of("/v1/9/completions") is not None
