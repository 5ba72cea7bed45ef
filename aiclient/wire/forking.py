"""A forked child must not use its parent's connections."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["forget_after_fork"]


class Forgetful(Protocol):
    """Something that holds open connections."""

    def forget(self) -> None: ...


_alive: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_after_fork(wire: Forgetful) -> None:
    """Have `wire.forget` called in every child forked from now on, as long as it lives."""
    _alive.add(wire)


def _forget_all() -> None:
    for wire in list(_alive):
        wire.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
