"""One health check: connect, and ask in HTTP/1.1. It blocks, for as long as its timeout."""

from __future__ import annotations

import functools
import json
import re
import ssl
from collections.abc import Callable
from typing import Any

import attrs
import h11

from ..endpoint import Endpoint
from ..health_check import HealthCheck
from ..wire.addressing import Address
from .line import Line, Lines

__all__ = ["Exchange"]

_FULL = frozenset({429, 503, 529})
_MOST_HEAD_BYTES = 65536
_MOST_BODY_BYTES = 1024 * 1024
_AGENT = (b"User-Agent", b"aiclient-health-check")


class Exchange:
    """Checks one node after the other, each as the policy says."""

    def __init__(
        self,
        policy: HealthCheck,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._policy = policy
        self._tls = functools.cache(tls if tls and policy.verify is None else self._own_context)
        self._body = _question(policy)

    def ask(self, endpoint: Endpoint, lines: Lines) -> str | None:
        """What is wrong with the node: nothing (empty), or that cannot be told (None)."""
        policy = self._policy
        line = Line(lines, policy.timeout)
        at = "connecting"
        try:
            where = _at_port(endpoint, policy.port)
            line.connect(where)
            if policy.path is None or where.scheme not in ("http", "https"):
                return ""
            address = Address(where)
            if where.scheme == "https":
                at = "TLS"
                line.secure(self._tls(), address.tls_name)
            at = "its answer"
            return self._judge(*self._answer(address, line))
        except TimeoutError:
            return f"{at}: timed out after {policy.timeout:g} s"
        except OSError as exc:
            return f"{at}: {_said(exc)}"
        except h11.ProtocolError:
            # Its text quotes the node's bytes, or the headers sent to it.
            return f"{at}: no valid HTTP/1.1"
        finally:
            line.close()

    def _answer(self, address: Address, line: Line) -> tuple[int, bytes]:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
        line.send(self._request(http, address))
        body = b""
        status = 0
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(line.receive())
            elif isinstance(event, h11.Response):
                status = event.status_code
                if self._body is None or status not in self._policy.statuses:
                    return status, b""
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _MOST_BODY_BYTES:
                    return status, b""
            elif not isinstance(event, h11.InformationalResponse):
                return status, body

    def _request(self, http: h11.Connection, address: Address) -> bytes:
        given = [_AGENT, (b"Accept", b"*/*")]
        added = [(b"Connection", b"close")]
        if self._body is not None:
            given.append((b"Content-Type", b"application/json"))
            added.append((b"Content-Length", b"%d" % len(self._body)))
        request = h11.Request(
            method=b"GET" if self._body is None else b"POST",
            target=address.target(self._policy.path or "/"),
            headers=address.headers(given, added),
        )
        data = http.send(request) or b""
        if self._body is not None:
            data += http.send(h11.Data(data=self._body)) or b""
        return data + (http.send(h11.EndOfMessage()) or b"")

    def _judge(self, status: int, body: bytes) -> str | None:
        if self._body is not None and status in _FULL:
            return None
        if status not in self._policy.statuses:
            return f"http {status}"
        return "" if self._body is None or _is_answer(body) else "its answer is no inference"

    def _own_context(self) -> ssl.SSLContext:
        import httpx

        verify = self._policy.verify
        return httpx.create_ssl_context(verify=True if verify is None else verify)


def _question(policy: HealthCheck) -> bytes | None:
    if policy.model is None:
        return None
    question: dict[str, Any] = {"model": policy.model}
    path = policy.path or ""
    if path.endswith("/embeddings"):
        question["input"] = "a"
    elif path.endswith("/chat/completions"):
        question |= {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    else:
        question |= {"prompt": "a", "max_tokens": 1}
    return json.dumps(question).encode()


def _is_answer(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and bool(answer.get("choices") or answer.get("data"))


def _at_port(endpoint: Endpoint, port: int | None) -> Endpoint:
    if port is None:
        return endpoint
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return attrs.evolve(endpoint, url=f"{endpoint.scheme}://{host}:{port}{endpoint.path}")


def _said(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    # "[Errno 111] Connection refused", "[SSL: WRONG_VERSION_NUMBER] wrong version ... (_ssl.c:1)"
    said = re.sub(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$", "", str(exc))
    return said or type(exc).__name__
