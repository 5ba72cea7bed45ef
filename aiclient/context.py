"""Options for the calls made within a block, whoever makes them: a context variable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from .settings import NO_OPTIONS, CallOptions

__all__ = ["current_options", "options"]

_current: ContextVar[CallOptions] = ContextVar("aiclient_options", default=NO_OPTIONS)


@contextlib.contextmanager
def options(**values: Any) -> Iterator[CallOptions]:
    """Options, as those of `CallOptions`, for every call made within the block.

    They reach the balancer through any SDK, in threads' and tasks' own contexts. Blocks nest: the
    inner one's values win. What a call brings itself, as an extension or a header, wins over both.

    Raises:
        ConfigurationError: for a name or a value that is not allowed.
    """
    chosen = CallOptions(**values).over(_current.get())
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)


def current_options() -> CallOptions:
    """The options of the blocks around this call."""
    return _current.get()
