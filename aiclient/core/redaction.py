"""Text that others wrote, made fit to be shown: what may be a credential in it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["HIDDEN", "credentials_in", "names_credential", "redacted"]

HIDDEN = "[hidden]"
_SHORTEST = 6
_LONGEST_READ = 4000
_LONGEST_SHOWN = 1000
# Up to the last @ before a blank: a password may hold an @, a : and a / of its own.
_USER = re.compile(r"(://)[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?#]*)[?#][^\s\"'<>]*")
_SCHEME = re.compile(r"\b(bearer|basic)(\s+)[^\s\"',;]+", re.IGNORECASE)
_NAMES = r"authorization|api[-_]?key|password|passwd|secret|token"
_NAME = re.compile(_NAMES, re.IGNORECASE)
_PAIR = re.compile(
    rf"((?:{_NAMES})[\"']?\s*[=:]\s*)"
    r"(b?\"[^\"]*\"|b?'[^']*'|[^\s\"',;&]+)",
    re.IGNORECASE,
)


def credentials_in(headers: Iterable[tuple[str, str]]) -> set[str]:
    """What to hide wherever it stands: the headers' values, whole and word by word."""
    found: set[str] = set()
    for _, value in headers:
        found.update(part for part in (value, *value.split()) if len(part) >= _SHORTEST)
    return found


def names_credential(name: str) -> bool:
    """Whether what goes by this name is likely to be one."""
    return _NAME.search(name) is not None


def redacted(text: str, credentials: Iterable[str] = ()) -> str:
    """The text without these credentials, and without what looks like one: in a URL, what stands
    before the @ and after the ?; what follows `Bearer`, `password=` and the like. It is cut at
    1000 characters.
    """
    text = text[:_LONGEST_READ]
    for credential in credentials:
        if credential in text:
            text = text.replace(credential, HIDDEN)
    if "://" in text:
        text = _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))
    text = _PAIR.sub(rf"\1{HIDDEN}", _SCHEME.sub(rf"\1\2{HIDDEN}", text))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
