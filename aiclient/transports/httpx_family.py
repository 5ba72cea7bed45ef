"""httpx's exceptions: what they mean to the core, and ours among them."""

from __future__ import annotations

import re
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
    "DiscoveryError",
    "NoNodeAvailable",
    "Overloaded",
    "RedirectRefused",
    "StreamInterrupted",
    "check_location",
    "detail_of",
    "interrupted",
    "translated",
    "verdict_on",
]

_QUOTED = re.compile(r":? (?:bytearray\()?b['\"]")
# A timer may go off this much before the deadline it was set for.
_EARLY_SECONDS = 0.002
# An idle connection the node closes just as we write to it breaks about this soon.
_RACE_SECONDS = 0.05


class NoNodeAvailable(errors.NoNodeAvailable, httpx.ConnectError):
    """No node may take this call now."""


class DeadlineExceeded(errors.DeadlineExceeded, httpx.TimeoutException):
    """A `Deadlines` limit has passed."""


class DiscoveryError(errors.DiscoveryError, httpx.ConnectError):
    """No nodes have been found yet."""


class Overloaded(errors.Overloaded, httpx.PoolTimeout):
    """No node has a place for the call, and it may wait no longer."""


class StreamInterrupted(errors.StreamInterrupted, httpx.ReadError):
    """A node broke off an answer of which the caller had already received a part."""


class StreamTimedOut(StreamInterrupted, httpx.ReadTimeout):
    """The same, for falling silent for longer than httpx's own timeout allows."""


class StreamIdle(StreamInterrupted, DeadlineExceeded):
    """The same, for falling silent for longer than `Deadlines.idle` allows."""


class RedirectRefused(errors.RedirectRefused, httpx.RequestError):
    """A node redirected the call to a host that is no node of this service."""


class BalancerClosed(errors.BalancerError, httpx.TransportError):
    """The client or its balancer is closed."""


_OURS: dict[type[errors.BalancerError], type[Exception]] = {
    errors.NoNodeAvailable: NoNodeAvailable,
    errors.DiscoveryError: DiscoveryError,
    errors.DeadlineExceeded: DeadlineExceeded,
    errors.Overloaded: Overloaded,
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
    # A source of nodes may name one that no HTTP client can speak to.
    (httpx.UnsupportedProtocol, Failure.CONNECT),
    (httpx.ProxyError, Failure.CONNECT),
    (httpx.NetworkError, Failure.RESET),
    (httpx.RemoteProtocolError, Failure.GARBAGE),
]


def message_of(exc: Exception) -> str:
    """What an exception says, but for the bytes that h11 quotes: they may hold a credential."""
    if isinstance(exc, (httpcore.ProtocolError, httpx.ProtocolError)):
        return _QUOTED.split(str(exc), maxsplit=1)[0]
    return str(exc)


def detail_of(exc: Exception) -> str:
    """What to report of it beside its `Failure`, which says what is overdue by itself."""
    return "" if isinstance(exc, Overdue) else message_of(exc)


def translated(exc: Exception, attempt: Attempt | None = None) -> Exception:
    """The httpx exception for one of httpcore's or of ours, naming the node; others as they are."""
    text = message_of(exc)
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
    return exc


def check_location(url: httpx.URL, headers: list[tuple[bytes, bytes]]) -> None:
    """See that httpx can make something of a redirect: over some it would stumble.

    Raises:
        httpx.RemoteProtocolError: it cannot; that is garbage like any other.
    """
    try:
        location = httpx.URL(httpx.Headers(headers).get("location", ""))
        if location.scheme and not location.host:
            location = location.copy_with(host=url.host)
        url.join(location).host  # noqa: B018 - it may not be decodable
    except (ValueError, httpx.InvalidURL) as exc:
        raise httpx.RemoteProtocolError(f"a Location that is no URL: {exc}") from exc


def interrupted(exc: Exception, error: Exception, node: str) -> Exception:
    """What the caller of an answer gets that broke off."""
    kind = StreamInterrupted
    if isinstance(exc, Overdue):
        kind = StreamIdle
    elif isinstance(error, httpx.TimeoutException):
        kind = StreamTimedOut
    return kind(f"{node} broke off its answer: {message_of(exc)}")


def verdict_on(exc: Exception, attempt: Attempt, journey: Journey) -> tuple[Failure, Exception]:
    """What an attempt's exception says, and the exception its caller would get for it."""
    if isinstance(exc, Overdue):
        return exc.failure, translated(exc, attempt)
    error = translated(exc, attempt)
    if isinstance(exc, _UNMAPPED) and not journey.known and not isinstance(exc, httpx.HTTPError):
        # Our own wire names what happens to it: there such a thing comes out of the body to send.
        error = httpx.ReadError(f"{exc} ({attempt.node.label}, attempt {attempt.number})")
    failure = _meaning_of(exc, error, journey)
    if isinstance(error, httpx.TimeoutException):
        failure, error = _or_deadline(failure, error, attempt)
    if error is not exc and not isinstance(error, httpx.LocalProtocolError):
        error.__cause__ = exc
    return failure, error


def _meaning_of(exc: Exception, error: Exception, journey: Journey) -> Failure:
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
    return failure


def _or_deadline(failure: Failure, error: Exception, attempt: Attempt) -> tuple[Failure, Exception]:
    """The same, unless it is one of the attempt's deadlines that cut the timeout short."""
    now = attempt.balancer.clock() + _EARLY_SECONDS
    if now >= attempt.deadline_at:
        return Failure.DEADLINE, translated(Overdue(Failure.DEADLINE), attempt)
    if attempt.first_byte_at is not None or now < attempt.first_byte_by:
        return failure, error
    if failure is Failure.POOL_TIMEOUT:
        return failure, error
    # Where nothing was sent yet, that still holds.
    missed = Failure.FIRST_BYTE if failure is Failure.TIMEOUT else failure
    return missed, translated(Overdue(Failure.FIRST_BYTE), attempt)
