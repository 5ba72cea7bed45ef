"""What a node has received, bounded in number and in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import overload

from .http1 import Request

MAX_REQUESTS = 1000
MAX_BYTES = 64 * 1024 * 1024


class RequestLog(Sequence[Request]):
    """The last requests a node received, oldest first; the record lives on, it is no copy.

    It keeps at most 1000 requests and 64 MiB of bodies and forgets the oldest first (the newest
    is always kept). `total` counts all that were ever received. Thread safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque()  # guarded by _lock
        self._bytes = 0  # guarded by _lock
        self.total = 0

    def append(self, request: Request) -> None:
        """Record one more."""
        with self._lock:
            self.total += 1
            self._requests.append(request)
            self._bytes += len(request.body)
            while len(self._requests) > 1 and self._is_full():
                self._bytes -= len(self._requests.popleft().body)

    def _is_full(self) -> bool:
        return len(self._requests) > MAX_REQUESTS or self._bytes > MAX_BYTES

    def clear(self) -> None:
        """Forget the requests received so far; `total` goes on counting."""
        with self._lock:
            self._requests.clear()
            self._bytes = 0

    def _snapshot(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._snapshot())

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...
    def __getitem__(self, index: int | slice) -> Request | list[Request]:
        return self._snapshot()[index]

    def __repr__(self) -> str:
        return f"<RequestLog of {len(self)}, {self.total} in total>"
