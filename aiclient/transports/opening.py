"""From a request to a call: its options and its facts. Shared by every shell; no I/O."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterable

from ..context import current_options
from ..core.call import Call
from ..core.engine import Engine
from ..errors import ConfigurationError, NoNodeAvailable
from ..facts import RequestFacts
from ..settings import NO_OPTIONS, CallOptions

__all__ = ["no_node_answer", "open_call", "options_for", "retry_after"]

_PREFIX = b"x-aiclient-"
_SDK_RETRIES = b"x-stainless-retry-count"
_WORDS = {"true": True, "1": True, "false": False, "0": False}
_MOST_RETRY_AFTER = 3600.0
_MOST_SILENT = 1024
# Names of headers, as callers write them, that say nothing to a balancer.
_silent: set[bytes] = set()


def options_for(found: list[tuple[bytes, bytes]], extension: object) -> CallOptions:
    """The options a call brings: its extension, over its headers, over the blocks around it.

    `found`: its `x-aiclient-*` headers, lower case and without that prefix.

    Raises:
        ConfigurationError: one of them is not allowed.
    """
    options = current_options()
    if found:
        options = _from_headers(found).over(options)
    if extension is None:
        return options
    if not isinstance(extension, CallOptions):
        raise ConfigurationError(
            f'extensions["aiclient"]: {extension!r} is not allowed; a CallOptions'
        )
    return extension.over(options)


def _from_headers(found: list[tuple[bytes, bytes]]) -> CallOptions:
    options = NO_OPTIONS
    for raw_name, raw_value in found:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1").strip()
        one = _from_header(name, value)
        options = one.over(options)
    return options


def _from_header(name: str, value: str) -> CallOptions:
    if name == "key":
        return CallOptions(key=value)
    if name == "pin":
        return CallOptions(pin=value)
    if name == "idempotent" and value.lower() in _WORDS:
        return CallOptions(idempotent=_WORDS[value.lower()])
    if name == "deadline":
        try:
            return CallOptions(deadline=float(value))
        except ValueError:
            pass
    raise ConfigurationError(
        f"x-aiclient-{name}: {value!r} is not allowed; there are x-aiclient-key, -pin, "
        "-idempotent (true or false) and -deadline (seconds)"
    )


def open_call(
    balancer: Engine,
    method: str,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes | None,
    extension: object,
) -> Call:
    """The call for a request; `body` is None where it is a stream that cannot be replayed.

    Raises:
        ConfigurationError: an option it brings is not allowed.
    """
    facts = RequestFacts(method, target.decode("ascii"), headers, body, body is not None)
    found = []
    resent = False
    for name, value in headers:
        if name in _silent:
            continue
        lower = name.lower()
        if lower.startswith(_PREFIX):
            found.append((lower[len(_PREFIX) :], value))
        elif lower == _SDK_RETRIES:
            # The caller's SDK says that this is a retry of its own.
            resent = value.strip() not in (b"", b"0")
        elif len(_silent) < _MOST_SILENT:
            _silent.add(name)
    return Call(balancer, facts, options_for(found, extension), resent=resent)


def retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds from a Retry-After header, bounded; None where there is none that makes sense."""
    for name, raw in headers:
        if len(name) == 11 and name.lower() == b"retry-after":
            value = raw.strip()
            if value.isdigit():  # of bytes: in text, \xb2 is a digit, too
                return min(float(value[:9]), _MOST_RETRY_AFTER)
            try:
                when = email.utils.parsedate_to_datetime(value.decode("ascii")).timestamp()
            except (ValueError, OverflowError):
                return None
            return min(max(0.0, when - time.time()), _MOST_RETRY_AFTER)
    return None


def no_node_answer(exc: NoNodeAvailable) -> tuple[int, dict[str, str], bytes]:
    """A node's answer in place of the exception: status, headers, body."""
    error = {"message": str(exc), "type": "no_node_available", "param": None, "code": None}
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    return 503, headers, json.dumps({"error": error}).encode()
