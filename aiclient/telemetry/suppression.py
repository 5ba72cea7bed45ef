"""Who traces a call: one of several layers that could. The others are asked for silence."""

from __future__ import annotations

from contextvars import Token

from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
)

__all__ = ["suppressed", "traced_already"]

_KEYS = (_SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_HTTP_INSTRUMENTATION_KEY)


def suppressed() -> bool:
    """Whether somebody around us, who traces HTTP already or is an exporter, asks for silence."""
    around = context.get_current()
    return bool(around) and any(around.get(key) for key in _KEYS)


class traced_already:
    """While this is entered, instrumented HTTP libraries below add no spans of their own."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        silent = context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True)
        self._token: Token[context.Context] = context.attach(silent)

    def __exit__(self, *exc: object) -> None:
        context.detach(self._token)
