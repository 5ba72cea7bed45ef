"""HTTP/1.1 as a server sees it: bytes in, requests out; no I/O here."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
_MAX_CHUNK_LINE = 1024

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


class BadRequest(Exception):
    """The bytes received are no request this server understands."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Request:
    """One request as the node received it.

    - `method`: upper case, as sent.
    - `path`: the request target, query included.
    - `headers`: names in lower case; a repeated header's values are joined by `", "`.
    - `body`: the whole body, chunks put together.
    - `version`: `"HTTP/1.1"` or `"HTTP/1.0"`.
    - `keep_alive`: whether the client wants to use the connection again.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    version: str
    keep_alive: bool

    def json(self) -> Any:
        """The body parsed as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)


class RequestParser:
    """Turns the bytes of one connection into requests.

    `expects_continue` is true once a request's head asked for `100 Continue` and its body is
    still to come; whoever sends that line sets it to false.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._steps = self._request()
        self.expects_continue = False

    @property
    def buffered(self) -> int:
        """Bytes received and not yet made into a request."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next whole request, or None when more bytes are needed.

        Raises BadRequest; the connection is then of no more use.
        """
        try:
            next(self._steps)
        except StopIteration as done:
            self._steps = self._request()
            request: Request = done.value
            return request
        return None

    def _request(self) -> Generator[None, None, Request]:
        head = ""
        while not head:  # empty lines before a request are to be ignored (RFC 9112, 2.2)
            head = (yield from self._until(b"\r\n\r\n", MAX_HEAD)).decode("latin-1").lstrip("\r\n")
        first, _, rest = head.partition("\r\n")
        method, path, version = _request_line(first)
        headers = _headers(rest)
        body = yield from self._body(headers)
        self.expects_continue = False
        tokens = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in tokens if version == "HTTP/1.0" else "close" not in tokens
        return Request(method, path, headers, body, version, keep_alive)

    def _body(self, headers: dict[str, str]) -> Generator[None, None, bytes]:
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is None and length is None:
            return b""
        self.expects_continue = headers.get("expect", "").lower() == "100-continue"
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest(501, f"transfer coding {coding!r} is not understood")
            return (yield from self._chunks())
        if not (length and length.isascii() and length.isdigit()):
            raise BadRequest(400, "content-length must be a whole number")
        if int(length[:20]) > MAX_BODY:
            raise BadRequest(413, f"the body may have at most {MAX_BODY} bytes")
        return (yield from self._exactly(int(length)))

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while size := _chunk_size((yield from self._until(b"\r\n", _MAX_CHUNK_LINE))):
            if len(body) + size > MAX_BODY:
                raise BadRequest(413, f"the body may have at most {MAX_BODY} bytes")
            body += yield from self._exactly(size)
            if (yield from self._exactly(2)) != b"\r\n":
                raise BadRequest(400, "a chunk is longer than it said")
        while (yield from self._until(b"\r\n", MAX_HEAD)):
            pass  # trailers have no meaning here
        return bytes(body)

    def _until(self, mark: bytes, limit: int) -> Generator[None, None, bytes]:
        start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > limit:
                raise BadRequest(431, f"a head or line may have at most {limit} bytes")
            start = max(0, len(self._buffer) - len(mark) + 1)
            yield
        if end > limit:
            raise BadRequest(431, f"a head or line may have at most {limit} bytes")
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


def _request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(400, "not an HTTP/1 request")
    return parts[0], parts[1], parts[2]


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in text.split("\r\n") if text else ():
        name, colon, value = line.partition(":")
        if not colon or not name or name[0] in " \t":
            raise BadRequest(400, "a header line without a name")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadRequest(400, "a chunk without a size")
    return int(digits, 16)


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The status line and headers of an answer, up to and including the empty line."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status {status}\r\n"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"{line}{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of the chunked transfer coding; it must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
