"""The one event loop all fake nodes of a process share, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .server import Server

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, alive while any server uses it."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="aiclient.testing", daemon=True)
        self.servers: set[Server] = set()  # guarded by _lock
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, from another thread, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function on the loop, from another thread, and return its result."""

        async def work() -> T:
            return function(*args)

        return self.run(work())

    def end(self) -> None:
        """Stop the loop and wait for its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


_lock = threading.Lock()
_current: LoopThread | None = None  # guarded by _lock


def join_loop(server: Server) -> LoopThread:
    """The shared loop for `server` to run on, started if it is the first."""
    global _current
    with _lock:
        if _current is None:
            _current = LoopThread()
        _current.servers.add(server)
        return _current


def leave_loop(server: Server, thread: LoopThread) -> None:
    """`server` is closed; the last one to leave ends the loop and its thread."""
    global _current
    with _lock:
        thread.servers.discard(server)
        if thread.servers or thread is not _current:
            return
        _current = None
        thread.end()


def is_alive(thread: LoopThread) -> bool:
    """False in a forked child, where the thread does not exist."""
    return thread is _current


def _after_fork() -> None:
    # The child has the sockets but not the thread that serves them: as long as it held its
    # copies, a client of the parent's node would not see a connection end.
    global _lock, _current
    _lock = threading.Lock()
    if _current is not None:
        for server in _current.servers:
            server.forget_sockets()
    _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
