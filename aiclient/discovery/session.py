"""HTTP to a registry, in a follower's thread: bounded in time and size, and over when it is."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import DiscoveryError
from ..wire.forking import forget_after_fork
from .protocol import Signal

if TYPE_CHECKING:
    import httpx

__all__ = ["Refused", "Session"]

_Verify = ssl.SSLContext | str | os.PathLike[str] | None

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 5.0
_MOST_BYTES = 32 * 1024 * 1024


class Refused(DiscoveryError):
    """A registry answered, but with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Session:
    """Requests to a registry, one after the other, each on a connection of its own.

    Args:
        signal: When it ends, so does a request under way, at once.
        verify: Whom to trust: the path of a CA file, or a context, which may also hold a client's
            certificate. None: as httpx does.

    Raises:
        DiscoveryError: the CA file cannot be used.
    """

    def __init__(self, signal: Signal, verify: _Verify) -> None:
        import httpx

        self._httpx = httpx
        self._signal = signal
        self._stream: Any = None
        self._client = httpx.Client(
            verify=_context(verify),
            # A proxy is for the world outside; ~/.netrc's passwords are for somebody else.
            trust_env=False,
            # Thus `_stream` is the connection of the request under way.
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"accept-encoding": "identity", "user-agent": "aiclient"},
        )
        self._open = ExitStack()
        self._open.enter_context(signal.ending(self._stop))
        self._open.enter_context(self._client)
        forget_after_fork(self)

    def json(self, method: str, url: str, **options: Any) -> Any:
        """The answer to a request.

        Raises:
            DiscoveryError: there is none, or none that makes sense.
        """
        body = b""
        with self._answer(method, url, _ANSWER_SECONDS, options) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise DiscoveryError(f"{_place(url)}: more than {_MOST_BYTES} bytes")
        return _parsed(url, body)

    def lines(self, method: str, url: str, silence: float, **options: Any) -> Iterator[Any]:
        """The lines of an answer that goes on and on, each of them JSON, until it ends; before
        them None, when it has begun. One that is silent for `silence` seconds ends too: its other
        end may be gone.

        Raises:
            DiscoveryError: it did not begin, broke off, or makes no sense.
        """
        rest = b""
        begun = False
        try:
            with self._answer(method, url, silence, options) as response:
                begun = True
                yield None
                for piece in response.iter_bytes():
                    *lines, rest = (rest + piece).split(b"\n")
                    if len(rest) > _MOST_BYTES:
                        raise DiscoveryError(
                            f"{_place(url)}: a line of more than {_MOST_BYTES} bytes"
                        )
                    for line in lines:
                        if line.strip():
                            yield _parsed(url, line)
        except _Silence:
            if not begun:
                raise

    @contextmanager
    def _answer(
        self, method: str, url: str, patience: float, options: dict[str, Any]
    ) -> Iterator[httpx.Response]:
        httpx = self._httpx
        timeout = httpx.Timeout(patience, connect=_CONNECT_SECONDS)
        try:
            with self._client.stream(
                method, url, timeout=timeout, extensions={"trace": self._trace}, **options
            ) as response:
                if response.status_code != 200:
                    raise Refused(f"{_place(url)}: {_refusal(response)}", response.status_code)
                yield response
        except httpx.ReadTimeout:
            raise _Silence(f"{_place(url)}: no answer for {patience:g} s") from None
        except httpx.LocalProtocolError:
            # Its text shows a header that cannot be sent: it may be a credential.
            raise DiscoveryError(f"{_place(url)}: the request cannot be sent") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as exc:
            raise DiscoveryError(f"{_place(url)}: {exc or type(exc).__name__}") from None

    def _trace(self, name: str, info: dict[str, Any]) -> None:
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]
            if self._signal.over:
                self._stop()

    def _stop(self) -> None:
        """Wake the thread that reads: whatever it waits for, there is nothing to come."""
        stream = self._stream
        if stream is not None:
            try:
                # Not an SSLSocket's own: the thread that reads is in the midst of it.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
            except OSError:
                pass

    def forget(self) -> None:
        """In a forked child: the connection is the parent's, and nobody closes it here."""
        if self._stream is not None:
            self._stream.get_extra_info("socket").close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._open.close()


class _Silence(DiscoveryError):
    """Nothing came for a while."""


def _context(verify: _Verify) -> ssl.SSLContext | bool:
    if verify is None or isinstance(verify, ssl.SSLContext):
        return True if verify is None else verify
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as exc:
        raise DiscoveryError(f"verify: {os.fspath(verify)}: {exc.strerror or exc}") from None


def _place(url: str) -> str:
    """The URL without what may be long."""
    return url.partition("?")[0]


def _parsed(url: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DiscoveryError(f"{_place(url)}: an answer that is no JSON") from None


def _refusal(response: httpx.Response) -> str:
    """The status, and the reason that etcd and Kubernetes give in the body."""
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) > 64 * 1024:
            break
    try:
        reason = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        reason = ""
    shown = "".join(letter if letter.isprintable() else "?" for letter in reason[:300])
    return f"{response.status_code} {response.reason_phrase}" + (f": {shown}" if shown else "")
