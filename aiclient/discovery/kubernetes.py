"""The pods of a Kubernetes service: its EndpointSlices, listed, then watched."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from ..endpoint import Endpoint
from ..errors import DiscoveryError
from .misses import Misses
from .options import not_allowed, seconds
from .protocol import Signal
from .session import Refused, Session
from .slices import Slices, Wanted

__all__ = ["KubernetesDiscovery"]

# What every pod finds there, unless it declines.
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# The server ends a watch after so long, so that its clients spread over all servers again.
_WATCH_SECONDS = 600
# Bookmarks come about once a minute.
_SILENCE_SECONDS = 90.0
_GONE = 410


class KubernetesDiscovery:
    """The ready pods of a service, followed as they come and go; also of a headless one.

    In a pod everything but the service's name has a default. The pod's service account needs
    `list` and `watch` on `endpointslices` of the API group `discovery.k8s.io`.

    Args:
        service: Its name.
        namespace: Its namespace. Default: the pod's own.
        port: The name of the pods' port, or its number. Default: the only one there is.
        scheme: `"http"` (default) or `"https"`.
        path: Put before each request's own; default none.
        tls_name: With https, the name on the pods' certificates; default:
            `SERVICE.NAMESPACE.svc`.
        server: URL of the API server. Default: the cluster's own. Outside a cluster
            `kubectl proxy` offers one: `"http://127.0.0.1:8001"`.
        token_file: Where the token is, read anew for each request. Default: the pod's, if
            `server` is not given, else none.
        verify: For the API server: the path of a CA file, or an `ssl.SSLContext`. Default: the
            cluster's CA, if `server` is not given, else as httpx does.
        wait: Seconds calls wait for the first nodes, >= 0. Default 10.

    A pod that is not ready, or about to end, is no node. Its zone becomes `Endpoint.zone`, its
    name and its machine's the labels `pod` and `node`.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        service: str,
        namespace: str | None = None,
        port: int | str | None = None,
        *,
        scheme: str = "http",
        path: str = "",
        tls_name: str | None = None,
        server: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        verify: ssl.SSLContext | str | os.PathLike[str] | None = None,
        wait: float = 10.0,
    ) -> None:
        for field, name in (("service", service), ("namespace", namespace)):
            named = isinstance(name, str) and _NAME.fullmatch(name)
            if not named and not (field == "namespace" and name is None):
                raise not_allowed(self, field, name, "a name as Kubernetes has them")
        if scheme not in ("http", "https"):
            raise not_allowed(self, "scheme", scheme, "'http' or 'https'")
        # A node as it will be, to have everything checked now.
        number = port if isinstance(port, int) else 80
        Endpoint(f"{scheme}://node:{int(number)}{path}", tls_name=tls_name)
        if isinstance(port, bool) or not (isinstance(port, (int, str)) or port is None):
            raise not_allowed(self, "port", port, "a name, a number, or None")
        if server is not None and Endpoint(server).scheme not in ("http", "https"):
            raise not_allowed(self, "server", server, "http:// or https://")
        self._service, self._namespace = service, namespace
        self._wanted = Wanted(port, scheme, path, tls_name)
        self._server = server.rstrip("/") if server is not None else None
        inside = server is None
        self._token_file = token_file or (f"{_ACCOUNT}/token" if inside else None)
        self._verify = verify or (f"{_ACCOUNT}/ca.crt" if inside else None)
        self.wait = seconds(self, "wait", wait, zero=True)

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint]]:
        """Yield the pods that are ready, now and whenever that changes."""
        with Session(signal, self._verify) as session:
            misses = Misses(signal)
            api: _API | None = None
            slices: Slices | None = None
            while not signal.over:
                try:
                    api = api or _API(session, self)
                    if slices is None:
                        slices = api.listed()
                        yield from _ready(slices, signal)
                    for news in api.watched(slices):
                        if news or misses:
                            yield from _ready(slices, signal)
                        if news is not None:
                            misses.clear()
                except _Gap:
                    slices = None
                    misses.gap()
                except DiscoveryError as exc:
                    if signal.over:
                        return
                    misses.add(exc, known=slices is not None)
                misses.pause()

    def __repr__(self) -> str:
        namespace = f", {self._namespace!r}" if self._namespace else ""
        port = f", port={self._wanted.port!r}" if self._wanted.port is not None else ""
        return f"KubernetesDiscovery({self._service!r}{namespace}{port})"


class _Gap(Exception):
    """What has changed since cannot be told any more: everything is to be listed anew."""


def _ready(slices: Slices, signal: Signal) -> Iterator[tuple[Endpoint, ...]]:
    """Yield the nodes, or report that there are none."""
    try:
        found = slices.endpoints()
    except DiscoveryError as exc:
        signal.report(exc)
    else:
        yield found


class _API:
    """The API server, asked for the slices of one service."""

    def __init__(self, session: Session, asked: KubernetesDiscovery) -> None:
        self._session = session
        self._token_file = asked._token_file
        self._namespace = asked._namespace or _read(f"{_ACCOUNT}/namespace", "namespace=")
        wanted = asked._wanted
        if wanted.scheme == "https" and wanted.tls_name is None:
            wanted = attrs.evolve(wanted, tls_name=f"{asked._service}.{self._namespace}.svc")
        self._wanted = wanted
        path = f"apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        self._url = f"{asked._server or _in_cluster()}/{path}"
        self._query = {"labelSelector": f"kubernetes.io/service-name={asked._service}"}

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        token = _read(self._token_file, "token_file=")
        if not (token.isascii() and token.isprintable()):
            raise DiscoveryError(f"{self._token_file}: it holds no token")
        return {"authorization": f"Bearer {token}"}

    def listed(self) -> Slices:
        """All slices."""
        with self._explained():
            answer = self._session.json(
                "GET", self._url, params=self._query, headers=self._headers()
            )
        return Slices(self._wanted, answer)

    def watched(self, slices: Slices) -> Iterator[bool | None]:
        """Bring `slices` up to date with each line, and say whether anything has changed; None
        when the watch has begun.

        Raises:
            _Gap: changes since are lost.
            DiscoveryError: the watch has failed.
        """
        query = {
            **self._query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": slices.version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        with self._explained():
            for line in self._session.lines(
                "GET", self._url, _SILENCE_SECONDS, params=query, headers=self._headers()
            ):
                yield None if line is None else self._heard(line, slices)

    def _heard(self, line: Any, slices: Slices) -> bool:
        if not isinstance(line, dict) or not isinstance(line.get("object"), dict):
            raise DiscoveryError(f"{self._url}: an answer that is none of Kubernetes's")
        if line.get("type") != "ERROR":
            return slices.apply(str(line.get("type")), line["object"])
        if line["object"].get("code") == _GONE:
            raise _Gap
        raise DiscoveryError(f"{self._url}: {str(line['object'].get('message'))[:300]}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Refused as exc:
            if exc.status == _GONE:
                raise _Gap from None
            if exc.status == 401:
                raise DiscoveryError(f"{exc}; see the token in {self._token_file}") from None
            if exc.status == 403:
                raise DiscoveryError(
                    f"{exc}; a Role in namespace {self._namespace!r} has to allow 'list' and "
                    "'watch' on 'endpointslices' of apiGroup 'discovery.k8s.io', and a RoleBinding "
                    "has to give it to the service account"
                ) from None
            raise


def _in_cluster() -> str:
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if not host or not port:
        raise DiscoveryError(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; "
            "server= says where the API server is"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _read(path: str | os.PathLike[str], instead: str) -> str:
    """What a small file says. Raises DiscoveryError."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(64 * 1024).strip()
    except OSError as exc:
        name = os.fspath(path)
        raise DiscoveryError(f"{name}: {exc.strerror}; {instead} says another") from None
