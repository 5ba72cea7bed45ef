"""Waiting as a call is told to: for some seconds, or in the line until it is woken."""

from __future__ import annotations

import time
from threading import Lock

from .core.call import Call
from .core.line import Ticket
from .loops import place_of_work, run_there

__all__ = ["async_pause", "sync_pause"]


def sync_pause(call: Call, step: Ticket | float) -> None:
    """Block this thread until the call is to `resume`; if broken off, the call is given up."""
    try:
        if isinstance(step, Ticket):
            _wait(step)
        else:
            time.sleep(step)
    except BaseException:
        call.give_up()
        raise


def _wait(ticket: Ticket) -> None:
    asleep = Lock()
    asleep.acquire()
    ticket.wake = asleep.release
    # Whoever holds a node for the ticket does that before he looks for `wake`.
    if ticket.attempt is None:
        asleep.acquire(timeout=ticket.patience())
    ticket.wake = None


async def async_pause(call: Call, step: Ticket | float) -> None:
    """The same, on asyncio or trio."""
    import anyio

    try:
        if isinstance(step, Ticket):
            await _wait_async(call, step)
        else:
            await anyio.sleep(step)
    except BaseException:
        call.give_up()
        raise


async def _wait_async(call: Call, ticket: Ticket) -> None:
    import anyio

    woken = anyio.Event()
    place = place_of_work()
    # Where the event loop has ended without a word, nobody will ever use what is held for it.
    ticket.wake = lambda: run_there(place, woken.set, call.give_up)
    if ticket.attempt is None:
        with anyio.move_on_after(ticket.patience()):
            await woken.wait()
    ticket.wake = None
