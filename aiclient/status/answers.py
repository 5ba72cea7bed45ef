"""What is answered to whom, whatever protocol the question came by."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

import attrs

from ..balancer import Balancer
from .page import page
from .picture import picture

__all__ = ["Answer", "answer"]

_ALWAYS = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept"),
    ("X-Content-Type-Options", "nosniff"),
)


@attrs.frozen
class Answer:
    """A status line without its number's protocol, the headers, and the body."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def code(self) -> int:
        """The number of the status."""
        return int(self.status[:3])


def answer(
    balancers: Mapping[str, Balancer], method: str, path: str, query: str, accept: str
) -> Answer:
    """The answer to a request. `path`: below where the page is mounted."""
    if path not in ("", "/", "/status.json"):
        return _made(method, "404 Not Found", "text/plain", b"Not found: the page is at /\n")
    if method not in ("GET", "HEAD"):
        body = b"Not allowed: there is nothing to change here\n"
        allow = (("Allow", "GET, HEAD"),)
        return _made(method, "405 Method Not Allowed", "text/plain", body, allow)
    if path == "/status.json" or _wants_json(query, accept):
        return _made(method, "200 OK", "application/json", picture(balancers))
    body, policy = page()
    headers = (("Content-Security-Policy", policy),)
    return _made(method, "200 OK", "text/html; charset=utf-8", body, headers)


def _made(
    method: str, status: str, kind: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    about = (("Content-Type", kind), ("Content-Length", str(len(body))))
    return Answer(status, (*about, *headers, *_ALWAYS), b"" if method == "HEAD" else body)


def _wants_json(query: str, accept: str) -> bool:
    asked = parse_qs(query, max_num_fields=100, errors="replace").get("format", [])
    return "json" in asked or _weight("application/json", accept) > _weight("text/html", accept)


def _weight(kind: str, accept: str) -> float:
    """How much a kind is wanted, from 0 to 1, by an Accept header (RFC 9110, 12.5.1)."""
    best, found = -1, 0.0
    for item in accept.lower().split(","):
        wanted, *parameters = (part.strip() for part in item.split(";"))
        ranges = ("*/*", f"{kind.partition('/')[0]}/*", kind)
        precision = ranges.index(wanted) if wanted in ranges else -1
        if precision > best:
            best, found = precision, _quality(parameters)
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
