"""What a status page says, fetched and made fit for a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .load_signal import clean

__all__ = ["Fleet", "Happening", "Member", "NoPictureError", "Watch"]

_PATIENCE = 5.0
_MOST_BYTES = 16 << 20
_KIND = "aiclient status"


class NoPictureError(Exception):
    """Nothing answers, or what answers is no status page."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node. `out_for`: seconds until it is asked again."""

    name: str
    state: str
    share: float
    in_flight: int
    ttfb: float | None
    out_for: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, `at` seconds after the beginning of 1970."""

    at: float
    text: str

    def __str__(self) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(self.at))}  {self.text}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """One balancer of one process, with the nodes that the page shows, and of `total` how many."""

    process: int
    title: str
    picker: str
    in_flight: int
    alarms: Sequence[str]
    total: int
    members: Sequence[Member]
    happenings: Sequence[Happening]


class Watch:
    """Looks at one status page, again and again."""

    def __init__(self, url: str) -> None:
        self._url = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(self._url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        # Neither a user nor a query: they may be credentials.
        where = f"[{host}]" if host and ":" in host else host
        self.shown = clean(f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path}")
        if parts.scheme not in ("http", "https") or not host:
            self.shown = "this URL"
        self._client = httpx.Client(
            timeout=_PATIENCE,
            follow_redirects=True,
            headers={"Accept": "application/json"},
        )

    def look(self) -> list[Fleet]:
        """The balancers as they are now.

        Raises:
            NoPictureError: with the reason, in which nothing secret stands.
        """
        try:
            return _fleets(json.loads(self._body()))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise NoPictureError(f"{self.shown}: http://HOST:PORT is needed") from None
        except httpx.TimeoutException:
            raise NoPictureError(f"{self.shown}: no answer within {_PATIENCE:g} s") from None
        except httpx.TransportError as exc:
            why = clean(str(exc)) or type(exc).__name__
            raise NoPictureError(f"{self.shown}: no answer: {why}") from None
        except (httpx.HTTPError, RecursionError) as exc:
            raise NoPictureError(f"{self.shown}: {type(exc).__name__}") from None
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError):
            # Whatever JSON may hold where something else was expected.
            raise NoPictureError(f"{self.shown}: this is no status page of aiclient") from None

    def _body(self) -> bytes:
        url = httpx.URL(self._url)
        with self._client.stream("GET", url.copy_merge_params({"format": "json"})) as answer:
            if answer.status_code != 200:
                raise NoPictureError(f"{self.shown}: http {answer.status_code}")
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError("too long")
        return bytes(body)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _fleets(picture: dict[str, Any]) -> list[Fleet]:
    if picture["kind"] != _KIND:
        raise ValueError("another kind of JSON")
    return [_fleet(int(picture["process"]), each) for each in picture["balancers"]]


def _fleet(process: int, found: dict[str, Any]) -> Fleet:
    service = clean(found["service"])
    titles = [clean(found["name"]), "" if service.endswith(".invalid") else service]
    alarms = [word for word in ("closed", "panic") if found[word]]
    discovery = found["discovery"]
    if discovery and discovery["problem"]:
        alarms.append(f"discovery: {clean(discovery['problem'])}")
    at = float(found["at"])
    return Fleet(
        process,
        "  ".join(title for title in titles if title),
        clean(found["picker"]),
        int(found["in_flight"]),
        alarms,
        sum(int(count) for count in found["states"].values()),
        [_member(node) for node in found["nodes"]],
        [_happening(event, at) for event in found["events"]],
    )


def _member(node: dict[str, Any]) -> Member:
    return Member(
        clean(node["name"]),
        clean(node["state"]),
        float(node["share"]),
        int(node["in_flight"]),
        None if node["ttfb"] is None else float(node["ttfb"]),
        None if node["out_for"] is None else float(node["out_for"]),
        clean(node["why"]),
    )


def _happening(event: dict[str, Any], at: float) -> Happening:
    node = "" if event["node"] is None else f" {clean(event['node'])}"
    detail = f": {clean(event['detail'])}" if event["detail"] else ""
    found = Happening(round(at - float(event["ago"]), 1), f"{clean(event['kind'])}{node}{detail}")
    str(found)  # what is no time fails here
    return found
