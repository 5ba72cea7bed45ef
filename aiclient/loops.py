"""Event loops, whoever runs them: which one this is, and how to reach it from another thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["is_over", "place_of_work", "run_there"]


def place_of_work() -> object:
    """What stands for the running event loop: an asyncio loop, or trio's token."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


def is_over(place: Any) -> bool:
    """Whether that event loop will never run again."""
    if isinstance(place, asyncio.AbstractEventLoop):
        return place.is_closed()
    import trio

    try:
        place.run_sync_soon(_nothing, idempotent=True)
    except trio.RunFinishedError:
        return True
    return False


def _nothing() -> None:
    pass


def run_there(place: Any, action: Callable[[], object], otherwise: Callable[[], object]) -> None:
    """Run `action` on that event loop soon, from any thread; `otherwise` here, if it is over."""
    if sys.is_finalizing():
        return
    try:
        if is_over(place):
            otherwise()
        elif isinstance(place, asyncio.AbstractEventLoop):
            place.call_soon_threadsafe(action)
        else:
            place.run_sync_soon(action)
    except RuntimeError:
        otherwise()  # it ended just now
