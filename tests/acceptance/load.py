"""The load: a closed loop of workers, plain calls and streams mixed, and the book about them."""

from __future__ import annotations

import json
import threading
import time

import anyio
import httpx

import aiclient
from aiclient.errors import StreamInterrupted

from .nodes import TOKENS

CHAT = "/v1/chat/completions"
HEADERS = {"content-type": "application/json"}
MESSAGES = [{"role": "user", "content": "hello"}]
PLAIN = json.dumps({"model": "m", "messages": MESSAGES}).encode()
STREAM = json.dumps({"model": "m", "messages": MESSAGES, "stream": True}).encode()
# One call in three is a stream.
STREAM_EVERY = 3
# Seconds after which a run is broken off: what still runs then hangs, and has failed.
LIMIT = 60.0
_LAST_TOKEN = b"tok%d" % (TOKENS - 1)


class Job:
    """One call to make, and what has come of it."""

    def __init__(self, number: int) -> None:
        self.streams = number % STREAM_EVERY == 0
        self.started = time.monotonic()
        self.body = bytearray()

    def __str__(self) -> str:
        kind = "stream" if self.streams else "plain call"
        return f"{kind}, {len(self.body)} bytes in {time.monotonic() - self.started:.2f} s"


class Book:
    """How the calls went. Thread safe."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.drawn = self.done = self.attempts = self.interrupted = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        # Set when a fifth of the calls are done: something may happen to a node now.
        self.under_way = threading.Event()
        self.closed = False
        self._running: set[Job] = set()
        self._lock = threading.Lock()

    def draw(self) -> Job | None:
        """The next call to make; None when there is none any more."""
        with self._lock:
            if self.drawn == self.calls:
                return None
            self.drawn += 1
            job = Job(self.drawn)
            self._running.add(job)
            return job

    def answered(self, job: Job, response: httpx.Response) -> None:
        """It ended without an exception; whether it is what was asked for is seen here."""
        report = response.extensions["aiclient"]
        failure = "" if _is_good(job, response) else f"http {response.status_code} {report}"
        self._note(job, len(report.attempts), failure)

    def broken(self, job: Job, exc: Exception) -> None:
        """It raised. A stream of which the caller had something may be interrupted."""
        begun = bool(job.body) and isinstance(exc, StreamInterrupted)
        attempts = aiclient.attempts_of(exc)
        failure = f"{type(exc).__name__}: {exc} {[str(attempt) for attempt in attempts]}"
        self._note(job, len(attempts), "" if begun else failure, interrupted=begun)

    def _note(self, job: Job, attempts: int, failure: str, *, interrupted: bool = False) -> None:
        took = time.monotonic() - job.started
        with self._lock:
            self._running.discard(job)
            self.done += 1
            self.attempts += attempts
            self.interrupted += interrupted
            self.slowest = max(self.slowest, took)
            if failure:
                self.failures.append(f"{failure} ({job})")
            if self.done * 5 >= self.calls:
                self.under_way.set()

    def close(self, state: str) -> None:
        """The load has ended: what is not done hangs."""
        with self._lock:
            self.closed = True
            self.under_way.set()
            self.failures += [f"it hangs ({job}); {state}" for job in self._running]


def _is_good(job: Job, response: httpx.Response) -> bool:
    whole = job.body.endswith(b"data: [DONE]\n\n" if job.streams else b"}}")
    return response.status_code == 200 and whole and _LAST_TOKEN in job.body


def load_sync(client: aiclient.Client, book: Book, in_flight: int) -> None:
    """Make all calls, from as many threads."""
    threads = [
        threading.Thread(target=_work, args=(client, book), daemon=True) for _ in range(in_flight)
    ]
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0.0, give_up_at - time.monotonic()))
    book.close(repr(client))


def _work(client: aiclient.Client, book: Book) -> None:
    while (job := book.draw()) is not None:
        try:
            if job.streams:
                with client.stream("POST", CHAT, content=STREAM, headers=HEADERS) as response:
                    for piece in response.iter_raw():
                        job.body += piece
            else:
                response = client.post(CHAT, content=PLAIN, headers=HEADERS)
                job.body += response.content
        except Exception as exc:
            book.broken(job, exc)
        else:
            book.answered(job, response)


async def load_async(client: aiclient.AsyncClient, book: Book, in_flight: int) -> None:
    """Make all calls, from as many tasks."""
    async with anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = anyio.current_time() + LIMIT
        for _ in range(in_flight):
            tasks.start_soon(_awork, client, book)
    book.close(repr(client))


async def _awork(client: aiclient.AsyncClient, book: Book) -> None:
    while (job := book.draw()) is not None:
        try:
            if job.streams:
                async with client.stream("POST", CHAT, content=STREAM, headers=HEADERS) as response:
                    async for piece in response.aiter_raw():
                        job.body += piece
            else:
                response = await client.post(CHAT, content=PLAIN, headers=HEADERS)
                job.body += response.content
        except Exception as exc:
            book.broken(job, exc)
        else:
            book.answered(job, response)
