"""What a discovery URL or name says: which name to look up, and how its nodes are spoken to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

import attrs

from ..errors import ConfigurationError

__all__ = ["Target", "is_address", "is_name", "target_from"]

_PARTS = re.compile(
    r"((?P<scheme>[A-Za-z0-9+.\-]+)://)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.\-]+)?\]|[A-Za-z0-9_.\-]+)"
    r"(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!-~]*)?"
)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_\-]*[A-Za-z0-9_])?")
_MOST_NAME = 253


@attrs.frozen
class Target:
    """A name to look up, and what every node found there has in common.

    Attributes:
        scheme: how the nodes are spoken to.
        name: as it is looked up; one that ends with a dot is looked up as it is.
        port: None: the scheme's own, or the record's.
        path: put before each request's own; without a slash at its end.
    """

    scheme: str
    name: str
    port: int | None
    path: str

    @property
    def host(self) -> str:
        """The name as it stands in a request and in a certificate."""
        return self.name.rstrip(".")

    @property
    def is_address(self) -> bool:
        """Whether there is nothing to look up."""
        return is_address(self.name)


def is_address(name: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def target_from(text: object, owner: str, schemes: Mapping[str | None, str], form: str) -> Target:
    """Read a name or discovery URL.

    Args:
        text: what the user gave.
        owner: whom an error message is about.
        schemes: how nodes are spoken to, by the URL's scheme; None: without one.
        form: what is allowed, for the message.

    Raises:
        ConfigurationError: it is something else.
    """
    plain = text.strip() if isinstance(text, str) else ""
    # What may be a password or a key is never shown.
    shown = re.sub(r".*@", "...@", re.split(r"[?#]", plain, maxsplit=1)[0], flags=re.DOTALL)
    named = repr(shown) if isinstance(text, str) else repr(text)
    bad = ConfigurationError(f"{owner}: {named} is not allowed; {form}")
    found = _PARTS.fullmatch(plain)
    if found is None or re.search(r"[?#@]", plain):
        raise bad
    scheme = found["scheme"].lower() if found["scheme"] else None
    port = int(found["port"]) if found["port"] else None
    name = found["host"].strip("[]")
    if scheme not in schemes or (port is not None and not 0 < port < 65536):
        raise bad
    if not is_address(name) and not is_name(name):
        raise bad
    return Target(schemes[scheme], name, port, (found["path"] or "").rstrip("/"))


def is_name(name: str) -> bool:
    """Whether it is a host name that can stand in a request."""
    labels = name.removesuffix(".").split(".")
    fits = all(len(label) <= 63 and _LABEL.fullmatch(label) for label in labels)
    return fits and len(name) <= _MOST_NAME
