"""Whether the other of http and https is spoken where one of them failed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiclient

_MOST_SECONDS = 3.0
_QUESTION = b"HEAD / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


async def speaks_tls(endpoint: aiclient.Endpoint, timeout: float) -> bool:
    """Whether a TLS handshake works there, whatever the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return await _talk(endpoint, context, timeout) is not None


async def speaks_plain_http(endpoint: aiclient.Endpoint, timeout: float) -> bool:
    """Whether it answers HTTP without TLS."""
    answer = await _talk(endpoint, None, timeout)
    return answer is not None and answer.startswith(b"HTTP/")


async def _talk(
    endpoint: aiclient.Endpoint, context: ssl.SSLContext | None, timeout: float
) -> bytes | None:
    """Connect; without TLS also ask something harmless. None: that did not work."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(min(timeout, _MOST_SECONDS)):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context
            )
            try:
                if context is not None:
                    return b""
                writer.write(_QUESTION % endpoint.netloc.encode("ascii"))
                return await reader.read(16)
            finally:
                writer.transport.abort()
    return None
