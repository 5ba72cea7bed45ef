"""A client of any kind, called from a plain test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

import aiclient

MODELS = "/v1/models"


class Caller:
    """A client, in a loop of its own where it needs one. Usable as a context manager."""

    def __init__(self, flavour: str, nodes: object, **options: Any) -> None:
        self._open = ExitStack()
        self._portal: Any = None
        if flavour == "sync":
            self.client: Any = aiclient.Client(nodes, **options)
        else:
            self._portal = self._open.enter_context(start_blocking_portal(flavour))
            self.client = aiclient.AsyncClient(nodes, **options)

    @property
    def balancer(self) -> aiclient.Balancer:
        """Its balancer."""
        balancer: aiclient.Balancer = self.client.balancer
        return balancer

    @property
    def problem(self) -> str:
        """What the snapshot says about the source."""
        status = self.balancer.snapshot().discovery
        assert status is not None
        return status.problem

    def urls(self) -> set[str]:
        """The nodes it knows."""
        return {str(node.endpoint) for node in self.balancer.snapshot()}

    def get(self) -> httpx.Response:
        """A call."""
        if self._portal is None:
            answer: httpx.Response = self.client.get(MODELS)
        else:
            answer = self._portal.call(self.client.get, MODELS)
        return answer

    def close(self) -> None:
        """The end of the client."""
        if self._portal is None:
            self.client.close()
        else:
            self._portal.call(self.client.aclose)

    def leave(self) -> None:
        """The end of its loop."""
        self._open.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
        self.leave()
