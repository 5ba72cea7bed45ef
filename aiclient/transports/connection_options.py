"""How to connect, as httpx's users say it: checked, and turned into what the wire needs."""

from __future__ import annotations

import functools
import importlib.util
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import httpx

from ..endpoint import Endpoint
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..wire.options import WireOptions

__all__ = ["ConnectionOptions"]

# Below the 5 s after which uvicorn, under most AI servers, closes. An httpx.Limits that caps only
# connections carries httpx's own 5 s, and would invite the race.
_KEPT = 4.0
_UNSAID = httpx.Limits().keepalive_expiry


class ConnectionOptions:
    """The arguments of a transport that concern its connections."""

    def __init__(
        self,
        verify: Any,
        cert: Any,
        trust_env: bool,
        http1: bool,
        http2: bool,
        limits: httpx.Limits | None,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> None:
        self.http2 = http2
        self._http1 = http1
        self._tls = {"verify": verify, "cert": cert, "trust_env": trust_env}
        self._limits = limits
        self._local_address = local_address
        self._socket_options = tuple(socket_options or ())
        self.context: Callable[[], ssl.SSLContext] = functools.cache(self._make_context)

    def check(self, factory: object) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError
        """
        if factory is not None and not callable(factory):
            raise ConfigurationError(
                f"transport_factory: {factory!r} is not allowed; "
                "a function from an Endpoint to a transport"
            )
        if self._limits is not None and not isinstance(self._limits, httpx.Limits):
            raise ConfigurationError(f"limits: {self._limits!r} is not allowed; an httpx.Limits")
        if self._limits is not None:
            _check_limits(self._limits)
        if not (self._http1 or self.http2):
            raise ConfigurationError("http1: False is not allowed without http2=True")
        if self.http2 and importlib.util.find_spec("h2") is None:
            raise ConfigurationError("http2: True needs: pip install 'httpx[http2]'")
        if factory is None:
            return
        changed = [
            name
            for name, is_default in (
                ("verify", self._tls["verify"] is True),
                ("cert", self._tls["cert"] is None),
                ("http2", not self.http2),
                ("limits", self._limits is None),
                ("local_address", self._local_address is None),
                ("socket_options", not self._socket_options),
            )
            if not is_default
        ]
        if changed:
            raise ConfigurationError(
                f"{', '.join(changed)}: not allowed beside transport_factory, "
                "whose transports have their own"
            )

    def check_nodes(self, endpoints: Iterable[Endpoint]) -> None:
        """Refuse nodes that do not speak HTTP; load TLS now if one needs it.

        Raises:
            ConfigurationError
        """
        for endpoint in endpoints:
            if endpoint.scheme not in ("http", "https"):
                raise ConfigurationError(
                    f"nodes: {endpoint} is not allowed; http:// or https:// for an HTTP client "
                    "(other protocols: Balancer(...).lease())"
                )
        custom = self._tls["verify"] is not True or self._tls["cert"] is not None
        if custom or any(endpoint.scheme == "https" for endpoint in endpoints):
            self.context()

    def _make_context(self) -> ssl.SSLContext:
        try:
            context: object = httpx.create_ssl_context(**self._tls)
            if not isinstance(context, ssl.SSLContext):
                raise TypeError(f"{context!r} is no bool, path or SSLContext")
            return context
        except (OSError, TypeError, ValueError, AttributeError) as exc:
            raise ConfigurationError(f"verify, cert: cannot be used: {exc}") from exc

    def for_wire(self) -> WireOptions:
        """What our own connections take."""
        from ..wire.options import WireOptions

        limits = self._limits
        if limits is None:
            return WireOptions(
                self.context,
                local_address=self._local_address,
                socket_options=self._socket_options,
            )
        return WireOptions(
            self.context,
            keepalive_expiry=_KEPT
            if limits.keepalive_expiry == _UNSAID
            else limits.keepalive_expiry,
            max_connections=limits.max_connections,
            max_keepalive=limits.max_keepalive_connections,
            local_address=self._local_address,
            socket_options=self._socket_options,
        )

    def for_httpx(self) -> dict[str, Any]:
        """What a multiplexing transport of httpx's takes, one for each node."""
        limits = self._limits or httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEPT
        )
        return {
            "verify": self.context(),
            "http1": self._http1,
            "http2": True,
            "limits": limits,
            "local_address": self._local_address,
            "socket_options": self._socket_options or None,
        }


def _check_limits(limits: httpx.Limits) -> None:
    for name, least in (
        ("max_connections", 1),
        ("max_keepalive_connections", 0),
        ("keepalive_expiry", 0),
    ):
        value = getattr(limits, name)
        # NaN fails the comparison.
        if value is not None and not (isinstance(value, (int, float)) and value >= least):
            raise ConfigurationError(
                f"limits.{name}: {value!r} is not allowed; a number >= {least}, or None"
            )
