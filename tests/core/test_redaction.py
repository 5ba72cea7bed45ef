import time

import pytest

from aiclient.core.redaction import credentials_in, names_credential, redacted

CANARY = "c4n4ry-s3cret"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"http://user:{CANARY}@host:80/path", "host:80/path"),
        (f"cannot read https://{CANARY}@host: refused", "@host: refused"),
        (f"http://user:a/b@{CANARY}@host/", "host/"),
        (f"for url 'http://host/v1?key={CANARY}&a=b': 403", "': 403"),
        (f"http://host/#{CANARY}", "http://host/"),
        (f"Authorization: Bearer {CANARY}", "Authorization"),
        (f"illegal header value b'Bearer {CANARY}\\n'", "illegal header value"),
        (f"basic {CANARY}", "basic"),
        (f"x-api-key={CANARY}, and more", ", and more"),
        (f'{{"api_key": "{CANARY} {CANARY}", "a": 1}}', '"a": 1'),
        (f"HF_TOKEN={CANARY}", "HF_TOKEN"),
        (f"password: '{CANARY}'", "password"),
        (f"client_secret = {CANARY}", "client_secret"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str, left: str) -> None:
    """Users and queries of URLs, schemes of Authorization, and pairs; the rest stays."""
    assert CANARY not in redacted(text)
    assert left in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect: [Errno 111] Connection refused, for 5.2 s",
        "http://10.0.0.1:8000/v1 answered 503",
        "stalled: silent for 3.1 s while its peers answer",
        "success rate: 3 of 17 tokens",
        "",
    ],
)
def test_what_does_not_stays_as_it_is(text: str) -> None:
    """The usual reasons are not touched."""
    assert redacted(text) == text


def test_known_credentials_are_hidden_wherever_they_stand() -> None:
    """A header's value, and each of its words of some length."""
    known = credentials_in([("Authorization", f"Bearer {CANARY}"), ("x", "a b")])
    assert known == {f"Bearer {CANARY}", "Bearer", CANARY}
    assert redacted(f"it said {CANARY}!", known) == "it said [hidden]!"


def test_names_of_credentials() -> None:
    """By its name it is known what a label may hold."""
    assert all(map(names_credential, ["token", "X-API-Key", "db_password", "Authorization"]))
    assert not any(map(names_credential, ["gpu", "zone", "model", "key"]))


def test_text_of_any_length_takes_no_time() -> None:
    """It is cut at 1000 characters, and no pattern runs wild on what is long."""
    for text in ("://" * 100_000, "token" * 100_000, "a" * 10**6, "://a@" * 10**5, "b'" * 10**5):
        start = time.monotonic()
        assert len(redacted(text)) <= 1000
        assert time.monotonic() - start < 2
