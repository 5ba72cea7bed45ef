"""The errors aiclient raises.

    BalancerError
      NoNodeAvailable      no node may take the call now        (httpx: ConnectError)
      DeadlineExceeded     a `Deadlines` limit passed           (httpx: TimeoutException)
      Overloaded           no node has a place for the call     (httpx: PoolTimeout)
      StreamInterrupted    a node broke an answer already begun (httpx: ReadError)
      RedirectRefused      a redirect would leave the service   (httpx: RequestError)
      DiscoveryError       no nodes have been found yet         (httpx: ConnectError)
    ConfigurationError(ValueError)

What a client raises is a subclass of the root *and* of the httpx class in brackets, so
`except httpx.HTTPError` keeps working; a lease raises the plain root.

When attempts or budget run out the caller gets the node's own failure, the last response or the
last exception, never a substitute; `attempts_of` tells which nodes were tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facts import AttemptRecord

__all__ = [
    "BalancerError",
    "ConfigurationError",
    "DeadlineExceeded",
    "DiscoveryError",
    "NoNodeAvailable",
    "Overloaded",
    "RedirectRefused",
    "StreamInterrupted",
    "attempts_of",
]

_ATTEMPTS = "__aiclient_attempts__"


class ConfigurationError(ValueError):
    """A setting, node or option is not allowed; the message names it, its value and what is."""


class BalancerError(Exception):
    """Base of everything the balancer itself decides to raise about a call."""

    def __init__(self, message: str, **family: Any) -> None:
        # httpx's request errors take `request=` and set it as a property; the plain roots do not.
        super().__init__(message, **family)


class NoNodeAvailable(BalancerError):
    """No node may take this call now; the message says why each one is out."""


class DeadlineExceeded(BalancerError):
    """The call's total deadline, or a node's first-byte or idle deadline, has passed."""


class Overloaded(BalancerError):
    """Every node has its `Concurrency.limit` of calls, and this one may wait no longer."""


class StreamInterrupted(BalancerError):
    """A node broke off an answer of which the caller had already received a part."""


class RedirectRefused(BalancerError):
    """A node redirected the call to a host that is no node of this service."""


class DiscoveryError(BalancerError):
    """Where the nodes are could not be found out; the message names the source and its answer."""


def attempts_of(exc: BaseException) -> tuple[AttemptRecord, ...]:
    """The attempts made for the call that ended in `exc`, in order; empty if it made none.

    Looks through the chain of causes, so it also works on an SDK's own error raised from ours.
    """
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        attempts: tuple[AttemptRecord, ...] | None = getattr(current, _ATTEMPTS, None)
        if attempts is not None:
            return attempts
        current = current.__cause__ or current.__context__
    return ()


def note_attempts(exc: BaseException, attempts: tuple[AttemptRecord, ...]) -> None:
    """Attach what was tried to `exc`: for `attempts_of`, and as a note in its traceback."""
    setattr(exc, _ATTEMPTS, attempts)
    if attempts:
        tried = "; ".join(str(attempt) for attempt in attempts)
        exc.add_note(f"aiclient tried {len(attempts)} time(s): {tried}")
