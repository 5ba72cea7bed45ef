"""Calls that go on in the background, by callers of three kinds."""

from __future__ import annotations

import socket
import threading
from collections import Counter, deque
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

import aiclient
from aiclient.testing import FakeNode

from .following import PATIENCE, eventually

CHAT = "/v1/chat/completions"
FLAVOURS = ("sync", "asyncio", "trio")


class Traffic:
    """So many streams under way at any time, until the block ends; then none may have failed.

    `plain`: answers in one piece instead, which survive the death of a node.
    """

    def __init__(
        self, flavour: str, nodes: object, *, callers: int = 20, plain: bool = False, **options: Any
    ) -> None:
        self.flavour = flavour
        kind = aiclient.Client if flavour == "sync" else aiclient.AsyncClient
        self.client: Any = kind(nodes, **options)
        self.failed: list[BaseException] = []
        self.answered = 0
        self._lately: deque[str] = deque(maxlen=100)
        self._callers = callers
        self._body = {} if plain else {"stream": True}
        self._over = False
        run = self._threads if flavour == "sync" else self._loop
        self._thread = threading.Thread(target=run)

    @property
    def balancer(self) -> aiclient.Balancer:
        balancer: aiclient.Balancer = self.client.balancer
        return balancer

    def until(self, hosts: list[str]) -> None:
        """Wait until these are the addresses of the nodes, as the balancer knows them."""

        def are_they() -> bool:
            assert not self.failed, self.failed
            return sorted(node.endpoint.host for node in self.balancer.snapshot()) == sorted(hosts)

        eventually(are_they, f"{hosts} are the nodes")

    @property
    def problem(self) -> str:
        """Why the last answer was not used."""
        assert not self.failed, self.failed
        discovery = self.balancer.snapshot().discovery
        return discovery.problem if discovery is not None else ""

    def only(self, hosts: list[str]) -> bool:
        """Whether the next forty calls were answered by all of these nodes and no other."""
        self._lately.clear()
        self.more()
        return {urlsplit(node).hostname for node in tuple(self._lately)} == set(hosts)

    def shares(self) -> Counter[str]:
        """The nodes that answered the next hundred calls, and how many of them each."""
        start = self.answered
        eventually(lambda: self.failed or self.answered >= start + 100, "a hundred calls")
        return Counter(self._lately)

    def more(self, calls: int = 40) -> None:
        """Wait until so many more calls were answered."""
        start = self.answered
        eventually(lambda: self.failed or self.answered >= start + calls, "more calls")
        assert not self.failed

    def _note(self, response: Any) -> None:
        assert response.status_code == 200
        self._lately.append(response.extensions["aiclient"].attempts[-1].node)
        self.answered += 1

    def _call(self) -> None:
        try:
            while not self._over:
                with self.client.stream("POST", CHAT, json=self._body) as response:
                    response.read()
                self._note(response)
        except BaseException as exc:
            self.failed.append(exc)

    async def _acall(self) -> None:
        try:
            while not self._over:
                async with self.client.stream("POST", CHAT, json=self._body) as response:
                    await response.aread()
                self._note(response)
        except Exception as exc:
            self.failed.append(exc)

    def _threads(self) -> None:
        threads = [threading.Thread(target=self._call) for _ in range(self._callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.client.close()

    def _loop(self) -> None:
        async def run() -> None:
            async with self.client, anyio.create_task_group() as group:
                for _ in range(self._callers):
                    group.start_soon(self._acall)

        anyio.run(run, backend=self.flavour)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self._over = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if kind is None and self.failed:
            raise self.failed[0]


class Fleet:
    """Nodes at 127.0.0.11 and so on, all on one port, as pods are."""

    def __init__(self, size: int, **options: Any) -> None:
        self._options = {"prefill": 0, "token_time": 0.002, "slots": 1000, **options}
        self.nodes: list[FakeNode] = []
        self.port = 0
        for number in range(size):
            self.nodes.append(self.at(f"127.0.0.{11 + number}"))
            self.port = self.nodes[0].port

    def at(self, host: str) -> FakeNode:
        return FakeNode(host=host, port=self.port, **self._options).start()

    @property
    def hosts(self) -> list[str]:
        return [node.host for node in self.nodes]

    def connections(self) -> list[int]:
        return [node.connections for node in self.nodes]

    def close(self) -> None:
        for node in self.nodes:
            node.stop()


class Answers(dict[str, Any]):
    """What `getaddrinfo` says of some names: addresses, or an error to raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.asked = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self:
            return self._real(host, *args, **options)
        self.asked += 1
        answer = self[name]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, 0, 0, 0) if ":" in address else (address, 0),
            )
            for address in answer
        ]
