"""Nodes that register in etcd, under a prefix, with a lease: listed, then watched.

Over etcd's own JSON gateway (`/v3/`, etcd 3.4 and later): no client library is needed.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError, DiscoveryError
from .misses import Misses
from .options import not_allowed, seconds
from .protocol import Signal
from .records import endpoint_of
from .session import Refused, Session

__all__ = ["EtcdDiscovery"]

logger = logging.getLogger("aiclient")

# etcd says nothing as long as nothing changes, but for a sign of life every ten minutes.
_SILENCE_SECONDS = 30.0


class EtcdDiscovery:
    """The nodes registered under a prefix of etcd's keys, followed as they come and go.

    Args:
        endpoints: etcd's members: an iterable of URLs, or a str of comma-separated ones. Another
            is asked when one cannot be reached.
        prefix: What the keys begin with, such as `"/llm/"`. Each value is a node: its URL, or a
            JSON object with a `url` and any other field of `Endpoint`. Where two keys name the
            same node, the younger counts; a value that is no node is left out and logged.
        user, password: For etcd's own authentication.
        headers: Sent with each request, such as for a proxy before etcd. Never shown.
        verify: For https: the path of a CA file, or an `ssl.SSLContext`, which may hold a client's
            certificate. Default: as httpx does.
        wait: Seconds calls wait for the first nodes, >= 0. Default 10.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str],
        prefix: str,
        *,
        user: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | str | os.PathLike[str] | None = None,
        wait: float = 10.0,
    ) -> None:
        self._members = [
            attrs.evolve(member, headers=headers or ()) for member in endpoints_from(endpoints)
        ]
        for member in self._members:
            if member.scheme not in ("http", "https"):
                raise not_allowed(self, "endpoints", str(member), "http:// or https://")
        if not isinstance(prefix, str) or not prefix or not prefix.isprintable():
            raise not_allowed(self, "prefix", prefix, "a non-empty printable str")
        if (user is None) is not (password is None):
            raise ConfigurationError("EtcdDiscovery.user, password: both are needed, or neither")
        self._prefix = prefix
        self._login = None if user is None else {"name": user, "password": password}
        self._verify = verify
        self.wait = seconds(self, "wait", wait, zero=True)

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint]]:
        """Yield the nodes registered, now and whenever they change."""
        with Session(signal, self._verify) as session:
            misses = Misses(signal, len(self._members))
            member: _Member | None = None
            keys: _Keys | None = None
            while not signal.over:
                try:
                    if member is None:
                        member = _Member(session, self._members[misses.turn], self._login)
                    if keys is None:
                        keys = member.listed(self._prefix)
                        yield from keys.endpoints(signal)
                    for news in member.watched(self._prefix, keys):
                        if news or misses:
                            misses.clear()
                            yield from keys.endpoints(signal)
                except _Gap:
                    keys = None
                    misses.gap()
                except DiscoveryError as exc:
                    if signal.over:
                        return
                    misses.add(exc, known=keys is not None)
                    member = None
                    if isinstance(exc, Refused):
                        keys = None
                misses.pause()

    def __repr__(self) -> str:
        return f"EtcdDiscovery({[str(member) for member in self._members]}, {self._prefix!r})"


class _Gap(Exception):
    """What has changed since cannot be told any more: everything is to be listed anew."""


class _Keys:
    """What stands under the prefix, as of a revision of the store."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.revision = int(header["revision"])
        self._cluster = header.get("cluster_id")
        self._term = int(header.get("raft_term", 0))
        self._nodes: dict[str, tuple[int, Endpoint]] = {}

    def check(self, header: Mapping[str, Any]) -> None:
        """Raise `_Gap` if this is another store, or one restored from before."""
        older = int(header["revision"]) < self.revision or int(header["raft_term"]) < self._term
        if older or header.get("cluster_id") != self._cluster:
            raise _Gap

    def put(self, pair: Mapping[str, Any]) -> None:
        """A key has this value now."""
        key = b64decode(pair["key"]).decode("utf-8", "replace")
        self._nodes.pop(key, None)
        try:
            text = b64decode(pair.get("value", "")).decode().strip()
            endpoint = endpoint_of(json.loads(text) if text.startswith("{") else text)
        except (ConfigurationError, RecursionError, ValueError) as exc:
            logger.warning("etcd: the value of %r is no node and left out: %s", key[:200], exc)
            return
        self._nodes[key] = int(pair["mod_revision"]), endpoint

    def delete(self, pair: Mapping[str, Any]) -> None:
        """A key is no more: deleted, or its lease expired."""
        self._nodes.pop(b64decode(pair["key"]).decode("utf-8", "replace"), None)

    def apply(self, events: Iterable[Mapping[str, Any]]) -> bool:
        """Bring this up to date, and say whether that changed anything."""
        known = self.revision
        for event in events:
            pair = event["kv"]
            revision = int(pair["mod_revision"])
            if revision > known:
                self.delete(pair) if event.get("type") == "DELETE" else self.put(pair)
                self.revision = max(self.revision, revision)
        return self.revision > known

    def endpoints(self, signal: Signal) -> Iterator[tuple[Endpoint, ...]]:
        """Yield the nodes, or report that there are none."""
        # A node that died and came back stands there twice until its old lease expires.
        ordered = sorted(self._nodes.values(), key=lambda entry: entry[0])
        nodes = {endpoint.identity: endpoint for _, endpoint in ordered}
        if nodes:
            yield tuple(nodes.values())
        else:
            signal.report(DiscoveryError("no node is registered"))


class _Member:
    """One member of etcd, for one list and one watch."""

    def __init__(self, session: Session, member: Endpoint, login: Mapping[str, Any] | None) -> None:
        self._session = session
        self._url = f"{member.scheme}://{member.netloc}{member.path}/v3"
        self._headers = [(name.encode(), value.encode("latin-1")) for name, value in member.headers]
        if login is not None:
            token = str(self._ask("/auth/authenticate", login).get("token", ""))
            if not (token.isascii() and token.isprintable()):
                raise DiscoveryError(f"{self._url}: an answer that is none of etcd's")
            self._headers.append((b"authorization", token.encode()))

    def _ask(self, path: str, question: Mapping[str, Any]) -> dict[str, Any]:
        url = self._url + path
        answer = self._session.json("POST", url, json=question, headers=self._headers)
        if not isinstance(answer, dict):
            raise DiscoveryError(f"{url}: an answer that is none of etcd's")
        return answer

    def listed(self, prefix: str) -> _Keys:
        """All keys."""
        answer = self._ask("/kv/range", _range(prefix))
        try:
            keys = _Keys(answer["header"])
            for pair in answer.get("kvs", ()):
                keys.put(pair)
        except _NOT_ETCD:
            raise DiscoveryError(f"{self._url}: an answer that is none of etcd's") from None
        return keys

    def watched(self, prefix: str, keys: _Keys) -> Iterator[bool]:
        """Bring `keys` up to date with each answer, and say whether anything has changed.

        Raises:
            _Gap: changes since are lost.
            DiscoveryError: the watch has failed.
        """
        # From the last revision known, not the next: if that one was compacted, etcd before 3.5.18
        # leaves out, without a word, the keys it deleted.
        since = {"start_revision": str(keys.revision), "progress_notify": True}
        question = {"create_request": {**_range(prefix), **since}}
        url = f"{self._url}/watch"
        for line in self._session.lines(
            "POST", url, _SILENCE_SECONDS, json=question, headers=self._headers
        ):
            try:
                if line is not None:
                    yield self._heard(line, keys)
            except _NOT_ETCD:
                raise DiscoveryError(f"{url}: an answer that is none of etcd's") from None

    def _heard(self, line: Any, keys: _Keys) -> bool:
        if "error" in line:
            raise DiscoveryError(f"{self._url}: {str(line['error'].get('message'))[:300]}")
        result = line["result"]
        if result.get("canceled"):
            if "compact_revision" in result:
                raise _Gap
            raise DiscoveryError(f"{self._url}: {str(result.get('cancel_reason'))[:300]}")
        if result.get("created"):
            keys.check(result["header"])
        events = result.get("events", ())
        news = keys.apply(events)
        if not events and not result.get("created"):
            # A sign of life, sent when all changes up to there have been.
            keys.revision = max(keys.revision, int(result["header"]["revision"]))
        return news


_NOT_ETCD = (KeyError, TypeError, ValueError, AttributeError)


def _range(prefix: str) -> dict[str, str]:
    """All keys with this prefix: up to the first that is greater than all of them."""
    first = prefix.encode()
    end = first[:-1] + bytes([first[-1] + 1])  # no byte of UTF-8 is 255
    return {"key": b64encode(first).decode(), "range_end": b64encode(end).decode()}
