"""A clock that moves only when told to."""

from __future__ import annotations

import math
import threading


class FakeClock:
    """A clock for tests: call it to read the time, advance it by hand.

    Stands in wherever a function like `time.monotonic` is expected. Thread safe.

    `start` is the first reading in seconds (default 1000.0, so that a subtraction never
    meets a time near zero by accident).
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._lock = threading.Lock()
        self._now = float(start)  # guarded by _lock

    def __call__(self) -> float:
        """The current reading in seconds."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> float:
        """Move the clock forward by `seconds` (finite, >= 0) and return the new reading.

        Raises ValueError for a negative, infinite or NaN step: this clock is monotonic.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds must be finite and >= 0, not {seconds!r}")
        with self._lock:
            self._now += seconds
            return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self()!r})"
