"""httpx's exceptions: what they mean to the core, and ours among them."""

from __future__ import annotations

import ssl
import time

import anyio
import httpcore
import httpx

from .. import errors
from ..core.attempt import Attempt, Overdue
from ..core.verdict import Failure
from ..wire.failures import WireError
from ..wire.options import Journey

__all__ = [
    "DeadlineExceeded",
    "NoNodeAvailable",
    "RedirectRefused",
    "StreamInterrupted",
    "translated",
    "verdict_on",
]

# An idle connection the node closes just as we write to it breaks about this soon.
_RACE_SECONDS = 0.05


class NoNodeAvailable(errors.NoNodeAvailable, httpx.ConnectError):
    """No node may take this call now."""


class DeadlineExceeded(errors.DeadlineExceeded, httpx.TimeoutException):
    """A `Deadlines` limit has passed."""


class StreamInterrupted(errors.StreamInterrupted, httpx.ReadError):
    """A node broke off an answer of which the caller had already received a part."""


class RedirectRefused(errors.RedirectRefused, httpx.RequestError):
    """A node redirected the call to a host that is no node of this service."""


class BalancerClosed(errors.BalancerError, httpx.TransportError):
    """The client or its balancer is closed."""


_OURS: dict[type[errors.BalancerError], type[Exception]] = {
    errors.NoNodeAvailable: NoNodeAvailable,
    errors.DeadlineExceeded: DeadlineExceeded,
    errors.StreamInterrupted: StreamInterrupted,
    errors.RedirectRefused: RedirectRefused,
    errors.BalancerError: BalancerClosed,
}
# The most derived class stands first.
_HTTPCORE: list[tuple[type[Exception], type[httpx.HTTPError]]] = [
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.ProtocolError, httpx.ProtocolError),
]
_UNMAPPED = (ssl.SSLError, OSError, EOFError, anyio.EndOfStream, anyio.BrokenResourceError)
_MEANING: list[tuple[type[Exception], Failure]] = [
    (httpx.ConnectTimeout, Failure.CONNECT),
    (httpx.PoolTimeout, Failure.POOL_TIMEOUT),
    (httpx.TimeoutException, Failure.TIMEOUT),
    (httpx.ConnectError, Failure.CONNECT),
    (httpx.ProxyError, Failure.CONNECT),
    (httpx.NetworkError, Failure.RESET),
    (httpx.RemoteProtocolError, Failure.GARBAGE),
]


def translated(exc: Exception, attempt: Attempt | None = None) -> Exception:
    """The httpx exception for one of httpcore's or of ours, naming the node; others as they are."""
    text = str(exc)
    if attempt is not None:
        text = f"{text} ({attempt.node.label}, attempt {attempt.number})"
    if isinstance(exc, Overdue):
        return DeadlineExceeded(text)
    for known, ours in _OURS.items():
        if type(exc) is known:
            return ours(text)
    if isinstance(exc, WireError):
        return getattr(httpx, type(exc).__name__)(text)  # type: ignore[no-any-return]
    for core, mapped in _HTTPCORE:
        if isinstance(exc, core):
            return mapped(text)
    if isinstance(exc, _UNMAPPED) and not isinstance(exc, httpx.HTTPError):
        return httpx.ReadError(text)
    return exc


def verdict_on(exc: Exception, attempt: Attempt, journey: Journey) -> tuple[Failure, Exception]:
    """What an attempt's exception says, and the exception its caller would get for it."""
    error = translated(exc, attempt)
    if isinstance(exc, Overdue):
        return exc.failure, error
    failure = next(
        (meaning for kind, meaning in _MEANING if isinstance(error, kind)), Failure.LOCAL
    )
    if failure is Failure.GARBAGE:
        text = str(exc)
        if text.startswith("Server disconnected"):
            failure = Failure.RESET
        elif "without sending complete message" in text or "incomplete" in text:
            failure = Failure.TRUNCATED
    if failure is Failure.TIMEOUT and journey.known and journey.sent_at is None:
        failure = Failure.CONNECT
    if failure is Failure.RESET and journey.reused and journey.sent_at is not None:
        if time.monotonic() - journey.sent_at < _RACE_SECONDS:
            failure = Failure.KEEPALIVE_RACE
    return failure, error
