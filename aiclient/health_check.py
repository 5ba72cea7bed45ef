"""`HealthCheck`: how nodes are checked from time to time, whether or not there are calls."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from .errors import ConfigurationError
from .settings import _number, _refuse, _seconds, _settings, _share, _whole

if TYPE_CHECKING:
    import ssl

__all__ = ["HealthCheck"]

_PATH = re.compile(r"/[!-~]*")
_HEALTH = "/health"
_CHAT = "/v1/chat/completions"
_ASKABLE = ("/completions", "/embeddings")
_port = _number(1, 65535, "a port", none=True)


def _statuses(value: Any) -> Container[int]:
    usable = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    found = tuple(value) if usable else ()
    if not found or not all(type(status) is int and 200 <= status <= 599 for status in found):
        raise ConfigurationError(
            f"HealthCheck.statuses: {value!r} is not allowed; status codes from 200 to 599, "
            "such as range(200, 300)"
        )
    return value if isinstance(value, range) else frozenset(found)


@_settings
class HealthCheck:
    """Checks every node from time to time, in the background, as a load balancer does.

    A node whose checks fail gets no call until they succeed again. They never outweigh what real
    calls say: a node that answers calls well stays in, and one whose calls fail is not kept in by
    a good check. While every node's checks fail, they are ignored.

    Three kinds: a GET of `path`; with `path=None` a TCP connection and nothing more; with `model`
    an inference of one token. A node that is neither http nor https is only connected to. Each
    check is a new connection, with the node's own headers, Host and TLS name.

    Args:
        path: What to GET, below the node's own path; None: only connect. With `model`, where to
            POST, ending in "/chat/completions" (then the default is "/v1/chat/completions"),
            "/completions" or "/embeddings". Default "/health".
        model: The model to ask for one token; a node that says it is full (429, 503, 529) has
            then neither passed nor failed. Default None: no inference.
        statuses: Which statuses are good. Default range(200, 300).
        port: The port to check, with the node's scheme and host, instead of its own.
        interval: Seconds from one check of a node to its next. Default 10.
        timeout: Seconds for one check, connecting included. Default 2.
        fall: Failed checks in a row that take a node out; of a node never checked before the
            first one does. Default 2.
        rise: Good checks in a row that bring it back. Default 2. A result that would change
            something is confirmed, or not, after a quarter of the interval.
        jitter: Share of the interval by which each pause varies, up and down, 0 to 1. Default 0.1.
        verify: For https: True, False or an SSLContext, as for httpx. None: as the client's where
            that was given the nodes, else as httpx's default. Default None.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    path: str | None = attrs.field(default=_HEALTH)
    model: str | None = attrs.field(default=None)
    statuses: Container[int] = attrs.field(default=range(200, 300), converter=_statuses)
    port: int | None = attrs.field(default=None, validator=_port)
    interval: float = attrs.field(default=10.0, validator=_seconds)
    timeout: float = attrs.field(default=2.0, validator=_seconds)
    fall: int = attrs.field(default=2, validator=_whole(1))
    rise: int = attrs.field(default=2, validator=_whole(1))
    jitter: float = attrs.field(default=0.1, validator=_share)
    verify: bool | ssl.SSLContext | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        path, model = self.path, self.model
        if path is not None and not (isinstance(path, str) and _PATH.fullmatch(path)):
            raise _refuse(self, "path", path, "a path such as '/health', or None")
        if self.port is not None and type(self.port) is not int:
            raise _refuse(self, "port", self.port, "a whole number from 1 to 65535, or None")
        if not isinstance(self.verify, (bool, type(None))):
            import ssl  # here: it takes longer than all of this module

            if not isinstance(self.verify, ssl.SSLContext):
                raise _refuse(self, "verify", self.verify, "a bool, an SSLContext, or None")
        if model is None:
            return
        if not (isinstance(model, str) and model):
            raise _refuse(self, "model", model, "a model's name, or None")
        if path == _HEALTH:
            object.__setattr__(self, "path", _CHAT)
        elif path is None or not path.endswith(_ASKABLE):
            raise _refuse(self, "path", path, f"with model= it ends in {' or '.join(_ASKABLE)}")
