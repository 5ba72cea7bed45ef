"""The part of a Kubernetes API server that lists and watches EndpointSlices, on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from .registry import Exchange, FakeRegistry

PATH = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
MAIN_PORT = [{"name": "http", "port": 8000, "protocol": "TCP"}]


def pod(address: str, **options: Any) -> dict[str, Any]:
    """An endpoint as a slice has it; `ready`, `serving` and `terminating` are its conditions."""
    conditions = {"ready": True, "serving": True, "terminating": False}
    for name in conditions:
        if name in options:
            conditions[name] = options.pop(name)
    target = {"kind": "Pod", "name": f"pod-{address}", "uid": f"uid-{address}"}
    return {"addresses": [address], "conditions": conditions, "targetRef": target, **options}


def failure(code: int, reason: str, message: str) -> dict[str, Any]:
    """A Status, as every failed answer has it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


class Cluster(FakeRegistry):
    """Slices with versions; a history that can be compacted; a token, and what it may do."""

    def __init__(self, namespace: str = "default", **options: Any) -> None:
        super().__init__(self._serve, **options)
        self._path = PATH.format(namespace)
        self._changed = threading.Condition()
        self._slices: dict[str, dict[str, Any]] = {}  # guarded by _changed
        self._history: list[tuple[int, str, dict[str, Any]]] = []  # guarded by _changed
        self._version = 1000  # guarded by _changed
        self._compacted = 0  # guarded by _changed
        self._ended = 0  # guarded by _changed
        self.token: str | None = None
        self.allowed = True

    @property
    def lists(self) -> int:
        """How often everything was listed."""
        return sum("watch" not in exchange.query for exchange in self.exchanges)

    @property
    def watches(self) -> int:
        """How often a watch was begun."""
        return len(self.exchanges) - self.lists

    def put(
        self,
        name: str,
        pods: Iterable[dict[str, Any]],
        *,
        service: str = "llm",
        ports: Any = MAIN_PORT,
        family: str = "IPv4",
    ) -> None:
        """Make a slice, or change it."""
        with self._changed:
            item = {
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
                "addressType": family,
                "endpoints": list(pods) or None,
                "ports": ports,
            }
            self._note("MODIFIED" if name in self._slices else "ADDED", item)
            self._slices[name] = item

    def delete(self, name: str) -> None:
        """Delete a slice."""
        with self._changed:
            self._note("DELETED", dict(self._slices.pop(name)))

    def _note(self, kind: str, item: dict[str, Any]) -> None:
        self._version += 1
        item["metadata"] = {**item["metadata"], "resourceVersion": str(self._version)}
        self._history.append((self._version, kind, item))
        self._changed.notify_all()

    def bookmark(self, others: int = 100) -> None:
        """Say how far all is told, after that many changes of other services."""
        with self._changed:
            self._version += others
            self._note("BOOKMARK", {"kind": "EndpointSlice", "apiVersion": "v1", "metadata": {}})

    def compact(self) -> int:
        """Forget what has happened so far; up to which version."""
        with self._changed:
            self._compacted = self._version
            return self._version

    def end_watches(self) -> None:
        """End all watches, as after their time."""
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def _serve(self, exchange: Exchange) -> None:
        if self.token and exchange.headers.get("authorization") != f"Bearer {self.token}":
            exchange.answer(failure(401, "Unauthorized", "Unauthorized"), 401)
        elif not self.allowed:
            message = 'endpointslices.discovery.k8s.io is forbidden: User "x" cannot list resource'
            exchange.answer(failure(403, "Forbidden", message), 403)
        elif exchange.path != self._path:
            exchange.answer(failure(404, "NotFound", "not found"), 404)
        elif "watch" in exchange.query:
            self._watch(exchange)
        else:
            with self._changed:
                items = [item for item in self._slices.values() if self._chosen(exchange, item)]
                metadata = {"resourceVersion": str(self._version)}
            exchange.answer({"kind": "EndpointSliceList", "metadata": metadata, "items": items})

    @staticmethod
    def _chosen(exchange: Exchange, item: dict[str, Any]) -> bool:
        labels = item["metadata"].get("labels")
        if labels is None:
            return exchange.query.get("allowWatchBookmarks") == "true"
        name, value = exchange.query["labelSelector"].split("=")
        return bool(labels[name] == value)

    def _watch(self, exchange: Exchange) -> None:
        told = int(exchange.query["resourceVersion"])
        with self._changed:
            ended = self._ended
            expired = told < self._compacted
        exchange.begin()
        if expired:
            status = failure(410, "Expired", f"too old resource version: {told}")
            exchange.send({"type": "ERROR", "object": status})
            exchange.end()
            return
        while not exchange.gone:
            with self._changed:
                self._changed.wait(0.02)
                news = [entry for entry in self._history if entry[0] > told]
                over = self._ended > ended
            for version, kind, item in news:
                told = version
                if self._chosen(exchange, item):
                    exchange.send({"type": kind, "object": item})
            if over:
                exchange.end()
                return
