"""What a `nodes` argument means: the nodes themselves, or where they are to be found."""

from __future__ import annotations

from ..errors import ConfigurationError
from .protocol import Discovery

__all__ = ["source_of"]


def source_of(nodes: object) -> Discovery | None:
    """The source that `nodes` is or names; None where it holds the nodes themselves.

    Raises:
        ConfigurationError: a discovery URL that is none.
    """
    if isinstance(nodes, type):
        raise ConfigurationError(f"nodes: {nodes!r} is not allowed; an object of it is")
    if isinstance(nodes, Discovery):
        return nodes
    # httpx.URL and httpx2.URL print as their URL.
    text = str(nodes).strip() if isinstance(nodes, str) or type(nodes).__name__ == "URL" else ""
    scheme, separator, _ = text.partition("://")
    if not separator:
        return None
    scheme = scheme.lower()
    if scheme in ("dns", "dns+https"):
        from .dns import DNSDiscovery

        return DNSDiscovery(text)
    if scheme == "dns+srv":
        from .srv import SRVDiscovery

        return SRVDiscovery(text)
    if scheme == "file":
        from .file import FileDiscovery

        return FileDiscovery(text)
    return None
