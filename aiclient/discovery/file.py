"""Nodes that a file names: a mounted ConfigMap, consul-template's output, a config centre's."""

from __future__ import annotations

import json
import os
import stat
import time
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..endpoint import Endpoint
from ..errors import ConfigurationError, DiscoveryError
from .options import not_allowed, seconds
from .protocol import Signal
from .records import endpoints_in

__all__ = ["FileDiscovery"]

_MOST_BYTES = 8 * 1024 * 1024
# A file is read when it has not changed for so long: somebody may be writing it.
_REST_SECONDS = 0.25
# The file server's clock may be a little off ours.
_LONG_AGO_NS = 2_000_000_000
_Stamp = tuple[int, ...]


class FileDiscovery:
    """The nodes that a JSON or TOML file names, followed by change.

    Args:
        path: A path or a `file://` URL. `.toml` is read as TOML, any other file as JSON: a list of
            endpoints, or an object with such a list called `endpoints`. An endpoint is a URL, or
            an object with a `url` and any other field of `Endpoint`. At most 8 MiB.
        interval: Seconds between two looks at the file, > 0. Default 1. It is read only when its
            inode, size or times have changed, through any symlinks.
        wait: Seconds calls wait for the first good content, >= 0. Default 10.

    A file that is missing, unreadable or wrong anywhere is reported, and the last good set stays.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interval: float = 1.0, wait: float = 10.0
    ) -> None:
        self._path = self._path_of(path)
        self._interval = seconds(self, "interval", interval)
        self.wait = seconds(self, "wait", wait, zero=True)

    def _path_of(self, path: Any) -> str:
        try:
            text = os.fspath(path)
        except TypeError:
            text = None
        if not isinstance(text, str) or not text or "\0" in text:
            raise not_allowed(self, "path", path, "a path or a file:// URL")
        if text.partition("://")[0].lower() == "file" and "://" in text:
            # Not earlier: it brings half of the standard library's HTTP with it.
            from urllib.request import url2pathname

            parts = urlsplit(text)
            plain = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
            if not plain or not parts.path.strip("/"):
                raise not_allowed(self, "path", text, "an absolute one: file:///path/nodes.json")
            text = url2pathname(parts.path)
        return os.path.abspath(text)  # wherever the process may go later

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint]]:
        """Yield what the file says, now and after each change."""
        reader = _Reader(self._path)
        while not signal.over:
            found = None
            try:
                found = reader.look()
            except (ConfigurationError, DiscoveryError) as exc:
                signal.report(exc)
            if found is not None:
                yield found
            pause = min(self._interval, _REST_SECONDS) if reader.unsure else self._interval
            signal.wait(pause, at_least=min(pause, _REST_SECONDS))

    def __repr__(self) -> str:
        return f"FileDiscovery({self._path!r})"


class _Reader:
    """Reads the file whenever it has changed and is at rest."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: _Stamp | None = None
        self._seen: _Stamp | None = None

    @property
    def unsure(self) -> bool:
        """Whether the file has changed and may do so any moment."""
        return self._seen != self._read

    def look(self) -> tuple[Endpoint, ...] | None:
        """What the file says if it is to be read, else None.

        Raises:
            ConfigurationError: its content is wrong.
            DiscoveryError: it is not there, or cannot be read.
        """
        try:
            stamp = _stamp(os.stat(self._path))
            last, self._seen = self._seen, stamp
            if stamp == self._read or not (stamp == last or _long_ago(stamp)):
                return None
            content = self._content(stamp)
        except (OSError, DiscoveryError) as exc:
            # The same file may come back, and is news then.
            self._read = self._seen = None
            problem = exc.strerror if isinstance(exc, OSError) else ""
            raise DiscoveryError(problem or str(exc)) from None
        if content is None:
            return None
        self._read = stamp
        return _parsed(content, toml=self._path.lower().endswith(".toml"))

    def _content(self, stamp: _Stamp) -> bytes | None:
        """All of the file; None if it was written or replaced meanwhile."""
        with open(self._path, "rb") as file:
            before = _stamp(os.fstat(file.fileno()))
            content = file.read(_MOST_BYTES + 1)
            after = _stamp(os.fstat(file.fileno()))
        if not before == after == stamp:
            self._seen = None
            return None
        if len(content) > _MOST_BYTES:
            raise DiscoveryError(f"more than {_MOST_BYTES} bytes")
        return content


def _stamp(status: os.stat_result) -> _Stamp:
    """What is different whenever the content may be."""
    if not stat.S_ISREG(status.st_mode):
        raise DiscoveryError("not a regular file")
    times = status.st_mtime_ns, status.st_ctime_ns
    return (status.st_dev, status.st_ino, status.st_size, *times)


def _long_ago(stamp: _Stamp) -> bool:
    return max(stamp[-2:]) < time.time_ns() - _LONG_AGO_NS


def _parsed(content: bytes, *, toml: bool) -> tuple[Endpoint, ...]:
    try:
        document = tomllib.loads(content.decode("utf-8-sig")) if toml else json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"not {'TOML' if toml else 'JSON'}: {exc}") from None
    return endpoints_in(document)
