"""How an entry of a file or a registry becomes an endpoint. Its headers are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..endpoint import Endpoint, endpoints_from
from ..errors import ConfigurationError

__all__ = ["endpoint_of", "endpoints_in"]

_FIELDS = (
    *("url", "name", "weight", "priority", "zone"),
    *("tls_name", "host_header", "headers", "labels"),
)


def endpoint_of(record: object) -> Endpoint:
    """The endpoint that a URL, or an object with the fields of `Endpoint`, stands for.

    Raises:
        ConfigurationError: it stands for none.
    """
    if isinstance(record, str):
        return Endpoint(record)
    # The record is not shown whole in any of these: it may hold credentials.
    if not isinstance(record, Mapping):
        raise ConfigurationError(
            f"a URL or an object with a url is needed, not {type(record).__name__}"
        )
    fields: dict[str, Any] = dict(record)
    for name in fields:
        if name not in _FIELDS:
            raise ConfigurationError(f"there is no {name!r}; there are: {', '.join(_FIELDS)}")
    url = fields.pop("url", None)
    if not isinstance(url, str):
        raise ConfigurationError("it needs a url, a str")
    return Endpoint(url, **fields)


def endpoints_in(document: object) -> tuple[Endpoint, ...]:
    """The endpoints in a list of them, or in the list called `endpoints` of an object.

    Raises:
        ConfigurationError: there are none, or one of them is none; it says which.
    """
    records = document.get("endpoints") if isinstance(document, Mapping) else document
    if not isinstance(records, list):
        raise ConfigurationError("a list is needed, or an object with a list called 'endpoints'")
    endpoints = []
    for number, record in enumerate(records, 1):
        try:
            endpoints.append(endpoint_of(record))
        except ConfigurationError as exc:
            raise ConfigurationError(f"endpoint {number} of {len(records)}: {exc}") from None
    return endpoints_from(endpoints)
