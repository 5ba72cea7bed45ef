"""A fake AI node inside the test's own process."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import replace
from typing import Unpack

from .faults import Fault, FaultOptions
from .loop import LoopThread, is_alive, join_loop, leave_loop
from .ports import ReservedPort, url_of
from .record import RequestLog
from .server import NodeStats, Server
from .settings import Settings, SpeedOptions

TLS = ssl.SSLContext | tuple[str | os.PathLike[str], str | os.PathLike[str]]


class FakeNode:
    """A real AI node on a real socket, served by a background thread of this process.

        with FakeNode(slots=2) as node:
            httpx.post(node.url + "/v1/chat/completions", json={"messages": []})
            node.fault("503", times=3)

    It speaks HTTP/1.1 and answers `/health` and, plain and as streams, as these do:

    - OpenAI: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`; the same
      below `/openai`, for Groq;
    - Anthropic: `/v1/messages`;
    - Ollama: `/api/chat`, `/api/generate`, `/api/embed`, `/api/tags`;
    - Gemini: `/v1beta/models/MODEL:generateContent`, `:streamGenerateContent`, `:embedContent`,
      `:batchEmbedContents`, also below `/v1`;
    - Cohere: `/v2/chat`, `/v2/embed`.

    Works beside any event loop or none: the methods block for a millisecond at most.
    `aiclient.testing.Settings` gives the meaning of `slots` to `api_key`, `keepalive` and
    `prefix`.

    - `host`, `port`: where to listen; port 0 (default): the system chooses, once and for all.
    - `tls`: a pair (certificate chain file, key file) or a server's SSLContext; None: no TLS.

    Raises ValueError for a bad setting, OSError when the port is taken.
    """

    def __init__(
        self,
        *,
        slots: int = 4,
        prefill: float = 0.05,
        token_time: float = 0.01,
        tokens: int = 16,
        model: str = "fake-model",
        queue: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str | None = None,
        api_key: str | None = None,
        keepalive: float = 5.0,
        prefix: str = "",
        tls: TLS | None = None,
    ) -> None:
        settings = Settings(
            slots, prefill, token_time, tokens, model, queue, name, api_key, keepalive, prefix
        )
        self._server = Server(settings, _server_context(tls))
        self._is_tls = tls is not None
        self._host = host
        self._port = port
        self._lock = threading.Lock()
        self._reserved: ReservedPort | None = None  # guarded by _lock
        self._thread: LoopThread | None = None  # guarded by _lock

    # where it is

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port; known once it was started. Raises RuntimeError before that."""
        if self._port == 0:
            raise RuntimeError("the node has no port yet: start it first")
        return self._port

    @property
    def url(self) -> str:
        """`http://host:port`, with its prefix. Raises RuntimeError before the first start."""
        prefix = self._server.state.settings.prefix
        return url_of(self._host, self.port, tls=self._is_tls) + prefix

    @property
    def name(self) -> str:
        """Its name, as in `x-fake-node`. Raises RuntimeError before the first start."""
        return self._server.state.settings.name or f"node-{self.port}"

    # life

    def start(self) -> FakeNode:
        """Listen: for the first time, or again, healthy, on the same port. Harmless if it runs."""
        with self._lock:
            if self._thread is not None and is_alive(self._thread):
                return self
            if self._reserved is None:
                self._reserved = ReservedPort(self._host, self._port)
            self._port = self._reserved.port
            state = self._server.state
            state.settings = replace(state.settings, name=self.name)
            thread = join_loop(self._server)
            try:
                thread.call(self._server.open, self._reserved.listener)
            except BaseException:
                leave_loop(self._server, thread)
                self._let_go()
                raise
            self._thread = thread
        return self

    def stop(self) -> None:
        """Close everything and let go of the port. Requests under way are cut off."""
        with self._lock:
            self._close(reset=False)
            self._let_go()

    def kill(self) -> None:
        """Go down as a dying process does: every connection is reset, new ones are refused.

        The port stays reserved; `start()` brings the node back, `stop()` ends it for good.
        """
        with self._lock:
            self._close(reset=True)

    def _let_go(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _close(self, *, reset: bool) -> None:
        thread, self._thread = self._thread, None
        if thread is None or not is_alive(thread):
            return
        thread.run(self._server.close(reset=reset))
        leave_loop(self._server, thread)

    def __enter__(self) -> FakeNode:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> FakeNode:
        return self.start()

    async def __aexit__(self, *_exc: object) -> None:
        self.stop()

    # control

    def fault(self, name: str, **options: Unpack[FaultOptions]) -> None:
        """Let every request that arrives from now on meet a fault.

        `aiclient.testing.faults` lists the names and the options `times`, `after`, `delay`,
        `paths`, `tokens` and `retry_after`. Raises ValueError saying what is allowed for a wrong
        name or option, RuntimeError when the node is not running.
        """
        fault = Fault.of(name, options)
        with self._lock:
            self._running().run(self._server.fault(fault))

    def heal(self) -> None:
        """No fault any more; requests that hang go on hanging. Harmless on a healthy node."""
        with self._lock:
            if self._thread is not None and is_alive(self._thread):
                self._thread.call(self._server.heal)

    def set(self, **changes: Unpack[SpeedOptions]) -> None:
        """Change `slots`, `prefill`, `token_time` or `tokens`; the others stay.

        A stream under way takes up the new speed with its next token, a plain answer keeps the
        old one. Raises ValueError.
        """
        with self._lock:
            if self._thread is not None and is_alive(self._thread):
                self._thread.call(self._server.set_speed, changes)
            else:
                self._server.set_speed(changes)

    def _running(self) -> LoopThread:
        if self._thread is None or not is_alive(self._thread):
            raise RuntimeError("the node is not running")
        return self._thread

    # what it saw

    @property
    def requests(self) -> RequestLog:
        """The last requests it received, oldest first: method, path, headers, body."""
        return self._server.state.requests

    @property
    def served(self) -> int:
        """Requests answered whole with a status below 400."""
        return self._server.state.served

    @property
    def active(self) -> int:
        """Requests received and not answered yet: in service, waiting or hanging."""
        return self._server.state.active

    @property
    def waiting(self) -> int:
        """Requests waiting for a slot."""
        return self._server.state.slots.waiting

    @property
    def connections(self) -> int:
        """Open connections (those that carried control requests aside)."""
        return self.stats().connections

    def stats(self) -> NodeStats:
        """All counters at once."""
        return self._server.stats()

    def __repr__(self) -> str:
        where = self.url if self._port else self._host
        state = "running" if self._thread is not None else "down"
        return f"<FakeNode {where} {state} {self.stats()}>"


def _server_context(tls: TLS | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    certificate, key = tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
