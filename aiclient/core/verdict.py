"""One classification of what can happen to an attempt, three verdicts on the node's health.

The tables below are `docs/semantics.md` in code. Shells name what happened (`Failure`) and never
judge it.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Failure", "Health", "Retry", "Verdict", "of_failure", "of_status"]


class Health(enum.StrEnum):
    """What an outcome says about the node."""

    SUCCESS = "success"
    FAULT = "fault"
    NEUTRAL = "neutral"
    BACK_PRESSURE = "back-pressure"


class Retry(enum.StrEnum):
    """Whether another node may be asked."""

    NEVER = "never"
    ALWAYS = "always"  # nothing was sent or nothing was done: any method
    IDEMPOTENT = "idempotent"
    ONCE = "once"  # one other node, to learn whether this one is the odd one out


class Failure(enum.StrEnum):
    """What a shell saw go wrong."""

    CONNECT = "cannot connect"
    RESET = "connection broken"
    KEEPALIVE_RACE = "idle connection closed under the request"
    TIMEOUT = "read timed out"
    FIRST_BYTE = "no first byte in time"
    IDLE = "silent in the middle of its answer"
    STALLED = "stalled"
    TRUNCATED = "answer cut short"
    GARBAGE = "not HTTP"
    ERROR_EVENT = "error event before content"
    POOL_TIMEOUT = "no free connection in time"
    DEADLINE = "total deadline passed"
    CANCELLED = "cancelled by the caller"
    LOCAL = "the request itself failed"
    REDIRECT = "redirect refused"
    REPORTED = "reported by the lease"


class Verdict(NamedTuple):
    """What an outcome says about the node, and about another try."""

    health: Health
    retry: Retry


_WORKS = Verdict(Health.SUCCESS, Retry.NEVER)
_FAULT = Verdict(Health.FAULT, Retry.IDEMPOTENT)
_ODD_ONE_OUT = Verdict(Health.NEUTRAL, Retry.ONCE)

_STATUSES: dict[int, Verdict] = {
    401: _ODD_ONE_OUT,
    403: _ODD_ONE_OUT,
    404: _ODD_ONE_OUT,
    405: _ODD_ONE_OUT,
    421: _ODD_ONE_OUT,
    408: Verdict(Health.NEUTRAL, Retry.IDEMPOTENT),
    425: Verdict(Health.NEUTRAL, Retry.IDEMPOTENT),
    424: _FAULT,
    # TGI is full with 429, Dynamo with 529; vLLM, SGLang and Ollama with 503, which a proxy also
    # answers for a request that may have been worked on.
    429: Verdict(Health.BACK_PRESSURE, Retry.ALWAYS),
    529: Verdict(Health.BACK_PRESSURE, Retry.ALWAYS),
    503: Verdict(Health.BACK_PRESSURE, Retry.IDEMPOTENT),
    501: _WORKS,
    505: _WORKS,
}

_FAILURES: dict[Failure, Verdict] = {
    Failure.CONNECT: Verdict(Health.FAULT, Retry.ALWAYS),
    Failure.KEEPALIVE_RACE: Verdict(Health.NEUTRAL, Retry.IDEMPOTENT),
    # Charged only when the moved call was answered elsewhere.
    Failure.STALLED: Verdict(Health.NEUTRAL, Retry.IDEMPOTENT),
    Failure.POOL_TIMEOUT: Verdict(Health.NEUTRAL, Retry.NEVER),
    Failure.DEADLINE: Verdict(Health.NEUTRAL, Retry.NEVER),
    Failure.CANCELLED: Verdict(Health.NEUTRAL, Retry.NEVER),
    Failure.LOCAL: Verdict(Health.NEUTRAL, Retry.NEVER),
    Failure.REDIRECT: Verdict(Health.NEUTRAL, Retry.NEVER),
}


def of_status(status: int) -> Verdict:
    """The verdict on an answer with this HTTP status."""
    if status < 400:
        return _WORKS
    return _STATUSES.get(status, _FAULT if status >= 500 else _WORKS)


def of_failure(failure: Failure) -> Verdict:
    """The verdict on an attempt that brought no whole answer."""
    return _FAILURES.get(failure, _FAULT)
